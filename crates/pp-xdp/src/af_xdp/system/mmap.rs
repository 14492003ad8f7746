//! Mappings of a socket's rings.

#![allow(unsafe_code, reason = "mmap, madvise and munmap")]

use alloc::sync::Arc;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use std::os::fd::BorrowedFd;

use pp_core::sync::AtomicU32;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use rustix::net::xdp::XdpRingOffset;

use super::error::OpenError;
use crate::af_xdp::ring::RingMemory;

/// A mapping of this process that children of a fork do not get; dropping it unmaps.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    process: u32,
}

// SAFETY: it belongs to the process; `&self` reads plain fields.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// A ring of a socket.
    fn ring(socket: BorrowedFd<'_>, offset: u64, bytes: usize) -> Result<Self, OpenError> {
        // SAFETY: no FIXED, so the system chooses addresses that nobody uses.
        let mapped = unsafe {
            let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
            mm::mmap(null_mut(), bytes, protection, flags, socket, offset)
        };
        Self::kept_from_children(mapped.map_err(OpenError::os("mmap of a ring"))?, bytes)
    }

    /// Fresh zeroed memory.
    pub(crate) fn anonymous(bytes: usize) -> Result<Self, OpenError> {
        // SAFETY: as above.
        let mapped =
            unsafe { mm::mmap_anonymous(null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
        Self::kept_from_children(mapped.map_err(OpenError::os("mmap"))?, bytes)
    }

    fn kept_from_children(mapped: *mut c_void, bytes: usize) -> Result<Self, OpenError> {
        let base = NonNull::new(mapped.cast()).ok_or(OpenError::Os { call: "mmap", code: 0 })?;
        let mapping = Mapping { base, bytes, process: std::process::id() };
        // SAFETY: our mapping; the advice changes nothing in it.
        unsafe { mm::madvise(mapped, bytes, Advice::LinuxDontFork) }
            .map_err(OpenError::os("madvise(MADV_DONTFORK)"))?;
        Ok(mapping)
    }

    pub(crate) fn addr(&self) -> usize {
        self.base.as_ptr().addr()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return; // a forked child, which never had it
        }
        // SAFETY: ours, and every pointer into it is kept beside an `Arc` of this value, so there is none left.
        let unmapped = unsafe { mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
    }
}

/// Maps a ring of `size` entries, a power of two, whose words are where `at` says.
///
/// # Safety
///
/// `offset` is a ring of entries of type `T` that was made with this size.
pub(crate) unsafe fn map_ring<T>(
    socket: BorrowedFd<'_>,
    offset: u64,
    at: &XdpRingOffset,
    size: u32,
) -> Result<RingMemory<T>, OpenError> {
    let bytes = at.desc as usize + size as usize * size_of::<T>();
    let map = Arc::new(Mapping::ring(socket, offset, bytes)?);
    // Kernels before 5.4 have no flags; we ask for 5.11.
    let flags = at.flags.ok_or(OpenError::NoAfXdp)?;
    // SAFETY: the kernel says where its words are in what it maps, and aligns them.
    let word = |offset: u64| unsafe { map.base.add(offset as usize) };
    Ok(RingMemory {
        producer: word(at.producer).cast::<AtomicU32>(),
        consumer: word(at.consumer).cast(),
        flags: word(flags).cast(),
        entries: word(at.desc).cast(),
        size,
        _keep: map,
    })
}
