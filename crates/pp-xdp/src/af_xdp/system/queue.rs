//! A queue of an interface, with its socket.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::PoisonError;
use std::time::Instant;

use pp_core::{Host, PagePool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::config::{Modes, QueueConfig};
use super::error::OpenError;
use super::interface::Interface;
use super::probe::QueueProbe;
use super::socket::{Rings, Socket, SocketDriver, Unbound};
use crate::af_xdp::binding::{Binding, WakeError};
use crate::af_xdp::close_sides;
use crate::af_xdp::closing::Closing;
use crate::af_xdp::counters::QueueCounters;
use crate::af_xdp::rx::{RefillError, XskRx};
use crate::af_xdp::tx::XskTx;
use crate::af_xdp::umem::Umem;
use crate::mem_type::MemType;
use crate::memory::MemModel;
use crate::registry::Registry;
use crate::rxq::{RxqInfo, RxqParams};

/// A queue of an interface: its AF_XDP socket and the four rings of it.
///
/// Nothing comes in before a program redirects packets to it: see [`RedirectProgram`](crate::af_xdp::RedirectProgram). The two sides may go to
/// different threads; packets of one queue's receiving side leave through the sending side of any queue of the UMEM. `AsFd` is for
/// `poll`, `epoll` and async runtimes: readable when packets have come in, writable when the transmit ring has room. When the interface goes
/// they say nothing; [`wait`](Self::wait), `flush` and `wake` do.
///
/// Dropping it closes it, in the background; [`close`](Self::close) says when that is over. If a side was exchanged for another queue's, each
/// queue closes when both of its own are gone. The child of a fork has the sockets and not the rings: it must not use a queue, and may drop it.
///
/// # Examples
///
/// ```no_run
/// use pp_core::PagePool;
/// use pp_xdp::af_xdp::{AttachMode, Filter, Interface, Packets, QueueConfig, RedirectProgram, Umem, XskQueue};
/// # use pp_core::{Home, doc::Heap};
/// # let buddy = Home::new(Heap::new(4096, 8192));
///
/// let umem = Umem::new(buddy.clone())?;
/// let mut pool = PagePool::builder(buddy).name("eth0").build()?;
/// let eth0 = Interface::by_name("eth0")?;
/// let mut queue = XskQueue::open(&umem, &mut pool, &eth0, &QueueConfig::default())?;
/// let program = RedirectProgram::attach(eth0.index(), AttachMode::Best, &Filter::default(), Packets::Whole, 1)?;
/// program.map().insert(0, &queue)?;
/// println!("{:?}, {:?}", queue.modes(), program.attached());
/// loop {
///     for buff in queue.rx.receive(64) {
///         drop(buff); // or any other thing
///     }
///     queue.rx.refill(&mut pool)?;
///     queue.wait(None)?;
///     println!("{} in, {} for want of chunks", queue.counters().packets_in.get(), queue.statistics()?.rx_fill_ring_empty);
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct XskQueue {
    /// First: the sides, which go last, close it.
    socket: Arc<Socket>,
    /// The receiving side.
    pub rx: XskRx,
    /// The sending side.
    pub tx: XskTx,
    counters: Arc<QueueCounters>,
    modes: Modes,
}

/// What the kernel counted for a socket (`struct xdp_statistics`). [`XskQueue`] has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelStatistics {
    /// Packets dropped for other reasons than those below; in copy mode those longer than a chunk.
    pub rx_dropped: u64,
    /// Packets dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// How often the fill ring was empty when a packet came.
    pub rx_fill_ring_empty: u64,
    /// Addresses of the fill ring that made no sense to it.
    pub rx_invalid_descs: u64,
    /// Descriptors of the transmit ring that made no sense to it.
    pub tx_invalid_descs: u64,
    /// How often it looked into an empty transmit ring.
    pub tx_ring_empty: u64,
}

/// How long to sleep at a time: `poll` says nothing of an interface that goes.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

impl XskQueue {
    /// Opens a queue into the UMEM and fills it from `pool`, which draws on the same provider.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. Pages that were posted are back in their pool, or come back by themselves where the kernel had seen them.
    pub fn open(
        umem: &Umem,
        pool: &mut PagePool<Host>,
        interface: &Interface,
        config: &QueueConfig,
    ) -> Result<Self, OpenError> {
        // The kernel counts in 16 bits, and takes the lower ones of what is more.
        if config.queue > u16::MAX.into() {
            let (interface, queues) = (interface.name().into(), interface.queues().unwrap_or(1));
            return Err(OpenError::NoQueue { interface, queue: config.queue, queues });
        }
        let mut rxq = RxqInfo::new();
        rxq.reg(RxqParams::new(interface.index(), config.queue)).map_err(OpenError::Register)?;
        let model = MemModel::new(MemType::XskBuffPool, pool.handle());
        rxq.reg_mem_model(&Registry::new(), model).map_err(OpenError::Register)?;

        let tag = umem.places().tag().map_err(|_| OpenError::Exhausted)?;
        let probe = QueueProbe::new(umem, interface.index(), config.queue)?;
        let (unbound, Rings { fill, completion, rx, tx }) = Unbound::new(umem, interface, config)?;
        // Filled before it is bound: drivers take chunks when they are told of the queue, and some don't ask again.
        let counters = Arc::new(QueueCounters::default());
        let binding = Arc::new(Binding::new(umem.clone(), tag));
        let mut rx = XskRx::new(rx, fill, rxq, counters.clone(), binding.clone());
        match rx.refill(pool) {
            // A queue of fewer pages than places is one all the same; of none, it is filled later.
            Ok(_) | Err(RefillError::Alloc(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let socket = Arc::new(unbound.bind(interface, config)?);
        // From here on the kernel has the chunks, and whatever fails ends like any other queue: when both sides are dropped.
        binding.bound(Box::new(SocketDriver::new(socket.clone(), probe)));
        let tx = XskTx::new(tx, completion, socket.sides(), counters.clone(), binding);
        let modes = socket.settle(interface, config)?;
        umem.sharers().lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&socket));
        Ok(XskQueue { socket, rx, tx, counters, modes })
    }

    /// What it got of what it was opened for.
    pub fn modes(&self) -> Modes {
        self.modes
    }

    /// What it did so far.
    pub fn counters(&self) -> &Arc<QueueCounters> {
        &self.counters
    }

    /// What the kernel counted.
    ///
    /// # Errors
    ///
    /// [`OpenError::Os`].
    pub fn statistics(&self) -> Result<KernelStatistics, OpenError> {
        let statistics = self.socket.statistics()?;
        Ok(KernelStatistics {
            rx_dropped: statistics.rx_dropped,
            rx_ring_full: statistics.rx_ring_full.unwrap_or(0),
            rx_fill_ring_empty: statistics.rx_fill_ring_empty_descs.unwrap_or(0),
            rx_invalid_descs: statistics.rx_invalid_descs,
            tx_invalid_descs: statistics.tx_invalid_descs,
            tx_ring_empty: statistics.tx_ring_empty_descs.unwrap_or(0),
        })
    }

    /// Sleeps until packets have come in, at most so long, or until a signal was handled. Whether some have come in.
    ///
    /// # Errors
    ///
    /// [`WakeError::Gone`] if the interface is gone.
    pub fn wait(&self, limit: Option<Duration>) -> Result<bool, WakeError> {
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let left = end.map_or(LONGEST_SLEEP, |end| end.saturating_duration_since(Instant::now()));
            let sleep = Timespec::try_from(left.min(LONGEST_SLEEP)).ok();
            let mut fds = [PollFd::new(self, PollFlags::IN)];
            match poll(&mut fds, sleep.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(false),
                Err(error) => return Err(WakeError::Os { call: "poll", code: error.raw_os_error() }),
            }
            if fds[0].revents().contains(PollFlags::IN) {
                return Ok(true);
            }
            match self.socket.look() {
                // It may come up again.
                Ok(()) | Err(WakeError::Down) if left <= LONGEST_SLEEP && end.is_some() => return Ok(false),
                Ok(()) | Err(WakeError::Down) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives it up: rings unmapped and socket closed when this returns. See [`Closing`].
    pub fn close(self) -> Closing {
        let XskQueue { socket, rx, tx, .. } = self;
        drop(socket);
        close_sides(rx, tx)
    }
}

impl AsFd for XskQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
