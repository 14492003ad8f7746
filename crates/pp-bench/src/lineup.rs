//! Who takes part: peers, contenders, and the line-up of one case.
//!
//! A *peer* is a thing that could do a pool's work, ours among them. A *contender* is a peer used in one way. A case
//! enters its contenders one by one; a peer that was not asked for is never made, and one that cannot be had is named with
//! the reason.

use core::fmt;
use std::time::Instant;

use clap::ValueEnum;

use crate::measure::{Effort, Middle, Rounds, measure};
pub(crate) use crate::measure::{Runner, timed};
use crate::quiet::Watch;

/// What can be measured. The first comments' words are what `--list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// ours
    Pool,
    /// the bare limit of one thread: an array and a count in memory
    ArrayStack,
    /// the bare limit of two threads: a batched ring each way
    Rings,
    /// what the kernel's pool returns through: a bounded ring with a lock for its producers
    LockedRing,
    /// crossbeam's bounded queue
    ArrayQueue,
    /// crossbeam's unbounded queue
    SegQueue,
    /// an object pool of Rust's, on an ArrayQueue
    Opool,
    /// the C library's allocator
    Malloc,
    /// mimalloc, linked in
    Mimalloc,
    /// jemalloc, from the system's libjemalloc.so.2
    Jemalloc,
    /// a mapping for each page
    Mmap,
    /// what drivers did before pools: a ring of pages with reference counts, of which only the head is looked at
    PageRing,
    /// the same with two packets to a page and a count that is paid in advance
    BiasSplit,
    /// DPDK's rte_mempool with a cache for each core
    Mempool,
    /// DPDK's rte_mempool without caches
    MempoolUncached,
    /// a shared slice on the heap
    ArcSlice,
    /// the `bytes` crate, splitting buffers of 64 KiB
    BytesMut,
    /// our buddy allocator, without a pool
    Buddy,
    /// what the machine takes for a loop, an atomic operation, a lock, a memory access, a hand-over
    Machine,
}

impl Peer {
    /// The name in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Peer::Pool => "pool",
            Peer::ArrayStack => "array stack",
            Peer::Rings => "two rings",
            Peer::LockedRing => "locked ring",
            Peer::ArrayQueue => "crossbeam ArrayQueue",
            Peer::SegQueue => "crossbeam SegQueue",
            Peer::Opool => "opool",
            Peer::Malloc => "malloc",
            Peer::Mimalloc => "mimalloc",
            Peer::Jemalloc => "jemalloc",
            Peer::Mmap => "mmap, munmap",
            Peer::PageRing => "page ring (driver hack)",
            Peer::BiasSplit => "bias split (driver hack)",
            Peer::Mempool => "DPDK mempool",
            Peer::MempoolUncached => "DPDK mempool, uncached",
            Peer::ArcSlice => "Arc<[u8]>",
            Peer::BytesMut => "BytesMut",
            Peer::Buddy => "buddy",
            Peer::Machine => "machine",
        }
    }
}

/// A peer used in one way; the way is empty where there is only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) peer: Peer,
    pub(crate) way: &'static str,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            "" => f.write_str(self.peer.label()),
            way => write!(f, "{}, {way}", self.peer.label()),
        }
    }
}

/// [`timed`] for what can only be done in rounds of `each` pages: `run` does so many rounds, and what was too much is taken
/// off in proportion.
pub(crate) fn in_rounds(each: usize, mut run: impl FnMut(usize) + 'static) -> Runner {
    Box::new(move |pages| {
        let rounds = pages.div_ceil(each);
        let start = Instant::now();
        run(rounds);
        start.elapsed().mul_f64(pages as f64 / (rounds * each) as f64)
    })
}

/// Why somebody does not take part, in a sentence's end: "absent: ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absent(pub(crate) String);

/// Somebody who takes part, or would.
pub(crate) struct Contender {
    pub(crate) who: Who,
    pub(crate) run: Result<Runner, Absent>,
}

/// The processors of a run, and who was asked for.
#[derive(Debug)]
pub(crate) struct Stage {
    /// At least one; threads are pinned to them in this order.
    pub(crate) cpus: Vec<usize>,
    /// Nobody named: everybody.
    pub(crate) peers: Vec<Peer>,
    /// Whether contenders are made, or only named.
    pub(crate) purpose: Purpose,
}

/// What a line-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Measuring,
    /// Nobody is made; all are absent.
    #[cfg(test)]
    Naming,
}

impl Stage {
    fn wants(&self, peer: Peer) -> bool {
        // Without the pool there is nothing to compare with, without the machine's own cost nothing to read it by.
        matches!(peer, Peer::Pool | Peer::Machine) || self.peers.is_empty() || self.peers.contains(&peer)
    }

    /// The processor of a second thread.
    pub(crate) fn other(&self) -> usize {
        self.cpus.get(1).or(self.cpus.first()).copied().unwrap_or_default()
    }
}

/// The contenders of one case, in the order of entry. The first is what the others are compared with.
pub(crate) struct Lineup<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) contenders: Vec<Contender>,
}

impl<'a> Lineup<'a> {
    pub(crate) fn new(stage: &'a Stage) -> Self {
        Lineup { stage, contenders: Vec::new() }
    }

    /// Enters a contender that can always be had.
    pub(crate) fn enter(&mut self, peer: Peer, way: &'static str, make: impl FnOnce() -> Runner) {
        self.enter_if(peer, way, || Ok(make()));
    }

    /// Enters one that may be missing on this machine.
    pub(crate) fn enter_if(&mut self, peer: Peer, way: &'static str, make: impl FnOnce() -> Result<Runner, Absent>) {
        if self.stage.wants(peer) {
            let run = match self.stage.purpose {
                Purpose::Measuring => make(),
                #[cfg(test)]
                Purpose::Naming => Err(Absent("not made".into())),
            };
            self.contenders.push(Contender { who: Who { peer, way }, run });
        }
    }
}

/// What was measured of one contender: nanoseconds a page of each round, in the order of the rounds.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) who: Who,
    /// Empty for one who is absent.
    pub(crate) samples: Vec<f64>,
    pub(crate) absent: Option<Absent>,
}

impl Outcome {
    pub(crate) fn middle(&self) -> Option<Middle> {
        Middle::of(&self.samples)
    }

    /// This one's time through `other`'s, turn by turn.
    pub(crate) fn through(&self, other: &Outcome) -> Option<Middle> {
        Middle::of_ratios(&self.samples, &other.samples)
    }
}

/// How far the quartiles lie apart, in parts of the median.
pub(crate) fn spread(middle: &Middle) -> f64 {
    (middle.quartiles.1 - middle.quartiles.0) / middle.median
}

impl Lineup<'_> {
    /// Measures all who are there.
    pub(crate) fn measure(self, effort: Effort, watch: &Watch) -> (Vec<Outcome>, Rounds) {
        let mut runners = Vec::new();
        let mut outcomes = Vec::new();
        for Contender { who, run } in self.contenders {
            let absent = run.map(|run| runners.push(run)).err();
            outcomes.push(Outcome { who, samples: Vec::new(), absent });
        }
        let present = outcomes.iter_mut().filter(|outcome| outcome.absent.is_none());
        let (samples, rounds) = measure(&mut runners, effort, watch);
        for (outcome, samples) in present.zip(samples) {
            outcome.samples = samples;
        }
        (outcomes, rounds)
    }
}
