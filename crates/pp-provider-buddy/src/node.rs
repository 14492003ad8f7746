//! Placing memory on a node.

#![allow(unsafe_code, reason = "the mbind system call")]

use core::ffi::c_ulong;

use pp_core::NodeId;

use crate::error::BuddyError;
use crate::memory::Mapping;

/// The most nodes a kernel can be built for (`CONFIG_NODES_SHIFT` up to 10).
const MOST_NODES: usize = 1024;

/// Prefers `node` for pages of `mapping` that do not exist yet.
///
/// Only a node that is not there is an error. A kernel without NUMA has node 0 alone; one that forbids the call to this
/// process (a container's filter) places pages as it likes.
pub(crate) fn prefer(mapping: &mut Mapping, node: NodeId) -> Result<(), BuddyError> {
    const BITS: usize = c_ulong::BITS as usize;
    let mut mask: [c_ulong; MOST_NODES / BITS] = [0; MOST_NODES / BITS];
    let word = mask.get_mut(usize::from(node.0) / BITS).ok_or(BuddyError::NoSuchNode { node })?;
    *word = 1 << (usize::from(node.0) % BITS);
    let (at, bytes) = mapping.range();
    // SAFETY:
    // 1. The range is our own mapping; a policy for pages that do not exist yet changes no bytes.
    // 2. The mask is as long as it says: the kernel reads one bit less than the number given.
    let result = unsafe {
        libc::syscall(libc::SYS_mbind, at, bytes, libc::MPOL_PREFERRED, mask.as_ptr(), MOST_NODES + 1, 0 as c_ulong)
    };
    if result == 0 {
        return Ok(());
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EINVAL) => Err(BuddyError::NoSuchNode { node }),
        Some(libc::ENOSYS) if node != NodeId(0) => Err(BuddyError::NoSuchNode { node }),
        _ => Ok(()),
    }
}
