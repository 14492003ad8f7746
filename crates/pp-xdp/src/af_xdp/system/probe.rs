//! Whether a queue could be bound again: the one sign that nobody has it any more.

use alloc::sync::Arc;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags};

use super::error::OpenError;
use super::given_up::{GivenUp, QueueId};
use super::mmap::Mapping;
use super::socket;
use crate::af_xdp::closing::Probe;
use crate::af_xdp::umem::Umem;

/// A second socket that would have the queue. Made when the queue is opened, because whoever closes it may have given up the right to make one
/// by then.
pub(crate) struct QueueProbe {
    /// `None` once it is known to be quiet.
    socket: Option<(OwnedFd, Mapping)>,
    ifindex: u32,
    queue: u32,
    /// Once the queue is given up.
    given_up: Option<Arc<GivenUp>>,
}

impl QueueProbe {
    /// For a queue that the UMEM is opened on.
    pub(crate) fn new(umem: &Umem, ifindex: u32, queue: u32) -> Result<Self, OpenError> {
        let fd = socket::socket()?;
        let memory = socket::tiny(&fd, umem)?;
        Ok(QueueProbe { socket: Some((fd, memory)), ifindex, queue, given_up: None })
    }

    /// The queue's socket is about to be closed.
    pub(crate) fn give_up(&mut self) {
        let id = self.socket.as_ref().map(|(fd, _)| QueueId::new(fd, self.ifindex, self.queue));
        self.given_up = id.map(GivenUp::new);
    }
}

impl Probe for QueueProbe {
    fn is_quiet(&mut self) -> bool {
        let Some((fd, _)) = &self.socket else { return true };
        let addr = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_COPY, self.ifindex, self.queue);
        let quiet = match net::bind(fd, &addr) {
            Ok(()) => true,
            // The interface is gone, and took all its sockets with it.
            Err(Errno::NODEV) => true,
            // Somebody has it: ours still, a successor in this process, or one in another, which can't be told from ours. Or the interface has
            // fewer queues now, which takes no socket away from this one.
            Err(_) => self.given_up.as_ref().is_some_and(|queue| queue.is_quiet()),
        };
        if quiet {
            self.socket = None;
        }
        quiet
    }
}
