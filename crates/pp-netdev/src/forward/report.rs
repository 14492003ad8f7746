//! What a run did, while it goes on and when it is over.

use std::sync::Arc;
use std::time::Duration;

use pp_core::{Description, Stats};

use super::phases::Phase;
use crate::counters::Live;
use crate::window::Faults;

/// The figures of a run at one moment. See [`Forwarder`](super::Forwarder).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Frames taken from the source.
    pub packets_in: u64,
    /// Bytes in them.
    pub bytes_in: u64,
    /// Frames the sink has taken.
    pub packets_out: u64,
    /// Bytes in them.
    pub bytes_out: u64,
    /// Frames that will not go out, for any reason: the sum of the five below.
    pub dropped: u64,
    /// Dropped by the program's verdict.
    pub dropped_by_program: u64,
    /// Larger than the buffer.
    pub rx_length_errors: u64,
    /// Found no buffer posted.
    pub rx_missed: u64,
    /// Lost because a device could not reach their page; [`Report::faults`] says why.
    pub dma_faults: u64,
    /// Received but not sent, because the transmitting device was gone or their pool closed early.
    pub unsent: u64,
    /// Buffers that lie in the receive rings.
    pub posted: u64,
}

impl Traffic {
    /// What all queues did together.
    pub(crate) fn read(lives: &[Arc<Live>]) -> Self {
        lives.iter().fold(Traffic::default(), |mut sum, live| {
            sum.add(live);
            sum
        })
    }

    /// Counts packets that were thought to go out as dropped after all.
    #[cfg(all(
        feature = "af-xdp",
        target_os = "linux",
        not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")))
    ))]
    pub(crate) fn give_up(&mut self, packets: u64) {
        let packets = packets.min(self.packets_out);
        self.packets_out -= packets;
        self.unsent += packets;
        self.dropped += packets;
    }

    fn add(&mut self, live: &Live) {
        // Backwards along the way of a packet, so that a reader sees rather more come in than go out.
        let (tx, napi, rx, cleaned) = (&live.tx, &live.napi, &live.rx, &live.cleaned);
        let tx_faults = tx.faults.get();
        // A page the device failed on counts as unsent where it is cleaned; it was counted as a fault already.
        let unsent = (cleaned.unsent.get().saturating_sub(tx_faults) + napi.discarded.get()) as u64;
        self.packets_out += tx.frames.get() as u64;
        self.bytes_out += tx.bytes.get() as u64;
        let dropped_by_program = napi.dropped.get() as u64;
        self.posted += napi.posted.get() as u64;
        let [length_errors, missed] = [&rx.length_errors, &rx.missed].map(|counter| counter.get() as u64);
        let dma_faults = (rx.faults.get() + tx_faults) as u64;
        self.packets_in += rx.frames.get() as u64;
        self.bytes_in += rx.bytes.get() as u64;
        self.dropped_by_program += dropped_by_program;
        self.rx_length_errors += length_errors;
        self.rx_missed += missed;
        self.dma_faults += dma_faults;
        self.unsent += unsent;
        self.dropped += dropped_by_program + length_errors + missed + dma_faults + unsent;
    }
}

/// What an observer sees of a run that goes on. See [`Forwarder`](super::Forwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// The packets so far.
    pub traffic: Traffic,
    /// The statistics of the pools, one a queue.
    pub pools: Vec<Stats>,
}

/// One pool's figures at the end of a run: the traffic is out, the receive ring still filled.
/// See [`Forwarder`](super::Forwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolReport {
    /// The pool's number.
    pub id: usize,
    /// The pool's name.
    pub name: String,
    /// Its statistics.
    pub stats: Stats,
    /// What its provider said of itself, with these pages out.
    pub provider: Description,
    /// Buffers that lie in the receive ring.
    pub posted: usize,
    /// Pages out of the pool: as many as buffers are posted, where each has a page of its own.
    pub in_use: usize,
    /// Of those, the ones that the operating system's kernel holds: only at `afxdp` ports.
    pub kernel_held: usize,
    /// Pages still out once the receive ring had given back what was posted: 0, or they were lost on the way.
    pub lost: usize,
    /// Pages obtained from the provider when a tenth of the run was over. `None` if nobody could say when that was, or
    /// the run ended before.
    pub provider_allocs_at_10_percent: Option<usize>,
}

/// What a run did. See [`Forwarder`](super::Forwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The packets.
    pub traffic: Traffic,
    /// From the start of the threads to the end of the last one, in seconds.
    pub seconds: f64,
    /// The parts of the run by what was posted: one, unless the buffers were changed half way.
    pub phases: Vec<Phase>,
    /// One a queue.
    pub pools: Vec<PoolReport>,
    /// Accesses of the devices that their window refused.
    pub faults: Faults,
}
