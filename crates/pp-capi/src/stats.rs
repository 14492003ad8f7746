//! Statistics as a C struct.

use crate::sized::Grows;

/// A snapshot of a pool. Exact when nobody is inside a call; otherwise each figure is one that was true shortly before.
///
/// Exact figures obey: puts = recycle_cached + recycle_ring + recycle_ring_full + recycle_released_refcnt +
/// recycle_released_closed; allocations = alloc_fast + alloc_refill + alloc_slow + alloc_slow_high_order; hold = released +
/// in_cache + in_ring + in_use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stats {
    /// Pages handed out of the cache.
    pub alloc_fast: usize,
    /// Pages handed out after a refill from the provider.
    pub alloc_slow: usize,
    /// The same of order over 0.
    pub alloc_slow_high_order: usize,
    /// Times the ring had nothing.
    pub alloc_empty: usize,
    /// Pages handed out after a refill from the ring.
    pub alloc_refill: usize,
    /// Pages from another node that a refill gave back.
    pub alloc_waive: usize,
    /// Pages put straight into the cache.
    pub recycle_cached: usize,
    /// Attempts at it that found the cache full.
    pub recycle_cache_full: usize,
    /// Pages put into the ring or by a returner.
    pub recycle_ring: usize,
    /// Pages that went to the provider because the ring was full.
    pub recycle_ring_full: usize,
    /// Pages that left because their provider wants them back.
    pub recycle_released_refcnt: usize,
    /// Pages that went to the provider because the pool was destroyed.
    pub recycle_released_closed: usize,
    /// Pages that ever entered from the provider.
    pub hold: usize,
    /// Pages that ever left.
    pub released: usize,
    /// Pages in the cache.
    pub in_cache: usize,
    /// Pages in the ring and in bags.
    pub in_ring: usize,
    /// Pages that somebody has.
    pub in_use: usize,
    /// Refills that the limit cut to nothing.
    pub limit_hits: usize,
    /// Times the provider was asked.
    pub provider_calls: usize,
    /// Times it gave nothing.
    pub provider_failures: usize,
}

// SAFETY: numbers.
unsafe impl Grows for Stats {
    const NAME: &'static str = "stats";
    const FIRST: usize = core::mem::offset_of!(Self, provider_failures) + size_of::<usize>();
}

impl From<&pp_core::Stats> for Stats {
    fn from(stats: &pp_core::Stats) -> Self {
        let (alloc, recycle) = (&stats.alloc, &stats.recycle);
        Stats {
            alloc_fast: alloc.fast,
            alloc_slow: alloc.slow,
            alloc_slow_high_order: alloc.slow_high_order,
            alloc_empty: alloc.empty,
            alloc_refill: alloc.refill,
            alloc_waive: alloc.waive,
            recycle_cached: recycle.cached,
            recycle_cache_full: recycle.cache_full,
            recycle_ring: recycle.ring,
            recycle_ring_full: recycle.ring_full,
            recycle_released_refcnt: recycle.released_refcnt,
            recycle_released_closed: recycle.released_closed,
            hold: stats.hold,
            released: stats.released,
            in_cache: stats.in_cache,
            in_ring: stats.in_ring,
            in_use: stats.in_use(),
            limit_hits: stats.limit_hits,
            provider_calls: stats.provider_calls,
            provider_failures: stats.provider_failures,
        }
    }
}
