//! The way back: what happens to a page that somebody is done with.
//!
//! A page goes home to *its* pool, whoever gives it and wherever: the owner word decides, not the handle it is given to.
//! From any thread that is the ring; a full ring or a closed pool sends the page to the provider.
//!
//! Kernel counterpart: `page_pool_put_unrefed_netmem` (Linux 7.3). Many at once are in [`put_many`](crate::put_many).

use core::ptr::NonNull;

use crate::bag::Bag;
use crate::bag::State;
use crate::block::{Block, BlockRef};
use crate::books::Books;
use crate::descriptor::{Descriptor, owner};
use crate::provider::{Unit, UnitDrain};
use crate::ring::{Missed, Refused, Ring};
use crate::sync::{Mutant, Ordering, mutant};

/// The block an owner word names.
#[inline(always)]
pub(crate) fn block_of(word: usize) -> Option<NonNull<Block>> {
    NonNull::new(core::ptr::with_exposed_provenance_mut(word & !owner::TAGS))
}

/// The block of the pool that a page is, or was, on the books of.
///
/// # Safety
///
/// The caller owns the page during `'a`, which keeps the block alive.
pub(crate) unsafe fn block_of_page<'a>(descriptor: NonNull<Descriptor>) -> Option<&'a Block> {
    // SAFETY: the caller's promise. Relaxed: the word came with the page.
    unsafe { block_of(descriptor.as_ref().owner.load(Ordering::Relaxed)).map(|block| block.as_ref()) }
}

/// Units on their way out of one pool: handed home together, booked out with one read-modify-write.
///
/// Dropping it does both, so a page-out hook that panics leaves nothing half released.
pub(crate) struct Outbox<const N: usize> {
    block: NonNull<Block>,
    units: [NonNull<Descriptor>; N],
    len: usize,
    gone: usize,
}

impl<const N: usize> Outbox<N> {
    /// # Safety
    ///
    /// `block` is kept alive by an open consumer or by the pages that will be [pushed](Outbox::push).
    pub(crate) unsafe fn new(block: NonNull<Block>) -> Self {
        Outbox { block, units: [NonNull::dangling(); N], len: 0, gone: 0 }
    }

    /// Takes a page off its pool: hook, unmap, owner. Sends it home now or later.
    ///
    /// # Safety
    ///
    /// The caller owns the page, which is on the block's books, and gives it up.
    pub(crate) unsafe fn push(&mut self, descriptor: NonNull<Descriptor>) {
        if self.len == N {
            self.send_home();
        }
        // First, so that the page is sent home and booked out also when its hook panics. There is room, as `N` is not 0.
        let Some(place) = self.units.get_mut(self.len) else {
            debug_assert!(false, "an outbox of {N} places has none");
            return;
        };
        *place = descriptor;
        self.len += 1;
        // SAFETY: the caller's promise; `expel` completes even if the hook panics.
        unsafe { self.block.as_ref().expel(descriptor.as_ref(), owner::HOME) };
    }

    fn send_home(&mut self) {
        if self.len == 0 {
            return;
        }
        debug_assert!(self.len <= N, "an outbox of {N} places holds {}", self.len);
        let units = self.units.get(..self.len).unwrap_or(&self.units);
        // SAFETY: the units are not booked out yet, so the books keep the table.
        let home = unsafe { &self.block.as_ref().table().home };
        self.gone += self.len;
        self.len = 0;
        // SAFETY: expelled by `push`, given up by its caller.
        unsafe {
            if let [unit] = units {
                home.release(Unit::from_raw(*unit));
            } else {
                home.release_bulk(UnitDrain::new(units));
            }
        }
    }
}

impl<const N: usize> Drop for Outbox<N> {
    fn drop(&mut self) {
        self.send_home();
        if self.gone > 0 {
            // SAFETY: the pages that just left kept it alive; nothing of it is touched after `leave` unless elected.
            unsafe {
                let verdict = Books::leave(&raw const (*self.block.as_ptr()).books.0, self.gone);
                if mutant(Mutant::TouchAfterLeave) {
                    self.block.as_ref().enter();
                }
                Block::settle(self.block, verdict);
            }
        }
    }
}

/// Why a page leaves the pool instead of going round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    RingFull,
    Closed,
    NotRecyclable,
}

impl From<Refused> for Reason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Reason::RingFull,
            Refused::Sealed => Reason::Closed,
        }
    }
}

impl Block {
    pub(crate) fn count(&self, reason: Reason) {
        self.enter();
        match reason {
            Reason::RingFull => &self.producers.ring_full,
            Reason::Closed => &self.producers.released_closed,
            Reason::NotRecyclable => &self.producers.released_refcnt,
        }
        .add_shared(1);
    }
}

#[cfg(feature = "leak-trace")]
pub(crate) fn untrace(word: usize, descriptor: NonNull<Descriptor>) {
    if word & owner::STRAY == 0
        && let Some(block) = block_of(word)
    {
        // SAFETY: the page is on the books, so the block is alive.
        unsafe { block.as_ref() }.trace.back(descriptor);
    }
}
#[cfg(not(feature = "leak-trace"))]
#[inline(always)]
pub(crate) fn untrace(_: usize, _: NonNull<Descriptor>) {}

/// Offers a page to its pool's ring. On `Ok` it is given away, and the block with it.
///
/// # Safety
///
/// The caller is the sole owner of the page, which is on `block`'s books.
#[inline(always)]
unsafe fn publish(block: NonNull<Block>, descriptor: NonNull<Descriptor>) -> Result<(), Refused> {
    // SAFETY: the page keeps the block alive until it is published. By pointer, because a reference argument would claim
    // the ring for the whole call, and the consumer may free it as soon as it has the page.
    unsafe {
        block.as_ref().enter();
        Ring::publish(&raw const (*block.as_ptr()).ring, descriptor.as_ptr().expose_provenance())
    }
}

/// Puts a page by the shared path. Any thread.
///
/// # Safety
///
/// The caller is the sole owner of the page and gives it up.
#[inline]
pub(crate) unsafe fn put(descriptor: NonNull<Descriptor>) {
    // SAFETY: descriptors stay readable while their unit is out. Relaxed: the word was written by the consumer that
    // handed the page out, and came here with the page.
    let word = unsafe { descriptor.as_ref() }.owner.load(Ordering::Relaxed);
    untrace(word, descriptor);
    if word & owner::TAGS == 0
        && let Some(block) = block_of(word)
    {
        // SAFETY: our page is on its books, so the block is alive until we publish, and then we are done. By pointer, as in
        // `publish`.
        let outcome = unsafe {
            block.as_ref().enter();
            Ring::publish_here(&raw const (*block.as_ptr()).ring, descriptor.as_ptr().expose_provenance())
        };
        match outcome {
            Ok(()) if mutant(Mutant::TouchAfterPublish) => {
                // SAFETY: none; this is the defect that the model must find.
                unsafe { block.as_ref() }.enter();
            }
            Ok(()) => {}
            // SAFETY: still ours.
            Err(missed) => unsafe { put_elsewhere(descriptor, word, missed) },
        }
        return;
    }
    // SAFETY: ours.
    unsafe { put_away(descriptor, word, Reason::NotRecyclable) }
}

/// [`put`] for a caller that rarely gets there and has no registers to spare for it.
///
/// # Safety
///
/// As [`put`].
#[cold]
pub(crate) unsafe fn put_rarely(descriptor: NonNull<Descriptor>) {
    // SAFETY: the caller's promise.
    unsafe { put(descriptor) }
}

/// The rest of [`put`], for a page that did not get into the first slot.
///
/// # Safety
///
/// As [`put`]; the page is on the books of the pool that `word` names.
#[cold]
unsafe fn put_elsewhere(descriptor: NonNull<Descriptor>, word: usize, missed: Missed) {
    let Some(block) = block_of(word) else {
        debug_assert!(false, "a page without an owner was put");
        return;
    };
    // SAFETY: as in `put`: our page keeps the block alive.
    let outcome = unsafe {
        let ring = &raw const (*block.as_ptr()).ring;
        Ring::publish_elsewhere(ring, descriptor.as_ptr().expose_provenance(), missed)
    };
    if let Err(refused) = outcome {
        // SAFETY: still ours.
        unsafe { put_away(descriptor, word, refused.into()) }
    }
}

/// Publishes in the ring or gives the page back: never a provider's lock.
///
/// # Safety
///
/// The caller is the sole owner of the page, and gives it up on `Ok`.
pub(crate) unsafe fn try_put(descriptor: NonNull<Descriptor>) -> Result<(), ()> {
    // SAFETY: as in `put`.
    let word = unsafe { descriptor.as_ref() }.owner.load(Ordering::Relaxed);
    let Some(block) = block_of(word).filter(|_| word & owner::TAGS == 0) else { return Err(()) };
    #[cfg(feature = "leak-trace")]
    // SAFETY: our page keeps it alive.
    let site = unsafe { block.as_ref() }.trace.back(descriptor);
    // SAFETY: as in `put`.
    let outcome = unsafe { publish(block, descriptor) };
    #[cfg(feature = "leak-trace")]
    if outcome.is_err() {
        // SAFETY: refused, so the page is still ours.
        unsafe { block.as_ref() }.trace.restore(descriptor, site);
    }
    outcome.map_err(|_| ())
}

/// What happens to a page that does not go round: wanted back by its provider, stray, full ring, closed pool.
#[cold]
unsafe fn put_away(descriptor: NonNull<Descriptor>, word: usize, reason: Reason) {
    let Some(block) = block_of(word) else {
        debug_assert!(false, "a page without an owner was put");
        return;
    };
    if word & owner::STRAY != 0 {
        // SAFETY: a stray page is ours alone and owns the share and the reference that this consumes.
        unsafe { stray_home(descriptor, block) };
        return;
    }
    // SAFETY: on the books and ours; the outbox books it out as its last act.
    unsafe {
        block.as_ref().count(reason);
        Outbox::<1>::new(block).push(descriptor);
    }
}

/// What a producer owes its bag at the end of a call: to empty it if it is closed, also when a hook or an iterator panicked.
pub(crate) struct LastLook<'a>(&'a Bag);

impl<'a> LastLook<'a> {
    /// # Safety
    ///
    /// The caller is the bag's producer, and keeps the bag's pool alive by something that is not in the bag: a reference, or a page on its books
    /// that it gives up later.
    #[inline(always)]
    pub(crate) unsafe fn at(bag: &'a Bag) -> Self {
        LastLook(bag)
    }

    /// Nothing is owed: the bag was seen open since the last publication.
    #[inline(always)]
    pub(crate) fn not_needed(self) {
        core::mem::forget(self);
    }
}

impl Drop for LastLook<'_> {
    #[cold]
    fn drop(&mut self) {
        if self.0.is_closed() {
            // SAFETY: the promise made to `at`.
            unsafe { empty_closed_bag(self.0) }
        }
    }
}

/// Puts a page that its Returner's bag did not take, by the shared path.
///
/// # Safety
///
/// The caller is the sole owner of the page and gives it up; it is the bag's producer, as in [`LastLook::at`].
#[cold]
pub(crate) unsafe fn put_past_bag(bag: &Bag, descriptor: NonNull<Descriptor>) {
    // SAFETY: the caller's promise.
    unsafe {
        let _after = LastLook::at(bag);
        put(descriptor);
    }
}

/// Puts what lies in a closed bag by the shared path, as far as the closer does not get it first.
///
/// # Safety
///
/// As [`LastLook::at`].
#[cold]
pub(crate) unsafe fn empty_closed_bag(bag: &Bag) {
    /// Goes on also when a page-out hook panicked.
    struct Left<'a>(&'a Bag);
    impl Left<'_> {
        fn put(&mut self) {
            while let Some(value) = self.0.claim_closed() {
                let descriptor = core::ptr::with_exposed_provenance_mut::<Descriptor>(value);
                debug_assert!(!descriptor.is_null(), "what was returned is no page");
                // SAFETY: what is published is the address of a descriptor; claimed, so ours to put.
                unsafe { put(NonNull::new_unchecked(descriptor)) };
            }
        }
    }
    impl Drop for Left<'_> {
        fn drop(&mut self) {
            self.put();
        }
    }
    Left(bag).put();
}

/// The end of a producer's time with a bag: what lies in a closed one is put by the shared path, and the bag is free for the next
/// producer, also when a hook panics.
///
/// # Safety
///
/// As [`LastLook::at`].
pub(crate) unsafe fn leave_bag(bag: &Bag) {
    struct Disown<'a>(&'a Bag);
    impl Drop for Disown<'_> {
        fn drop(&mut self) {
            self.0.disown();
        }
    }
    let bag = Disown(bag);
    if bag.0.state_at_last() == State::Closed {
        // SAFETY: the caller's promise.
        unsafe { empty_closed_bag(bag.0) };
    }
}

/// Takes a page off the books without sending it home: the page gets its own share of the region and of the block.
///
/// # Safety
///
/// The caller owns the page (or holds a counted reference and has won the owner word), which is on `block`'s books.
pub(crate) unsafe fn make_stray(descriptor: NonNull<Descriptor>, block: NonNull<Block>) {
    /// Completes the leaving also when the page-out hook panics.
    struct Finish(NonNull<Block>);
    impl Drop for Finish {
        fn drop(&mut self) {
            let Finish(block) = *self;
            // SAFETY: on the books until `leave`, so the block is alive; after it nothing but a teardown touches it.
            unsafe {
                let verdict = Books::leave(&raw const (*block.as_ptr()).books.0, 1);
                Block::settle(block, verdict);
            }
        }
    }
    // SAFETY: on the books, so block and table are alive.
    unsafe {
        let this = block.as_ref();
        this.stray_home().retain();
        BlockRef::leak_another(block);
        // Before `leave`, so that a reader can only count the page twice, never not at all.
        this.books.0.strays.add_shared(1);
        let _finish = Finish(block);
        // Straight from `LEAVING` to `STRAY`: in between, another holder's release would take it for a page to claim.
        this.expel(descriptor.as_ref(), this.owner_word() | owner::STRAY);
    }
}

/// Sends a page home that is on no books.
///
/// # Safety
///
/// The caller owns the page, whose owner word is `block` and `STRAY`.
unsafe fn stray_home(descriptor: NonNull<Descriptor>, block: NonNull<Block>) {
    // SAFETY: the page owns a reference to the block and a share of its provider since `make_stray`.
    unsafe {
        let block = BlockRef::from_leaked(block);
        let raw = block.stray_home();
        descriptor.as_ref().owner.store(owner::HOME, Ordering::Relaxed);
        raw.get().release(Unit::from_raw(descriptor));
        block.books.0.strays.sub_shared(1);
        drop(raw.adopt());
    }
}
