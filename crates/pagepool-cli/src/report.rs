//! What a run did, in the words that scripts rely on.

use serde::Serialize;

/// The object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Packets the first device took from the port.
    pub(crate) packets_in: u64,
    /// Packets the second device gave to the port.
    pub(crate) packets_out: u64,
    /// Packets that came in and did not go out: dropped by verdict, because they fit no buffer, or because they were too short
    /// for an AF_XDP port.
    pub(crate) dropped: u64,
    /// Bytes of the packets that came in.
    pub(crate) bytes: u64,
    /// Of those dropped, the ones that fit no buffer.
    pub(crate) too_long: u64,
    /// Of those dropped, the ones without a whole Ethernet header, which AF_XDP ports do not send.
    pub(crate) too_short: u64,
    /// From the start of the threads to the end of the last one, completing the output included.
    pub(crate) seconds: f64,
    /// Millions of packets in, a second.
    pub(crate) mpps: f64,
    /// The run by the kind of its buffers: one phase, or with `--split` two.
    pub(crate) phases: Vec<PhaseReport>,
    /// The pools, one a queue, as they were before they were torn down; of two AF_XDP ports those of `--in` first.
    pub(crate) pools: Vec<PoolReport>,
    /// Bytes that were copied to or from an AF_XDP port's memory; 0 where its pages moved.
    pub(crate) copied_bytes: u64,
    /// The AF_XDP ports, in the order of `--in` and `--out`.
    pub(crate) ports: Vec<PortReport>,
    /// Packets that were on their way out of an AF_XDP port when the run ended, for the sentence under the table.
    #[serde(skip)]
    pub(crate) stuck: u64,
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
    /// Of those in use, the ones that the operating system's kernel holds; the others a user has. Only AF_XDP ports give it any.
    pub(crate) kernel_held: u64,
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

/// One AF_XDP port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PortReport {
    /// Its name, as on the command line.
    pub(crate) port: String,
    pub(crate) interface: String,
    /// Whether packets come in from it.
    pub(crate) receives: bool,
    pub(crate) modes: Modes,
    /// How many queues the interface has, where its driver says so.
    pub(crate) interface_queues: Option<u32>,
    /// All queues together.
    #[serde(flatten)]
    pub(crate) counts: PortCounts,
    /// All queues together; none if the interface was gone.
    pub(crate) kernel: Option<KernelCounts>,
    pub(crate) queues: Vec<QueueReport>,
}

/// What a port was opened as.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Modes {
    /// Where the program was that brings packets in, `native` or `generic`; none where none come in.
    pub(crate) attached: Option<String>,
    /// Why it was not in the driver, if it was asked.
    pub(crate) native_refusal: Option<String>,
    /// `copy` or `zerocopy`.
    pub(crate) bound: &'static str,
    /// Whether the kernel says when it wants to be called.
    pub(crate) need_wakeup: bool,
    /// Whether packets may lie in several pages.
    pub(crate) several_buffers: bool,
}

/// One queue of a port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QueueReport {
    pub(crate) queue: u32,
    #[serde(flatten)]
    pub(crate) counts: PortCounts,
    pub(crate) kernel: Option<KernelCounts>,
}

/// What we counted at rings.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct PortCounts {
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
    /// Pages put into the fill ring.
    pub(crate) fill: u64,
    /// Pages taken out of the receive ring.
    pub(crate) rx: u64,
    /// Pages put into the transmit ring.
    pub(crate) tx: u64,
    /// Pages taken out of the completion ring.
    pub(crate) completion: u64,
    pub(crate) copied_bytes: u64,
    /// Calls that had the kernel look at a ring.
    pub(crate) wakes: u64,
    /// Descriptors that made no sense.
    pub(crate) nonsense: u64,
}

/// What the kernel counted (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct KernelCounts {
    pub(crate) rx_dropped: u64,
    pub(crate) rx_ring_full: u64,
    pub(crate) rx_fill_ring_empty: u64,
    pub(crate) rx_invalid_descs: u64,
    pub(crate) tx_invalid_descs: u64,
    pub(crate) tx_ring_empty: u64,
}

// === impl PortCounts, KernelCounts ===

impl PortCounts {
    pub(crate) fn plus(self, other: &Self) -> Self {
        Self {
            packets_in: self.packets_in + other.packets_in,
            bytes_in: self.bytes_in + other.bytes_in,
            packets_out: self.packets_out + other.packets_out,
            bytes_out: self.bytes_out + other.bytes_out,
            fill: self.fill + other.fill,
            rx: self.rx + other.rx,
            tx: self.tx + other.tx,
            completion: self.completion + other.completion,
            copied_bytes: self.copied_bytes + other.copied_bytes,
            wakes: self.wakes + other.wakes,
            nonsense: self.nonsense + other.nonsense,
        }
    }
}

impl KernelCounts {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            rx_dropped: self.rx_dropped + other.rx_dropped,
            rx_ring_full: self.rx_ring_full + other.rx_ring_full,
            rx_fill_ring_empty: self.rx_fill_ring_empty + other.rx_fill_ring_empty,
            rx_invalid_descs: self.rx_invalid_descs + other.rx_invalid_descs,
            tx_invalid_descs: self.tx_invalid_descs + other.tx_invalid_descs,
            tx_ring_empty: self.tx_ring_empty + other.tx_ring_empty,
        }
    }
}
