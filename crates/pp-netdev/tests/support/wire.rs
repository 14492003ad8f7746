//! A forwarder on AF_XDP ports in the scene of `pp-testbed`.

#![allow(dead_code, unreachable_pub, reason = "Each test file uses its part.")]

use std::sync::mpsc;
use std::thread;

use pp_core::PagePool;
use pp_netdev::afxdp::{
    AfxdpError, AfxdpForwarder, AfxdpPort, AfxdpProgress, AfxdpReport, Directions, PortConfig, Role, buffers_for,
};
use pp_netdev::{Action, ForwardConfig, Program};
use pp_provider_buddy::Buddy;
use pp_testbed::Path;
use pp_xdp::af_xdp::{Buffers, Umem};

/// Entries of the rings.
pub const ENTRIES: u32 = 1024;
/// Pages of a port's memory: of each of its queues twice.
pub const PAGES: usize = 2 * 4 * ENTRIES as usize;

/// A memory with its UMEM.
pub fn memory() -> (Buddy, Umem) {
    let buddy = Buddy::builder().unit_bytes(4096).anonymous(2 * PAGES * 4096).build().unwrap();
    let umem = Umem::new(&buddy).unwrap();
    (buddy, umem)
}

/// A port of so many queues; to be opened where the interface is.
pub fn port(name: &str, (buddy, umem): &(Buddy, Umem), queues: usize, role: Role, buffers: Buffers) -> AfxdpPort {
    let pools = (0..queues).map(|queue| {
        let name = format!("{name}@{queue}");
        PagePool::builder(buddy).name(&name).pool_size(2 * ENTRIES as usize).build().unwrap()
    });
    let config = PortConfig { role, entries: ENTRIES, buffers, ..PortConfig::default() };
    let mut port = AfxdpPort::open(umem, &name.parse().unwrap(), pools, &config).unwrap();
    port.warm_up(2 * ENTRIES as usize);
    port
}

/// How many memories the ports have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memories {
    Shared,
    Separate,
}

/// Forwards between the scene's ports while `talk` runs, which is called when packets can come, and then ends.
pub fn forward<P: Program, T>(
    path: &Path,
    memories: Memories,
    directions: Directions,
    program: impl FnMut(usize) -> P + Send,
    config: ForwardConfig,
    observer: impl FnMut(&AfxdpProgress) + Send,
    talk: impl FnOnce() -> T,
) -> (Result<AfxdpReport, AfxdpError>, T) {
    let stop = config.stop.clone();
    thread::scope(|scope| {
        let (opened, open) = mpsc::channel();
        let run = move || {
            let first = memory();
            let second = if memories == Memories::Shared { first.clone() } else { memory() };
            let buffers = buffers_for(&first.1, &["f0", "f1"].map(|name| name.parse().unwrap())).unwrap();
            let back = if directions == Directions::Both { Role::Receives } else { Role::Sends };
            let from = port(Path::IN, &first, 1, Role::Receives, buffers);
            let to = port(Path::OUT, &second, 1, back, buffers);
            let forwarder = AfxdpForwarder::new(from, to, directions, program, config).unwrap();
            opened.send(()).unwrap();
            forwarder.run(observer)
        };
        let forwarder = scope.spawn(|| path.forwarder().enter(run).unwrap());
        open.recv().unwrap();
        let said = talk();
        stop.set();
        (forwarder.join().unwrap(), said)
    })
}

/// What holds of every run between ports.
pub fn check(report: &AfxdpReport) {
    let traffic = &report.run.traffic;
    assert_eq!(traffic.packets_in, traffic.packets_out + traffic.dropped);
    assert_eq!((report.not_quiet, report.stuck), (0, 0));
    for pool in &report.run.pools {
        assert_eq!((pool.lost, pool.in_use), (0, pool.kernel_held), "{}: no user has any", pool.name);
    }
    for port in &report.ports {
        assert_eq!(port.total(|counters| counters.nonsense()), 0);
        assert_eq!(port.total(|counters| counters.sent.get()), port.total(|counters| counters.completed.get()));
    }
}

/// The program of a queue that changes nothing.
pub fn as_it_is(_: usize) -> Action {
    Action::Forward
}
