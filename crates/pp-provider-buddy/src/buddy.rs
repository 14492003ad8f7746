//! The handle.

use alloc::vec::Vec;
use core::ops::Deref;

use pp_core::lock::RawLock;
use pp_core::{CpuAccess, Home, Host, MemoryProvider, Region};

use crate::builder::BuddyBuilder;
use crate::error::BuddyError;
use crate::info::NodeInfo;
use crate::lock::DefaultLock;
use crate::provider::BuddyProvider;

/// A buddy allocator: memory, descriptors and free lists behind one cheap handle.
///
/// Clones are owners of the same memory; several pools may draw on one. The memory is given back when the last clone,
/// pool and page is gone. `L` is the lock that each node's free lists sit behind, `A` says whether anybody else can
/// write the memory.
///
/// # The reserve
///
/// With [`reserve_units`](BuddyBuilder::reserve_units) each node keeps that many base units for when nothing else is
/// left on any node (the min watermark of a kernel zone). Ordinary requests, bulk ones included, stop above it. A
/// request that would get nothing at all then gets *one* unit from it, marked
/// [`Recycling::Never`](pp_core::Recycling::Never). Pools never recycle such a unit, so the reserve fills again as soon as its
/// pages are dropped. Without `reserve_units` there is no reserve and no unit is ever marked.
///
/// # Examples
///
/// ```
/// use pp_provider_buddy::Buddy;
///
/// let memory = Box::leak(vec![0; 1 << 20].into_boxed_slice()); // in a kernel: a static array
/// let buddy = Buddy::static_memory(memory)?;
/// let same = buddy.clone();
/// assert_eq!(same.free_units(), buddy.total_units());
/// # Ok::<(), pp_provider_buddy::BuddyError>(())
/// ```
///
/// Over mapped memory, and what can be asked:
///
/// ```
/// # #[cfg(all(feature = "std", target_os = "linux"))] {
/// use pp_provider_buddy::Buddy;
/// # use pp_core::PagePool;
///
/// let buddy = Buddy::anonymous(1 << 20)?;
/// let mut pool = PagePool::builder(&buddy).build()?;
/// let page = pool.alloc()?;
/// assert_eq!((buddy.free_units(), buddy.buddyinfo()[0].free_units), (256 - 64, 256 - 64));
/// assert_eq!(buddy.free_blocks(6), 1); // 128 + 64: one block of 2^6 units is left
/// assert!(buddy.fragmentation_index() < 0.1); // hardly broken up
/// assert_eq!(buddy.regions()[0].units(), 256); // to register all of it with a device
/// assert_eq!(buddy.stray_releases(), 0);
/// # drop(page);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Buddy<L: RawLock = DefaultLock, A: CpuAccess = Host>(Home<BuddyProvider<L, A>>);

impl Buddy {
    /// A buddy over `bytes` of fresh zeroed memory, in base units of 4 KiB up to order 10, without a reserve.
    ///
    /// # Errors
    ///
    /// [`BuddyError`] when that is less than a unit, more than the address space, or the system refuses.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub fn anonymous(bytes: usize) -> Result<Self, BuddyError> {
        Self::builder().anonymous(bytes).build()
    }

    /// A buddy over a caller's memory, in base units of 4 KiB up to order 10, without a reserve.
    ///
    /// # Errors
    ///
    /// [`BuddyError`] when that is less than an aligned unit.
    pub fn static_memory(memory: &'static mut [u8]) -> Result<Self, BuddyError> {
        Self::builder().static_memory(memory).build()
    }

    /// Other sizes, several regions, nodes, a reserve, another lock. See [`BuddyBuilder`].
    pub fn builder() -> BuddyBuilder {
        BuddyBuilder::new()
    }
}

impl<L: RawLock, A: CpuAccess> Buddy<L, A> {
    pub(crate) fn from_home(home: Home<BuddyProvider<L, A>>) -> Self {
        Buddy(home)
    }

    /// Base units in all. Like every figure here in the smallest base unit among the regions.
    pub fn total_units(&self) -> usize {
        self.buddyinfo().iter().map(|node| node.total_units).sum()
    }

    /// Base units that are free now, the reserve included.
    pub fn free_units(&self) -> usize {
        self.buddyinfo().iter().map(|node| node.free_units).sum()
    }

    /// Free blocks of `order` now, on all nodes together.
    pub fn free_blocks(&self, order: u8) -> usize {
        self.buddyinfo().iter().map(|node| node.blocks.get(usize::from(order)).copied().unwrap_or(0)).sum()
    }

    /// What each node has now (`/proc/buddyinfo`). Takes each node's lock once.
    pub fn buddyinfo(&self) -> Vec<NodeInfo> {
        self.0.zones().iter().map(|zone| zone.info()).collect()
    }

    /// How broken up the free memory is, from 0 (as few pieces as possible) to 1 (all single base units).
    ///
    /// With `have` the number of free blocks, `most` the number of free base units (each a block of its own), and
    /// `fewest` the number of blocks that as many free units would make at best in the same region, all three
    /// summed over the regions:
    ///
    /// ```text
    ///          have - fewest
    /// index = ---------------     (0 where nothing is free)
    ///          most - fewest
    /// ```
    ///
    /// It is the share of possible merges that are missing; untouched memory has 0. The kernel's index (`__fragmentation_index`, `mm/vmstat.c`)
    /// answers another question: why a given request of some order failed.
    pub fn fragmentation_index(&self) -> f32 {
        self.0.pieces().index()
    }

    /// The regions, in the order in which the builder got them.
    ///
    /// For whoever registers whole regions with a device: a UMEM, an IOMMU mapping.
    pub fn regions(&self) -> &[Region] {
        self.0.regions()
    }

    /// Releases of units that were another provider's or not out: 0, unless somebody has made units up.
    ///
    /// Such a release changes nothing else: the unit is left to whoever owns it.
    pub fn stray_releases(&self) -> usize {
        self.0.strays()
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
mod share {
    use super::Buddy;
    use crate::error::BuddyError;
    use crate::memfd::SharedFile;
    use pp_core::lock::RawLock;
    use pp_core::{Exposed, Host};

    impl<L: RawLock> Buddy<L, Host> {
        /// A descriptor of region `region`'s file that another process can map for reading, and no other way.
        ///
        /// The file is sealed with `F_SEAL_FUTURE_WRITE`, one of `exclusive_fd` at its first sharing: whoever receives
        /// the descriptor can neither map it for writing nor write, punch or resize it, so pages stay the sole property
        /// of their holder here. That the reader sees bytes change under its eyes is its own affair.
        ///
        /// # Errors
        ///
        /// [`BuddyError::NoFile`] for a region without file, [`BuddyError::Os`] when it cannot be sealed.
        ///
        /// See [`SharedFile`].
        pub fn share_fd(&self, region: usize) -> Result<SharedFile, BuddyError> {
            let file = self.0.file(region).ok_or(BuddyError::NoFile { region })?;
            file.seal_writers()?;
            file.duplicate()
        }
    }

    impl<L: RawLock> Buddy<L, Exposed> {
        /// A descriptor of region `region`'s file that another process can map for reading and writing; the file of a
        /// [`memfd`](crate::BuddyBuilder::memfd) region for reading only.
        ///
        /// # Errors
        ///
        /// [`BuddyError::NoFile`] for a region without file, [`BuddyError::Os`] when no descriptor is left.
        ///
        /// See [`SharedFile`].
        pub fn share_fd_writable(&self, region: usize) -> Result<SharedFile, BuddyError> {
            self.0.file(region).ok_or(BuddyError::NoFile { region })?.duplicate()
        }
    }
}

impl<L: RawLock, A: CpuAccess> Clone for Buddy<L, A> {
    fn clone(&self) -> Self {
        Buddy(self.0.clone())
    }
}

/// The provider itself: `alloc_bulk`, `geometry`, `describe`.
impl<L: RawLock, A: CpuAccess> Deref for Buddy<L, A> {
    type Target = BuddyProvider<L, A>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<L: RawLock, A: CpuAccess> From<Buddy<L, A>> for Home<BuddyProvider<L, A>> {
    fn from(buddy: Buddy<L, A>) -> Self {
        buddy.0
    }
}

impl<L: RawLock, A: CpuAccess> From<&Buddy<L, A>> for Home<BuddyProvider<L, A>> {
    fn from(buddy: &Buddy<L, A>) -> Self {
        buddy.0.clone()
    }
}
