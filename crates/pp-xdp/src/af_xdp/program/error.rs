//! Why there is no program at an interface, or no socket in a map.

use alloc::string::String;
use std::io;

use rustix::io::Errno;
use thiserror::Error;

use super::filter::FilterError;

/// Why [`RedirectProgram`](super::RedirectProgram) or [`XskMap`](super::XskMap) refused. Nothing has changed then: the
/// interface has whatever program it had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The process may not do it.
    #[error(
        "{call} is not permitted: a program at an interface needs CAP_NET_ADMIN and CAP_BPF, and not only in a user \
         namespace; run as root, or once `setcap cap_net_admin,cap_net_raw,cap_bpf+ep FILE` (before Linux 5.11 a larger \
         RLIMIT_MEMLOCK as well)"
    )]
    NoRights {
        /// What was not permitted.
        call: &'static str,
    },
    /// The kernel cannot attach a program so that it goes with its process.
    #[error("this kernel has no links of XDP programs, which Linux has since 5.9; use a newer one")]
    NoLinks,
    /// The process, or the system, has as many files open as it may.
    #[error("{call} got no file descriptor: none is left; raise the limit (ulimit -n), or end what has files open")]
    NoDescriptors {
        /// What needed one.
        call: &'static str,
    },
    /// The kernel was built without AF_XDP sockets, or without bpf(2).
    #[error("this kernel has no maps of AF_XDP sockets; use one with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS")]
    NoXskMaps,
    /// The kernel knows no packets of several buffers.
    #[error(
        "this kernel has no XDP packets of several buffers, which Linux has since 5.18, and for sockets since 6.6; \
         use a newer one, or take whole packets only"
    )]
    NoSeveralBuffers,
    /// There is no such interface, or no longer.
    #[error("there is no interface {ifindex} in this network namespace; `ip link show` lists them by number")]
    NoInterface {
        /// The number asked for.
        ifindex: u32,
    },
    /// The interface, one that it is part of, or one on top of it has a program already. It is left alone.
    #[error(
        "{interface} has another XDP program, or is part of a device that has, or has a device on top (macvlan, vlan, vxlan) that has; \
         `ip link show` shows it. End the process that attached it, or detach it by `ip link set dev {interface} xdp off`, \
         and by `xdpgeneric off` where it is shown as xdpgeneric"
    )]
    OtherProgram {
        /// The interface's name.
        interface: String,
    },
    /// The interface's driver runs no programs. From [`AttachMode::Native`](super::AttachMode::Native) only.
    #[error(
        "the driver of {interface} runs no XDP programs itself, or none with the settings that it has; \
         use generic mode, which is slower, or the best that there is"
    )]
    NativeUnsupported {
        /// The interface's name.
        interface: String,
    },
    /// The interface's packets may be longer than a buffer of its driver. From [`AttachMode::Native`](super::AttachMode::Native)
    /// only.
    #[error(
        "packets on {interface} may be longer than one buffer of its driver; take packets of several, set \
         a lower MTU (`ip link set dev {interface} mtu 1500`) or use generic mode"
    )]
    MtuTooLarge {
        /// The interface's name.
        interface: String,
    },
    /// The interface's driver refused for a reason of its own. From [`AttachMode::Native`](super::AttachMode::Native) only.
    #[error(
        "the driver of {interface} does not run the program itself: {source}. MTU, large receive offload and the number of \
         queues are the usual reasons, and `dmesg` may have the driver's own; generic mode does without the driver"
    )]
    NativeRefused {
        /// The interface's name.
        interface: String,
        /// What the driver said.
        source: io::Error,
    },
    /// The kernel's verifier refused the program: a mistake in this crate.
    #[error(
        "the kernel does not load the program, which is a mistake in pp-xdp, to be reported with this: {source}\n{log}"
    )]
    Rejected {
        /// What the kernel said.
        source: io::Error,
        /// The end of what its verifier wrote.
        log: String,
    },
    /// There is no program for the filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A map needs a place.
    #[error("a map without places takes no socket; make it of as many as the interface has receive queues")]
    NoQueues,
    /// The queue has no place in the map.
    #[error(
        "queue {queue} has no place in a map of {entries}; make the map of as many as the interface has receive queues"
    )]
    NoSuchQueue {
        /// The queue asked for.
        queue: u32,
        /// How many places the map has.
        entries: u32,
    },
    /// The descriptor is of something else.
    #[error(
        "the descriptor is of no map of AF_XDP sockets (BPF_MAP_TYPE_XSKMAP); open the pinned map of the program in use"
    )]
    NotAnXskMap,
    /// What was to be inserted cannot receive.
    #[error(
        "queue {queue} gets no packets by this descriptor: it is no AF_XDP socket, or one that is not set up; \
         give the socket its area, fill ring and receive ring first"
    )]
    NotAReceiver {
        /// The queue that it was to be inserted for.
        queue: u32,
    },
    /// The kernel said something else.
    #[error("{call} failed: {source}")]
    System {
        /// What was called.
        call: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

// === impl ProgramError ===

impl ProgramError {
    /// What an error number means wherever it comes from.
    pub(super) fn from_call(call: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::PERM => ProgramError::NoRights { call },
            Errno::MFILE | Errno::NFILE => ProgramError::NoDescriptors { call },
            Errno::NOSYS => ProgramError::NoXskMaps,
            _ => ProgramError::System { call, source: errno.into() },
        }
    }
}
