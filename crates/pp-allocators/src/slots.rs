//! Pages of a pool, cut into slots of one size.
//!
//! A page begins with its head; since pages are aligned to their size, any slot finds it by clearing the low bits of its own
//! address. Free slots are chained through their first bytes, by their distance from the head: one chain is the owner's, the
//! other is where everybody else gives slots back.
//!
//! # Ordering
//!
//! | edge | release side | acquire side |
//! |---|---|---|
//! | a holder's use of a slot -> its next holder | `give_back` | `collect` |
//! | everybody's use of a page -> its way home | `give_back`, `orphan` | the fence of whoever gives the last slot back, `orphan` |

use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize as CoreAtomicUsize;

use pp_core::sync::{AtomicUsize, Canary, Clock, Mutant, Ordering, fence, mutant};
use pp_core::{AllocError, Descriptor, Page, PagePool};

/// Pages that are looked at for room before the pool is asked for another. So when the whole list was gone through without
/// finding any, it has grown by a quarter: that bounds what is wasted on slots that came back unseen.
const LOOK: usize = 4;

/// Where the first slot of a page lies, and what slots are aligned to at most.
pub const HEAD_BYTES: usize = size_of::<Head>().next_multiple_of(MAX_ALIGN);
/// What slots can be aligned to at most.
pub const MAX_ALIGN: usize = 64;

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSlot {
    /// The pool has no page.
    #[error("no page for another slot: {0}")]
    Pool(AllocError),
    /// The pool's pages have another size than the allocator is made for.
    #[error("the pool's pages have {page_bytes} bytes, and the allocator is made for {wanted}; change one of them")]
    PageSize {
        /// What the pool has.
        page_bytes: usize,
        /// What the allocator is made for.
        wanted: usize,
    },
    /// A page is not aligned to its size, as may be at orders over 0.
    #[error("a page is not aligned to its size; use a provider with base units of that size")]
    Misaligned,
    /// There is no heap for the list of pages.
    #[error("no heap for the list of pages; use larger pages")]
    OutOfHeap,
}

/// The first bytes of each page.
#[repr(C)]
struct Head {
    /// What others gave back.
    ///
    /// | state | meaning | who leaves it |
    /// |---|---|---|
    /// | 0 | nothing | whoever gives a slot back |
    /// | `count << 16 \| top` | `count` slots, chained from the one `top` bytes behind the head | the same; the owner to 0; the owner's drop to `ORPHAN` |
    /// | `ORPHAN \| count << 16` | the owner is gone and `count` slots are out | whoever gives a slot back; the one that takes the count to 0 sends the page home |
    returned: AtomicUsize,
    clock: Clock,
    canary: Canary,
    page: NonNull<Descriptor>,
    /// Which [`Slots`] the page belongs to; numbers are used once.
    owner: usize,
    mine: Mine,
}

/// What only the page's owner reads and writes.
#[derive(Clone, Copy)]
struct Mine {
    /// The first slot of the owner's chain; 0 where there is none.
    free: u16,
    /// The first slot that was never used.
    fresh: u32,
    /// Slots handed out and not seen to be back.
    out: u32,
}

const TOP: usize = 0xffff;
const ONE: usize = 0x1_0000;
const ORPHAN: usize = 0x8000_0000;

fn count(word: usize) -> usize {
    (word & !ORPHAN) / ONE
}

/// Slots of one size on pages of `PAGE` bytes, owned by one thread at a time.
///
/// # Examples
///
/// ```
/// use core::alloc::Layout;
/// use pp_allocators::slots::Slots;
/// use pp_core::PagePool;
/// use pp_provider_buddy::Buddy;
///
/// let mut pool = PagePool::builder(Buddy::anonymous(1 << 20)?).build()?;
/// let mut slots = Slots::<4096>::new(Layout::new::<[u64; 4]>());
/// let slot = slots.alloc(&mut pool)?;
/// // SAFETY: from `alloc`, and not used again.
/// unsafe { Slots::<4096>::give_back(slot) };
/// assert_eq!((slots.pages(), slots.trim(&mut pool)), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Slots<const PAGE: usize> {
    stride: u32,
    id: usize,
    /// The page that slots come from at the moment; also in `pages`.
    current: Option<NonNull<Head>>,
    pages: Vec<NonNull<Head>>,
    cursor: usize,
}

// SAFETY: the heads' `mine` is the owner's, who moves as a whole; everything else in them is atomic or never changes.
unsafe impl<const PAGE: usize> Send for Slots<PAGE> {}

impl<const PAGE: usize> Slots<PAGE> {
    const SIZE_FITS: () = assert!(PAGE.is_power_of_two() && PAGE > HEAD_BYTES && PAGE <= 1 << 16, "64 KiB at most");

    /// The largest slot.
    pub const LARGEST: usize = PAGE - HEAD_BYTES;

    /// Slots that hold `layout`, which is at most [`LARGEST`](Self::LARGEST) bytes long and aligned to at most [`MAX_ALIGN`].
    ///
    /// # Panics
    ///
    /// On larger ones.
    pub fn new(layout: Layout) -> Self {
        static NEXT: CoreAtomicUsize = CoreAtomicUsize::new(1);
        let () = Self::SIZE_FITS;
        // Room for the link of a free slot.
        let stride = layout.size().max(size_of::<u16>()).next_multiple_of(layout.align().max(align_of::<u16>()));
        assert!(stride <= Self::LARGEST && layout.align() <= MAX_ALIGN, "{layout:?} does not fit a page of {PAGE}");
        Slots {
            stride: stride as u32,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            current: None,
            pages: Vec::new(),
            cursor: 0,
        }
    }

    /// Whether pages of `pool` are what slots are cut from.
    pub(crate) fn check(pool: &PagePool) -> Result<(), NoSlot> {
        let page_bytes = pool.page_bytes();
        if page_bytes == PAGE { Ok(()) } else { Err(NoSlot::PageSize { page_bytes, wanted: PAGE }) }
    }

    /// Bytes in a slot.
    pub fn slot_bytes(&self) -> usize {
        self.stride as usize
    }

    /// Slots in a page.
    pub fn slots_per_page(&self) -> usize {
        Self::LARGEST / self.slot_bytes()
    }

    /// Pages held now.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// A slot. Its bytes are what their last holder left, initialised or not.
    ///
    /// # Errors
    ///
    /// [`NoSlot`], when neither a page of ours has room nor the pool another.
    #[inline]
    pub fn alloc(&mut self, pool: &mut PagePool) -> Result<NonNull<u8>, NoSlot> {
        loop {
            if let Some(head) = self.current
                // SAFETY: a page of ours.
                && let Some(slot) = unsafe { self.pop(head) }
            {
                return Ok(slot);
            }
            self.current = Some(self.next_page(pool)?);
        }
    }

    /// # Safety
    ///
    /// `head` is one of `pages`.
    #[inline(always)]
    unsafe fn pop(&self, head: NonNull<Head>) -> Option<NonNull<u8>> {
        // SAFETY: alive, and `mine` is reached by the owner only.
        let mine = unsafe { &mut (*head.as_ptr()).mine };
        let offset = if mine.free != 0 {
            let offset = mine.free;
            // SAFETY: a free slot of this page, whose first bytes are its link.
            mine.free = unsafe { *link(head, offset) };
            u32::from(offset)
        } else if mine.fresh + self.stride <= PAGE as u32 {
            let offset = mine.fresh;
            mine.fresh += self.stride;
            offset
        } else {
            return None;
        };
        mine.out += 1;
        // SAFETY: inside the page.
        Some(unsafe { head.cast::<u8>().add(offset as usize) })
    }

    /// A page with room: the current one if others gave back into it, else one of the next few, else a new one.
    #[cold]
    fn next_page(&mut self, pool: &mut PagePool) -> Result<NonNull<Head>, NoSlot> {
        if let Some(current) = self.current {
            // SAFETY: a page of ours.
            if unsafe { collect(current) } {
                return Ok(current);
            }
        }
        if let Some(head) = self.look(pool, LOOK) {
            return Ok(head);
        }
        match self.admit(pool) {
            Err(NoSlot::Pool(why)) => self.look(pool, self.pages.len()).ok_or(NoSlot::Pool(why)),
            new => new,
        }
    }

    /// Looks at the next `most` pages and finds the fullest with room. Empty ones go back to the pool, unless nothing else was
    /// found: the owner may be on the way up again.
    fn look(&mut self, pool: &mut PagePool, most: usize) -> Option<NonNull<Head>> {
        let mut found: Option<(u32, NonNull<Head>)> = None;
        for _ in 0..most.min(self.pages.len()) {
            if self.cursor >= self.pages.len() {
                self.cursor = 0;
            }
            let head = self.pages[self.cursor];
            // SAFETY: a page of ours.
            let (room, out) = unsafe { (collect(head) || self.has_fresh(head), (*head.as_ptr()).mine.out) };
            if out == 0 && found.is_some_and(|(_, other)| other != head) {
                self.retire(pool, self.cursor);
                continue;
            }
            if room && found.is_none_or(|(fullest, _)| out > fullest) {
                found = Some((out, head));
            }
            self.cursor += 1;
        }
        found.map(|(_, head)| head)
    }

    /// # Safety
    ///
    /// `head` is one of `pages`.
    unsafe fn has_fresh(&self, head: NonNull<Head>) -> bool {
        // SAFETY: alive, and the owner's.
        unsafe { (*head.as_ptr()).mine.fresh + self.stride <= PAGE as u32 }
    }

    /// Takes a page from the pool and cuts it up.
    fn admit(&mut self, pool: &mut PagePool) -> Result<NonNull<Head>, NoSlot> {
        Self::check(pool)?;
        self.pages.try_reserve(1).map_err(|_| NoSlot::OutOfHeap)?;
        let page = pool.alloc().map_err(NoSlot::Pool)?;
        let base = page.descriptor().addr();
        let Some(head) = NonNull::new(base.cast::<Head>()).filter(|_| base.addr() % PAGE == 0) else {
            pool.recycle_direct(page);
            return Err(NoSlot::Misaligned);
        };
        let value = Head {
            returned: AtomicUsize::new(0),
            clock: Clock::new(),
            canary: Canary::new(),
            page: page.into_raw(),
            owner: self.id,
            mine: Mine { free: 0, fresh: HEAD_BYTES as u32, out: 0 },
        };
        // SAFETY: aligned, large enough by `SIZE_FITS`, and ours alone.
        unsafe { head.write(value) };
        head.expose_provenance();
        self.pages.push(head);
        Ok(head)
    }

    /// Gives the empty page at `at` back to the pool.
    fn retire(&mut self, pool: &mut PagePool, at: usize) {
        let head = self.pages.swap_remove(at);
        if self.current == Some(head) {
            self.current = None;
        }
        // SAFETY: none of its slots is out, so nobody but us knows the page.
        pool.recycle_direct(unsafe { unmake(head) });
    }

    /// Gives all empty pages back to the pool, and says how many that were.
    pub fn trim(&mut self, pool: &mut PagePool) -> usize {
        let before = self.pages.len();
        for at in (0..before).rev() {
            let head = self.pages[at];
            // SAFETY: a page of ours.
            let out = unsafe {
                collect(head);
                (*head.as_ptr()).mine.out
            };
            if out == 0 {
                self.retire(pool, at);
            }
        }
        before - self.pages.len()
    }

    /// Gives a slot back without an atomic read-modify-write if it is one of ours, and like [`give_back`](Self::give_back)
    /// otherwise.
    ///
    /// # Safety
    ///
    /// As for `give_back`.
    #[inline]
    pub unsafe fn recycle(&mut self, slot: NonNull<u8>) {
        let head = head_of::<PAGE>(slot);
        // SAFETY: the slot is out, so the head is there, and its owner never changes.
        if unsafe { (*head.as_ptr()).owner } != self.id {
            // SAFETY: the caller's promise.
            return unsafe { Self::give_back(slot) };
        }
        // SAFETY: ours, so `mine` is too; the slot is free from here on.
        unsafe {
            let mine = &mut (*head.as_ptr()).mine;
            let offset = offset_in(head, slot);
            link(head, offset).write(mine.free);
            mine.free = offset;
            mine.out -= 1;
        }
    }

    /// Gives a slot back, from any thread.
    ///
    /// # Safety
    ///
    /// `slot` came from [`alloc`](Self::alloc) of a `Slots` with the same `PAGE`, is given back once, and is not used any more.
    #[inline]
    pub unsafe fn give_back(slot: NonNull<u8>) {
        let head = head_of::<PAGE>(slot);
        let offset = offset_in(head, slot);
        // By pointer throughout: a reference to the head would claim it beyond the last touch.
        let this = head.as_ptr();
        // SAFETY: our slot keeps the page, and with it the head, until the exchange below has happened.
        unsafe {
            (*this).canary.enter();
            (*this).clock.tick();
            let mut word = (*this).returned.load(Ordering::Relaxed);
            loop {
                let next = if word & ORPHAN != 0 {
                    word - ONE
                } else {
                    // The link is ours to write as long as the slot is.
                    link(head, offset).write((word & TOP) as u16);
                    (word & !TOP) + ONE + usize::from(offset)
                };
                // Release: what was done to slot and page happens before whoever takes them. Pairs with the Acquire in
                // `collect`, in `orphan`, and of the fence below. Relaxed on failure: nothing is read but the word.
                let release =
                    if mutant(Mutant::Named("relaxed give back")) { Ordering::Relaxed } else { Ordering::Release };
                (*this).clock.tick();
                match (*this).returned.compare_exchange_weak(word, next, release, Ordering::Relaxed) {
                    Ok(_) if next == ORPHAN => break,
                    // The last touch.
                    Ok(_) => {
                        if mutant(Mutant::Named("touch after giving back")) {
                            (*this).canary.enter();
                        }
                        return;
                    }
                    Err(now) => word = now,
                }
            }
            if !mutant(Mutant::Named("no fence")) {
                fence(Ordering::Acquire);
            }
            drop(unmake(head));
        }
    }
}

/// Ends a head, which leaves a page of zeros.
///
/// # Safety
///
/// No slot of the page is out, everybody's use of it has happened, and the caller is the one who ends it.
unsafe fn unmake(head: NonNull<Head>) -> Page {
    // SAFETY: (1) the caller's promises: head and slots are ours alone. (2) The page went in by `into_raw` in `admit`. (3) A page
    // that goes round must hold initialised bytes, as `Host` promises its next holder, and the padding of head and objects is
    // not: so all of it is written, at the address and the length that its descriptor has.
    unsafe {
        (*head.as_ptr()).canary.bury();
        let page = (*head.as_ptr()).page;
        head.drop_in_place();
        let page = Page::from_raw(page);
        page.descriptor().addr().write_bytes(0, page.len());
        page
    }
}

/// Takes into the owner's chain what others gave back, and says whether that chain has a slot now.
///
/// # Safety
///
/// The caller is the page's owner.
unsafe fn collect(head: NonNull<Head>) -> bool {
    let this = head.as_ptr();
    // SAFETY: the owner keeps the head; `mine` is its own.
    unsafe {
        (*this).canary.enter();
        (*this).clock.tick();
        if (*this).returned.load(Ordering::Relaxed) != 0 {
            // Acquire pairs with the Release in `give_back`: links and contents of the slots.
            let acquire = if mutant(Mutant::Named("relaxed collect")) { Ordering::Relaxed } else { Ordering::Acquire };
            (*this).clock.tick();
            let word = (*this).returned.swap(0, acquire);
            let mine = &mut (*this).mine;
            let top = (word & TOP) as u16;
            if mine.free != 0 {
                let mut last = top;
                for _ in 1..count(word) {
                    last = *link(head, last);
                }
                link(head, last).write(mine.free);
            }
            mine.free = top;
            mine.out -= count(word) as u32;
        }
        (*this).mine.free != 0
    }
}

/// Leaves a page to whoever gives its last slot back; at once to the pool if none is out.
///
/// # Safety
///
/// The caller is the page's owner and gives it up.
unsafe fn orphan(head: NonNull<Head>) {
    let this = head.as_ptr();
    // SAFETY: the owner keeps the head until the exchange has happened.
    unsafe {
        (*this).canary.enter();
        let out = (*this).mine.out as usize;
        loop {
            (*this).clock.tick();
            // Acquire pairs with the Release in `give_back`, for the case that all slots are back.
            let acquire =
                if mutant(Mutant::Named("relaxed last look")) { Ordering::Relaxed } else { Ordering::Acquire };
            let word = (*this).returned.load(acquire);
            let left = out - count(word);
            if left == 0 {
                return drop(unmake(head));
            }
            // Release: the owner's use of the page happens before its way home. Pairs with the fence in `give_back`.
            let release = if mutant(Mutant::Named("relaxed orphan")) { Ordering::Relaxed } else { Ordering::Release };
            (*this).clock.tick();
            let next = if mutant(Mutant::Named("orphan all")) { ORPHAN + out * ONE } else { ORPHAN + left * ONE };
            if (*this).returned.compare_exchange(word, next, release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}

impl<const PAGE: usize> Drop for Slots<PAGE> {
    fn drop(&mut self) {
        /// Goes on after a page-out hook of the pool panicked: the page it panicked on is through, the others follow.
        struct Rest<'a>(&'a mut Vec<NonNull<Head>>);
        impl Rest<'_> {
            fn orphan(&mut self) {
                while let Some(head) = self.0.pop() {
                    // SAFETY: a page of ours, and we go.
                    unsafe { orphan(head) };
                }
            }
        }
        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                self.orphan();
            }
        }
        Rest(&mut self.pages).orphan();
    }
}

/// The head of the page that `slot` lies in.
///
/// By the provenance that `admit` exposed: the slot's own may have shrunk to the object in it, as in a `Box`.
#[inline(always)]
fn head_of<const PAGE: usize>(slot: NonNull<u8>) -> NonNull<Head> {
    let head = core::ptr::with_exposed_provenance_mut(slot.addr().get() & !(PAGE - 1));
    // SAFETY: pages of a provider never begin at address 0.
    unsafe { NonNull::new_unchecked(head) }
}

#[inline(always)]
fn offset_in(head: NonNull<Head>, slot: NonNull<u8>) -> u16 {
    (slot.addr().get() - head.addr().get()) as u16
}

/// The link of a free slot.
///
/// # Safety
///
/// The slot lies in the page.
#[inline(always)]
unsafe fn link(head: NonNull<Head>, offset: u16) -> *mut u16 {
    // SAFETY: inside the page, and aligned as every slot is.
    unsafe { head.cast::<u8>().add(usize::from(offset)).cast().as_ptr() }
}

impl<const PAGE: usize> core::fmt::Debug for Slots<PAGE> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Slots").field("slot_bytes", &self.stride).field("pages", &self.pages.len()).finish()
    }
}
