//! Memory of each kind that a UMEM may be on.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use pp_provider_buddy::{Buddy, BuddyError};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;

/// What backs the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Ordinary,
    Memfd,
    Huge,
}

/// Bytes of a huge page.
pub(crate) const HUGE_BYTES: usize = 2 << 20;

/// As much of it, in units of `unit_bytes`.
pub(crate) fn buddy(kind: Kind, bytes: usize, unit_bytes: usize) -> Buddy {
    let builder = Buddy::builder().unit_bytes(unit_bytes);
    match kind {
        Kind::Ordinary => builder.anonymous(bytes).build().unwrap(),
        Kind::Memfd => builder.memfd(bytes).build().unwrap(),
        Kind::Huge => {
            // What a UMEM had before may still be on its way back.
            let patience = Instant::now() + Duration::from_secs(2);
            loop {
                // SAFETY: the file is made here, and nobody else gets it.
                let built = unsafe { Buddy::builder().unit_bytes(unit_bytes).exclusive_fd(huge_file(bytes), 0, bytes) };
                match built.build() {
                    Ok(buddy) => return buddy,
                    Err(BuddyError::Os { code, .. })
                        if code == Errno::NOMEM.raw_os_error() && Instant::now() < patience =>
                    {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

fn huge_file(bytes: usize) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let file = memfd_create("pp-xdp-test", flags).unwrap();
    ftruncate(&file, bytes as u64).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    file
}

/// Huge pages that were added to the system's, until this is dropped.
pub(crate) struct HugePages(usize);

const NR_HUGE: &str = "/proc/sys/vm/nr_hugepages";
const FREE_HUGE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

impl HugePages {
    /// So many that nobody has, or why not.
    pub(crate) fn reserve(pages: usize) -> Result<Self, String> {
        let has = number(FREE_HUGE)?;
        let there = number(NR_HUGE)?;
        let add = pages.saturating_sub(has);
        std::fs::write(NR_HUGE, (there + add).to_string()).map_err(|error| format!("{NR_HUGE}: {error}"))?;
        let added = HugePages(number(NR_HUGE)?.saturating_sub(there));
        match number(FREE_HUGE)? {
            free if free >= pages => Ok(added),
            free => Err(format!("the system has {free} huge pages, and these rows take {pages}")),
        }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // Somebody else may have changed the number as well.
        let now = number(NR_HUGE).unwrap();
        std::fs::write(NR_HUGE, now.saturating_sub(self.0).to_string()).unwrap();
    }
}

fn number(path: &str) -> Result<usize, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    text.trim().parse().map_err(|error| format!("{path}: {error}"))
}
