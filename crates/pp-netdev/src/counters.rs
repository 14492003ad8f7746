//! What a run has done so far, readable from any thread while it goes on.

use pp_core::sync::Counter;

/// The counters of a run. Each group has one writer, and a cache line pair of its own.
///
/// While the run goes on, groups are read at different moments, so the sums need not add up; when it is over they do.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use pp_netdev::Live;
///
/// let live = Arc::new(Live::default());
/// live.rx.frames.add(1); // its device
/// live.rx.bytes.add(60);
/// let in_flight = live.rx.frames.get() - live.tx.frames.get(); // anybody
/// assert_eq!((in_flight, live.napi.polls.get(), live.cleaned.buffers.get()), (1, 0, 0));
/// ```
#[derive(Debug, Default)]
pub struct Live {
    /// Written by the receiving device.
    pub rx: RxCounters,
    /// Written by the poll loop.
    pub napi: NapiCounters,
    /// Written by the transmitting device.
    pub tx: TxCounters,
    /// Written by the thread that cleans the transmit ring.
    pub cleaned: CleanCounters,
}

/// Counters of the receiving device (`rtnl_link_stats64` has most of them under similar names). See [`Live`].
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RxCounters {
    /// Frames taken from the source.
    pub frames: Counter,
    /// Bytes in them.
    pub bytes: Counter,
    /// Frames larger than the buffers: `rx_length_errors`.
    pub length_errors: Counter,
    /// Frames for which no buffer was posted: `rx_missed_errors`.
    pub missed: Counter,
    /// Frames whose page could not be reached.
    pub faults: Counter,
    /// Times the device waited for a page.
    pub waits: Counter,
}

/// Counters of the poll loop. See [`Live`].
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct NapiCounters {
    /// Polls.
    pub polls: Counter,
    /// The most packets one poll took.
    pub largest_poll: Counter,
    /// Packets taken from the receive ring.
    pub received: Counter,
    /// Packets the program dropped.
    pub dropped: Counter,
    /// Packets thrown away because the transmitting device was gone, or their pool closed early ([`RxQueue::free_retired`]).
    ///
    /// [`RxQueue::free_retired`]: crate::RxQueue::free_retired
    pub discarded: Counter,
    /// Buffers that lie in the receive ring now.
    pub posted: Counter,
    /// Refills that ended early because the pool had no page.
    pub starved: Counter,
    /// Polls that ended early because the transmit ring was full.
    pub tx_full: Counter,
}

/// Counters of the transmitting device. See [`Live`].
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TxCounters {
    /// Frames the sink has taken.
    pub frames: Counter,
    /// Bytes in them.
    pub bytes: Counter,
    /// Frames whose page could not be reached.
    pub faults: Counter,
}

/// Counters of the thread that cleans the transmit ring. See [`Live`].
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CleanCounters {
    /// Buffers taken back from the device and given to their pool.
    pub buffers: Counter,
    /// Batches in which that happened.
    pub batches: Counter,
    /// Of the buffers, those that were never sent because the device was gone.
    pub unsent: Counter,
}
