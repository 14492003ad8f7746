//! What happened in a pool, under the kernel's names.
//!
//! Always on. The fast paths count once a roundtrip and derive the rest; a producer counts only what it releases.
//!
//! The law, exact when nobody is inside a call:
//!
//! ```text
//! puts        = cached + ring + ring_full + released_refcnt + released_closed
//! allocations = fast + refill + slow + slow_high_order
//! hold        = released + in the cache + in the ring + in use
//! ```
//!
//! `ring` includes what lies in the ring and in bags at the moment; of a closing pool's bags, their producers may take pages back, which
//! count under `released_closed` then. `cache_full` is an attempt, after which the page
//! counts under `ring` or `ring_full` as well.
//!
//! Kernel counterparts: `struct page_pool_alloc_stats`, `struct page_pool_recycle_stats` (Linux 7.3).

use crate::block::Block;
use crate::books::PoolState;
use crate::sync::{Counter, Mutant, mutant};

/// Written by the consumer. The first two are what the direct path touches.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ConsumerCounts {
    /// Pages in the cache.
    pub(crate) len: Counter,
    /// Pages ever handed out of the cache.
    pub(crate) pops: Counter,
    /// The owner word of every page in the cache, for a batch to remember; 0 while there may be one that does not recycle: from its coming until the
    /// provider is asked again. No count, but the
    /// consumer's own, and read where these are.
    pub(crate) cached_owner: Counter,
    /// Pages ever put into the cache by refills.
    pub(crate) filled: Counter,
    /// Pages ever taken out of the cache other than by an allocation.
    pub(crate) flushed: Counter,
    pub(crate) slow: Counter,
    pub(crate) slow_high_order: Counter,
    pub(crate) empty: Counter,
    pub(crate) refill: Counter,
    pub(crate) waive: Counter,
    pub(crate) ring_taken: Counter,
    pub(crate) cache_full: Counter,
    pub(crate) limit_hits: Counter,
    pub(crate) provider_calls: Counter,
    pub(crate) provider_failures: Counter,
    pub(crate) mapped: Counter,
}

impl ConsumerCounts {
    pub(crate) fn new() -> Self {
        let zero = || Counter::new(0);
        ConsumerCounts {
            len: zero(),
            pops: zero(),
            cached_owner: zero(),
            filled: zero(),
            flushed: zero(),
            slow: zero(),
            slow_high_order: zero(),
            empty: zero(),
            refill: zero(),
            waive: zero(),
            ring_taken: zero(),
            cache_full: zero(),
            limit_hits: zero(),
            provider_calls: zero(),
            provider_failures: zero(),
            mapped: zero(),
        }
    }
}

/// Written by whoever takes a page out of the pool, before its last touch.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ProducerCounts {
    pub(crate) ring_full: Counter,
    pub(crate) released_refcnt: Counter,
    pub(crate) released_closed: Counter,
    pub(crate) detached: Counter,
    pub(crate) unmapped: Counter,
}

/// How allocations were served. One count per page handed out; `empty` and `waive` are events beside them.
/// See [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllocStats {
    /// From the cache.
    pub fast: usize,
    /// From the provider, after a refill in bulk.
    pub slow: usize,
    /// From the provider, one unit of order over 0.
    pub slow_high_order: usize,
    /// Times the ring had nothing.
    pub empty: usize,
    /// From the cache after a refill from the ring.
    pub refill: usize,
    /// Pages from another node that a refill gave back.
    pub waive: usize,
}

/// Where returned pages went. See [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecycleStats {
    /// Straight into the cache.
    pub cached: usize,
    /// Attempts that found the cache full.
    pub cache_full: usize,
    /// Into the ring or a bag.
    pub ring: usize,
    /// To the provider, because the ring was full.
    pub ring_full: usize,
    /// Off the books, because others held the page or its provider wants it back.
    pub released_refcnt: usize,
    /// To the provider, because the pool was closed.
    pub released_closed: usize,
}

/// A snapshot of a pool. Exact when nobody is inside a call; otherwise each figure is one that was true shortly before.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 128))).build()?;
/// let (kept, direct, other) = (pool.alloc()?, pool.alloc()?, pool.alloc()?);
/// pool.recycle_direct(direct);
/// drop(other);
/// let stats = pool.stats();
/// assert_eq!((stats.alloc.slow, stats.alloc.fast), (1, 2)); // the first one needed a refill
/// assert_eq!((stats.recycle.cached, stats.recycle.ring), (1, 1));
/// assert_eq!((stats.allocations(), stats.puts(), stats.in_use()), (3, 2, 1));
/// assert_eq!((stats.inflight(), stats.outstanding()), (64, 64)); // that refill brought so many
/// assert_eq!(stats.recycled_percent(), 100.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How allocations were served.
    pub alloc: AllocStats,
    /// Where returned pages went.
    pub recycle: RecycleStats,
    /// Pages that ever entered from the provider.
    pub hold: usize,
    /// Pages that ever left.
    pub released: usize,
    /// Of those, how many were detached.
    pub detached: usize,
    /// Pages off the books that are not home yet.
    pub strays: usize,
    /// Pages in the cache.
    pub in_cache: usize,
    /// Pages in the ring and in bags.
    pub in_ring: usize,
    /// Refills that the limit cut to nothing.
    pub limit_hits: usize,
    /// Times the provider was asked.
    pub provider_calls: usize,
    /// Times it gave nothing.
    pub provider_failures: usize,
    /// Units mapped for DMA now.
    pub mapped: usize,
}

impl Stats {
    /// Pages handed out in all.
    pub fn allocations(&self) -> usize {
        let AllocStats { fast, slow, slow_high_order, refill, .. } = self.alloc;
        fast.wrapping_add(slow).wrapping_add(slow_high_order).wrapping_add(refill)
    }

    /// Pages put in all.
    pub fn puts(&self) -> usize {
        let RecycleStats { cached, ring, ring_full, released_refcnt, released_closed, .. } = self.recycle;
        [cached, ring, ring_full, released_refcnt, released_closed].into_iter().fold(0, usize::wrapping_add)
    }

    /// Pages on the books: in use, in the cache, in the ring (`page_pool_inflight`).
    pub fn inflight(&self) -> usize {
        self.hold.wrapping_sub(self.released)
    }

    /// Pages on the books that are neither in the cache nor in the ring: somebody has them.
    pub fn in_use(&self) -> usize {
        self.inflight().saturating_sub(self.in_cache + self.in_ring)
    }

    /// Pages obtained from the provider and not home again: what the limit bounds.
    pub fn outstanding(&self) -> usize {
        self.inflight() + self.strays
    }

    /// Of all returns, how many went to the cache or the ring, in percent. 100 where there were none.
    pub fn recycled_percent(&self) -> f64 {
        match self.puts() {
            0 => 100.0,
            puts => 100.0 * (self.recycle.cached + self.recycle.ring) as f64 / puts as f64,
        }
    }
}

impl core::fmt::Display for Stats {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (a, r) = (&self.alloc, &self.recycle);
        write!(
            f,
            "alloc_fast {}, alloc_slow {}, alloc_slow_high_order {}, alloc_empty {}, alloc_refill {}, alloc_waive {}, \
             recycle_cached {}, recycle_cache_full {}, recycle_ring {}, recycle_ring_full {}, \
             recycle_released_refcnt {}, recycle_released_closed {}, inflight {}, in_use {}",
            a.fast,
            a.slow,
            a.slow_high_order,
            a.empty,
            a.refill,
            a.waive,
            r.cached,
            r.cache_full,
            r.ring,
            r.ring_full,
            r.released_refcnt,
            r.released_closed,
            self.inflight(),
            self.in_use()
        )
    }
}

/// How far `a` is ahead of `b`, of two counters that wrap; 0 where a race makes it look behind.
fn ahead(a: usize, b: usize) -> usize {
    (a.wrapping_sub(b) as isize).max(0) as usize
}

impl Block {
    pub(crate) fn stats(&self) -> Stats {
        self.enter();
        if mutant(Mutant::StatsReadTable) {
            self.touch_table();
        }
        let consumer = &self.consumer.0;
        let producers = &self.producers;
        let inflight = self.books.0.inflight();
        let hold = self.books.0.hold.get();
        let in_cache = consumer.len.get();
        let in_ring = if self.books.0.state() == PoolState::Open {
            self.ring.len() + self.bags.iter().map(|bag| bag.len()).sum::<usize>()
        } else {
            0
        };
        let (slow, refill) = (consumer.slow.get(), consumer.refill.get());
        let pops = consumer.pops.get();
        let emptied = pops.wrapping_add(consumer.flushed.get()).wrapping_add(in_cache);
        Stats {
            alloc: AllocStats {
                fast: ahead(pops, slow.wrapping_add(refill)),
                slow,
                slow_high_order: consumer.slow_high_order.get(),
                empty: consumer.empty.get(),
                refill,
                waive: consumer.waive.get(),
            },
            recycle: RecycleStats {
                cached: ahead(emptied, consumer.filled.get()),
                cache_full: consumer.cache_full.get(),
                ring: consumer.ring_taken.get().wrapping_add(in_ring),
                ring_full: producers.ring_full.get(),
                released_refcnt: producers.released_refcnt.get(),
                released_closed: producers.released_closed.get(),
            },
            hold,
            released: hold.wrapping_sub(inflight),
            detached: producers.detached.get(),
            strays: self.books.0.strays.get(),
            in_cache,
            in_ring,
            limit_hits: consumer.limit_hits.get(),
            provider_calls: consumer.provider_calls.get(),
            provider_failures: consumer.provider_failures.get(),
            mapped: ahead(consumer.mapped.get(), producers.unmapped.get()),
        }
    }
}
