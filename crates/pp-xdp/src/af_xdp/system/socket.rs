//! Sockets: opened, bound, woken, asked.

#![allow(unsafe_code, reason = "a region is given to the kernel, and its rings are taken from it")]

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpStatistics, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::config::{BindMode, Bound, BusyPoll, Modes, QueueConfig};
use super::error::OpenError;
use super::given_up::{self, QueueId};
use super::interface::Interface;
use super::mmap::{Mapping, map_ring};
use super::probe::QueueProbe;
use super::sys::{self, SocketOption};
use crate::af_xdp::binding::{Driver, WakeError, Woken};
use crate::af_xdp::closing::Probe;
use crate::af_xdp::descriptor::{ChunkLayout, XdpDesc};
use crate::af_xdp::ring::{Consumer, Producer};
use crate::af_xdp::tx::{Buffers, Wakeups};
use crate::af_xdp::umem::Umem;
use crate::packet::MAX_FRAGS;

/// A socket that is bound to a queue.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    id: QueueId,
    buffers: Buffers,
    wakeups: Wakeups,
}

/// The sockets that have a UMEM in common: the kernel takes the next one for theirs.
pub(crate) type Sharers = Vec<Weak<Socket>>;

/// The rings of a socket.
pub(crate) struct Rings {
    pub(crate) fill: Producer<u64>,
    pub(crate) completion: Consumer<u64>,
    pub(crate) rx: Consumer<XdpDesc>,
    pub(crate) tx: Producer<XdpDesc>,
}

/// A socket on its way: it has memory and rings, and is bound to nothing.
pub(crate) struct Unbound {
    fd: OwnedFd,
    id: QueueId,
    /// The one whose UMEM it takes over; otherwise it has registered the memory itself.
    sharer: Option<Arc<Socket>>,
}

impl Unbound {
    /// A socket for the UMEM.
    pub(crate) fn new(umem: &Umem, interface: &Interface, config: &QueueConfig) -> Result<(Self, Rings), OpenError> {
        let fd = socket()?;
        let id = QueueId::new(&fd, interface.index(), config.queue);
        let mut sharers = umem.sharers().lock().unwrap_or_else(PoisonError::into_inner);
        sharers.retain(|sharer| sharer.strong_count() > 0);
        // One whose interface is gone has no UMEM to give any more; with one of the same queue the kernel would have the rings in common.
        let can_share = |sharer: &Arc<Socket>| sharer.id != id && sharer.look() != Err(WakeError::Gone);
        let sharer = sharers.iter().filter_map(Weak::upgrade).find(can_share);
        drop(sharers);
        if let Some(first) = &sharer {
            first.check(interface, config)?;
        }
        if sharer.is_none() {
            let flags = match umem.layout() {
                ChunkLayout::Aligned => XdpUmemRegFlags::empty(),
                ChunkLayout::Unaligned => XdpUmemRegFlags::XDP_UMEM_UNALIGNED_CHUNK_FLAG,
            };
            let memory = (umem.base(), umem.bytes(), umem.chunk_bytes(), umem.headroom());
            register(&fd, memory, flags).map_err(|error| refused(error, umem))?;
        }
        if let Some(busy_poll) = config.busy_poll {
            poll_the_driver(&fd, busy_poll)?;
        }
        let rings = make_rings(fd.as_fd(), config)?;
        Ok((Unbound { fd, id, sharer }, rings))
    }

    /// Binds it, waiting for a queue that is not quiet yet for as long as the configuration says.
    pub(crate) fn bind(self, interface: &Interface, config: &QueueConfig) -> Result<Socket, OpenError> {
        let (ifindex, queue, id) = (interface.index(), config.queue, self.id);
        let in_use = || OpenError::InUse { interface: interface.name().into(), queue };
        let give_up = Instant::now().checked_add(config.patience);
        loop {
            match self.try_bind(ifindex, queue, config) {
                Ok(()) => break,
                Err(Errno::BUSY) if give_up.is_none_or(|end| Instant::now() < end) => {
                    thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::BUSY) => return Err(in_use()),
                // The kernel wants of it what the first one got.
                Err(Errno::OPNOTSUPP) if self.follows_zero_copy() => {
                    return Err(OpenError::ModeOfFirst { interface: interface.name().into(), first: Bound::ZeroCopy });
                }
                Err(error) => return Err(refused_bind(error, interface, config)),
            }
        }
        given_up::succeeded(id);
        let (buffers, wakeups) =
            self.sharer.as_ref().map_or((config.buffers, config.wakeups), |sharer| (sharer.buffers, sharer.wakeups));
        Ok(Socket { fd: self.fd, id, buffers, wakeups })
    }

    fn follows_zero_copy(&self) -> bool {
        self.sharer.as_ref().is_some_and(|first| first.bound() == Ok(Bound::ZeroCopy))
    }

    fn try_bind(&self, ifindex: u32, queue: u32, config: &QueueConfig) -> Result<(), Errno> {
        if let Some(sharer) = &self.sharer {
            // Everything else is as it was for the first of them.
            let addr = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, ifindex, queue);
            return net::bind(&self.fd, &SocketAddrXdpWithSharedUmem { addr, shared_umem_fd: sharer.fd.as_fd() });
        }
        let mut flags = match config.bind {
            BindMode::Best => SocketAddrXdpFlags::empty(),
            BindMode::Copy => SocketAddrXdpFlags::XDP_COPY,
            BindMode::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
        };
        if config.wakeups == Wakeups::WhenNeeded {
            flags |= SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
        }
        if config.buffers == Buffers::Several {
            flags |= SocketAddrXdpFlags::XDP_USE_SG;
        }
        net::bind(&self.fd, &SocketAddrXdp::new(flags, ifindex, queue))
    }
}

impl Socket {
    /// Whether a queue of that configuration can be opened into the same UMEM, whose mode the kernel has from this one.
    fn check(&self, interface: &Interface, config: &QueueConfig) -> Result<(), OpenError> {
        let (name, first) = (interface.name().into(), self.bound()?);
        match (config.bind, first) {
            (BindMode::ZeroCopy, Bound::Copy) | (BindMode::Copy, Bound::ZeroCopy) => {
                Err(OpenError::ModeOfFirst { interface: name, first })
            }
            _ if config.buffers == Buffers::Several && self.buffers == Buffers::One => {
                Err(OpenError::SeveralBuffers { interface: name })
            }
            _ => Ok(()),
        }
    }

    /// How packets are sent.
    pub(crate) fn sides(&self) -> (Buffers, Wakeups) {
        (self.buffers, self.wakeups)
    }

    /// Sets what is set once it is bound, and says what was got.
    pub(crate) fn settle(&self, interface: &Interface, config: &QueueConfig) -> Result<Modes, OpenError> {
        let bound = self.bound()?;
        if config.bind == BindMode::ZeroCopy && bound == Bound::Copy {
            return Err(OpenError::ZeroCopy { interface: interface.name().into() });
        }
        // Newer kernels send the whole ring in a call; on others a call sends 32 and says that there is more.
        let _ = sys::set_option(&self.fd, SocketOption::TxBudget, config.entries);
        Ok(Modes { bound, buffers: self.buffers, wakeups: self.wakeups, busy_poll: config.busy_poll })
    }

    /// Has the kernel look at the fill ring.
    ///
    /// # Errors
    ///
    /// What became of the interface; this is also how to find out.
    pub(crate) fn look(&self) -> Result<(), WakeError> {
        let mut nothing = [0u8; 0];
        match net::recv(&self.fd, &mut nothing[..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => Ok(()),
            Err(error) => Err(wake_error("recvfrom", error)),
        }
    }

    fn bound(&self) -> Result<Bound, OpenError> {
        let options = sockopt::xdp_options(&self.fd).map_err(OpenError::os("getsockopt(XDP_OPTIONS)"))?;
        let zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        Ok(if zero_copy { Bound::ZeroCopy } else { Bound::Copy })
    }

    pub(crate) fn statistics(&self) -> Result<XdpStatistics, OpenError> {
        sockopt::xdp_statistics(&self.fd).map_err(OpenError::os("getsockopt(XDP_STATISTICS)"))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket that nothing is known of.
pub(crate) fn socket() -> Result<OwnedFd, OpenError> {
    net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None).map_err(|error| match error {
        Errno::PERM | Errno::ACCESS => OpenError::NotPermitted,
        Errno::AFNOSUPPORT => OpenError::NoAfXdp,
        error => OpenError::os("socket(AF_XDP)")(error),
    })
}

/// Registers memory with a socket: address, bytes, bytes of a chunk, headroom.
pub(crate) fn register(
    fd: &OwnedFd,
    (base, bytes, chunk_size, headroom): (usize, usize, u32, u32),
    flags: XdpUmemRegFlags,
) -> Result<(), Errno> {
    let (addr, len) = (base as u64, bytes as u64);
    sockopt::set_xdp_umem_reg(fd, XdpUmemReg { addr, len, chunk_size, headroom, flags, tx_metadata_len: 0 })
}

/// Has the socket's calls do the driver's work.
fn poll_the_driver(fd: &OwnedFd, BusyPoll { microseconds, budget }: BusyPoll) -> Result<(), OpenError> {
    let set = |option, value, call| {
        sys::set_option(fd, option, value).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::PERM) => OpenError::BusyPoll,
            _ => OpenError::Os { call, code: error.raw_os_error().unwrap_or(0) },
        })
    };
    set(SocketOption::PreferBusyPoll, 1, "setsockopt(SO_PREFER_BUSY_POLL)")?;
    set(SocketOption::BusyPoll, microseconds, "setsockopt(SO_BUSY_POLL)")?;
    set(SocketOption::BusyPollBudget, budget.into(), "setsockopt(SO_BUSY_POLL_BUDGET)")
}

/// Makes and maps the four rings of a socket.
fn make_rings(fd: BorrowedFd<'_>, config: &QueueConfig) -> Result<Rings, OpenError> {
    let entries = config.entries;
    // A packet of as many chunks as one may have fits.
    let least = if config.buffers == Buffers::Several { (MAX_FRAGS as u32 + 1).next_power_of_two() } else { 2 };
    if !entries.is_power_of_two() || !(least..=32768).contains(&entries) {
        return Err(OpenError::Entries { entries });
    }
    sockopt::set_xdp_umem_fill_ring_size(fd, entries).map_err(OpenError::os("setsockopt(XDP_UMEM_FILL_RING)"))?;
    sockopt::set_xdp_umem_completion_ring_size(fd, entries)
        .map_err(OpenError::os("setsockopt(XDP_UMEM_COMPLETION_RING)"))?;
    sockopt::set_xdp_rx_ring_size(fd, entries).map_err(OpenError::os("setsockopt(XDP_RX_RING)"))?;
    sockopt::set_xdp_tx_ring_size(fd, entries).map_err(OpenError::os("setsockopt(XDP_TX_RING)"))?;
    let at = sockopt::xdp_mmap_offsets(fd).map_err(OpenError::os("getsockopt(XDP_MMAP_OFFSETS)"))?;
    // SAFETY: each ring was made with this many entries of this type just now, is empty, and each side is made once here; the kernel
    // has the other.
    unsafe {
        Ok(Rings {
            fill: Producer::new(map_ring(fd, XDP_UMEM_PGOFF_FILL_RING, &at.fr, entries)?),
            completion: Consumer::new(map_ring(fd, XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr, entries)?),
            rx: Consumer::new(map_ring(fd, XDP_PGOFF_RX_RING, &at.rx, entries)?),
            tx: Producer::new(map_ring(fd, XDP_PGOFF_TX_RING, &at.tx, entries)?),
        })
    }
}

fn refused(error: Errno, umem: &Umem) -> OpenError {
    match error {
        Errno::INVAL => OpenError::Chunks { chunk_bytes: umem.chunk_bytes(), layout: umem.layout() },
        Errno::NOBUFS | Errno::NOMEM | Errno::PERM | Errno::AGAIN => {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
            OpenError::LockedMemory { bytes: umem.bytes(), limit }
        }
        Errno::FAULT => OpenError::Memory,
        error => OpenError::os("setsockopt(XDP_UMEM_REG)")(error),
    }
}

fn refused_bind(error: Errno, interface: &Interface, config: &QueueConfig) -> OpenError {
    let name = || interface.name().into();
    match error {
        Errno::NODEV | Errno::NXIO => OpenError::NoInterface { name: name() },
        Errno::NETDOWN => OpenError::Down { interface: name() },
        Errno::OPNOTSUPP if config.bind == BindMode::ZeroCopy => OpenError::ZeroCopy { interface: name() },
        Errno::OPNOTSUPP if config.buffers == Buffers::Several => OpenError::SeveralBuffers { interface: name() },
        Errno::INVAL => match interface.queues() {
            Some(queues) if config.queue >= queues => {
                OpenError::NoQueue { interface: name(), queue: config.queue, queues }
            }
            // A driver that does not say has one.
            None if config.queue > 0 => OpenError::NoQueue { interface: name(), queue: config.queue, queues: 1 },
            _ if config.buffers == Buffers::Several => OpenError::SeveralBuffers { interface: name() },
            _ => OpenError::os("bind(AF_XDP)")(error),
        },
        error => OpenError::os("bind(AF_XDP)")(error),
    }
}

/// The queue's share of the system, for its sides.
pub(crate) struct SocketDriver {
    socket: Arc<Socket>,
    probe: QueueProbe,
}

impl SocketDriver {
    pub(crate) fn new(socket: Arc<Socket>, probe: QueueProbe) -> Self {
        SocketDriver { socket, probe }
    }
}

impl Driver for SocketDriver {
    fn wake_tx(&self) -> Result<Woken, WakeError> {
        match net::send(&self.socket, &[], SendFlags::DONTWAIT) {
            Ok(_) => Ok(Woken::Done),
            Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR) => Ok(Woken::More),
            Err(error) => Err(wake_error("sendto", error)),
        }
    }

    fn wake_rx(&self) -> Result<(), WakeError> {
        self.socket.look()
    }

    fn close(self: Box<Self>) -> Box<dyn Probe> {
        let SocketDriver { socket, mut probe } = *self;
        probe.give_up();
        // The last of them, unless a queue is being opened into the UMEM at this moment: then a moment later.
        drop(socket);
        Box::new(probe)
    }
}

fn wake_error(call: &'static str, error: Errno) -> WakeError {
    match error {
        Errno::NETDOWN => WakeError::Down,
        Errno::NXIO | Errno::NODEV | Errno::BADF => WakeError::Gone,
        error => WakeError::Os { call, code: error.raw_os_error() },
    }
}

/// Memory of one chunk for a socket that only tries whether it could be bound where the UMEM was. It counts as locked beside that.
pub(crate) fn tiny(fd: &OwnedFd, umem: &Umem) -> Result<Mapping, OpenError> {
    let memory = Mapping::anonymous(rustix::param::page_size())?;
    let shape = (memory.addr(), memory.bytes(), memory.bytes() as u32, 0);
    register(fd, shape, XdpUmemRegFlags::empty()).map_err(|error| refused(error, umem))?;
    sockopt::set_xdp_umem_fill_ring_size(fd, 2).map_err(OpenError::os("setsockopt(XDP_UMEM_FILL_RING)"))?;
    sockopt::set_xdp_umem_completion_ring_size(fd, 2).map_err(OpenError::os("setsockopt(XDP_UMEM_COMPLETION_RING)"))?;
    sockopt::set_xdp_rx_ring_size(fd, 2).map_err(OpenError::os("setsockopt(XDP_RX_RING)"))?;
    Ok(memory)
}
