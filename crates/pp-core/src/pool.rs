//! The consumer's side of a pool.

use alloc::boxed::Box;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::access::{Access, Host};
use crate::batch::PageBatch;
use crate::block::{Block, BlockRef, Place};
use crate::consumer::{Consumer, Entry};
use crate::descriptor::Descriptor;
use crate::dma::DmaRange;
use crate::error::AllocError;
use crate::fragmented::Fragmented;
use crate::handle::PoolHandle;
use crate::hooks::Zeroing;
use crate::page::Page;
use crate::part::{PagePart, defrag_all};
use crate::provider::{Description, NodeId};
use crate::shutdown::Shutdown;
use crate::stats::{ConsumerCounts, Stats};
use crate::sync::{Mutant, Ordering, load_unshared, mutant};

/// Which memory node a pool prefers (`nid` in the kernel). See [`PoolBuilder`](crate::PoolBuilder).
#[derive(Clone, Copy, Debug, Default)]
pub enum NodePolicy {
    /// Any node will do.
    #[default]
    Any,
    /// This one.
    On(NodeId),
    /// The one that the function names at the moment of a refill, such as the caller's own (`NUMA_NO_NODE`).
    Local(fn() -> NodeId),
}

impl NodePolicy {
    pub(crate) fn preferred(self) -> Option<NodeId> {
        match self {
            NodePolicy::Any => None,
            NodePolicy::On(node) => Some(node),
            NodePolicy::Local(local) => Some(local()),
        }
    }
}

/// A recycling pool of pages, held by the one context that allocates.
///
/// `Send` but not `Sync`, and every verb that allocates or recycles directly takes `&mut self`: that is what NAPI gives a
/// driver in the kernel, as a type. Everybody else returns pages by dropping them, or through a [`PoolHandle`] or
/// [`Returner`](crate::Returner).
///
/// Dropping the pool waits for nobody's pages. Those that are still out stay valid; the last one to come home frees what is left.
/// `mem::forget` of a pool leaks it, and its pages go to the ring and bags until those are full, then home.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).name("rx0").build()?;
/// let page = pool.alloc()?;
/// pool.recycle_direct(page);
/// assert_eq!(pool.stats().recycle.cached, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Two threads cannot allocate from one pool:
///
/// ```compile_fail,E0277
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
/// std::thread::scope(|s| {
///     let pool = &pool;
///     s.spawn(move || pool.stats());
/// });
/// ```
///
/// In bulk, and at its ends:
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_core::{AllocError, DmaRange, NodePolicy, PageBatch};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 100))).build()?;
/// assert_eq!((pool.page_bytes(), pool.provider().free_units), (4096, 100));
///
/// let mut batch: PageBatch<64> = pool.alloc_batch();
/// pool.recycle_batch(&mut batch);
/// let mut many = PageBatch::<128>::new();
/// assert_eq!((pool.alloc_into(&mut many), pool.last_error()), (100, AllocError::OutOfMemory));
///
/// let page = many.pop().expect("one of a hundred");
/// pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: 60 }); // a device wrote so much
/// pool.recycle_direct_synced(page, 60); // and only that must be given back to it
/// drop(many);
///
/// assert_eq!(pool.trim(10), 90); // the provider can use them elsewhere
/// pool.update_nid(NodePolicy::Any);
/// let shutdown = pool.shutdown(); // drops the pool and watches its end
/// assert!(shutdown.is_done());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PagePool<A: Access = Host> {
    pub(crate) block: BlockRef,
    /// How many pages the inline paths may fill the cache up to: its capacity, or 0 for pools that must do more for a page.
    /// Those then fall through a compare that is there anyway, and only they pay.
    inline_capacity: usize,
    /// Everything that the inline paths do not touch. On the heap, so that out-of-line code is never handed `self`: the compiler
    /// may then keep the block's address and the capacity in registers from one call to the next.
    consumer: Box<Consumer>,
    /// `!Sync`: `&PagePool` on two threads would be two consumers.
    _consumer: PhantomData<(Cell<()>, A)>,
}

// SAFETY: the consumer may move between threads; what it shares with others is in the block, which is `Sync`.
unsafe impl<A: Access> Send for PagePool<A> {}

impl<A: Access> PagePool<A> {
    pub(crate) fn new(
        room: Box<MaybeUninit<Consumer>>,
        block: BlockRef,
        entry: Entry,
        node: NodePolicy,
        refill: usize,
    ) -> Self {
        let inline_capacity = if entry.sync { 0 } else { block.config.cache_capacity };
        block.consumer.0.cached_owner.set(block.owner_word());
        let consumer = Box::write(room, Consumer::new(block.clone(), entry, node, refill));
        PagePool { block, inline_capacity, consumer, _consumer: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn counts(&self) -> &ConsumerCounts {
        &self.block.consumer.0
    }

    /// A page: from the cache, else of those that came back (bags and ring), else from the provider.
    ///
    /// The first takes no lock and no atomic read-modify-write, and writes nothing that another thread writes. Never
    /// waits (kernel: `page_pool_dev_alloc_pages`).
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is none now.
    #[inline(always)]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn alloc(&mut self) -> Result<Page<A>, AllocError> {
        let counts = self.counts();
        let len = counts.len.get();
        let descriptor = if len > 0 {
            // Through the register that is there: adding in memory is an instruction less, and slower, because processors
            // forward a stored register to the next load and a sum in memory they do not.
            counts.len.set(len - 1);
            counts.pops.add(1);
            // SAFETY: places below the length are initialised, and the length is at most the capacity.
            unsafe { (*self.block.place(len - 1)).assume_init() }
        } else {
            self.consumer.alloc_slow()?
        };
        self.trace(descriptor);
        // SAFETY: out of the cache or fresh from the provider: nobody else's. The builder paired `A` with the provider.
        Ok(unsafe { Page::from_descriptor(descriptor) })
    }

    /// Fills `batch` up and says how many pages that took; fewer than fit when there are no more.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn alloc_into<const N: usize>(&mut self, batch: &mut PageBatch<N, A>) -> usize {
        let before = batch.len();
        loop {
            let counts = self.counts();
            let len = counts.len.get();
            let Some(spare) = batch.spare() else { break };
            let take = len.min(spare.len());
            // SAFETY: places below the length are initialised; source and destination are different allocations.
            unsafe { core::ptr::copy_nonoverlapping(self.block.place(len - take), spare.as_mut_ptr(), take) };
            #[cfg(feature = "leak-trace")]
            for place in &spare[..take] {
                // SAFETY: just copied.
                self.trace(unsafe { place.assume_init() });
            }
            counts.len.set(len - take);
            counts.pops.add(take);
            // SAFETY: just copied, and out of the cache.
            unsafe { batch.fill(take, counts.cached_owner.get()) };
            if batch.is_full() {
                break;
            }
            match self.consumer.refill_cache() {
                Some(None) => {}
                Some(Some(high_order)) => {
                    self.trace(high_order);
                    // SAFETY: fresh from the provider. There is room, or we would have left.
                    let _ = batch.push(unsafe { Page::from_descriptor(high_order) });
                }
                None => break,
            }
        }
        batch.len() - before
    }

    /// Up to `N` pages; fewer when there are no more.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn alloc_batch<const N: usize>(&mut self) -> PageBatch<N, A> {
        let mut batch = PageBatch::new();
        self.alloc_into(&mut batch);
        batch
    }

    /// Puts a page straight into the cache (`page_pool_recycle_direct`). A full cache, or a page of another pool, sends
    /// it the ordinary way.
    #[inline(always)]
    pub fn recycle_direct(&mut self, page: Page<A>) {
        self.untrace(&page);
        let descriptor = page.into_descriptor();
        let counts = self.counts();
        let len = counts.len.get();
        // SAFETY: the page was ours until now, and only the owner of a page that is not shared writes its owner word.
        let word = unsafe { load_unshared(&descriptor.as_ref().owner) };
        // Two tests in a row rather than one condition: joined, the compiler spends two more instructions.
        if len >= self.inline_capacity {
            return self.consumer.recycle_slow(descriptor);
        }
        // One load and one compare say: this pool's, on the books, recyclable.
        if word != self.block.owner_word() {
            return self.consumer.recycle_slow(descriptor);
        }
        // SAFETY: the length is below the capacity.
        unsafe { self.block.place(len).write(Place::new(descriptor)) };
        counts.len.set(len + 1);
    }

    /// The same, and says that the device must be given back no more than the first `len` bytes after the pool's offset:
    /// what a driver that drops a short packet does (`page_pool_put_page` with a `dma_sync_size` and `allow_direct`).
    #[inline]
    pub fn recycle_direct_synced(&mut self, page: Page<A>, len: usize) {
        page.set_sync_len(len);
        self.recycle_direct(page);
    }

    /// Puts all pages of `batch` straight into the cache, as far as they fit and are this pool's; the rest goes the ordinary
    /// way. The batch is empty afterwards.
    #[inline]
    pub fn recycle_batch<const N: usize>(&mut self, batch: &mut PageBatch<N, A>) {
        let pages = batch.descriptors();
        let counts = self.counts();
        let len = counts.len.get();
        if pages.len() <= self.inline_capacity.saturating_sub(len) {
            let ours = self.block.owner_word();
            // One load a page and one test in all: no branch between the loads, so that they overlap.
            // SAFETY: the batch's pages, hence their owner words.
            let word = |descriptor: &NonNull<Descriptor>| unsafe { load_unshared(&descriptor.as_ref().owner) };
            let different = || pages.iter().fold(0, |different, descriptor| different | (word(descriptor) ^ ours));
            if batch.is_all_of(ours) || different() == 0 {
                for descriptor in pages {
                    self.untrace_raw(*descriptor);
                }
                // SAFETY: there is room for all of them, outside the batch.
                unsafe {
                    self.block
                        .place(len)
                        .cast::<NonNull<Descriptor>>()
                        .copy_from_nonoverlapping(pages.as_ptr(), pages.len())
                };
                counts.len.set(len + pages.len());
                batch.forget();
                return;
            }
        }
        self.recycle_batch_slow(batch);
    }

    #[cold]
    fn recycle_batch_slow<const N: usize>(&mut self, batch: &mut PageBatch<N, A>) {
        while self.counts().len.get() < self.block.config.cache_capacity {
            let Some(page) = batch.pop() else { return };
            self.recycle_direct(page);
        }
        let ours = self.block.owner_word();
        // SAFETY: the batch's pages, hence their owner words.
        let is_ours = |page: &&NonNull<Descriptor>| unsafe { load_unshared(&page.as_ref().owner) } == ours;
        self.counts().cache_full.add(batch.descriptors().iter().filter(is_ours).count());
        batch.put();
    }

    /// See [`Fragmented`]. Begins such a page anew, in place, when none of its parts is out: counted as one page put into the cache and
    /// one taken out (`page_pool_alloc_frag` draining its page). `None`: the page goes back into its pool, now or with the last of
    /// its parts; so does one that a pool must look at first, because it syncs, clears what others wrote, or the page is another's.
    #[inline]
    #[cfg_attr(feature = "leak-trace", track_caller)]
    pub fn renew(&mut self, mut page: Fragmented<A>) -> Option<Fragmented<A>> {
        if page.is_whole() || mutant(Mutant::RenewUnderParts) {
            // All of it asked again, although the page was ours when it was taken: it may have been taken from another pool.
            let ours = page.descriptor().owner.load(Ordering::Relaxed) == self.block.owner_word();
            if ours && self.inline_capacity > 0 && self.consumer.entry.zeroing != Zeroing::OnCrossOwner {
                self.trace(NonNull::from(page.descriptor()));
                self.counts().pops.add(1);
                // SAFETY: no part is out.
                unsafe { page.renew() };
                return Some(page);
            }
        }
        self.recycle_fragmented(page);
        None
    }

    /// See [`Fragmented`]. Gives back what is left of such a page's references; if no part is out, the page goes straight back into the cache.
    /// Not so in a pool that clears pages [between owners](Zeroing::OnCrossOwner): parts were anybody's, and so are their bytes.
    #[inline]
    pub fn recycle_fragmented(&mut self, page: Fragmented<A>) {
        page.defrag().into_iter().for_each(|page| self.recycle_defragged(page));
    }

    /// Drops a part on the consumer's side: if it was the last one, its page goes straight back into the cache. See
    /// [`Fragmented`].
    #[inline]
    pub fn recycle_part(&mut self, part: PagePart<A>) {
        part.defrag().into_iter().for_each(|page| self.recycle_defragged(page));
    }

    /// The same for many: neighbours in the iteration that are of one page cost one read-modify-write together. See
    /// [`PagePart`].
    #[inline]
    pub fn recycle_parts(&mut self, parts: impl IntoIterator<Item = PagePart<A>>) {
        defrag_all(parts, |page| self.recycle_defragged(page));
    }

    fn recycle_defragged(&mut self, page: Page<A>) {
        match self.consumer.entry.zeroing {
            Zeroing::OnCrossOwner => drop(page),
            Zeroing::Never | Zeroing::OnEntry => self.recycle_direct(page),
        }
    }

    /// Gives the part of a page that the device wrote to the CPU, before it is read (`page_pool_dma_sync_for_cpu`).
    /// `range` counts from the pool's sync offset. Nothing for pools without syncs, pages off the books or of another
    /// pool, or ranges that begin beyond the page.
    pub fn dma_sync_for_cpu(&self, page: &Page<A>, range: DmaRange) {
        self.consumer.sync_for_cpu(page.descriptor(), range);
    }

    /// The same for a part of a page; `range` counts from the part's first byte, and ends at its last one. See [`PagePart`].
    pub fn dma_sync_part_for_cpu(&self, part: &PagePart<A>, range: DmaRange) {
        let offset = range.offset.min(part.len());
        let len = range.len.min(part.len() - offset);
        self.consumer.sync_range_for_cpu(part.descriptor(), DmaRange { offset: part.offset() + offset, len });
    }

    /// Prefers another node from now on: the cache goes back to the provider, pages in the ring are looked at when
    /// they are taken (`page_pool_update_nid`).
    pub fn update_nid(&mut self, node: NodePolicy) {
        self.consumer.node = node;
        self.consumer.flush_cache(self.counts().len.get());
    }

    /// Gives idle pages back to the provider until at most `keep` are left, oldest first: ring, bags, then the bottom
    /// of the cache. Says how many went.
    pub fn trim(&mut self, keep: usize) -> usize {
        self.consumer.trim(keep)
    }

    /// What happened so far. Exact when nobody else is inside a call.
    pub fn stats(&self) -> Stats {
        self.block.stats()
    }

    /// The other side: for returning in bulk, limits, statistics, from any thread.
    pub fn handle(&self) -> PoolHandle<A> {
        PoolHandle::new(self.block.clone())
    }

    /// What the provider says of itself now.
    pub fn provider(&self) -> Description {
        self.consumer.table().home.describe()
    }

    /// Why the last allocation or refill that failed did: what to ask after a short `alloc_into`. `OutOfMemory` before any.
    pub fn last_error(&self) -> AllocError {
        self.consumer.error
    }

    /// Bytes in each page.
    pub fn page_bytes(&self) -> usize {
        self.block.config.unit_bytes
    }

    /// Drops the pool and stays informed: how many pages are out, and when the last one is home. Does not wait.
    pub fn shutdown(self) -> Shutdown<A> {
        Shutdown::new(self.handle())
    }
}

impl<A: Access> Drop for PagePool<A> {
    fn drop(&mut self) {
        /// Goes on after a page-out hook panicked: the page it panicked on is through, the others follow.
        struct Closing<'a, A: Access> {
            pool: &'a mut PagePool<A>,
            interrupted: bool,
        }
        impl<A: Access> Drop for Closing<'_, A> {
            fn drop(&mut self) {
                if self.interrupted {
                    self.pool.consumer.close();
                }
                let block = self.pool.block.as_ptr();
                let verdict = self.pool.block.books.0.close();
                // SAFETY: the books' own verdict. Our own reference keeps the block until the fields are dropped.
                unsafe { Block::settle(block, verdict) };
            }
        }
        let mut closing = Closing { pool: self, interrupted: true };
        closing.pool.consumer.close();
        closing.interrupted = false;
    }
}

impl<A: Access> core::fmt::Debug for PagePool<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PagePool").field("name", &self.block.config.name).field("stats", &self.stats()).finish()
    }
}

#[cfg(feature = "leak-trace")]
impl<A: Access> PagePool<A> {
    #[track_caller]
    fn trace(&self, descriptor: NonNull<Descriptor>) {
        self.block.trace.out(descriptor);
    }

    fn untrace(&self, page: &Page<A>) {
        self.untrace_raw(NonNull::from(page.descriptor()));
    }

    fn untrace_raw(&self, descriptor: NonNull<Descriptor>) {
        // A page of another pool is untraced there, on its way through `put`.
        self.block.trace.back(descriptor);
    }
}

#[cfg(not(feature = "leak-trace"))]
impl<A: Access> PagePool<A> {
    #[inline(always)]
    fn trace(&self, _: NonNull<Descriptor>) {}
    #[inline(always)]
    fn untrace(&self, _: &Page<A>) {}
    #[inline(always)]
    fn untrace_raw(&self, _: NonNull<Descriptor>) {}
}
