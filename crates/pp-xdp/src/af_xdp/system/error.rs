//! Why a queue could not be opened.

use alloc::string::String;

use rustix::io::Errno;
use thiserror::Error;

use super::config::Bound;

use crate::af_xdp::descriptor::ChunkLayout;
use crate::af_xdp::rx::RefillError;
use crate::rxq::RegError;

/// Why a queue could not be opened, in a sentence: from `open` of [`XskQueue`](crate::af_xdp::XskQueue). Nothing of it is left behind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such interface in this network namespace.
    #[error("there is no interface `{name}` here; `ip link` lists those that there are")]
    NoInterface {
        /// What was asked for.
        name: String,
    },
    /// The process may not open such sockets.
    #[error(
        "no right to open AF_XDP sockets, which takes CAP_NET_RAW; run as root, or grant it: setcap cap_net_raw,cap_net_admin,cap_bpf+ep PROGRAM"
    )]
    NotPermitted,
    /// The process may not do a driver's work.
    #[error(
        "no right to poll the driver of a queue, which takes CAP_NET_ADMIN; run as root, grant it (setcap \
         cap_net_raw,cap_net_admin,cap_bpf+ep PROGRAM), or open the queue without busy polling"
    )]
    BusyPoll,
    /// The kernel has no such sockets.
    #[error("this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS); use one that has, 5.11 or newer")]
    NoAfXdp,
    /// The interface has fewer queues.
    #[error(
        "`{interface}` has no queue {queue}: it has {queues}, counted from 0; `ethtool -L` changes that where the driver can"
    )]
    NoQueue {
        /// The interface.
        interface: String,
        /// What was asked for.
        queue: u32,
        /// How many there are.
        queues: u32,
    },
    /// Somebody has the queue.
    #[error("queue {queue} of `{interface}` is in use by another AF_XDP socket; end what has it (ss --xdp -p)")]
    InUse {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// The kernel does not take such chunks.
    #[error("the kernel refuses {layout:?} chunks of {chunk_bytes} bytes; use aligned ones of 2048 or 4096")]
    Chunks {
        /// Bytes in a chunk.
        chunk_bytes: u32,
        /// How they lie.
        layout: ChunkLayout,
    },
    /// The process may not have so much memory locked.
    #[error(
        "the UMEM's {bytes} bytes would be locked beside what the user has locked already, and the limit is {}; raise it (ulimit -l), run as root, or use less memory",
        limit_text(*.limit)
    )]
    LockedMemory {
        /// Bytes of the UMEM.
        bytes: usize,
        /// The limit in bytes, if there is one: for all that the user has locked.
        limit: Option<u64>,
    },
    /// The kernel can't reach the memory.
    #[error("the kernel can't use the UMEM's memory; use ordinary, memfd or huge pages that may be read and written")]
    Memory,
    /// Zero-copy was asked for, and there is none.
    #[error("the driver of `{interface}` has no zero-copy AF_XDP; use copy mode")]
    ZeroCopy {
        /// The interface.
        interface: String,
    },
    /// Queues of one UMEM are all zero-copy or none is, as the first that is open.
    #[error(
        "`{interface}` can't be opened beside the UMEM's other queues, which are bound {}; open it first, or into a UMEM of its own",
        first_text(*.first)
    )]
    ModeOfFirst {
        /// The interface.
        interface: String,
        /// What the first queue is bound to.
        first: Bound,
    },
    /// Packets of several chunks were asked for, and there are none.
    #[error(
        "packets of several chunks are not possible on `{interface}`: they need Linux 6.6, and the UMEM's first queue opened for them too"
    )]
    SeveralBuffers {
        /// The interface.
        interface: String,
    },
    /// A ring's size.
    #[error(
        "rings of {entries} entries are not possible; use a power of two from 2 to 32768, or from 32 for packets of several chunks"
    )]
    Entries {
        /// What was asked for.
        entries: u32,
    },
    /// The interface is down and its driver does not open queues then.
    #[error("`{interface}` is down; bring it up: ip link set {interface} up")]
    Down {
        /// The interface.
        interface: String,
    },
    /// Two billion queues were opened into one UMEM.
    #[error("no queue can be opened into this UMEM any more; make a new one")]
    Exhausted,
    /// The queue has no pages to receive into.
    #[error("the queue can't be filled: {0}")]
    Refill(#[from] RefillError),
    /// The queue's memory could not be registered.
    #[error("the queue's memory can't be registered: {0}")]
    Register(RegError),
    /// Something else.
    #[error("{call} failed: {}{}", std::io::Error::from_raw_os_error(*code), remedy(*code))]
    Os {
        /// The system call, with the option that was set.
        call: &'static str,
        /// `errno`.
        code: i32,
    },
}

fn first_text(first: Bound) -> &'static str {
    match first {
        Bound::Copy => "in copy mode",
        Bound::ZeroCopy => "zero-copy",
    }
}

fn limit_text(limit: Option<u64>) -> String {
    limit.map_or_else(|| "lower".into(), |limit| alloc::format!("{limit}"))
}

/// What to do about an error that says nothing of it.
fn remedy(code: i32) -> &'static str {
    let no_descriptor = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&code);
    if no_descriptor { "; raise the limit (ulimit -n), or end what has files open" } else { "" }
}

impl OpenError {
    pub(crate) fn os(call: &'static str) -> impl Fn(Errno) -> OpenError {
        move |error| OpenError::Os { call, code: error.raw_os_error() }
    }
}
