//! For threads that return much.

use crate::access::{Access, Host};
use crate::bag::{Bag, BagWriter, State};
use crate::batch::PageBatch;
use crate::block::BlockRef;
use crate::page::Page;
use crate::put::{self, LastLook};
use crate::ring::CacheLine;
use crate::sync::Ordering;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// A bag of its own for one thread, registered with the pool.
///
/// The consumer takes from it when it refills: there is nothing to flush, and a sleeping thread strands nothing. A put is a few plain stores
/// where the system helps (feature `membarrier`); elsewhere the last of them is sequentially consistent. A full bag
/// spills to the ring, and pages of other pools find their own way. Dropping it frees the place for another; what lies in
/// it stays for the consumer.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).returners(1, 64).build()?;
/// let mut returner = pool.handle().returner().expect("one place");
/// assert!(pool.handle().returner().is_none());
/// let page = pool.alloc()?;
/// std::thread::spawn(move || returner.put(page)).join().unwrap();
/// assert_eq!(pool.stats().in_ring, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Returner<A: Access = Host> {
    block: BlockRef,
    /// One of the block's.
    bag: NonNull<Bag>,
    /// On lines of its own: each put writes it, and Returners of several threads may lie side by side.
    writer: CacheLine<BagWriter>,
    _access: PhantomData<fn(A)>,
}

// SAFETY: the bag is `Sync` and lives as long as the block, which is `Send`; the writer is a few numbers.
unsafe impl<A: Access> Send for Returner<A> {}
// SAFETY: `&Returner` gives nothing but the pool's name.
unsafe impl<A: Access> Sync for Returner<A> {}

impl<A: Access> Returner<A> {
    pub(crate) fn claim(block: &BlockRef) -> Option<Self> {
        let (bag, writer) = block.returner_bags().iter().find_map(|bag| Some((NonNull::from(bag), bag.claim()?)))?;
        Some(Returner { block: block.clone(), bag, writer: CacheLine(writer), _access: PhantomData })
    }

    /// Puts one page.
    #[inline]
    pub fn put(&mut self, page: Page<A>) {
        let (ours, descriptor) = (self.block.owner_word(), page.into_descriptor());
        self.block.enter();
        // SAFETY: the bag lives as long as the block.
        let bag = unsafe { self.bag.as_ref() };
        // SAFETY: the page came by value. Relaxed: its word was written by the consumer that handed it out, and came here with it.
        let word = unsafe { descriptor.as_ref() }.owner.load(Ordering::Relaxed);
        if word == ours {
            // Before the page can be the consumer's. A put of what is refused takes a site that is not there, which is nothing.
            put::untrace(ours, descriptor);
            match bag.publish_one(&mut self.writer.0, descriptor.as_ptr().expose_provenance()) {
                Some(State::Open) => return,
                // SAFETY: the bag is ours since `claim`.
                Some(State::Closed) => return unsafe { put::empty_closed_bag(bag) },
                None => {}
            }
        }
        // SAFETY: another pool's or without room, so still ours; the bag is ours since `claim`.
        unsafe { put::put_past_bag(bag, descriptor) }
    }

    /// Puts all `pages`, which become the consumer's together: one publication, however many they are. Costs nothing for
    /// collecting them first, as a [`PageBatch`] does.
    ///
    /// What fits the bag is not the consumer's before the iterator ends, so not for one that waits; what does not fit takes the shared path at
    /// once, and so does a page of another pool.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, Page, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).returners(1, 64).build()?;
    /// let mut returner = pool.handle().returner().expect("one place");
    /// let mut transmitted: Vec<Page> = (0..20).map_while(|_| pool.alloc().ok()).collect();
    /// returner.put_all(transmitted.drain(..));
    /// assert_eq!(pool.stats().in_ring, 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn put_all(&mut self, pages: impl IntoIterator<Item = Page<A>>) {
        let ours = self.block.owner_word();
        self.put_those(pages, |page| page.descriptor().owner.load(Ordering::Relaxed) == ours);
    }

    /// Those that `is_ours` says are this pool's into the bag, together, as far as they fit; the rest by the shared path.
    #[inline(always)]
    fn put_those(&mut self, pages: impl IntoIterator<Item = Page<A>>, is_ours: impl Fn(&Page<A>) -> bool) {
        self.block.enter();
        let ours = self.block.owner_word();
        // SAFETY: the bag lives as long as the block.
        let bag = unsafe { self.bag.as_ref() };
        // Before what is published at the end, so that it comes after that also in a panic.
        // SAFETY: the bag is ours since `claim`.
        let last_look = unsafe { LastLook::at(bag) };
        let mut open = bag.open(&mut self.writer.0);
        let mut pages = pages.into_iter();
        // As many as surely have room, without a look for it at each.
        for place in open.next_places(pages.size_hint().0) {
            let Some(page) = pages.next() else { break };
            let is_ours = is_ours(&page);
            let descriptor = page.into_descriptor();
            if !is_ours {
                // SAFETY: the page came by value and is in no bag.
                unsafe { put::put_rarely(descriptor) }
                break;
            }
            put::untrace(ours, descriptor);
            // SAFETY: the first of those that are left.
            unsafe { open.push_at(place, descriptor.as_ptr().expose_provenance()) };
        }
        for page in pages {
            let is_ours = is_ours(&page);
            let descriptor = page.into_descriptor();
            if is_ours {
                // As in `put`.
                put::untrace(ours, descriptor);
                if open.push(descriptor.as_ptr().expose_provenance()) {
                    continue;
                }
            }
            // SAFETY: the page came by value and is in no bag.
            unsafe { put::put_rarely(descriptor) }
        }
        if open.publish() == State::Open {
            last_look.not_needed();
        }
    }

    /// Puts all pages of `batch` together, without a look at them if one pool filled it. The batch is empty afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).returners(1, 64).build()?;
    /// let mut batch: PageBatch<32> = pool.alloc_batch();
    /// let mut returner = pool.handle().returner().expect("one place");
    /// std::thread::spawn(move || returner.put_batch(&mut batch)).join().unwrap();
    /// assert_eq!(pool.stats().in_ring, 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn put_batch<const N: usize>(&mut self, batch: &mut PageBatch<N, A>) {
        if batch.is_all_of(self.block.owner_word()) {
            self.put_those(batch.drain(), |_| true);
        } else {
            self.put_all(batch.drain());
        }
    }
}

impl<A: Access> Drop for Returner<A> {
    fn drop(&mut self) {
        // SAFETY: the bag lives as long as the block, and is ours since `claim`.
        unsafe { put::leave_bag(self.bag.as_ref()) }
    }
}

impl<A: Access> core::fmt::Debug for Returner<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Returner").field("pool", &self.block.config.name).finish_non_exhaustive()
    }
}
