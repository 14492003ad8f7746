//! The map from receive queues to sockets.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::bpf;
use super::error::ProgramError;

/// Which AF_XDP socket gets the packets of which receive queue (`BPF_MAP_TYPE_XSKMAP`).
///
/// A socket leaves the map by itself when it is closed. A queue without one has its packets passed up the ordinary stack by
/// [`RedirectProgram`](super::RedirectProgram), whose [`map`](super::RedirectProgram::map) is one of these.
///
/// ```no_run
/// use std::os::fd::{BorrowedFd, OwnedFd};
/// use pp_xdp::af_xdp::{ProgramError, XskMap};
///
/// /// An AF_XDP socket with its area and rings, and the map of a program that somebody else attached.
/// fn swap(socket: BorrowedFd<'_>, pinned: OwnedFd) -> Result<(), ProgramError> {
///     let map = XskMap::new(4)?;                              // for an interface of four queues
///     map.insert(0, socket)?;
///     map.remove(0)?;
///
///     let theirs = XskMap::from_fd(pinned)?;
///     theirs.insert(theirs.entries() - 1, socket)
/// }
/// ```
#[derive(Debug)]
pub struct XskMap {
    fd: OwnedFd,
    entries: u32,
}

// === impl XskMap ===

impl XskMap {
    /// A map with places for queues 0 to `entries` - 1. See [`XskMap`].
    ///
    /// # Errors
    ///
    /// [`ProgramError::NoQueues`] without entries, [`ProgramError::NoRights`], [`ProgramError::NoXskMaps`], or the kernel's
    /// word for too little memory.
    pub fn new(entries: u32) -> Result<Self, ProgramError> {
        if entries == 0 {
            return Err(ProgramError::NoQueues);
        }
        match bpf::xskmap_create(entries) {
            Ok(fd) => Ok(XskMap { fd, entries }),
            // Nothing else is wrong with what was asked for.
            Err(Errno::INVAL) => Err(ProgramError::NoXskMaps),
            Err(errno) => Err(ProgramError::from_call("bpf(BPF_MAP_CREATE)", errno)),
        }
    }

    /// A map that somebody else made, for a program of theirs. See [`XskMap`].
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotAnXskMap`] if the descriptor is of anything else, [`ProgramError::NoRights`].
    pub fn from_fd(fd: OwnedFd) -> Result<Self, ProgramError> {
        match bpf::map_info(fd.as_fd()) {
            Ok(Some(info)) if info.is_xskmap => Ok(XskMap { fd, entries: info.entries }),
            Ok(_) => Err(ProgramError::NotAnXskMap),
            Err(errno) => Err(ProgramError::from_call("bpf(BPF_OBJ_GET_INFO_BY_FD)", errno)),
        }
    }

    /// Has `socket` get the packets of `queue`, in place of the socket that got them so far. See [`XskMap`].
    ///
    /// The map keeps no hold on the socket: it leaves when it is closed.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NoSuchQueue`]; [`ProgramError::NotAReceiver`] if it is no AF_XDP socket. Some kernels also say so of one
    /// that has no area, fill ring or receive ring yet. Whether it is bound, and to that very queue, is not looked at here:
    /// until it is, packets to it are dropped.
    pub fn insert(&self, queue: u32, socket: impl AsFd) -> Result<(), ProgramError> {
        self.check(queue)?;
        match bpf::map_update(self.fd.as_fd(), queue, socket.as_fd()) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOTSOCK) => Err(ProgramError::NotAReceiver { queue }),
            Err(errno) => Err(ProgramError::from_call("bpf(BPF_MAP_UPDATE_ELEM)", errno)),
        }
    }

    /// Leaves `queue` without a socket; it may have had none. See [`XskMap`].
    ///
    /// # Errors
    ///
    /// [`ProgramError::NoSuchQueue`].
    pub fn remove(&self, queue: u32) -> Result<(), ProgramError> {
        self.check(queue)?;
        bpf::map_delete(self.fd.as_fd(), queue)
            .map_err(|errno| ProgramError::from_call("bpf(BPF_MAP_DELETE_ELEM)", errno))
    }

    /// How many queues have a place. See [`XskMap`].
    #[must_use]
    pub fn entries(&self) -> u32 {
        self.entries
    }

    fn check(&self, queue: u32) -> Result<(), ProgramError> {
        if queue < self.entries { Ok(()) } else { Err(ProgramError::NoSuchQueue { queue, entries: self.entries }) }
    }
}

impl AsFd for XskMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
