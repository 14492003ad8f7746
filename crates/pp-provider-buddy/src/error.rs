//! Why a buddy cannot be made, or its memory not shared.

use core::fmt;

use pp_core::{NodeId, RegionError};

use crate::MAX_ORDER;

/// Why a [`Buddy`](crate::Buddy) cannot be made as asked.
///
/// Every text says what happened, to what, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuddyError {
    /// A base unit is a power of two from 2 KiB to 64 KiB.
    UnitSize {
        /// What was asked for, in bytes.
        unit_bytes: usize,
    },
    /// The largest block would be over 2 GiB, or the order over [`MAX_ORDER`].
    MaxOrder {
        /// What was asked for.
        max_order: u8,
        /// The base unit in bytes.
        unit_bytes: usize,
    },
    /// The memory holds not even one aligned base unit.
    TooSmall {
        /// What there is, in bytes.
        bytes: usize,
        /// What one unit needs, in bytes.
        unit_bytes: usize,
    },
    /// More bytes than the address space can hold.
    TooLarge {
        /// What was asked for.
        bytes: usize,
    },
    /// More base units than one buddy can number.
    TooManyUnits {
        /// What was asked for.
        units: usize,
    },
    /// The reserve would leave nothing for ordinary requests.
    Reserve {
        /// What was asked for, in base units of the region.
        reserve_units: usize,
        /// The base units of the region.
        units: usize,
    },
    /// `build` was called on a builder without memory.
    NoMemory,
    /// The memory has no address for the CPU, and pages of a buddy are read and written.
    NoAddress,
    /// The node does not exist, or this process may not use it.
    NoSuchNode {
        /// What was asked for.
        node: NodeId,
    },
    /// Somebody could shorten the file under the pages: a touch would then kill the process (SIGBUS).
    NotSealed,
    /// The file cannot be mapped for writing.
    NotWritable,
    /// The stretch does not lie inside the file.
    FileRange {
        /// Where it starts, in bytes.
        offset: u64,
        /// How long it is.
        bytes: usize,
        /// How long the file is.
        file_bytes: u64,
    },
    /// Offset or length is no multiple of the pages the file is made of.
    FileAlign {
        /// Where it starts, in bytes.
        offset: u64,
        /// How long it is.
        bytes: usize,
        /// Bytes in a page of that file.
        page_bytes: usize,
    },
    /// The region has no file behind it, or there is no such region.
    NoFile {
        /// Its place in [`Buddy::regions`](crate::Buddy::regions).
        region: usize,
    },
    /// A system call failed.
    Os {
        /// Which one.
        call: &'static str,
        /// The system's error number.
        code: i32,
    },
}

impl BuddyError {
    /// The same for a region that pp-core refused.
    pub(crate) fn region(error: RegionError, unit_bytes: usize) -> Self {
        match error {
            RegionError::TooSmall { bytes, unit_bytes } => BuddyError::TooSmall { bytes, unit_bytes },
            RegionError::TooMany { units } => BuddyError::TooManyUnits { units },
            _ => BuddyError::UnitSize { unit_bytes },
        }
    }
}

impl fmt::Display for BuddyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            BuddyError::UnitSize { unit_bytes } => {
                write!(f, "a base unit of {unit_bytes} bytes is not possible; use a power of two from 2048 to 65536")
            }
            BuddyError::MaxOrder { max_order, unit_bytes } => write!(
                f,
                "order {max_order} above units of {unit_bytes} bytes is not possible; \
                 stay at or under order {MAX_ORDER} and 2147483648 bytes a block"
            ),
            BuddyError::TooSmall { bytes, unit_bytes } => write!(
                f,
                "{bytes} bytes hold no aligned unit of {unit_bytes} bytes; give more memory or a smaller unit"
            ),
            BuddyError::TooLarge { bytes } => {
                write!(f, "{bytes} bytes are more than the address space can hold; ask for less")
            }
            BuddyError::TooManyUnits { units } => {
                write!(f, "{units} base units are more than one buddy can number; use a larger unit or several buddies")
            }
            BuddyError::Reserve { reserve_units, units } => write!(
                f,
                "a reserve of {reserve_units} base units leaves nothing of the region's {units}; make it smaller"
            ),
            BuddyError::NoMemory => {
                f.write_str("the buddy has no memory; add a region to the builder before calling build")
            }
            BuddyError::NoAddress => {
                f.write_str("the memory has no address that the CPU can reach; map it before adding it to the builder")
            }
            BuddyError::NoSuchNode { node } => write!(
                f,
                "{node} does not exist or is not open to this process; ask for one of \
                 /sys/devices/system/node/has_memory that its cpuset allows"
            ),
            BuddyError::NotSealed => f.write_str(
                "the file can be shortened under the pages; make it by memfd_create with MFD_ALLOW_SEALING \
                 and add F_SEAL_SHRINK by fcntl before handing it over",
            ),
            BuddyError::NotWritable => f.write_str(
                "the file cannot be mapped for writing; hand over a descriptor that is open for reading and writing, \
                 of a file without F_SEAL_WRITE and F_SEAL_FUTURE_WRITE",
            ),
            BuddyError::FileRange { offset, bytes, file_bytes } => write!(
                f,
                "{bytes} bytes at offset {offset} are not inside the file of {file_bytes} bytes; \
                 ask for less or lengthen the file first"
            ),
            BuddyError::FileAlign { offset, bytes, page_bytes } => write!(
                f,
                "{bytes} bytes at offset {offset} do not fit a file made of pages of {page_bytes} bytes; \
                 make both a multiple of that"
            ),
            BuddyError::NoFile { region } => write!(
                f,
                "region {region} cannot be shared because it has no file; make it by memfd, exposed_memfd or fd"
            ),
            BuddyError::Os { call, code } => fmt_os(f, call, code),
        }
    }
}

/// With an operating system its own words for the error number.
fn fmt_os(f: &mut fmt::Formatter<'_>, call: &str, code: i32) -> fmt::Result {
    #[cfg(feature = "std")]
    {
        // ENOMEM, on every system there is a number for it on: the one case with advice that always fits.
        const NO_MEMORY: i32 = 12;
        let advice = match code {
            NO_MEMORY => "ask for less, or raise the limit (ulimit -v for memory)",
            _ => "its manual page says what that asks for",
        };
        write!(f, "{call} failed: {}; {advice}", std::io::Error::from_raw_os_error(code))
    }
    #[cfg(not(feature = "std"))]
    write!(f, "{call} failed with error {code}; its manual page says what that asks for")
}

impl core::error::Error for BuddyError {}
