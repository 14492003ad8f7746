//! Two pairs of interfaces with a forwarder between them: `a0 - f0, f1 - b0`.

use std::time::{Duration, Instant};

use pp_core::PagePool;
use pp_provider_buddy::Buddy;
use pp_xdp::XDP_PACKET_HEADROOM;
use pp_xdp::af_xdp::{
    AttachMode, Filter, Interface, KernelStatistics, Packets, QueueConfig, RedirectProgram, Umem, XskQueue,
};

use crate::net::namespace::ip;
use crate::wire::Wire;

/// How long a queue may take to be quiet, and frames to arrive. Most take milliseconds; on a machine whose processors are all at work on
/// something else, the kernel leaves its own work for later.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Makes the two pairs in this namespace.
pub(crate) fn make(mtu: usize, queues: u32) {
    // Nobody else is to send here.
    let _without_ipv6 = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    let shape = format!("mtu {mtu} numrxqueues {queues} numtxqueues {queues}");
    for (far, near) in [("a0", "f0"), ("b0", "f1")] {
        ip(&format!("link add {far} {shape} type veth peer name {near} {shape}"));
        ip(&format!("link set {far} up"));
        ip(&format!("link set {near} up"));
    }
}

/// How the forwarder's ports are opened.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) attach: AttachMode,
    pub(crate) packets: Packets,
    pub(crate) filter: Filter,
    pub(crate) queues: u32,
    pub(crate) config: QueueConfig,
}

impl Default for Setup {
    /// The library's defaults, with small rings.
    fn default() -> Self {
        Setup {
            attach: AttachMode::Best,
            packets: Packets::Whole,
            filter: Filter::new(),
            queues: 1,
            config: QueueConfig { entries: 64, patience: SOON, ..QueueConfig::default() },
        }
    }
}

/// One of the forwarder's interfaces, with all its queues.
pub(crate) struct Port {
    pub(crate) umem: Umem,
    pub(crate) pool: PagePool,
    pub(crate) queues: Vec<XskQueue>,
    /// `None` where the test attaches one of its own.
    pub(crate) program: Option<RedirectProgram>,
}

/// A pool on a provider of 4 MiB that leaves something to others.
pub(crate) fn pool(buddy: &Buddy, name: &str) -> PagePool {
    PagePool::builder(buddy).name(name).refill(16).cache(64).pool_size(1024).build().unwrap()
}

impl Port {
    /// All of it.
    pub(crate) fn open(name: &str, umem: &Umem, buddy: &Buddy, setup: &Setup) -> Self {
        let mut port = Self::without_program(name, umem, buddy, setup);
        port.attach(name, setup);
        port
    }

    pub(crate) fn without_program(name: &str, umem: &Umem, buddy: &Buddy, setup: &Setup) -> Self {
        let interface = Interface::by_name(name).unwrap();
        let mut pool = pool(buddy, name);
        let open = |queue| {
            let config = QueueConfig { queue, ..setup.config.clone() };
            XskQueue::open(umem, &mut pool, &interface, &config).unwrap()
        };
        let queues = (0..setup.queues).map(open).collect();
        Port { umem: umem.clone(), pool, queues, program: None }
    }

    pub(crate) fn attach(&mut self, name: &str, setup: &Setup) {
        let ifindex = Interface::by_name(name).unwrap().index();
        let program =
            RedirectProgram::attach(ifindex, setup.attach, &setup.filter, setup.packets, setup.queues).unwrap();
        for (queue, number) in self.queues.iter().zip(0..) {
            program.map().insert(number, queue).unwrap();
        }
        self.program = Some(program);
    }

    /// Pages of the port's pool that the kernel has.
    pub(crate) fn held(&self) -> usize {
        self.umem.kernel_held(&self.pool.handle())
    }

    /// A counter's sum over the queues.
    pub(crate) fn sum(&self, counter: impl Fn(&XskQueue) -> usize) -> usize {
        self.queues.iter().map(counter).sum()
    }

    /// The kernel's counts, added up.
    pub(crate) fn statistics(&self) -> KernelStatistics {
        self.queues.iter().fold(KernelStatistics::default(), |mut sum, queue| {
            let more = queue.statistics().unwrap();
            sum.rx_dropped += more.rx_dropped;
            sum.rx_ring_full += more.rx_ring_full;
            sum.rx_fill_ring_empty += more.rx_fill_ring_empty;
            sum.rx_invalid_descs += more.rx_invalid_descs;
            sum.tx_invalid_descs += more.tx_invalid_descs;
            sum
        })
    }

    /// Takes back what was sent, until the kernel has none of it.
    pub(crate) fn complete_all(&mut self) {
        let patience = Instant::now() + SOON;
        for queue in &mut self.queues {
            while queue.counters().completed.get() < queue.counters().sent.get() {
                assert!(Instant::now() < patience, "never completed: {:?}", queue.counters());
                queue.tx.flush().unwrap();
                queue.tx.complete_into(&mut self.pool);
            }
        }
    }

    /// Closes all of it, waits until it is quiet, and finds every page at home.
    pub(crate) fn close(self) {
        close([self]);
    }
}

/// The same of several.
pub(crate) fn close(ports: impl IntoIterator<Item = Port>) {
    let close = |Port { umem, pool, queues, program }: Port| {
        drop(program);
        (umem, pool, queues.into_iter().map(XskQueue::close).collect::<Vec<_>>())
    };
    let closings: Vec<_> = ports.into_iter().map(close).collect();
    for (umem, pool, closings) in closings {
        closings.into_iter().for_each(|closing| closing.wait(SOON).expect("quiet soon"));
        assert_eq!((umem.kernel_held(&pool.handle()), pool.stats().in_use()), (0, 0));
    }
}

/// 4 MiB of ordinary memory and the UMEM that it is.
pub(crate) fn memory() -> (Buddy, Umem) {
    let buddy = Buddy::anonymous(4 << 20).unwrap();
    let umem = Umem::new(&buddy).unwrap();
    (buddy, umem)
}

/// Waits until it is so.
pub(crate) fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let patience = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < patience, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Moves what has come in at one port to the other; the number of packets. Copies only between UMEMs.
pub(crate) fn forward(from: &mut Port, to: &mut Port) -> usize {
    let (headroom, mut moved) = (from.umem.headroom() as usize + XDP_PACKET_HEADROOM, 0);
    for (rx, tx) in from.queues.iter_mut().zip(&mut to.queues) {
        if rx.modes().busy_poll.is_some() {
            rx.rx.wake().unwrap();
        }
        for packet in rx.rx.receive(64) {
            assert_eq!((packet.headroom(), packet.meta_len()), (headroom, 0));
            tx.tx.send_copy(packet, &mut to.pool).map_err(|refused| refused.reason).unwrap();
            moved += 1;
        }
        tx.tx.flush().unwrap();
        tx.tx.complete_into(&mut from.pool);
        rx.rx.refill(&mut from.pool).unwrap();
    }
    moved
}

/// Takes frames out of a wire until these numbers have come, each once and in any order, while `work` goes on.
pub(crate) fn arrive(wire: &Wire, numbers: impl IntoIterator<Item = u32>, mut work: impl FnMut() -> usize) {
    let mut missing: std::collections::BTreeSet<_> = numbers.into_iter().collect();
    let patience = Instant::now() + SOON;
    while !missing.is_empty() {
        work();
        while let Some(number) = wire.receive() {
            assert!(missing.remove(&number), "frame {number} came twice, or was never sent");
        }
        assert!(Instant::now() < patience, "never came: {missing:?}");
    }
}

/// A provider that everything is back at, after all that was dropped.
pub(crate) fn all_home(buddy: &Buddy) {
    assert_eq!((buddy.free_units(), buddy.stray_releases()), (buddy.total_units(), 0), "pages are missing");
}
