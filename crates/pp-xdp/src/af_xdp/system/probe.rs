//! Whether a queue could be bound again: the one sign that nobody has it any more.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags};

use super::error::OpenError;
use super::mmap::Mapping;
use super::socket;
use crate::af_xdp::binding::Probe;
use crate::af_xdp::umem::Umem;

/// A second socket that would have the queue. Made when the queue is opened, because whoever closes it may have given up the right to make one
/// by then.
pub(crate) struct QueueProbe {
    /// `None` once it is known to be quiet.
    socket: Option<(OwnedFd, Mapping)>,
    ifindex: u32,
    queue: u32,
}

impl QueueProbe {
    /// For a queue that the UMEM is opened on.
    pub(crate) fn new(umem: &Umem, ifindex: u32, queue: u32) -> Result<Self, OpenError> {
        let fd = socket::socket()?;
        let memory = socket::tiny(&fd, umem)?;
        Ok(QueueProbe { socket: Some((fd, memory)), ifindex, queue })
    }
}

impl Probe for QueueProbe {
    fn is_quiet(&mut self) -> bool {
        let Some((fd, _)) = &self.socket else { return true };
        let addr = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, self.ifindex, self.queue);
        let quiet = match net::bind(fd, &addr) {
            Ok(()) => true,
            // The interface, or the queue, is gone, and took all its sockets with it.
            Err(Errno::NODEV | Errno::NXIO | Errno::INVAL) => true,
            // Somebody has it: ours still, or another by now, which can't be told apart.
            Err(_) => false,
        };
        if quiet {
            self.socket = None;
        }
        quiet
    }
}

/// A queue that was never bound.
pub(crate) struct NeverBound;

impl Probe for NeverBound {
    fn is_quiet(&mut self) -> bool {
        true
    }
}
