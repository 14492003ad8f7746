//! The interface that a program is attached to, and what its refusals mean.

use alloc::string::String;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use super::bpf;
use super::error::ProgramError;
use super::{Attached, Packets};

/// An interface of the calling thread's network namespace.
#[derive(Debug)]
pub(super) struct Interface {
    ifindex: u32,
    /// What people call it.
    name: String,
}

// === impl Interface ===

impl Interface {
    /// # Errors
    ///
    /// [`ProgramError::NoInterface`].
    pub(super) fn find(ifindex: u32) -> Result<Self, ProgramError> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(|errno| ProgramError::from_call("socket", errno))?;
        match netdevice::index_to_name(&socket, ifindex) {
            Ok(name) => Ok(Interface { ifindex, name }),
            Err(Errno::NODEV) => Err(ProgramError::NoInterface { ifindex }),
            Err(errno) => Err(ProgramError::from_call("ioctl(SIOCGIFNAME)", errno)),
        }
    }

    /// Attaches a program in one mode.
    pub(super) fn link(&self, program: &OwnedFd, mode: Attached, packets: Packets) -> Result<OwnedFd, ProgramError> {
        let flags = match mode {
            Attached::Generic => bpf::XDP_FLAGS_SKB_MODE,
            Attached::Native => bpf::XDP_FLAGS_DRV_MODE,
        };
        bpf::link_create(program.as_fd(), self.ifindex, flags).map_err(|errno| self.refusal(errno, mode, packets))
    }

    /// Why it was not attached.
    fn refusal(&self, errno: Errno, mode: Attached, packets: Packets) -> ProgramError {
        const CALL: &str = "bpf(BPF_LINK_CREATE)";
        let interface = self.name.clone();
        match (errno, mode) {
            // Busy is the mode asked for, existing the other one, or a device that this one is part of.
            (Errno::BUSY | Errno::EXIST, _) => ProgramError::OtherProgram { interface },
            (Errno::PERM | Errno::MFILE | Errno::NFILE, _) => ProgramError::from_call(CALL, errno),
            (Errno::INVAL, _) if !bpf::has_xdp_links() => ProgramError::NoLinks,
            // The kernel's word for an interface that is not there is the same as for much else.
            (Errno::INVAL | Errno::NODEV, _) if self.is_gone() => ProgramError::NoInterface { ifindex: self.ifindex },
            (Errno::OPNOTSUPP, Attached::Native) => ProgramError::NativeUnsupported { interface },
            (Errno::RANGE, Attached::Native) if packets == Packets::Whole => ProgramError::MtuTooLarge { interface },
            (_, Attached::Native) => ProgramError::NativeRefused { interface, source: errno.into() },
            (_, Attached::Generic) => ProgramError::from_call(CALL, errno),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(Self::find(self.ifindex), Err(ProgramError::NoInterface { .. }))
    }
}
