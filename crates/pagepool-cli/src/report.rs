//! What a run did, in the words that scripts rely on.

use serde::Serialize;

/// The object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Packets the first device took from the port.
    pub(crate) packets_in: u64,
    /// Packets the second device gave to the port.
    pub(crate) packets_out: u64,
    /// Packets that came in and did not go out: dropped by verdict, or because they fit no buffer.
    pub(crate) dropped: u64,
    /// Bytes of the packets that came in.
    pub(crate) bytes: u64,
    /// Of those dropped, the ones that fit no buffer.
    pub(crate) too_long: u64,
    /// From the start of the threads to the end of the last one, completing the output included.
    pub(crate) seconds: f64,
    /// Millions of packets in, a second.
    pub(crate) mpps: f64,
    /// The run by the kind of its buffers: one phase, or with `--split` two.
    pub(crate) phases: Vec<PhaseReport>,
    /// The pools, one a queue, as they were before they were torn down.
    pub(crate) pools: Vec<PoolReport>,
}

/// A part of the run with one kind of buffers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PhaseReport {
    /// Bytes of the fragments that were posted; none where it was a page a packet.
    pub(crate) split: Option<u32>,
    /// Packets received.
    pub(crate) packets: u64,
    pub(crate) seconds: f64,
    /// Millions of packets a second.
    pub(crate) mpps: f64,
    /// The most pages that were seen in use.
    pub(crate) most_pages: u64,
    /// Bytes in them.
    pub(crate) most_bytes: u64,
}

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PoolReport {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) provider: &'static str,
    /// Bytes.
    pub(crate) page_size: usize,
    /// Pages on the pool's books.
    pub(crate) inflight: u64,
    /// Of those, the ones neither in its cache nor in its ring.
    pub(crate) in_use: u64,
    /// Buffers that lie in the receive ring. Of a page each, they are what is in use when a run is over.
    pub(crate) posted: u64,
    /// Pages still in use once those buffers were taken back: 0, or they were lost.
    pub(crate) lost: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) limit_hits: u64,
    /// From 0, one piece, towards 1, all in pieces; the buddy provider alone knows it.
    pub(crate) fragmentation_index: Option<f64>,
    pub(crate) alloc: Alloc,
    pub(crate) recycle: Recycle,
    /// Returns that went to cache or ring, of all returns.
    pub(crate) recycled_percent: f64,
    /// Pages.
    pub(crate) provider_allocs: u64,
    /// Pages.
    pub(crate) provider_releases: u64,
    /// `provider_allocs` when a tenth of the run was over; none where the run ended before.
    pub(crate) provider_allocs_at_10_percent: Option<u64>,
}

/// Where allocations were served from.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Alloc {
    pub(crate) fast: u64,
    pub(crate) slow: u64,
    pub(crate) slow_high_order: u64,
    pub(crate) empty: u64,
    pub(crate) refill: u64,
    pub(crate) waive: u64,
}

/// Where returns went.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Recycle {
    pub(crate) cached: u64,
    pub(crate) cache_full: u64,
    pub(crate) ring: u64,
    pub(crate) ring_full: u64,
    pub(crate) released_refcnt: u64,
}
