//! Packets from one interface to another, and back.

use std::sync::{Arc, Mutex};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use pp_core::{Host, PoolHandle};
use pp_xdp::af_xdp::{Closing, QueueCounters, RedirectProgram, Umem};

use super::error::{AfxdpError, LinkError, PortError, QUIET_LIMIT};
use super::lane::{Lane, Outcome, Shared};
use super::limit::Limit;
use super::port::AfxdpPort;
use super::report::{AfxdpProgress, AfxdpReport, PoolProgress, PortReport};
use super::side::{Memory, Side};
use crate::forward::watch::{StopOnExit, Watch};
use crate::forward::{ForwardConfig, ForwardError, Phase, PoolReport, Report, Traffic};
use crate::program::Program;
use crate::rx_queue::Buffers;
use crate::window::Faults;

/// Which way packets go. See [`AfxdpForwarder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Directions {
    /// From the first port to the second.
    #[default]
    One,
    /// And back as well, by the same threads.
    Both,
}

/// Forwards packets between two network interfaces: a thread a queue, which moves the pages that the kernel received into from one
/// port's receive ring to the other's transmit ring, and from the completion ring back to their pool.
///
/// If the two ports are of different memories, packets are copied from one to the other, and counted.
///
/// Of the configuration, the limit, the duration, the observer's interval and the stop flag count; without limit and duration a run
/// lasts until the flag is set. A port whose interface goes down is used again when that is up.
///
/// # Examples
///
/// ```no_run
/// use pp_core::PagePool;
/// use pp_netdev::afxdp::{AfxdpForwarder, AfxdpPort, Directions, PortConfig};
/// use pp_netdev::{Action, ForwardConfig};
/// use pp_xdp::af_xdp::Umem;
/// # use pp_core::{Home, doc::Heap};
/// # let memory = Home::new(Heap::new(4096, 16384));
///
/// let umem = Umem::new(memory.clone())?;
/// let open = |name: &str| -> Result<_, Box<dyn std::error::Error>> {
///     let pool = PagePool::builder(memory.clone()).name(name).pool_size(4096).build()?;
///     let mut port = AfxdpPort::open(&umem, &name.parse()?, [pool], &PortConfig::default())?;
///     port.warm_up(4096);
///     Ok(port)
/// };
/// let (from, to) = (open("eth0")?, open("eth1")?);
/// let forwarder = AfxdpForwarder::new(from, to, Directions::Both, |_queue| Action::Forward, ForwardConfig::default())?;
/// let report = forwarder.run(|progress| {
///     for port in progress.ports.iter().filter(|port| port.is_down()) {
///         eprintln!("{} is down", port.interface());
///     }
/// })?;
/// println!("{} packets, {} bytes copied", report.run.traffic.packets_out, report.copied_bytes);
/// for queue in report.ports.iter().flat_map(|port| &port.queues) {
///     println!("{:?}: {} received, {:?}", queue.modes, queue.counters.packets_in.get(), queue.kernel);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AfxdpForwarder<P> {
    ports: [AfxdpPort; 2],
    programs: Vec<P>,
    directions: Directions,
    config: ForwardConfig,
}

/// A pool, with all that is needed to say how it is from another thread.
struct Seen {
    handle: PoolHandle<Host>,
    umem: Umem,
    /// Whose fill ring has its pages.
    received_by: Arc<QueueCounters>,
    /// Whose transmit ring has them.
    sent_by: Arc<QueueCounters>,
}

// === impl AfxdpForwarder ===

impl<P: Program> AfxdpForwarder<P> {
    /// A forwarder that does nothing yet. `program` makes the program of each queue, from 0.
    ///
    /// # Errors
    ///
    /// [`PortError::Queues`] if one port has more queues than the other.
    pub fn new(
        from: AfxdpPort,
        to: AfxdpPort,
        directions: Directions,
        program: impl FnMut(usize) -> P,
        config: ForwardConfig,
    ) -> Result<Self, PortError> {
        let (queues_from, queues_to) = (from.queues(), to.queues());
        if queues_from != queues_to {
            let (from, to) = (from.name.to_string(), to.name.to_string());
            return Err(PortError::Queues { from, to, queues_from, queues_to });
        }
        let programs = (0..queues_from).map(program).collect();
        Ok(AfxdpForwarder { ports: [from, to], programs, directions, config })
    }

    /// Runs until the limit or the time is reached or the stop flag is set, and everything that came in went out. `observer` is called
    /// on this thread as often as the configuration says.
    ///
    /// # Errors
    ///
    /// [`AfxdpError`]: the first thing that went wrong.
    pub fn run(self, mut observer: impl FnMut(&AfxdpProgress)) -> Result<AfxdpReport, AfxdpError> {
        let AfxdpForwarder { ports, programs, directions, config } = self;
        let memory = if ports[0].umem == ports[1].umem { Memory::Shared } else { Memory::Separate };
        let mut reports: Vec<_> = ports.iter().map(PortReport::of).collect();
        let states = ports.each_ref().map(|port| Arc::clone(&port.state));
        let seen = seen(&ports, memory);
        let (attached, lanes) = lanes(ports, programs, memory, directions);
        let attached = Mutex::new(attached);
        let lives: Vec<_> = lanes.iter().map(|lane| Arc::clone(&lane.live)).collect();
        let limit = config.limit.map(|limit| Limit::new(limit.get()));
        let watch = Watch::new(&config);
        // A flag of its own, so that the caller can tell its stop from ours.
        let stop = &config.stop.child();
        let start = Instant::now();
        let mut most_pages = 0;

        let shared = &Shared { stop, programs: &attached, limit: limit.as_ref(), tenth: watch.tenth(), lives: &lives };
        let outcomes = thread::scope(|scope| {
            // Also when the observer panics, or a thread cannot be started: those that run must end.
            let _stop = StopOnExit(stop);
            let mut threads = Vec::new();
            for (at, lane) in lanes.into_iter().enumerate() {
                threads.push(watch.spawn(scope, &format!("lane{at}"), move || lane.run(shared))?);
            }
            let mut progress = AfxdpProgress {
                elapsed: start.elapsed(),
                traffic: Traffic::default(),
                pools: seen.iter().map(Seen::progress).collect(),
                ports: states.clone(),
            };
            watch.until_all_ended(&config, stop, start, || {
                progress.elapsed = start.elapsed();
                progress.traffic = Traffic::read(&lives);
                progress.pools.iter_mut().zip(&seen).for_each(|(pool, seen)| seen.update(pool));
                most_pages = most_pages.max(progress.pools.iter().map(|pool| pool.stats.in_use()).sum());
                observer(&progress);
            });
            // All of them before any `?`: a panic explains more than the error it caused elsewhere.
            let outcomes: Vec<_> = threads.into_iter().map(join).collect();
            outcomes.into_iter().collect::<Result<Vec<_>, _>>()
        })?;
        let seconds = start.elapsed().as_secs_f64();
        most_pages = most_pages.max(seen.iter().map(|pool| pool.handle.stats().in_use()).sum());

        let mut traffic = Traffic::read(&lives);
        let failed = outcomes.iter().find_map(|outcome| outcome.result.err());
        let stuck = stuck(&outcomes);
        traffic.give_up(stuck);
        let copied_bytes = reports.iter().map(|port| port.total(|counters| counters.copied_bytes.get())).sum();
        let (pools, not_quiet) = close(outcomes, &seen, &mut reports);
        if let Some((port, error)) = failed {
            let source = LinkError::of(error, &states[port]);
            return Err(AfxdpError::Link { frames: traffic.packets_in, source });
        }
        let packets = traffic.packets_in;
        let phases = vec![Phase { buffers: Buffers::Pages, packets, seconds, most_pages }];
        let run = Report { traffic, seconds, phases, pools, faults: Faults::default() };
        Ok(AfxdpReport { run, ports: reports, copied_bytes, stuck, not_quiet })
    }
}

/// The pools, those of the first port first.
fn seen(ports: &[AfxdpPort; 2], memory: Memory) -> Vec<Seen> {
    let of = |port: &AfxdpPort, other: &AfxdpPort| {
        let pairs = port.lanes.iter().zip(&other.lanes);
        let umem = port.umem.clone();
        pairs
            .map(|((queue, pool), (peer, _))| Seen {
                handle: pool.handle(),
                umem: umem.clone(),
                received_by: Arc::clone(queue.counters()),
                sent_by: Arc::clone(if memory == Memory::Shared { peer.counters() } else { queue.counters() }),
            })
            .collect::<Vec<_>>()
    };
    let [from, to] = ports;
    let mut seen = of(from, to);
    seen.extend(of(to, from));
    seen
}

/// Takes ports apart: what brings packets to them, and the queues by pairs.
fn lanes<P: Program>(
    ports: [AfxdpPort; 2],
    programs: Vec<P>,
    memory: Memory,
    directions: Directions,
) -> (Vec<RedirectProgram>, Vec<Lane<P>>) {
    let mut attached = Vec::new();
    let [from, to] = ports.map(|port| {
        attached.extend(port.program);
        let state = port.state;
        port.lanes.into_iter().map(move |(queue, pool)| Side::new(queue, pool, Arc::clone(&state)))
    });
    let lanes = from.zip(to).zip(programs).map(|((from, to), program)| Lane {
        sides: [from, to],
        memory,
        directions,
        program,
        live: Arc::default(),
    });
    let lanes = lanes.collect();
    (attached, lanes)
}

/// Packets that were sent and did not come back: with packets in several pages as many as there can be.
fn stuck(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().flat_map(|outcome| &outcome.sides).map(|side| side.outstanding() as u64).sum()
}

/// Closes the queues, and has the pools' figures from before and after.
fn close(outcomes: Vec<Outcome>, seen: &[Seen], ports: &mut [PortReport]) -> (Vec<PoolReport>, usize) {
    // All of them before the first is closed: a pool's pages may be in any queue.
    let mut pools = Vec::new();
    for port in 0..2 {
        pools.extend(outcomes.iter().map(|outcome| {
            let allocs = outcome.allocs_at_10_percent.map(|allocs| allocs[port]);
            outcome.sides[port].report(allocs)
        }));
    }
    for (pool, seen) in pools.iter_mut().zip(seen) {
        pool.kernel_held = seen.umem.kernel_held(&seen.handle);
    }
    let (mut closing, mut kept) = (Vec::new(), Vec::new());
    for (lane, outcome) in outcomes.into_iter().enumerate() {
        for (port, side) in outcome.sides.into_iter().enumerate() {
            ports[port].queues[lane].kernel = side.queue.statistics().ok();
            closing.push(side.queue.close());
            kept.push(side.pool);
        }
    }
    let end = Instant::now() + QUIET_LIMIT;
    let quiet = |closing: Closing| closing.wait(end.saturating_duration_since(Instant::now())).is_ok();
    let not_quiet = closing.into_iter().map(quiet).filter(|quiet| !quiet).count();
    for (pool, seen) in pools.iter_mut().zip(seen) {
        pool.lost = seen.handle.stats().in_use();
    }
    (pools, not_quiet)
}

/// What a thread returned, or the panic it ended with.
fn join<T>(handle: ScopedJoinHandle<'_, T>) -> Result<T, ForwardError> {
    let thread = handle.thread().name().unwrap_or_default().to_owned();
    handle.join().map_err(|payload| ForwardError::panicked(thread, &*payload))
}

// === impl Seen ===

impl Seen {
    fn progress(&self) -> PoolProgress {
        let mut progress =
            PoolProgress { name: self.handle.name().to_owned(), stats: self.handle.stats(), kernel_held: 0 };
        self.update(&mut progress);
        progress
    }

    fn update(&self, progress: &mut PoolProgress) {
        progress.kernel_held = self.received_by.posted() + self.sent_by.outstanding();
        progress.stats = self.handle.stats();
    }
}

#[cfg(test)]
mod tests {
    use pp_core::{Home, PagePool, doc::Heap};

    use super::*;

    #[test]
    fn an_observer_never_sees_more_with_the_kernel_than_was_given() {
        let home = Home::new(Heap::new(4096, 8));
        let pool = PagePool::builder(home.clone()).build().unwrap();
        let umem = Umem::new(home).unwrap();
        let (received_by, sent_by) = (Arc::<QueueCounters>::default(), Arc::<QueueCounters>::default());
        let seen = Seen { handle: pool.handle(), umem, received_by: received_by.clone(), sent_by: sent_by.clone() };
        // What a processor may show that reads the counts in another order: a chunk that came back before it was given.
        received_by.received.set(1);
        assert_eq!(seen.progress().kernel_held, 0);
        sent_by.sent.set(3);
        sent_by.completed.set(1);
        assert_eq!(seen.progress().kernel_held, 2);
    }
}
