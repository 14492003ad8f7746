//! What is refused, in which words, and that nothing is left of it: the same queue opens afterwards.

use core::time::Duration;
use std::time::Instant;

use pp_core::{PagePool, RegionMemory};
use pp_provider_buddy::Buddy;
use pp_xdp::af_xdp::{
    BindMode, Buffers, BusyPoll, Interface, OpenError, QueueConfig, RedirectProgram, Umem, UmemError, XskQueue,
};

use crate::child;
use crate::net::namespace::{Shown, in_bare_namespace, ip, shown};
use crate::net::rights;
use crate::scene::{self, SOON, all_home};

/// A UMEM with a pool, and what has to be at home in the end.
struct Memory {
    buddy: Buddy,
    umem: Umem,
    pool: PagePool,
}

impl Memory {
    fn new() -> Self {
        let buddy = Buddy::anonymous(1 << 20).unwrap();
        let (umem, pool) = (Umem::new(&buddy).unwrap(), scene::pool(&buddy, "refused"));
        Memory { buddy, umem, pool }
    }

    fn open(&mut self, name: &str, config: &QueueConfig) -> Result<XskQueue, OpenError> {
        XskQueue::open(&self.umem, &mut self.pool, &Interface::by_name(name)?, config)
    }

    /// Fails in these words, and leaves nothing.
    #[track_caller]
    fn refuses(&mut self, name: &str, config: &QueueConfig, sentence: &str) -> OpenError {
        let before = (self.umem.kernel_held(&self.pool.handle()), self.pool.stats().in_use());
        let error = self.open(name, config).map(|queue| queue.modes()).unwrap_err();
        assert_eq!(error.to_string(), sentence, "{error:?}");
        assert_eq!((self.umem.kernel_held(&self.pool.handle()), self.pool.stats().in_use()), before, "held still");
        error
    }

    /// What was asked for wrongly can be asked for rightly.
    #[track_caller]
    fn opens(&mut self, name: &str) {
        let queue = self.open(name, &config()).unwrap();
        queue.close().wait(SOON).expect("quiet soon");
        assert_eq!(self.pool.stats().in_use(), 0);
    }

    fn end(self) {
        let Memory { buddy, umem, pool } = self;
        drop((umem, pool));
        all_home(&buddy);
    }
}

fn config() -> QueueConfig {
    QueueConfig { entries: 64, patience: SOON, ..QueueConfig::default() }
}

/// Does not wait for a queue that is in use.
fn impatient() -> QueueConfig {
    QueueConfig { patience: Duration::ZERO, ..config() }
}

#[test]
fn no_such_interface() {
    in_bare_namespace(|| {
        const GONE: &str = "there is no interface `f0` here; `ip link` lists those that there are";
        let mut memory = Memory::new();
        assert_eq!(Interface::by_name("f0").unwrap_err().to_string(), GONE);
        for name in ["", "a name that no interface can have", "nul\0", "ä"] {
            let error = Interface::by_name(name).unwrap_err();
            assert_eq!(error, OpenError::NoInterface { name: name.into() });
        }
        scene::make(1500, 1);
        // Found, and gone before it is opened.
        let f0 = Interface::by_name("f0").unwrap();
        ip("link del dev f0");
        let error = XskQueue::open(&memory.umem, &mut memory.pool, &f0, &config()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), GONE);
        assert_eq!((f0.mtu().unwrap_err().to_string(), f0.queues()), (GONE.into(), None));
        assert_eq!(memory.pool.stats().in_use(), 0);
        memory.opens("f1");
        memory.end();
    });
}

#[test]
fn no_such_queue() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        ip("link add wide numrxqueues 4 numtxqueues 2 type veth peer name other numrxqueues 2 numtxqueues 4");
        ip("link set wide up");
        let mut memory = Memory::new();
        let refused = |memory: &mut Memory, name: &str, queue, queues| {
            let words = format!(
                "`{name}` has no queue {queue}: it has {queues}, counted from 0; `ethtool -L` changes that where the driver can"
            );
            let config = QueueConfig { queue, ..config() };
            let error = memory.refuses(name, &config, &words);
            assert_eq!(error, OpenError::NoQueue { interface: name.into(), queue, queues });
        };
        refused(&mut memory, "f0", 1, 1);
        refused(&mut memory, "f0", u32::MAX, 1);
        refused(&mut memory, "f0", 1 << 16, 1);
        assert_eq!(Interface::by_name("wide").unwrap().queues(), Some(4));
        refused(&mut memory, "wide", 4, 4);
        // A driver that does not say how many there are.
        refused(&mut memory, "lo", 1, 1);
        // The second queue into a UMEM is opened another way.
        let first = memory.open("f1", &config()).unwrap();
        refused(&mut memory, "f0", 1, 1);
        refused(&mut memory, "wide", 5, 4);
        // This one receives, and there is none to send on; the kernel says nothing of it.
        let mut last = memory.open("wide", &QueueConfig { queue: 3, ..config() }).unwrap();
        last.tx.send_bytes(&[0; 60], &mut memory.pool).unwrap();
        last.tx.flush().unwrap();
        assert!(last.tx.has_unsent());
        for queue in [first, last] {
            queue.close().wait(SOON).expect("quiet soon");
        }
        memory.opens("f0");
        memory.opens("lo");
        memory.end();
    });
}

#[test]
fn a_queue_in_use() {
    const IN_USE: &str = "queue 0 of `f0` is in use by another AF_XDP socket; end what has it (ss --xdp -p)";
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let (mut theirs, mut ours) = (Memory::new(), Memory::new());
        let queue = theirs.open("f0", &config()).unwrap();
        let error = ours.refuses("f0", &impatient(), IN_USE);
        assert_eq!(error, OpenError::InUse { interface: "f0".into(), queue: 0 });
        // It was waited for.
        let begun = Instant::now();
        let patience = Duration::from_millis(100);
        ours.refuses("f0", &QueueConfig { patience, ..config() }, IN_USE);
        assert!(begun.elapsed() >= patience);
        // Of the same UMEM, where the kernel would share the queue.
        theirs.refuses("f0", &config(), IN_USE);
        // A second socket of ours is no help.
        let other = ours.open("f1", &config()).unwrap();
        ours.refuses("f0", &impatient(), IN_USE);

        // Somebody waits, and gets it.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ours.open("f0", &QueueConfig { patience: SOON, ..config() }).unwrap());
            std::thread::sleep(Duration::from_millis(20));
            queue.close().wait(SOON).expect("quiet, or it could not be opened");
            waiting.join().unwrap().close().wait(SOON).expect("quiet soon");
        });
        other.close().wait(SOON).expect("quiet soon");
        theirs.opens("f0");
        theirs.end();
        ours.end();
    });
}

#[test]
fn zero_copy_on_a_veth() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let mut memory = Memory::new();
        let zero_copy = QueueConfig { bind: BindMode::ZeroCopy, ..config() };
        let error = memory.refuses("f0", &zero_copy, "the driver of `f0` has no zero-copy AF_XDP; use copy mode");
        assert_eq!(error, OpenError::ZeroCopy { interface: "f0".into() });
        // A second queue gets the mode of the first, which is not what is asked for.
        let first = memory.open("f1", &config()).unwrap();
        memory.refuses(
            "f0",
            &zero_copy,
            "`f0` can't be opened beside the UMEM's other queues, which are bound in copy mode; open it first, or into a UMEM of its own",
        );
        let second = memory.open("f0", &config()).unwrap();
        for queue in [first, second] {
            queue.close().wait(SOON).expect("quiet soon");
        }
        memory.opens("f0");
        memory.end();
    });
}

#[test]
fn what_a_configuration_cannot_be() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let mut memory = Memory::new();
        let words = |entries: u32| {
            format!(
                "rings of {entries} entries are not possible; use a power of two from 2 to 32768, or from 32 for packets of several \
                 chunks"
            )
        };
        for entries in [0, 1, 3, 100, 65536, u32::MAX] {
            memory.refuses("f0", &QueueConfig { entries, ..config() }, &words(entries));
        }
        let several = QueueConfig { entries: 16, buffers: Buffers::Several, ..config() };
        memory.refuses("f0", &several, &words(16));
        for entries in [2, 32768] {
            let queue = memory.open("f0", &QueueConfig { entries, ..config() }).unwrap();
            queue.close().wait(SOON).expect("quiet soon");
        }
        // The first queue of a UMEM says what packets are for all of them.
        let first = memory.open("f1", &config()).unwrap();
        memory.refuses(
            "f0",
            &QueueConfig { buffers: Buffers::Several, ..config() },
            "packets of several chunks are not possible on `f0`: they need Linux 6.6, and the UMEM's first queue opened for \
             them too",
        );
        first.close().wait(SOON).expect("quiet soon");

        let mut stranger = Memory::new();
        core::mem::swap(&mut stranger.pool, &mut memory.pool);
        memory.refuses(
            "f0",
            &config(),
            "the queue can't be filled: the pool's pages are not chunks of the queue's UMEM; build the pool on the provider \
             that the UMEM was made of",
        );
        core::mem::swap(&mut stranger.pool, &mut memory.pool);
        memory.opens("f0");
        memory.end();
        stranger.end();
    });
}

/// The kernel would refuse them; so it is not asked.
#[test]
fn chunks_that_are_not_possible() {
    let buddy = |unit_bytes| Buddy::builder().unit_bytes(unit_bytes).anonymous(1 << 20).build().unwrap();
    let sentence = |chunk_bytes: u32, unit_bytes: usize| {
        format!(
            "chunks of {chunk_bytes} bytes are not possible in units of {unit_bytes}; the kernel takes aligned chunks of 2048 or \
             4096, as long as the unit, and unaligned ones of any length from 2048 to 4096 that fits it"
        )
    };
    for unit_bytes in [8192, 65536] {
        let error = Umem::new(buddy(unit_bytes)).unwrap_err();
        assert_eq!(error, UmemError::ChunkBytes { chunk_bytes: unit_bytes as u32, unit_bytes });
        assert_eq!(error.to_string(), sentence(unit_bytes as u32, unit_bytes));
    }
    for (chunk_bytes, unit_bytes) in [(1024, 2048), (2047, 4096), (4097, 4096), (8192, 8192), (3000, 2048), (0, 4096)] {
        let error = Umem::builder(buddy(unit_bytes)).unaligned(chunk_bytes).build().unwrap_err();
        assert_eq!(error.to_string(), sentence(chunk_bytes, unit_bytes));
    }
    // Units that no buddy has.
    let units = pp_core::Home::new(pp_core::doc::Heap::new(1024, 16));
    assert_eq!(Umem::new(units).unwrap_err().to_string(), sentence(1024, 1024));
    assert!(Buddy::builder().unit_bytes(3000).anonymous(1 << 20).build().is_err());
}

/// Mapped memory of the test's own.
struct Mapped(*mut u8, usize);

impl Mapped {
    fn new(bytes: usize, protection: i32) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the system chooses addresses that nobody uses.
        let base = unsafe { libc::mmap(core::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        Mapped(base.cast(), bytes)
    }
}

// SAFETY: the mapping is this value's own.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}
// SAFETY: mapped and unmoved until the drop. It can't be touched, and the test touches no page.
unsafe impl RegionMemory for Mapped {
    fn base(&self) -> *mut u8 {
        self.0
    }
    fn bytes(&self) -> usize {
        self.1
    }
}
impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: from `mmap`, with this length.
        unsafe { libc::munmap(self.0.cast(), self.1) };
    }
}

#[test]
fn memory_that_the_kernel_cannot_reach() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        for protection in [libc::PROT_NONE, libc::PROT_READ] {
            // SAFETY: nobody else has it.
            let buddy = unsafe { Buddy::builder().exclusive_memory(Mapped::new(1 << 20, protection)) }.build().unwrap();
            let (umem, pool) = (Umem::new(&buddy).unwrap(), scene::pool(&buddy, "refused"));
            let mut memory = Memory { buddy, umem, pool };
            memory.refuses(
                "f0",
                &config(),
                "the kernel can't use the UMEM's memory; use ordinary, memfd or huge pages that may be read and written",
            );
            memory.end();
        }
        let mut memory = Memory::new();
        memory.opens("f0");
        memory.end();
    });
}

#[test]
fn no_rights() {
    in_bare_namespace(|| {
        scene::make(1500, 1);
        let mut memory = Memory::new();
        std::thread::scope(|scope| {
            let without = scope.spawn(|| {
                rights::keep(&[rights::CAP_NET_ADMIN, rights::CAP_BPF]);
                memory.refuses(
                    "f0",
                    &config(),
                    "no right to open AF_XDP sockets, which takes CAP_NET_RAW; run as root, or grant it: setcap \
                     cap_net_raw,cap_net_admin,cap_bpf+ep PROGRAM",
                )
            });
            assert_eq!(without.join().unwrap(), OpenError::NotPermitted);
        });
        memory.opens("f0");
        // This one right does for the socket; not for the program.
        std::thread::scope(|scope| {
            let raw = scope.spawn(|| {
                rights::keep(&[rights::CAP_NET_RAW]);
                memory.opens("f0");
                let index = Interface::by_name("f0").unwrap().index();
                let program = RedirectProgram::attach(
                    index,
                    pp_xdp::af_xdp::AttachMode::Best,
                    &pp_xdp::af_xdp::Filter::new(),
                    pp_xdp::af_xdp::Packets::Whole,
                    1,
                );
                assert_eq!(
                    program.unwrap_err().to_string(),
                    "bpf(BPF_MAP_CREATE) is not permitted: a program at an interface needs CAP_NET_ADMIN and CAP_BPF, and not \
                     only in a user namespace; run as root, or once `setcap cap_net_admin,cap_net_raw,cap_bpf+ep FILE` (before \
                     Linux 5.11 a larger RLIMIT_MEMLOCK as well)"
                );
                let busy_poll = Some(BusyPoll { microseconds: 20, budget: 64 });
                memory.refuses(
                    "f0",
                    &QueueConfig { busy_poll, ..config() },
                    "no right to poll the driver of a queue, which takes CAP_NET_ADMIN; run as root, grant it (setcap \
                     cap_net_raw,cap_net_admin,cap_bpf+ep PROGRAM), or open the queue without busy polling",
                );
                memory.opens("f0");
            });
            raw.join().unwrap();
        });
        assert_eq!(shown("f0"), Shown::Nowhere);
        memory.opens("f0");
        memory.end();
    });
}

/// The limit is that of a process, so these run in ones of their own.
#[test]
fn too_little_memory_may_be_locked() {
    child::run("refusals::locks_too_much");
}

#[test]
#[ignore = "in a process of its own: too_little_memory_may_be_locked"]
fn locks_too_much() {
    child::only(|| {
        in_bare_namespace(|| {
            scene::make(1500, 1);
            for limit in [256 << 10, 0] {
                child::limit_locked_memory(limit);
                let mut memory = Memory::new();
                std::thread::scope(|scope| {
                    let without = scope.spawn(|| {
                        rights::keep(&[rights::CAP_NET_RAW, rights::CAP_NET_ADMIN]);
                        let words = format!(
                            "the UMEM's 1048576 bytes would be locked beside what the user has locked already, and the limit is {limit}; raise it (ulimit -l), run as \
                             root, or use less memory"
                        );
                        memory.refuses("f0", &config(), &words)
                    });
                    let limit = Some(limit);
                    assert_eq!(without.join().unwrap(), OpenError::LockedMemory { bytes: 1 << 20, limit });
                });
                memory.opens("f0"); // with CAP_IPC_LOCK there is no limit
                memory.end();
            }
        });
    });
}
