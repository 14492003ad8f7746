//! How a pool is described before it is made.
//!
//! Kernel counterpart: `struct page_pool_params`, `page_pool_create` and the checks of `page_pool_init` (Linux 7.3). There
//! is no flag word here, so there are no unknown flags to refuse.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::access::{Access, CpuAccess, Host};
use crate::bag::Bag;
use crate::block::{Block, Config, DmaTable, Parts, SyncRange, Table, UNMAPPING};
use crate::consumer::Entry;
use crate::dma::{Dma, DmaDirection};
use crate::error::BuildError;
use crate::home::Home;
use crate::hooks::{self, ErasedHook, PageView, Zeroing};
use crate::limit::{Limits, Pressure, UNLIMITED, WatermarkHook};
use crate::pool::{NodePolicy, PagePool};
use crate::provider::Backing;
use crate::reaper::Reaper;
use crate::ring::Ring;
use crate::room::room;
use crate::sync::{AsymmetricFence, Counter};

/// Ring slots of a pool whose builder says nothing, or 0. See [`PoolBuilder`].
pub const DEFAULT_RING: usize = 1024;
/// Ring slots at most; more are clamped, not refused (kernel: since late 2025, after refusals broke queue creation).
/// See [`PoolBuilder`].
pub const MAX_RING: usize = 16384;
/// Pages in the cache of a pool whose builder says nothing. See [`PoolBuilder`].
pub const DEFAULT_CACHE: usize = 128;
/// Pages in a cache at most. See [`PoolBuilder`].
pub const MAX_CACHE: usize = 4096;
/// Pages in one refill at most, of a pool whose builder says nothing: one NAPI budget. See [`PoolBuilder`].
pub const DEFAULT_REFILL: usize = 64;
/// Returners at most. See [`PoolBuilder`].
pub const MAX_RETURNERS: usize = 64;
/// Pages that the bag for batches has room for in a pool whose builder says nothing. See [`PoolBuilder::batch_bags`].
pub const DEFAULT_BATCH_BAG: usize = 512;
/// Bags for batches at most. See [`PoolBuilder::batch_bags`].
pub const MAX_BATCH_BAGS: usize = 64;

/// What a pool will be. Made by [`PagePool::builder`]; [`build`](PoolBuilder::build) checks all of it.
///
/// # Examples
///
/// ```
/// # use pp_core::doc::Heap;
/// use pp_core::{DmaDirection, Home, Identity, NodePolicy, PagePool, Reaper, Zeroing};
///
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256)))
///     .name("rx0")
///     .order(0)
///     .pool_size(256) // slots in the ring
///     .cache(64)
///     .refill(32)
///     .node(NodePolicy::Any)
///     .dma(Identity, DmaDirection::FromDevice)
///     .dma_sync(0, 1514)
///     .page_in(|mut page| page.bytes_mut().expect("nobody shares it yet")[0] = 1)
///     .page_out(|page| assert_eq!(page.len(), 4096))
///     .zeroing(Zeroing::OnEntry)
///     .limit(128)
///     .watermark(96, |pressure| println!("{pressure:?}"))
///     .returners(1, 64)
///     .batch_bags(2, 128)
///     .reaper(Reaper::new(drop)) // on the spot; a channel to another thread would be usual
///     .build()?;
/// assert_eq!(pool.alloc()?[0], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder<A: Access = Host> {
    home: Home,
    name: String,
    order: u8,
    ring: usize,
    cache: usize,
    refill: Option<usize>,
    node: NodePolicy,
    dma: Option<(Box<dyn Dma>, DmaDirection)>,
    sync: Option<SyncRange>,
    page_in: Option<ErasedHook>,
    page_out: Option<ErasedHook>,
    zeroing: Zeroing,
    limit: usize,
    watermark: Option<(usize, WatermarkHook)>,
    returners: Option<(usize, usize)>,
    batch_bags: Option<(usize, usize)>,
    reaper: Option<Reaper>,
    _access: PhantomData<A>,
}

impl PagePool<Host> {
    /// Starts the description of a pool on `provider`: a [`Home`], or anything that turns into one.
    ///
    /// What kind of pages the pool hands out follows from the provider.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::doc::Heap;
    /// use pp_core::{Home, PagePool};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).name("rx0").pool_size(512).build()?;
    /// let page = pool.alloc()?;
    /// pool.recycle_direct(page);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder<P: Backing>(provider: impl Into<Home<P>>) -> PoolBuilder<P::Access> {
        PoolBuilder {
            home: provider.into().erase(),
            name: String::new(),
            order: 0,
            ring: DEFAULT_RING,
            cache: DEFAULT_CACHE,
            refill: None,
            node: NodePolicy::Any,
            dma: None,
            sync: None,
            page_in: None,
            page_out: None,
            zeroing: Zeroing::Never,
            limit: UNLIMITED,
            watermark: None,
            returners: None,
            batch_bags: None,
            reaper: None,
            _access: PhantomData,
        }
    }
}

impl<A: Access> PoolBuilder<A> {
    /// What tables and messages call the pool.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// log2 of the base units in one page. Over 0, pages are got one by one.
    pub fn order(mut self, order: u8) -> Self {
        self.order = order;
        self
    }

    /// Slots in the ring. 0 means [`DEFAULT_RING`]; over [`MAX_RING`] it is clamped. Idle pages that do not fit, there or in
    /// [bags](PoolBuilder::batch_bags), go home.
    pub fn pool_size(mut self, slots: usize) -> Self {
        self.ring = slots;
        self
    }

    /// Pages the consumer's cache can hold.
    pub fn cache(mut self, pages: usize) -> Self {
        self.cache = pages;
        self
    }

    /// Pages in one refill at most. Half the cache by default, up to [`DEFAULT_REFILL`], which leaves room for
    /// direct returns.
    pub fn refill(mut self, pages: usize) -> Self {
        self.refill = Some(pages);
        self
    }

    /// The memory node pages should lie on.
    pub fn node(mut self, node: NodePolicy) -> Self {
        self.node = node;
        self
    }

    /// Maps every page for a device while it is on the pool's books (`PP_FLAG_DMA_MAP`).
    pub fn dma(mut self, device: impl Dma, direction: DmaDirection) -> Self {
        self.dma = Some((Box::new(device), direction));
        self
    }

    /// Gives up to `max_len` bytes from `offset` back to the device whenever a page enters the cache
    /// (`PP_FLAG_DMA_SYNC_DEV`). A device that needs no sync costs nothing. Where pages are handed out in parts, the window must
    /// be the whole page.
    pub fn dma_sync(mut self, offset: usize, max_len: usize) -> Self {
        self.sync = Some(SyncRange { offset, max_len });
        self
    }

    /// Runs once a stay, when a page has entered from the provider and before it is handed out: the constructor.
    pub fn page_in(mut self, hook: impl Fn(PageView<'_, A>) + Send + Sync + 'static) -> Self {
        self.page_in = Some(hooks::erase(hook));
        self
    }

    /// Runs once a stay, when a page is about to leave the pool, on whatever thread that happens: the destructor. It may
    /// write the page unless that leaves while others hold it; see [`PageView::bytes_mut`]. A panic of it is survived, and
    /// everything else still leaves; a second one during the same verb's unwinding aborts, as any panic in a drop does.
    pub fn page_out(mut self, hook: impl Fn(PageView<'_, A>) + Send + Sync + 'static) -> Self {
        self.page_out = Some(hooks::erase(hook));
        self
    }

    /// Units obtained from the provider and not home again, at most, detached and shared ones included.
    pub fn limit(mut self, pages: usize) -> Self {
        self.limit = pages;
        self
    }

    /// Calls `hook` on the consumer when more than `pages` units are out of the provider, and again when they no
    /// longer are. Checked at refills, so the falling edge is noticed at the next one.
    pub fn watermark(mut self, pages: usize, hook: impl Fn(&Pressure) + Send + Sync + 'static) -> Self {
        self.watermark = Some((pages, Box::new(hook)));
        self
    }

    /// Makes room for `count` [`Returner`](crate::Returner)s at a time, with bags for `capacity` pages each (rounded up to
    /// a power of two).
    ///
    /// With the feature `membarrier` on Linux, the first such pool of a process tells the kernel so, which may take milliseconds when
    /// there are other threads; each one's close interrupts the processors that run them, for a microsecond.
    pub fn returners(mut self, count: usize, capacity: usize) -> Self {
        self.returners = Some((count, capacity));
        self
    }

    /// Keeps `count` bags for `capacity` pages each (rounded up to a power of two) that batches borrow: a batch of eight pages or more that
    /// is put by the shared path then takes three atomic operations as a rule, where the ring takes one a page. As many threads as there
    /// are bags can do so at once; what finds none free, or no room, goes into the ring. The pages of one pool that lie next to each other
    /// in a batch count together.
    ///
    /// Without this there is one for [`DEFAULT_BATCH_BAG`] pages, or, if those are fewer, as many as the ring has slots (rounded up as well). With a
    /// `count` of 0 there is none. So many more idle pages a pool may keep than its ring has slots.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).batch_bags(4, 256).build()?;
    /// let batch: PageBatch<32> = pool.alloc_batch();
    /// std::thread::spawn(move || drop(batch)).join().unwrap();
    /// assert_eq!(pool.stats().in_ring, 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn batch_bags(mut self, count: usize, capacity: usize) -> Self {
        self.batch_bags = Some((count, capacity));
        self
    }

    /// Leaves the dropping of the DMA backend and the hooks to `reaper`, when the last page is home.
    pub fn reaper(mut self, reaper: Reaper) -> Self {
        self.reaper = Some(reaper);
        self
    }

    /// Makes the pool.
    ///
    /// # Errors
    ///
    /// [`BuildError`]; the provider is then as it was.
    pub fn build(self) -> Result<PagePool<A>, BuildError> {
        let geometry = self.home.geometry();
        if self.order > geometry.max_order {
            return Err(BuildError::Order { order: self.order, max: geometry.max_order });
        }
        if !(1..=MAX_CACHE).contains(&self.cache) {
            return Err(BuildError::Cache { capacity: self.cache });
        }
        let refill = self.refill.unwrap_or(DEFAULT_REFILL.min(self.cache.div_ceil(2)));
        if !(1..=self.cache).contains(&refill) {
            return Err(BuildError::Refill { refill, capacity: self.cache });
        }
        let unit_bytes = geometry.unit_bytes << self.order;
        self.check_sync(unit_bytes)?;
        if self.limit == 0 {
            return Err(BuildError::Limit);
        }
        if let Some((watermark, _)) = &self.watermark
            && *watermark >= self.limit
        {
            return Err(BuildError::Watermark { watermark: *watermark, limit: self.limit });
        }
        if let Some((count, capacity)) = self.returners
            && (!(1..=MAX_RETURNERS).contains(&count) || !(1..=MAX_RING).contains(&capacity))
        {
            return Err(BuildError::Returners { count, capacity });
        }
        if let Some((count, capacity)) = self.batch_bags
            && (count > MAX_BATCH_BAGS || (count > 0 && !(1..=MAX_RING).contains(&capacity)))
        {
            return Err(BuildError::BatchBags { count, capacity });
        }

        let ring_size = if self.ring == 0 { DEFAULT_RING } else { self.ring.min(MAX_RING) };
        let ring = Ring::new(ring_size).ok_or(BuildError::OutOfMemory)?;
        let returns_fence = if self.returners.is_none() { AsymmetricFence::PLAIN } else { AsymmetricFence::best() };
        let bags = self.bags(ring_size, returns_fence)?;
        let needs_sync = self.dma.as_ref().is_some_and(|(ops, _)| ops.needs_sync());
        let sync = self.sync.filter(|_| needs_sync);
        let entry = Entry { zeroing: self.zeroing, sync: sync.is_some(), check_node: geometry.nodes > 1 };
        let (watermark, watermark_hook) = self.watermark.map_or((UNLIMITED, None), |(pages, hook)| (pages, Some(hook)));
        let config = Config {
            id: next_id()?,
            name: self.name,
            provider_name: self.home.describe().name,
            order: self.order,
            unit_bytes,
            cache_capacity: self.cache,
            syncs: sync.is_some(),
            returners: self.returners.map_or(0, |(count, _)| count),
            returns_fence,
        };
        let table = Table {
            home: self.home,
            dma: self.dma.map(|(ops, direction)| DmaTable { ops, direction, sync }),
            page_in: self.page_in,
            page_out: self.page_out,
            watermark: watermark_hook,
            reaper: self.reaper,
        };
        let limits = Limits { limit: Counter::new(self.limit), watermark: Counter::new(watermark) };
        // Before the block, which only a pool can take down.
        let room = room().ok_or(BuildError::OutOfMemory)?;
        let block = Block::create(Parts { config, ring, bags, limits, table });
        let block = block.ok_or(BuildError::OutOfMemory)?;
        Ok(PagePool::new(room, block, entry, self.node, refill))
    }

    fn check_sync(&self, page_bytes: usize) -> Result<(), BuildError> {
        let Some(SyncRange { offset, max_len }) = self.sync else { return Ok(()) };
        if self.dma.is_none() {
            return Err(BuildError::SyncWithoutDma);
        }
        if max_len == 0 {
            return Err(BuildError::SyncOfNothing);
        }
        if offset.checked_add(max_len).is_none_or(|end| end > page_bytes) {
            return Err(BuildError::SyncRange { offset, max_len, page_bytes });
        }
        Ok(())
    }

    /// Returners' bags, then those for batches.
    fn bags(&self, ring_size: usize, returns_fence: AsymmetricFence) -> Result<Box<[Bag]>, BuildError> {
        let (returners, room) = self.returners.unwrap_or((0, 1));
        let (batches, batch_room) = self.batch_bags.unwrap_or((1, DEFAULT_BATCH_BAG.min(ring_size)));
        let mut bags = Vec::new();
        bags.try_reserve_exact(returners + batches).map_err(|_| BuildError::OutOfMemory)?;
        let kinds = [(returners, room, Some(returns_fence)), (batches, batch_room, None)];
        for (count, capacity, fence) in kinds {
            for _ in 0..count {
                bags.push(Bag::new(capacity, fence).ok_or(BuildError::OutOfMemory)?);
            }
        }
        Ok(bags.into_boxed_slice())
    }
}

impl<A: CpuAccess> PoolBuilder<A> {
    /// When pages are cleared.
    pub fn zeroing(mut self, zeroing: Zeroing) -> Self {
        self.zeroing = zeroing;
        self
    }
}

impl<A: Access> core::fmt::Debug for PoolBuilder<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("name", &self.name)
            .field("order", &self.order)
            .field("pool_size", &self.ring)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// A number no other pool of this process ever has: its id, and the generation of its DMA claims.
fn next_id() -> Result<usize, BuildError> {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |id| (id < UNMAPPING).then_some(id + 1))
        .map_err(|_| BuildError::TooManyPools)
}
