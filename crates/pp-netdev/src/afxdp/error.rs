//! Why an AF_XDP port is not there, or not there any more.

use std::io;
use std::time::Duration;

use pp_xdp::af_xdp::{OpenError, ProgramError, SendError, UmemError, WakeError};
use thiserror::Error;

use super::state::PortState;
use crate::forward::ForwardError;

/// Why a port could not be opened. Nothing of it is left behind. See [`AfxdpPort`](super::AfxdpPort).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PortError {
    /// The memory can't be shared with the kernel.
    #[error(transparent)]
    Umem(#[from] UmemError),
    /// A queue could not be opened.
    #[error("`{port}` can't be opened: {source}")]
    Open {
        /// The port.
        port: String,
        /// Why.
        source: OpenError,
    },
    /// Packets can't be brought to it.
    #[error("`{port}` gets no packets: {source}")]
    Program {
        /// The port.
        port: String,
        /// Why.
        source: ProgramError,
    },
    /// A queue needs a pool.
    #[error("`{port}` has no pool, and so no queue; give one for each queue")]
    NoPools {
        /// The port.
        port: String,
    },
    /// A port for frames that are copied has one queue.
    #[error("`{port}` has {queues} queues, and frames that are copied go through one; open one")]
    OneQueue {
        /// The port.
        port: String,
        /// Its queues.
        queues: usize,
    },
    /// A queue has one to pass packets to.
    #[error("`{from}` has {queues_from} queues and `{to}` {queues_to}; open as many of both")]
    Queues {
        /// The port that packets come in from.
        from: String,
        /// The port that they go out to.
        to: String,
        /// Queues of the one.
        queues_from: usize,
        /// Queues of the other.
        queues_to: usize,
    },
}

/// Why an open port could not be used any further. See [`AfxdpForwarder`](super::AfxdpForwarder).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The interface was deleted, or its driver took the queue away.
    #[error("`{interface}` is gone: it was deleted, or moved to another namespace")]
    Gone {
        /// The interface.
        interface: String,
    },
    /// The interface is down, and there was no more time to wait for it.
    #[error(
        "`{interface}` is down, with {unsent} packets not sent; bring it up (ip link set {interface} up) and start again"
    )]
    Down {
        /// The interface.
        interface: String,
        /// Packets that wait in its ring.
        unsent: usize,
    },
    /// The interface is up and sends nothing, and there was no more time to wait for it.
    #[error(
        "`{interface}` does not send what it has, {unsent} packets; see what its driver, or its other end, waits for"
    )]
    Stuck {
        /// The interface.
        interface: String,
        /// Packets that wait in its ring, or in the driver.
        unsent: usize,
    },
    /// A packet that can't be sent.
    #[error("a packet of {bytes} bytes does not go out of `{interface}`: {source}")]
    Packet {
        /// The interface.
        interface: String,
        /// Bytes of the packet.
        bytes: usize,
        /// Why.
        source: SendError,
    },
    /// The kernel said something that does not pass.
    #[error("`{interface}` failed: {source}")]
    Failed {
        /// The interface.
        interface: String,
        /// What it said.
        source: WakeError,
    },
}

/// Why a run between AF_XDP ports did not go to its end. Every thread has ended and the ports are closed when it is returned.
/// See [`AfxdpForwarder`](super::AfxdpForwarder).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AfxdpError {
    /// A port could not be used any further.
    #[error("{source}; the run was ended after {frames} frames")]
    Link {
        /// Frames that came in before, from whatever port.
        frames: u64,
        /// What happened to the port.
        source: LinkError,
    },
    /// A thread could not be started, or panicked.
    #[error(transparent)]
    Run(#[from] ForwardError),
}

/// How long a queue that is closed is waited for.
pub(super) const QUIET_LIMIT: Duration = Duration::from_secs(2);

// === impl LinkError ===

impl LinkError {
    /// What the kernel's word means for an interface.
    pub(super) fn of(error: WakeError, state: &PortState) -> Self {
        let interface = state.interface().to_owned();
        match error {
            WakeError::Gone => LinkError::Gone { interface },
            source => LinkError::Failed { interface, source },
        }
    }
}

impl From<LinkError> for io::Error {
    fn from(error: LinkError) -> Self {
        let kind = match error {
            LinkError::Gone { .. } => io::ErrorKind::NotFound,
            LinkError::Down { .. } => io::ErrorKind::NetworkDown,
            LinkError::Stuck { .. } => io::ErrorKind::TimedOut,
            LinkError::Packet { .. } => io::ErrorKind::InvalidInput,
            LinkError::Failed { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
