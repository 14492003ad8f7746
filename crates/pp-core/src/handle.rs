//! A pool seen from everywhere else.

use core::marker::PhantomData;

use crate::access::{Access, Host};
use crate::batch::PageBatch;
use crate::block::BlockRef;
use crate::books::PoolState;
use crate::descriptor::{Descriptor, owner};
use crate::limit::UNLIMITED;
use crate::page::Page;
use crate::returner::Returner;
use crate::stats::Stats;
use crate::sync::Ordering;

/// The side of a pool that any thread may hold: `Clone`, `Send` and `Sync`.
///
/// Keeps neither provider nor memory nor DMA alive, only the pool's own counts; it can outlive the pool and then says how it ended.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, PoolState, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
/// let handle = pool.handle();
/// let page = pool.alloc()?;
/// drop(pool);
/// assert_eq!((handle.state(), handle.inflight()), (PoolState::Closing, 1));
/// drop(page);
/// assert_eq!(handle.state(), PoolState::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).name("rx0").returners(1, 16).build()?;
/// let handle = pool.handle();
/// assert_eq!((handle.name(), handle.provider_name(), handle.page_bytes()), ("rx0", "heap", 4096));
/// assert!(handle.id() > 0 && handle.ring_capacity() == 1024);
///
/// handle.set_limit(Some(64));
/// assert_eq!(handle.limit(), Some(64));
///
/// let (page, mut batch): (_, PageBatch<8>) = (pool.alloc()?, pool.alloc_batch());
/// std::thread::spawn(move || {
///     handle.put(page);
///     handle.put_batch(&mut batch);
///     let returner = handle.returner(); // cheaper still, for a thread that does this all day
///     assert!(returner.is_some() && handle.stats().in_ring == 9);
/// })
/// .join()
/// .unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PoolHandle<A: Access = Host> {
    block: BlockRef,
    _access: PhantomData<fn(A)>,
}

impl<A: Access> PoolHandle<A> {
    pub(crate) fn new(block: BlockRef) -> Self {
        PoolHandle { block, _access: PhantomData }
    }

    pub(crate) fn block(&self) -> &BlockRef {
        &self.block
    }

    /// The pool's number, never used twice in a process.
    pub fn id(&self) -> usize {
        self.block.config.id
    }

    /// What the pool was called.
    pub fn name(&self) -> &str {
        &self.block.config.name
    }

    /// The kind of its provider.
    pub fn provider_name(&self) -> &'static str {
        self.block.config.provider_name
    }

    /// Bytes in each page.
    pub fn page_bytes(&self) -> usize {
        self.block.config.unit_bytes
    }

    /// Slots in the ring.
    pub fn ring_capacity(&self) -> usize {
        self.block.ring.capacity()
    }

    /// Puts one page by the shared path; the same as dropping it.
    pub fn put(&self, page: Page<A>) {
        drop(page);
    }

    /// Puts all pages of `batch` by the shared path, each to its own pool: eight or more of one pool through a bag that they borrow
    /// ([`PoolBuilder::batch_bags`](crate::PoolBuilder::batch_bags)). The batch is empty afterwards.
    pub fn put_batch<const N: usize>(&self, batch: &mut PageBatch<N, A>) {
        batch.put();
    }

    /// A bag of this pool for a thread that returns much, if one is free. How many there are is the builder's decision.
    pub fn returner(&self) -> Option<Returner<A>> {
        Returner::claim(&self.block)
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.block.stats()
    }

    /// Pages on the pool's books: in use, in its cache, in its ring.
    pub fn inflight(&self) -> usize {
        self.block.enter();
        self.block.books.0.inflight()
    }

    /// Whether the pool still has a consumer, and if not, whether all its pages are home.
    pub fn state(&self) -> PoolState {
        self.block.enter();
        self.block.books.0.state()
    }

    /// Whether a unit is on this pool's books, of whoever holds it: what a table of who has which unit is added up by. Another thread
    /// may change that at any moment, so this is for figures.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
    /// let page = pool.alloc()?;
    /// assert!(pool.handle().has_on_books(page.descriptor()));
    /// assert!(!pool.handle().has_on_books(page.detach().descriptor()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn has_on_books(&self, unit: &Descriptor) -> bool {
        // Relaxed: only compared, never followed.
        unit.owner.load(Ordering::Relaxed) & !owner::NEVER == self.block.owner_word()
    }

    /// The limit on units out of the provider, if there is one.
    pub fn limit(&self) -> Option<usize> {
        self.block.limits.limit()
    }

    /// Sets or lifts the limit. Counts from the next time the provider is asked; what is out stays out.
    pub fn set_limit(&self, pages: Option<usize>) {
        self.block.limits.limit.set(pages.unwrap_or(UNLIMITED));
    }

    /// Who holds this pool's pages: one entry per call site of `alloc`, oldest page first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build()?;
    /// let page = pool.alloc()?;
    /// let held = &pool.handle().who_holds()[0];
    /// assert_eq!((held.pages, held.site.line()), (1, line!() - 2));
    /// println!("{held}"); // 1 pages from src/rx.rs:7:17, the oldest for 21µs
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "leak-trace")]
    pub fn who_holds(&self) -> alloc::vec::Vec<crate::trace::Held> {
        self.block.trace.held()
    }
}

impl<A: Access> Clone for PoolHandle<A> {
    fn clone(&self) -> Self {
        PoolHandle::new(self.block.clone())
    }
}

impl<A: Access> core::fmt::Debug for PoolHandle<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PoolHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("state", &self.state())
            .field("inflight", &self.inflight())
            .finish()
    }
}
