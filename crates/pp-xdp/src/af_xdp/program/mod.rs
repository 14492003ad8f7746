//! The program that hands an interface's packets to AF_XDP sockets: made here, loaded and attached by bpf(2).
//!
//! No C compiler takes part, neither when this is built nor when it runs: a [`Filter`] becomes instructions (`asm.rs`, `code.rs`),
//! the kernel loads them (`bpf.rs`, where the unsafe code is), and [`RedirectProgram`] is the link that keeps them at
//! the interface.

mod asm;
mod bpf;
mod code;
mod error;
mod filter;
mod interface;
mod map;
#[cfg(test)]
mod tests;

use alloc::string::String;
use std::os::fd::{AsFd, OwnedFd};
use std::process;

use rustix::io::Errno;

pub use error::ProgramError;
pub use filter::{Filter, FilterError};
pub use map::XskMap;

use interface::Interface;

/// Where a program is wanted. See [`RedirectProgram`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// In the ordinary stack, before anything else of it. Any interface can, and each packet has cost a socket buffer by then.
    Generic,
    /// In the driver, or not at all.
    Native,
    /// In the driver if it can, otherwise as [`Generic`](Self::Generic); [`RedirectProgram::attached`] says which it became.
    #[default]
    Best,
}

/// Where a program is. See [`RedirectProgram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// In the ordinary stack.
    Generic,
    /// In the driver.
    Native,
}

/// What packets a driver may show to a program. See [`RedirectProgram`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packets {
    /// Such as fit one buffer. A driver whose packets may not, because of the MTU, refuses native mode.
    #[default]
    Whole,
    /// Such as take several buffers as well (`BPF_F_XDP_HAS_FRAGS`): Linux 5.18, for sockets 6.6. A filter looks at the first.
    SeveralBuffers,
}

/// A program at an interface that gives the packets of each receive queue to the AF_XDP socket in that queue's place in its
/// [`map`](Self::map), as far as its [`Filter`] takes them. All others, and those of queues without a socket, go up the
/// ordinary stack.
///
/// It is there as long as this value. It also goes with the process, however that ends, and does not outlive the interface. A
/// program that is there already is never replaced.
///
/// ```no_run
/// use std::os::fd::BorrowedFd;
/// use pp_xdp::af_xdp::{AttachMode, Filter, Packets, ProgramError, RedirectProgram};
///
/// /// `ifindex` as `ip link show` numbers it, and an AF_XDP socket bound to its queue 0.
/// fn listen_to_dns(ifindex: u32, socket: BorrowedFd<'_>) -> Result<RedirectProgram, ProgramError> {
///     let dns = Filter::new().port(53);
///     let program = RedirectProgram::attach(ifindex, AttachMode::Best, &dns, Packets::Whole, 1)?;
///     if let Some(reason) = program.native_refusal() {
///         eprintln!("slower than need be: {reason}");
///     }
///     println!("{}", program.attached());                     // native
///     program.map().insert(0, socket)?;                       // from here on the socket gets queue 0's DNS
///     Ok(program)                                             // until this is dropped
/// }
/// ```
#[derive(Debug)]
#[must_use = "the program is detached when this is dropped"]
pub struct RedirectProgram {
    link: OwnedFd,
    map: XskMap,
    attached: Attached,
    native_refusal: Option<ProgramError>,
    /// The process that attached it. A forked child has the link as well, but must not end it.
    owner: u32,
}

/// Bytes of a verifier's log that are shown.
const LOG_TAIL: usize = 2048;

// === impl Attached ===

impl core::fmt::Display for Attached {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Attached::Generic => "generic",
            Attached::Native => "native",
        })
    }
}

// === impl RedirectProgram ===

impl RedirectProgram {
    /// Attaches a program to an interface of the calling thread's network namespace, with a map of `queues` places, all empty:
    /// nothing changes for the interface's packets yet. See [`RedirectProgram`].
    ///
    /// Where somebody else decides which packets are taken, attach nothing and use [`XskMap::from_fd`].
    ///
    /// # Errors
    ///
    /// Each of [`ProgramError`] but those about single queues and descriptors. With [`AttachMode::Best`], those of generic mode.
    pub fn attach(
        ifindex: u32,
        mode: AttachMode,
        filter: &Filter,
        packets: Packets,
        queues: u32,
    ) -> Result<Self, ProgramError> {
        filter.check()?;
        let interface = Interface::find(ifindex)?;
        let map = XskMap::new(queues)?;
        let program = load(&code::program(filter, code::Taken::Redirect(map.as_fd())), packets)?;

        let (attached, link, native_refusal) = match mode {
            AttachMode::Generic => (Attached::Generic, interface.link(&program, Attached::Generic, packets)?, None),
            AttachMode::Native => (Attached::Native, interface.link(&program, Attached::Native, packets)?, None),
            AttachMode::Best => match interface.link(&program, Attached::Native, packets) {
                Ok(link) => (Attached::Native, link, None),
                // Whatever the driver's reason, generic mode has its own: it replaces nothing either.
                Err(reason) => (Attached::Generic, interface.link(&program, Attached::Generic, packets)?, Some(reason)),
            },
        };
        // The link holds the program, the program the map.
        Ok(RedirectProgram { link, map, attached, native_refusal, owner: process::id() })
    }

    /// The sockets by queue. See [`XskMap`].
    #[must_use]
    pub fn map(&self) -> &XskMap {
        &self.map
    }

    /// Where the program is. See [`RedirectProgram`].
    #[must_use]
    pub fn attached(&self) -> Attached {
        self.attached
    }

    /// Why the driver does not run it, where [`AttachMode::Best`] became [`Attached::Generic`]. See [`RedirectProgram`].
    #[must_use]
    pub fn native_refusal(&self) -> Option<&ProgramError> {
        self.native_refusal.as_ref()
    }

    /// Whether it is at its interface still: until the interface is removed, or somebody ends the link (`bpftool link detach`).
    /// See [`RedirectProgram`].
    ///
    /// # Errors
    ///
    /// [`ProgramError::NoRights`] if the process has given up those it had.
    pub fn is_attached(&self) -> Result<bool, ProgramError> {
        match bpf::link_ifindex(self.link.as_fd()) {
            Ok(ifindex) => Ok(ifindex != 0),
            Err(errno) => Err(ProgramError::from_call("bpf(BPF_OBJ_GET_INFO_BY_FD)", errno)),
        }
    }
}

impl Drop for RedirectProgram {
    fn drop(&mut self) {
        // Closing the descriptor would do, were there no child that is between fork and exec and has a copy. If this fails, with
        // rights given up, the closing is left.
        if self.owner == process::id() {
            let _ = bpf::link_detach(self.link.as_fd());
        }
    }
}

/// Loads a program, and finds out why if it cannot.
fn load(insns: &[asm::Insn], packets: Packets) -> Result<OwnedFd, ProgramError> {
    const CALL: &str = "bpf(BPF_PROG_LOAD)";
    let flags = match packets {
        Packets::Whole => 0,
        Packets::SeveralBuffers => bpf::XDP_HAS_FRAGS,
    };
    let errno = match bpf::prog_load(insns, flags) {
        Ok(program) => return Ok(program),
        Err(errno @ (Errno::PERM | Errno::NOSYS | Errno::MFILE | Errno::NFILE)) => {
            return Err(ProgramError::from_call(CALL, errno));
        }
        Err(errno) => errno,
    };
    // An old kernel refuses a flag that it does not know before it looks at anything else.
    if packets == Packets::SeveralBuffers && errno == Errno::INVAL && bpf::prog_load(insns, 0).is_ok() {
        return Err(ProgramError::NoSeveralBuffers);
    }
    let log = bpf::prog_load_log(insns, flags);
    if log.is_empty() {
        return Err(ProgramError::from_call(CALL, errno));
    }
    let tail = &log[log.len().saturating_sub(LOG_TAIL)..];
    Err(ProgramError::Rejected { source: errno.into(), log: String::from_utf8_lossy(tail).into_owned() })
}
