//! What a run between AF_XDP ports did.

use std::sync::Arc;
use std::time::Duration;

use pp_core::Stats;
use pp_xdp::af_xdp::{Attached, KernelStatistics, Modes, QueueCounters};

use super::port::{AfxdpPort, Role};
use super::state::PortState;
use crate::forward::{Report, Traffic};
use crate::port::AfxdpName;

/// What a run did. See [`AfxdpForwarder`](super::AfxdpForwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AfxdpReport {
    /// Packets, time and pools: one a queue, those of the port that packets come in from first.
    pub run: Report,
    /// The ports, in the same order.
    pub ports: Vec<PortReport>,
    /// Bytes that were copied because the ports are in different memories.
    pub copied_bytes: u64,
    /// Packets that were on their way out when the run ended, and did not get there: counted as dropped.
    pub stuck: u64,
    /// Queues that were not given up by the kernel in time. What it holds of them is counted as lost, and comes back later.
    pub not_quiet: usize,
}

/// What one port did. See [`AfxdpForwarder`](super::AfxdpForwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortReport {
    /// What it was opened by.
    pub name: AfxdpName,
    /// What it was for.
    pub role: Role,
    /// Where its program was, if it had one.
    pub attached: Option<Attached>,
    /// Why that was not the driver, if it was asked.
    pub native_refusal: Option<String>,
    /// How many queues the interface has, if its driver says so: those that are not among the port's are the ordinary stack's.
    pub interface_queues: Option<u32>,
    /// Its queues.
    pub queues: Vec<QueueReport>,
}

/// What one queue did. See [`AfxdpForwarder`](super::AfxdpForwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueReport {
    /// Its number at the interface.
    pub queue: u32,
    /// What it was bound to.
    pub modes: Modes,
    /// What we counted.
    pub counters: Arc<QueueCounters>,
    /// What the kernel counted; `None` if it would not say any more.
    pub kernel: Option<KernelStatistics>,
}

/// What an observer sees of a run that goes on. See [`AfxdpForwarder`](super::AfxdpForwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AfxdpProgress {
    /// Since the start.
    pub elapsed: Duration,
    /// The packets so far.
    pub traffic: Traffic,
    /// The pools, one a queue, those of the port that packets come in from first.
    pub pools: Vec<PoolProgress>,
    /// The ports, in the same order.
    pub ports: [Arc<PortState>; 2],
}

/// How a pool is doing. See [`AfxdpForwarder`](super::AfxdpForwarder).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolProgress {
    /// The pool's name.
    pub name: String,
    /// Its statistics.
    pub stats: Stats,
    /// Pages that the kernel holds: of those in use, the ones no user has.
    pub kernel_held: usize,
}

// === impl PortReport ===

impl PortReport {
    /// Of a port as it was opened; what it counts is filled in at the end.
    pub(super) fn of(port: &AfxdpPort) -> Self {
        let program = port.program.as_ref();
        let queues = (port.name.queue().unwrap_or(0)..).zip(&port.lanes).map(|(queue, (opened, _))| QueueReport {
            queue,
            modes: opened.modes(),
            counters: Arc::clone(opened.counters()),
            kernel: None,
        });
        PortReport {
            name: port.name.clone(),
            role: port.role,
            attached: program.map(|program| program.attached()),
            native_refusal: program.and_then(|program| program.native_refusal()).map(ToString::to_string),
            interface_queues: port.interface_queues,
            queues: queues.collect(),
        }
    }

    /// What of a counter all queues have together. [`AfxdpSource`](super::AfxdpSource) shows it.
    pub fn total(&self, of: impl Fn(&QueueCounters) -> usize) -> u64 {
        self.queues.iter().map(|queue| of(&queue.counters) as u64).sum()
    }
}
