//! What a queue did so far.

use pp_core::sync::Counter;

/// Counts of a queue, each written by the side that it is about, readable from anywhere. [`XskQueue::counters`](super::XskQueue::counters) has them.
///
/// ```
/// use pp_xdp::af_xdp::QueueCounters;
/// let counters = QueueCounters::default();
/// assert_eq!((counters.given.get(), counters.posted(), counters.outstanding()), (0, 0, 0));
/// assert_eq!((counters.kernel_held(), counters.nonsense()), (0, 0));
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
    /// Chunks in the fill ring, and with packets that have not been received.
    pub fn posted(&self) -> usize {
        away(&self.given, &self.received)
    }

    /// Chunks that were sent and are not completed.
    pub fn outstanding(&self) -> usize {
        away(&self.sent, &self.completed)
    }

    /// Chunks that the kernel holds from this queue.
    pub fn kernel_held(&self) -> usize {
        self.posted() + self.outstanding()
    }

    /// What came from the kernel and made no sense.
    pub fn nonsense(&self) -> usize {
        [&self.out_of_area, &self.not_given, &self.bad_length, &self.astray].iter().map(|count| count.get()).sum()
    }
}

/// How many went `out` and did not come `back`, of counts that wrap around.
fn away(out: &Counter, back: &Counter) -> usize {
    // What came back is read first, so that what another thread does meanwhile rather counts as away. Nothing keeps a processor from reading
    // them the other way round: then it looks as if more came back than went out, which is none.
    let back = back.get();
    let away = out.get().wrapping_sub(back);
    if away > usize::MAX / 2 { 0 } else { away }
}

#[cfg(test)]
mod tests {
    use super::QueueCounters;

    #[test]
    fn what_seems_to_have_come_back_before_it_went_is_not_away() {
        let counters = QueueCounters::default();
        for (out, back, away) in [(0, 0, 0), (7, 3, 4), (3, 7, 0), (0, usize::MAX, 1), (usize::MAX, 0, 0)] {
            counters.given.set(out);
            counters.received.set(back);
            counters.sent.set(out);
            counters.completed.set(back);
            let held = [counters.posted(), counters.outstanding(), counters.kernel_held()];
            assert_eq!(held, [away, away, 2 * away], "{back} of {out}");
        }
    }
}
