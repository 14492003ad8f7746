//! The block: what a pool's parts on different threads have in common.
//!
//! One allocation with an ordinary reference count, held by the consumer, by handles, Returners and the shutdown handle,
//! by every page that left the books without going home, and once by the books themselves. It outlives the pool; the
//! [`Table`] in it (provider, DMA, hooks) does not: the elected thread drops that when the last page is home.
//!
//! The consumer's cache lies right behind the block in the same allocation: the owner word, the counts and the cached
//! pages are then all reached from one register, which is what the instruction budget of the direct path is made of.

use alloc::alloc::{alloc, dealloc};
use alloc::boxed::Box;
use alloc::string::String;
use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::bag::Bag;
use crate::books::{Books, Verdict};
use crate::completion::Completion;
use crate::descriptor::{Descriptor, owner};
use crate::dma::{Dma, DmaAddr, DmaDirection, DmaRange};
use crate::home::{Home, RawHome};
use crate::hooks::ErasedHook;
use crate::limit::{Limits, WatermarkHook};
use crate::reaper::Reaper;
use crate::ring::{CacheLine, Ring};
use crate::stats::{ConsumerCounts, ProducerCounts};
use crate::sync::{AsymmetricFence, AtomicUsize, Canary, Mutant, Ordering, UnsafeCell, fence, mutant, spin};

/// One place of the consumer's cache.
pub(crate) type Place = MaybeUninit<NonNull<Descriptor>>;

/// The claim word of a unit that its provider mapped.
pub(crate) const PREMAPPED: usize = usize::MAX;
/// The claim word while a closing consumer ends the mapping.
pub(crate) const UNMAPPING: usize = usize::MAX - 1;

/// What never changes after `build`.
pub(crate) struct Config {
    /// Unique among all pools there ever were in this process; doubles as the DMA generation.
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) provider_name: &'static str,
    pub(crate) order: u8,
    pub(crate) unit_bytes: usize,
    pub(crate) cache_capacity: usize,
    /// Whether pages are given back to a device before they are handed out again.
    pub(crate) syncs: bool,
    /// How many of the bags are for Returners. The others are for batches.
    pub(crate) returners: usize,
    /// Between Returners and the close.
    pub(crate) returns_fence: AsymmetricFence,
}

/// How pages are mapped.
pub(crate) struct DmaTable {
    pub(crate) ops: Box<dyn Dma>,
    pub(crate) direction: DmaDirection,
    /// `None`: the pool does not sync.
    pub(crate) sync: Option<SyncRange>,
}

/// The part of each page that the pool syncs for the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncRange {
    pub(crate) offset: usize,
    pub(crate) max_len: usize,
}

impl DmaTable {
    /// Gives the written part of a page back to the device.
    pub(crate) fn sync_for_device(&self, descriptor: &Descriptor) {
        let (Some(sync), Some(addr)) = (self.sync, descriptor.dma()) else { return };
        let asked = descriptor.sync_len().swap(crate::descriptor::SYNC_FULL, Ordering::Relaxed) as usize;
        let range = DmaRange { offset: sync.offset, len: asked.min(sync.max_len) };
        self.ops.sync_for_device(addr, range, self.direction);
    }
}

/// What only a pool with pages needs: dropped when the last one is home.
///
/// In this order: the device is let go before the memory that it may still have a window on.
pub(crate) struct Table {
    pub(crate) dma: Option<DmaTable>,
    pub(crate) page_in: Option<ErasedHook>,
    pub(crate) page_out: Option<ErasedHook>,
    pub(crate) watermark: Option<WatermarkHook>,
    pub(crate) home: Home,
    pub(crate) reaper: Option<Reaper>,
}

/// See the module.
#[repr(C)]
pub(crate) struct Block {
    /// The consumer's lines: nobody else writes them.
    pub(crate) consumer: CacheLine<ConsumerCounts>,
    /// Written by whoever takes a page off the books, which is rare.
    pub(crate) books: CacheLine<Books>,
    pub(crate) producers: ProducerCounts,
    /// | state | meaning |
    /// |---|---|
    /// | n > 0 | n references, as listed in the module |
    /// | 0 | being freed by whoever took it there |
    refs: AtomicUsize,
    /// Only read after `build`.
    pub(crate) config: Config,
    pub(crate) ring: Ring,
    pub(crate) bags: Box<[Bag]>,
    pub(crate) limits: Limits,
    pub(crate) completion: Completion,
    home: RawHome,
    table: UnsafeCell<Option<Table>>,
    canary: Canary,
    #[cfg(feature = "leak-trace")]
    pub(crate) trace: crate::trace::Trace,
}

// SAFETY: every field is either only read after `build`, or atomic, or states its own protocol; the table is
// `Send + Sync` in all its parts and moved out by the one elected thread.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// A counted reference to a block.
pub(crate) struct BlockRef(NonNull<Block>);

// SAFETY: like `Arc<Block>`.
unsafe impl Send for BlockRef {}
// SAFETY: like `Arc<Block>`.
unsafe impl Sync for BlockRef {}

/// What `build` has made so far.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) ring: Ring,
    pub(crate) bags: Box<[Bag]>,
    pub(crate) limits: Limits,
    pub(crate) table: Table,
}

impl Block {
    fn layout(cache_capacity: usize) -> Option<(Layout, usize)> {
        let places = Layout::array::<Place>(cache_capacity).ok()?;
        let (layout, offset) = Layout::new::<Block>().extend(places).ok()?;
        // `place` reaches the cache by plain pointer arithmetic from the block's end.
        debug_assert_eq!(offset, size_of::<Block>());
        Some((layout.pad_to_align(), offset))
    }

    /// Makes the block and its cache: one reference for the caller, one for the books. `None` without memory.
    pub(crate) fn create(parts: Parts) -> Option<BlockRef> {
        let Parts { config, ring, bags, limits, table } = parts;
        let (layout, _) = Block::layout(config.cache_capacity)?;
        // SAFETY: a block is not of size zero.
        let block = NonNull::new(unsafe { alloc(layout) })?.cast::<Block>();
        // Owner words are addresses; whoever turns one back into a pointer gets this one, good for block and cache.
        block.as_ptr().expose_provenance();
        // SAFETY: fresh memory of a block's size and alignment.
        unsafe {
            block.write(Block {
                consumer: CacheLine(ConsumerCounts::new()),
                books: CacheLine(Books::new()),
                producers: ProducerCounts::default(),
                refs: AtomicUsize::new(2),
                config,
                ring,
                bags,
                limits,
                completion: Completion::new(),
                home: table.home.as_raw(),
                table: UnsafeCell::new(Some(table)),
                canary: Canary::new(),
                #[cfg(feature = "leak-trace")]
                trace: Default::default(),
            });
        }
        Some(BlockRef(block))
    }

    /// The block's address as an owner word.
    #[inline(always)]
    pub(crate) fn owner_word(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Marks an entry, for the model checkers.
    #[inline(always)]
    pub(crate) fn enter(&self) {
        self.canary.enter();
    }

    /// Provider, DMA and hooks.
    ///
    /// # Safety
    ///
    /// The caller is the open consumer, or holds a page that is on the books, during `'a`.
    #[inline]
    pub(crate) unsafe fn table<'a>(&self) -> &'a Table {
        self.canary.enter();
        // SAFETY: the books cannot close while the caller counts, so the elected thread has not come yet.
        unsafe { self.table.with(|table| &*table).as_ref().unwrap_unchecked() }
    }

    /// The bags that threads claim for long.
    pub(crate) fn returner_bags(&self) -> &[Bag] {
        self.bags.get(..self.config.returners).unwrap_or_default()
    }

    /// The bags that a batch borrows.
    #[inline]
    pub(crate) fn batch_bags(&self) -> &[Bag] {
        self.bags.get(self.config.returners..).unwrap_or_default()
    }

    /// What statistics must not do; for the model that says so.
    pub(crate) fn touch_table(&self) {
        self.table.with(|_| ());
    }

    /// The provider, for a page off the books that owns a share of it.
    pub(crate) fn stray_home(&self) -> RawHome {
        self.home
    }

    /// Undoes what entering did: page-out hook, unmapping. The owner word then says `word`.
    ///
    /// # Safety
    ///
    /// The caller owns a page on this block's books, or won its owner word, and treats it afterwards as what `word` says.
    pub(crate) unsafe fn expel(&self, descriptor: &Descriptor, word: usize) {
        /// Completes the release also when the hook panics.
        struct Finish<'a>(&'a Block, &'a Table, &'a Descriptor, usize);
        impl Drop for Finish<'_> {
            fn drop(&mut self) {
                let Finish(block, table, descriptor, word) = self;
                block.unmap(table, descriptor);
                if mutant(Mutant::StrayThroughHome) {
                    descriptor.owner.store(owner::HOME, Ordering::Relaxed);
                }
                // Relaxed: a unit that goes home travels on through the provider's own synchronisation, and of a page that
                // is shared the reference count tells the last holder.
                descriptor.owner.store(*word, Ordering::Relaxed);
            }
        }
        // SAFETY: the page is on the books.
        let table = unsafe { self.table() };
        let _finish = Finish(self, table, descriptor, word);
        if let Some(page_out) = &table.page_out {
            page_out(descriptor);
        }
    }

    /// Ends the DMA mapping of a unit that is about to leave this pool. For the page's owner, on any thread.
    ///
    /// A closing consumer unmaps what is still out ([`scrub`](Block::scrub)) while a late returner does the same for its page.
    /// The claim decides: one compare-exchange from this pool's generation, which no other pool
    /// ever has, and a closing one admits nothing more. If the consumer won, we wait until it is done: a unit must not be
    /// home, and in another
    /// pool, while a mapping of this one lives (kernel 24ef02f934ee, which does not wait).
    pub(crate) fn unmap(&self, table: &Table, descriptor: &Descriptor) {
        let claim = &descriptor.dma_claim;
        if let Some(dma) = &table.dma {
            let generation = self.config.id;
            let addr = DmaAddr::unpack(descriptor.dma_addr.load(Ordering::Relaxed));
            // Acquire on failure pairs with the Release in `scrub`: its unmapping happens before the unit is home. Relaxed on
            // success: the address came with the page, and who finds the claim gone goes on without the unit.
            match claim.compare_exchange(generation, 0, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => self.end_mapping(dma, addr),
                Err(UNMAPPING) => {
                    while claim.load(Ordering::Acquire) == UNMAPPING && !mutant(Mutant::LoserRuns) {
                        spin();
                    }
                }
                Err(_) => {}
            }
            if mutant(Mutant::LoserTouches) {
                self.end_mapping(dma, addr);
            }
        }
        if claim.load(Ordering::Relaxed) == PREMAPPED {
            claim.store(0, Ordering::Relaxed);
        }
    }

    /// Ends the unit's DMA mapping if it still is this pool's. For the closing consumer, whose unit it need not be: it may
    /// be home by now, and in another pool.
    pub(crate) fn scrub(&self, dma: &DmaTable, descriptor: &Descriptor) {
        /// Lets a late returner go on, also when the device's `unmap` panics.
        struct Done<'a>(&'a AtomicUsize);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                // Release pairs with the Acquires in `unmap`.
                self.0.store(0, Ordering::Release);
            }
        }
        let claim = &descriptor.dma_claim;
        let mut generation = self.config.id;
        if mutant(Mutant::ClaimWithoutGeneration) {
            generation = claim.load(Ordering::Relaxed);
        }
        if mutant(Mutant::UnclaimedUnmap) {
            if claim.load(Ordering::Relaxed) == generation {
                self.end_mapping(dma, DmaAddr::unpack(descriptor.dma_addr.load(Ordering::Relaxed)));
                claim.store(0, Ordering::Relaxed);
            }
            return;
        }
        // Relaxed: we wrote claim and address ourselves. The address stays while the claim is held: its unit cannot leave.
        if claim.compare_exchange(generation, UNMAPPING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let _done = Done(claim);
            self.end_mapping(dma, DmaAddr::unpack(descriptor.dma_addr.load(Ordering::Relaxed)));
        }
    }

    fn end_mapping(&self, dma: &DmaTable, addr: DmaAddr) {
        dma.ops.unmap(addr, self.config.unit_bytes, dma.direction);
        self.producers.unmapped.add_shared(1);
    }

    /// Ends the pool: drops provider share, DMA and hooks, wakes the waiter, drops the books' reference.
    ///
    /// # Safety
    ///
    /// The caller was elected by `block`'s books and calls this once.
    #[cold]
    pub(crate) unsafe fn tear_down(block: NonNull<Block>) {
        /// Also when what is dropped below panics: whoever waits must hear that no page is out any more.
        struct Fire<'a>(&'a Completion);
        impl Drop for Fire<'_> {
            fn drop(&mut self) {
                self.0.fire();
            }
        }
        // The books' own reference, dropped last.
        let this = BlockRef(block);
        this.canary.enter();
        let _fire = Fire(&this.completion);
        if mutant(Mutant::EarlyWake) {
            this.completion.fire();
        }
        // SAFETY: elected, so no page and no consumer is left that could look at the table.
        if let Some(table) = this.table.with_mut(|table| unsafe { (*table).take() }) {
            match table.reaper.clone() {
                Some(reaper) => reaper.reap(table),
                None => drop(table),
            }
        }
    }

    /// Acts on what [`Books::leave`] or [`Books::close`] said.
    ///
    /// # Safety
    ///
    /// `verdict` comes from `block`'s books and is acted on once.
    #[inline]
    pub(crate) unsafe fn settle(block: NonNull<Block>, verdict: Verdict) {
        if verdict == Verdict::Elected {
            // SAFETY: elected.
            unsafe { Block::tear_down(block) }
        }
    }
}

impl BlockRef {
    /// The block without the count.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> NonNull<Block> {
        self.0
    }

    /// The place of the cache with this index, right behind the block.
    ///
    /// # Safety
    ///
    /// `index` is less than the cache's capacity.
    #[inline(always)]
    pub(crate) unsafe fn place(&self, index: usize) -> *mut Place {
        // SAFETY: `Block::create` allocated the cache behind the block, and the pointer is the allocation's own.
        unsafe { self.0.as_ptr().add(1).cast::<Place>().add(index) }
    }

    /// A reference from one that was leaked with [`core::mem::forget`].
    ///
    /// # Safety
    ///
    /// The caller owns such a reference and gives it up.
    pub(crate) unsafe fn from_leaked(block: NonNull<Block>) -> Self {
        BlockRef(block)
    }

    /// Takes a reference for a page that leaves the books, to be found again through its owner word.
    ///
    /// # Safety
    ///
    /// `block` is kept alive by somebody during the call.
    pub(crate) unsafe fn leak_another(block: NonNull<Block>) {
        // SAFETY: alive by the caller's promise.
        core::mem::forget(unsafe { BlockRef::duplicate(block) });
    }

    unsafe fn duplicate(block: NonNull<Block>) -> Self {
        // SAFETY: alive by the caller's promise. Relaxed as for `Arc`.
        let refs = unsafe { &block.as_ref().refs };
        if refs.fetch_add(1, Ordering::Relaxed) >= isize::MAX as usize {
            // An overflow would free the block under its holders, so the count goes back before anybody hears of it.
            refs.fetch_sub(1, Ordering::Relaxed);
            panic!("too many references to one pool");
        }
        BlockRef(block)
    }
}

impl Clone for BlockRef {
    fn clone(&self) -> Self {
        // SAFETY: `self` keeps it alive.
        unsafe { BlockRef::duplicate(self.0) }
    }
}

impl Deref for BlockRef {
    type Target = Block;

    #[inline(always)]
    fn deref(&self) -> &Block {
        // SAFETY: we hold a reference.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for BlockRef {
    fn drop(&mut self) {
        self.enter();
        // Release: our use of the block happens before its free. Pairs with the Acquire fence.
        if self.refs.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        self.canary.bury();
        let capacity = self.config.cache_capacity;
        // SAFETY: the count is 0, taken there by us. The table is gone (the books' reference went after it), the cache
        // holds plain pointers. The layout is the one `create` used.
        unsafe {
            self.0.drop_in_place();
            if let Some((layout, _)) = Block::layout(capacity) {
                dealloc(self.0.as_ptr().cast(), layout);
            }
        }
    }
}
