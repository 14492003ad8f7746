//! What a queue did so far.

use pp_core::sync::Counter;

/// Counts of a queue, each written by the side that it is about, readable from anywhere. [`XskQueue::counters`](super::XskQueue::counters) has them.
///
/// ```
/// use pp_xdp::af_xdp::QueueCounters;
/// let counters = QueueCounters::default();
/// assert_eq!((counters.given.get(), counters.kernel_held(), counters.nonsense()), (0, 0, 0));
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct QueueCounters {
    /// Chunks put into the fill ring.
    pub given: Counter,
    /// Chunks taken out of the receive ring.
    pub received: Counter,
    /// Packets received.
    pub packets_in: Counter,
    /// Bytes in them.
    pub bytes_in: Counter,
    /// Chunks put into the transmit ring.
    pub sent: Counter,
    /// Packets sent.
    pub packets_out: Counter,
    /// Bytes in them.
    pub bytes_out: Counter,
    /// Chunks taken out of the completion ring.
    pub completed: Counter,
    /// Bytes that were copied because their packet was in memory of another UMEM, or of none.
    pub copied_bytes: Counter,
    /// Calls that had the kernel look at a ring.
    pub wakes: Counter,
    /// Received descriptors whose address is beyond the memory.
    pub out_of_area: Counter,
    /// Descriptors of chunks that were not given to this queue, or had come back already; received and completed ones.
    pub not_given: Counter,
    /// Received descriptors of no bytes, or of more than their chunk has.
    pub bad_length: Counter,
    /// Packets dropped because one of their descriptors made no sense, or they have more chunks than a packet may.
    pub broken_packets: Counter,
    /// How often a cursor of the kernel was where none can be; the ring was left alone that time.
    pub astray: Counter,
}

impl QueueCounters {
    /// Chunks that the kernel holds from this queue.
    pub fn kernel_held(&self) -> usize {
        // What came back is read first, so that what another thread does meanwhile is rather counted as held. Nothing keeps a processor from
        // reading them the other way round: then it looks as if more came back than was given, which is none.
        let back = self.received.get().wrapping_add(self.completed.get());
        let held = self.given.get().wrapping_add(self.sent.get()).wrapping_sub(back);
        if held > usize::MAX / 2 { 0 } else { held }
    }

    /// What came from the kernel and made no sense.
    pub fn nonsense(&self) -> usize {
        [&self.out_of_area, &self.not_given, &self.bad_length, &self.astray].iter().map(|count| count.get()).sum()
    }
}
