//! Forwarding by several queues at once, as root.

#![cfg(all(feature = "af-xdp", target_os = "linux"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/wire.rs"]
mod wire;

use std::num::NonZeroU64;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pp_netdev::afxdp::{AfxdpForwarder, AfxdpReport, Directions, Role};
use pp_netdev::{Action, ForwardConfig, Program, Verdict};
use pp_testbed::{Path, skip_without_rights};
use pp_xdp::af_xdp::Buffers;

use wire::{check, memory, port};

/// Longer than any of these runs takes, where the limit is reached.
const AT_MOST: Duration = Duration::from_secs(30);

/// Forwards by two queues until so many packets have come in, which `talk` sends.
fn forward(path: &Path, limit: u64, program: impl Program + Clone, talk: impl FnOnce()) -> AfxdpReport {
    let mut config = ForwardConfig::default();
    config.limit = NonZeroU64::new(limit);
    config.duration = Some(AT_MOST);
    let (opened, open) = mpsc::channel();
    let run = move || {
        let memory = memory();
        let from = port(Path::IN, &memory, 2, Role::Receives, Buffers::One);
        let to = port(Path::OUT, &memory, 2, Role::Sends, Buffers::One);
        let forwarder = AfxdpForwarder::new(from, to, Directions::One, |_| program.clone(), config).unwrap();
        opened.send(()).unwrap();
        forwarder.run(|_| {}).unwrap()
    };
    thread::scope(|scope| {
        let forwarder = scope.spawn(|| path.forwarder().enter(run).unwrap());
        open.recv().unwrap();
        talk();
        forwarder.join().unwrap()
    })
}

/// Whose thread is in the middle of a burst most of the time.
#[derive(Clone, Copy, Debug)]
struct Slow;

impl Program for Slow {
    fn run(&mut self, _: &mut [u8]) -> Verdict {
        thread::sleep(Duration::from_millis(1));
        Verdict::Forward
    }
}

/// All packets come to one lane, which has reserved all that may come in while it is at the first. The other finds nothing, and must
/// not take that for the end.
#[test]
fn a_lane_without_packets_leaves_the_limit_to_the_others() {
    skip_without_rights!();
    const LIMIT: u64 = 60;
    let path = Path::builder().queues(2).build().unwrap();
    for _ in 0..3 {
        let mut generator = None;
        let report = forward(&path, LIMIT, Slow, || {
            generator = Some(path.generate(path.traffic().rate(100).processor(0)).unwrap());
        });
        drop(generator);
        check(&report);
        assert_eq!((report.run.traffic.packets_in, report.run.traffic.packets_out), (LIMIT, LIMIT));
        assert!(report.run.seconds < AT_MOST.as_secs_f64());
    }
}

#[test]
fn a_limit_that_several_lanes_reach_together_is_exact() {
    skip_without_rights!();
    const LIMIT: u64 = 5000;
    let processors = thread::available_parallelism().unwrap().get();
    let path = Path::builder().queues(2).build().unwrap();
    let mut generators = Vec::new();
    let report = forward(&path, LIMIT, Action::Forward, || {
        for processor in (0..2).filter(|at| *at < processors) {
            generators.push(path.generate(path.traffic().rate(5000).processor(processor)).unwrap());
        }
    });
    drop(generators);
    check(&report);
    let traffic = &report.run.traffic;
    assert_eq!(traffic.packets_in, LIMIT);
    let by_queue = report.ports[0].queues.iter().map(|queue| queue.counters.packets_in.get() as u64);
    assert_eq!(by_queue.clone().sum::<u64>(), LIMIT, "not one more was taken out of a ring");
    if processors > 1 {
        assert!(by_queue.min() > Some(0), "both took part");
    }
}
