//! Why something could not be done with a packet.

use pp_core::AllocError;

use crate::mem_type::MemType;
use crate::packet::MAX_FRAGS;
use crate::rxq::RxqState;

/// Why a buffer is no packet of a queue: from `prepare` of [`RxqInfo`](crate::RxqInfo), which gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuffError {
    /// The queue, or its memory, is not registered.
    QueueNotReady {
        /// What the queue is.
        state: RxqState,
    },
    /// The queue has registered memory of another type.
    WrongType {
        /// That type.
        queue: MemType,
        /// The buffer's.
        buffer: MemType,
    },
    /// Headroom and packet are longer than the buffer.
    OutOfRange {
        /// Bytes in front of the packet.
        headroom: usize,
        /// Bytes in the packet.
        len: usize,
        /// Bytes in the buffer.
        buffer_bytes: usize,
    },
}

impl core::fmt::Display for BuffError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            BuffError::QueueNotReady { state } => {
                write!(f, "the queue is {state:?} and has no memory registered; register both before receiving")
            }
            BuffError::WrongType { queue, buffer } => {
                write!(f, "a {buffer} buffer came in on a queue of {queue} memory; receive it on its own queue")
            }
            BuffError::OutOfRange { headroom, len, buffer_bytes } => {
                write!(f, "{len} bytes behind {headroom} are not within {buffer_bytes}; drop the packet")
            }
        }
    }
}

impl core::error::Error for BuffError {}

/// Why a buffer could not become a packet's next fragment: from `add_frag` of [`Packet`](crate::Packet), which gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FragError {
    /// The packet is in memory of another type: its fragments must go the same way.
    WrongType {
        /// The packet's type.
        packet: MemType,
        /// The buffer's.
        buffer: MemType,
    },
    /// The range is empty, or not within the buffer.
    OutOfRange {
        /// First byte.
        offset: usize,
        /// How many.
        len: usize,
        /// Bytes in the buffer.
        buffer_bytes: usize,
    },
    /// There are as many fragments as a packet may have, and this one is no neighbour of the last.
    TooMany,
    /// There is no memory for the list of fragments.
    NoMemory,
}

impl core::fmt::Display for FragError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FragError::WrongType { packet, buffer } => {
                write!(f, "a {buffer} buffer cannot be added to a packet in {packet} memory; copy it")
            }
            FragError::OutOfRange { offset, len, buffer_bytes } => {
                write!(f, "{len} bytes at {offset} are no fragment of a buffer of {buffer_bytes}; drop the packet")
            }
            FragError::TooMany => write!(f, "a packet has at most {MAX_FRAGS} fragments; drop it"),
            FragError::NoMemory => f.write_str("no memory for a list of fragments; drop the packet"),
        }
    }
}

impl core::error::Error for FragError {}

/// Why a packet's beginning, end or metadata could not be moved: from [`Packet::adjust_head`](crate::Packet::adjust_head) and its like,
/// which leave all where it was. [`XdpBuff`](crate::XdpBuff) shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdjustError {
    /// There is less room in front of the packet and its metadata.
    NoHeadroom {
        /// How far the beginning was to be moved.
        delta: i32,
        /// Bytes in front.
        headroom: usize,
    },
    /// There is less room behind the packet.
    NoTailroom {
        /// How far the end was to be moved.
        delta: i32,
        /// Bytes behind.
        tailroom: usize,
    },
    /// Less than an Ethernet header would be left.
    TooShort {
        /// How far beginning or end was to be moved.
        delta: i32,
        /// Bytes in the packet.
        len: usize,
    },
    /// Metadata would begin in front of the buffer or within the packet.
    MetaOutOfRange {
        /// How far its beginning was to be moved.
        delta: i32,
        /// Bytes in front of it.
        headroom: usize,
        /// Bytes in it.
        meta_len: usize,
    },
    /// Metadata is a multiple of 4 bytes, and at most 255 (kernel: EACCES).
    MetaLength {
        /// What it would be.
        len: usize,
    },
    /// The CPU cannot reach the bytes that would have to be moved or cleared.
    Unreadable,
}

impl core::fmt::Display for AdjustError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            AdjustError::NoHeadroom { delta, headroom } => {
                write!(f, "the beginning cannot move by {delta}: {headroom} bytes are in front; reserve more headroom")
            }
            AdjustError::NoTailroom { delta, tailroom } => {
                write!(f, "the end cannot move by {delta}: {tailroom} bytes are behind; use larger buffers")
            }
            AdjustError::TooShort { delta, len } => {
                write!(f, "a packet of {len} bytes cannot be cut by {delta}: an Ethernet header must be left")
            }
            AdjustError::MetaOutOfRange { delta, headroom, meta_len } => write!(
                f,
                "{meta_len} bytes of metadata behind {headroom} cannot begin {delta} further on; stay in front of the packet"
            ),
            AdjustError::MetaLength { len } => {
                write!(f, "metadata of {len} bytes is not possible; use a multiple of 4, at most 252")
            }
            AdjustError::Unreadable => {
                f.write_str("the packet is in memory that the CPU cannot reach; leave its bytes alone")
            }
        }
    }
}

impl core::error::Error for AdjustError {}

/// Why a packet could not become a frame: from [`XdpBuff::into_frame`](crate::XdpBuff::into_frame) and
/// [`copy_into_frame`](crate::XdpBuff::copy_into_frame), which give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertError {
    /// It is in a chunk of an AF_XDP area, which frames may not keep from the fill ring: it has to be copied.
    NeedsCopy,
    /// Metadata and packet are longer than a page.
    TooLong {
        /// Both together.
        bytes: usize,
        /// Bytes in a page.
        page_bytes: usize,
    },
    /// The CPU cannot reach its bytes.
    Unreadable,
    /// There is no page to copy to.
    Alloc(AllocError),
}

impl core::fmt::Display for ConvertError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ConvertError::NeedsCopy => f.write_str("a chunk cannot leave its poll; copy the packet into a frame"),
            ConvertError::TooLong { bytes, page_bytes } => {
                write!(f, "{bytes} bytes of packet and metadata do not fit a page of {page_bytes}; use larger pages")
            }
            ConvertError::Unreadable => {
                f.write_str("the packet is in memory that the CPU cannot reach; it cannot be copied")
            }
            ConvertError::Alloc(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConvertError {}
