//! Mapped memory.

#![allow(unsafe_code, reason = "mmap, madvise and munmap")]

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};

use pp_core::RegionMemory;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

use crate::error::BuddyError;
use crate::memfd::{SharedFile, os};

/// When the pages of a mapping come into being. See [`BuddyBuilder`](crate::BuddyBuilder).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefault {
    /// At their first touch, on the node of whoever touches them unless the region has one: no cost now, a page fault
    /// for each page later.
    #[default]
    Lazy,
    /// All of them before the buddy is there (`MADV_POPULATE_WRITE`, Linux 5.14): what cannot be had is an error now. For
    /// anonymous memory and [`memfd`](crate::BuddyBuilder::memfd) that means no SIGBUS later, and no fault unless the system
    /// swaps or moves pages; out of a file that others may write, they may still punch them.
    Now,
}

/// A mapping of this process; dropping it unmaps.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    /// The only process that has the mapping, where children of a fork do not get it.
    only_in: Option<u32>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is reached through its region only.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&self` reads two plain fields.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Fresh zeroed memory of at least `bytes`, aligned to `align`.
    pub(crate) fn anonymous(bytes: usize, align: usize) -> Result<Self, BuddyError> {
        let page = rustix::param::page_size();
        let bytes = bytes.next_multiple_of(page);
        Mapping::place(bytes, align.max(page), |at| {
            // SAFETY: `place` gives us an address range that it reserved and that holds nothing.
            unsafe {
                mm::mmap_anonymous(at, bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED)
            }
        })
    }

    /// The memory of `file`, aligned to `align`, shared with whoever else maps it.
    pub(crate) fn file(file: &SharedFile, align: usize) -> Result<Self, BuddyError> {
        Mapping::place(file.bytes(), align.max(file.page_bytes()), |at| {
            // SAFETY: `place` gives us an address range that it reserved and that holds nothing. No NORESERVE: huge
            // pages that do not exist are an error here, not a SIGBUS later.
            unsafe {
                mm::mmap(
                    at,
                    file.bytes(),
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::SHARED | MapFlags::FIXED,
                    file,
                    file.offset(),
                )
            }
        })
    }

    /// Reserves an aligned range of addresses and lets `map` fill it. `bytes` and `align` are multiples of a page.
    fn place(
        bytes: usize,
        align: usize,
        map: impl FnOnce(*mut c_void) -> rustix::io::Result<*mut c_void>,
    ) -> Result<Self, BuddyError> {
        let reserved = bytes.checked_add(align).ok_or(BuddyError::TooLarge { bytes })?;
        // SAFETY: no FIXED, so the system chooses addresses that nobody uses.
        let start = unsafe {
            mm::mmap_anonymous(null_mut(), reserved, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
        }
        .map_err(os("mmap"))?;
        let head = start.addr().wrapping_neg() & (align - 1);
        let base = start.wrapping_byte_add(head);
        let end = base.wrapping_byte_add(bytes);
        let mapped = map(base);
        // What surrounds the mapping, also where `map` failed. Then the middle stays reserved, addresses and no memory:
        // a failed MAP_FIXED may have removed what was there, our reservation, and another thread may have mapped
        // something of its own in the gap, which an munmap would destroy.
        for (at, bytes) in [(start, head), (end, reserved - head - bytes)].into_iter().filter(|(_, bytes)| *bytes > 0) {
            // SAFETY: reserved by us above and not given to `map`, so still ours, and nothing in it is in use. A failure
            // would leave addresses reserved, nothing worse.
            let _ = unsafe { mm::munmap(at, bytes) };
        }
        let base = NonNull::new(mapped.map_err(os("mmap"))?.cast()).ok_or(BuddyError::Os { call: "mmap", code: 0 })?;
        Ok(Mapping { base, bytes, only_in: None })
    }

    /// Keeps the mapping out of the children of a fork: with shared memory they would be second writers.
    pub(crate) fn keep_from_children(mut self) -> Result<Self, BuddyError> {
        self.advise(Advice::LinuxDontFork, "madvise(MADV_DONTFORK)")?;
        self.only_in = Some(std::process::id());
        Ok(self)
    }

    /// Makes the pages exist now, if that is wanted.
    pub(crate) fn prefault(&mut self, when: Prefault) -> Result<(), BuddyError> {
        match when {
            Prefault::Lazy => Ok(()),
            Prefault::Now => self.advise(Advice::LinuxPopulateWrite, "madvise(MADV_POPULATE_WRITE)"),
        }
    }

    /// The range, for system calls on it.
    pub(crate) fn range(&self) -> (*mut c_void, usize) {
        (self.base.as_ptr().cast(), self.bytes)
    }

    fn advise(&mut self, advice: Advice, call: &'static str) -> Result<(), BuddyError> {
        let (at, bytes) = self.range();
        // SAFETY: the range is our mapping, and the two kinds of advice in use here change no bytes in it.
        unsafe { mm::madvise(at, bytes, advice) }.map_err(os(call))
    }
}

// SAFETY: the range was mapped for reading and writing by us, zeroed or with the bytes of a file that cannot shrink,
// and stays until the drop below. This mapping is reached through its region only. The file of a memfd has no other
// mapping that can be written, that of an exclusive file none by its caller's promise; for `fd` and `exposed_memfd` other
// mappings of the file may exist, in this process too: that is why their pages are `Exposed`.
unsafe impl RegionMemory for Mapping {
    fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.only_in.is_some_and(|process| process != std::process::id()) {
            return; // a forked child: it never had the mapping, and may have something else at these addresses
        }
        let (at, bytes) = self.range();
        // SAFETY: the range is ours, and its region, the only way to it, is being dropped.
        let unmapped = unsafe { mm::munmap(at, bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_that_took_the_place_of_a_failed_one_is_left_alone() {
        let bytes = rustix::param::page_size();
        let mut place = null_mut();
        let failed = Mapping::place(bytes, 4 * bytes, |at| {
            place = at;
            // As if the kernel had removed the reservation, and another thread had got the addresses before it said so.
            // SAFETY: the range is reserved for us, and holds nothing.
            unsafe {
                let flags = MapFlags::PRIVATE | MapFlags::FIXED;
                mm::mmap_anonymous(at, bytes, ProtFlags::READ | ProtFlags::WRITE, flags)?;
                at.cast::<u8>().write(7);
            }
            Err(rustix::io::Errno::NOMEM)
        });
        assert_eq!(failed.unwrap_err(), BuddyError::Os { call: "mmap", code: libc::ENOMEM });
        let mut there = 0u8;
        // SAFETY: asks the system about addresses, which need not be mapped; one page has one byte.
        assert_eq!(unsafe { libc::mincore(place, bytes, &raw mut there) }, 0, "it is mapped");
        // SAFETY: mapped above and, as was just seen, still there; nobody else knows it.
        unsafe {
            assert_eq!(place.cast::<u8>().read(), 7);
            mm::munmap(place, bytes).unwrap();
        }
    }
}
