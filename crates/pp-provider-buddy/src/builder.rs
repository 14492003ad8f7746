//! Putting a buddy together: settings, regions, nodes.

#![allow(unsafe_code, reason = "the kind of memory is promised here, where each kind of region is added")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

use pp_core::lock::RawLock;
use pp_core::{CpuAccess, Exposed, Geometry, Home, Host, NodeId, Reaper, Region, RegionMemory, StaticMemory};

use crate::area::Area;
use crate::buddy::Buddy;
use crate::error::BuddyError;
use crate::lock::DefaultLock;
use crate::provider::{BuddyProvider, Parts};
use crate::zone::{Member, Zone};
use crate::{DEFAULT_MAX_ORDER, DEFAULT_UNIT_BYTES, MAX_ORDER, MAX_UNITS};

#[cfg(all(feature = "std", target_os = "linux"))]
use {
    crate::memfd::{self, SharedFile},
    crate::memory::{Mapping, Prefault},
    crate::node,
    std::os::fd::OwnedFd,
};

/// The base units that can be chosen, in bytes.
const UNIT_BYTES: core::ops::RangeInclusive<usize> = 2 << 10..=64 << 10;

/// The largest block, in bytes: a descriptor's length is 32 bits wide.
const MAX_BLOCK_BYTES: usize = 1 << 31;

/// Makes a [`Buddy`].
///
/// Settings ([`unit_bytes`](Self::unit_bytes), [`max_order`](Self::max_order), [`reserve_units`](Self::reserve_units),
/// [`node`](Self::node), [`prefault`](Self::prefault)) hold for the regions that are added after them. What goes wrong
/// on the way is reported by [`build`](Self::build).
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "std", target_os = "linux"))] {
/// use pp_core::NodeId;
/// use pp_provider_buddy::Buddy;
///
/// let two_kinds = Buddy::builder()
///     .unit_bytes(2048)
///     .anonymous(1 << 20)
///     .unit_bytes(65536)
///     .anonymous(1 << 20)
///     .build()?;
/// assert_eq!(two_kinds.total_units(), 1024); // counted in the smaller base unit
/// # }
/// # Ok::<(), pp_provider_buddy::BuddyError>(())
/// ```
///
/// With more said:
///
/// ```
/// # #[cfg(all(feature = "std", target_os = "linux"))] {
/// use pp_core::lock::SpinLock;
/// use pp_core::{NodeId, Reaper};
/// use pp_provider_buddy::{Buddy, Prefault};
///
/// let memory = Box::leak(vec![0; 1 << 16].into_boxed_slice());
/// let buddy = Buddy::builder()
///     .lock::<SpinLock>() // one that masks interrupts, say
///     .reaper(Reaper::new(drop))
///     .max_order(4)
///     .node(NodeId(0))
///     .prefault(Prefault::Now)
///     .anonymous(1 << 20)
///     .memfd(1 << 20) // another process may read it: `Buddy::share_fd`
///     .static_memory(memory)
///     .build()?;
/// assert_eq!(buddy.regions().len(), 3);
/// # }
/// # Ok::<(), pp_provider_buddy::BuddyError>(())
/// ```
#[must_use = "call `build`"]
pub struct BuddyBuilder<L: RawLock = DefaultLock, A: CpuAccess = Host> {
    settings: Settings,
    parts: Result<Vec<Part>, BuddyError>,
    reaper: Option<Reaper>,
    kind: PhantomData<fn() -> (L, A)>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    unit_bytes: usize,
    max_order: u8,
    reserve_units: usize,
    node: Option<NodeId>,
    #[cfg(all(feature = "std", target_os = "linux"))]
    prefault: Prefault,
}

/// A region and what the settings were when it was added.
#[derive(Debug)]
struct Part {
    region: Region,
    max_order: u8,
    reserve_units: usize,
    #[cfg(all(feature = "std", target_os = "linux"))]
    file: Option<SharedFile>,
}

// === settings ===

impl BuddyBuilder {
    pub(crate) fn new() -> Self {
        BuddyBuilder {
            settings: Settings {
                unit_bytes: DEFAULT_UNIT_BYTES,
                max_order: DEFAULT_MAX_ORDER,
                reserve_units: 0,
                node: None,
                #[cfg(all(feature = "std", target_os = "linux"))]
                prefault: Prefault::Lazy,
            },
            parts: Ok(Vec::new()),
            reaper: None,
            kind: PhantomData,
        }
    }
}

impl<L: RawLock, A: CpuAccess> BuddyBuilder<L, A> {
    /// Bytes in a base unit: a power of two from 2 KiB to 64 KiB. 4 KiB unless set.
    ///
    /// Regions may differ. The smallest is the unit of order 0 of the whole buddy; a region of larger ones serves the
    /// orders from its own up.
    pub fn unit_bytes(mut self, bytes: usize) -> Self {
        self.settings.unit_bytes = bytes;
        self
    }

    /// The largest block that units are joined to, as the order above the base unit. 10 unless set, 20 at most.
    pub fn max_order(mut self, order: u8) -> Self {
        self.settings.max_order = order;
        self
    }

    /// Base units of the next regions that are kept for when nothing else is left; none unless set.
    ///
    /// The reserves of several regions on one node add up. See [`Buddy`] for what the reserve does.
    pub fn reserve_units(mut self, units: usize) -> Self {
        self.settings.reserve_units = units;
        self
    }

    /// The memory node of the next regions.
    ///
    /// Mapped memory is placed there by `mbind` (preferred: a full node falls back to others as in the kernel).
    /// For other memory this only says where it is. Unless set, memory lies where it is first touched, and counts
    /// as node 0.
    pub fn node(mut self, node: NodeId) -> Self {
        self.settings.node = Some(node);
        self
    }

    /// Whether the pages of mapped regions are there from the start; lazy unless set.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub fn prefault(mut self, prefault: Prefault) -> Self {
        self.settings.prefault = prefault;
        self
    }

    /// Another lock: one that masks interrupts, for instance.
    pub fn lock<M: RawLock>(self) -> BuddyBuilder<M, A> {
        BuddyBuilder { settings: self.settings, parts: self.parts, reaper: self.reaper, kind: PhantomData }
    }

    /// Who frees the memory when its last owner is gone; unless set, that owner itself.
    pub fn reaper(mut self, reaper: Reaper) -> Self {
        self.reaper = Some(reaper);
        self
    }

    /// From here on others may write the memory.
    fn exposed(self) -> BuddyBuilder<L, Exposed> {
        BuddyBuilder { settings: self.settings, parts: self.parts, reaper: self.reaper, kind: PhantomData }
    }
}

// === regions ===
//
// Each verb that leaves `A` as it is adds memory that nobody else writes; each that cannot say so returns
// `BuddyBuilder<L, Exposed>`. That is what the SAFETY text of `build` rests on.

impl<L: RawLock, A: CpuAccess> BuddyBuilder<L, A> {
    /// Adds a caller's memory. It stays out of reach for ever, also when building fails.
    pub fn static_memory(self, memory: &'static mut [u8]) -> Self {
        self.add(|settings| Part::new(settings, StaticMemory::new(memory)))
    }

    /// Adds memory of any kind that others, another process or a device, may write at any time. It has to have an
    /// address: [`BuddyError::NoAddress`].
    ///
    /// # Examples
    ///
    /// ```
    /// use pp_core::StaticMemory; // or memory of your own: `RegionMemory`
    /// use pp_provider_buddy::Buddy;
    /// # let (a, b) = (Box::leak(vec![0; 1 << 16].into_boxed_slice()), Box::leak(vec![0; 1 << 16].into_boxed_slice()));
    /// let exposed = Buddy::builder().memory(StaticMemory::new(a)).build()?; // others may write it
    /// // SAFETY: nobody else has it.
    /// let host = unsafe { Buddy::builder().exclusive_memory(StaticMemory::new(b)) }.build()?;
    /// # Ok::<(), pp_provider_buddy::BuddyError>(())
    /// ```
    pub fn memory(self, memory: impl RegionMemory) -> BuddyBuilder<L, Exposed> {
        self.exposed().add(|settings| Part::new(settings, memory))
    }

    /// Adds memory of any kind.
    ///
    /// # Safety
    ///
    /// Nobody but the holders of pages writes the memory while it is part of the buddy: no other process, no mapping
    /// elsewhere, no device that was not given a page.
    ///
    /// See [`memory`](Self::memory).
    pub unsafe fn exclusive_memory(self, memory: impl RegionMemory) -> Self {
        self.add(|settings| Part::new(settings, memory))
    }

    fn add(mut self, make: impl FnOnce(&Settings) -> Result<Part, BuddyError>) -> Self {
        if let Ok(parts) = &mut self.parts {
            match self.settings.check().and_then(|()| make(&self.settings)) {
                Ok(part) => parts.push(part),
                Err(error) => self.parts = Err(error),
            }
        }
        self
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
impl<L: RawLock, A: CpuAccess> BuddyBuilder<L, A> {
    /// Adds `bytes` of fresh zeroed memory of this process. Like all memory here it is used in whole base units.
    pub fn anonymous(self, bytes: usize) -> Self {
        self.add(|settings| {
            let (bytes, align) = settings.fit(bytes)?;
            Part::mapped(settings, Mapping::anonymous(bytes, align)?, None)
        })
    }

    /// Adds `bytes` of fresh zeroed memory with a file behind it, which another process can map for reading once
    /// [`Buddy::share_fd`] handed it out.
    ///
    /// The file cannot be resized, and nobody can become a second writer (`F_SEAL_FUTURE_WRITE`, Linux 5.1). Children of
    /// a `fork` do not get the mapping.
    pub fn memfd(self, bytes: usize) -> Self {
        self.add(|settings| {
            let (bytes, align) = settings.fit(bytes)?;
            let file = memfd::create(bytes)?;
            let mapping = Mapping::file(&file, align)?.keep_from_children()?;
            // At once, so that nobody finds it unsealed: through /proc/PID/fd, say, or by a descriptor that was inherited.
            file.seal_writers()?;
            Part::mapped(settings, mapping, Some(file))
        })
    }

    /// Adds `bytes` of fresh zeroed memory whose file may be given to a process that writes it
    /// ([`Buddy::share_fd_writable`]).
    ///
    /// See [`SharedFile`].
    pub fn exposed_memfd(self, bytes: usize) -> BuddyBuilder<L, Exposed> {
        self.exposed().add(|settings| {
            let (bytes, align) = settings.fit(bytes)?;
            let file = memfd::create(bytes)?;
            Part::mapped(settings, Mapping::file(&file, align)?, Some(file))
        })
    }

    /// Adds `bytes` of a caller's file from `offset` on: a memfd, also one of huge pages.
    ///
    /// It must be sealed against shrinking (`F_SEAL_SHRINK`), because a touch behind its end would kill the process.
    /// Somebody else may have it mapped for writing (no seal rules out a mapping that is older than the seal), so its
    /// pages are [`Exposed`].
    ///
    /// See [`SharedFile`].
    pub fn fd(self, file: OwnedFd, offset: u64, bytes: usize) -> BuddyBuilder<L, Exposed> {
        self.exposed().add(|settings| {
            let (file, mapping) = settings.map_file(file, offset, bytes)?;
            Part::mapped(settings, mapping, Some(file))
        })
    }

    /// The same for a file that nobody else writes.
    ///
    /// # Safety
    ///
    /// While the buddy lives, nobody writes the file from `offset` on for `bytes` bytes but the holders of pages: not
    /// through another descriptor or mapping, in this process or another. Handing it out by [`Buddy::share_fd`]
    /// is fine. Children of a `fork` do not get our mapping; what they do with the descriptor is part of the promise.
    ///
    /// See [`SharedFile`].
    pub unsafe fn exclusive_fd(self, file: OwnedFd, offset: u64, bytes: usize) -> Self {
        self.add(|settings| {
            let (file, mapping) = settings.map_file(file, offset, bytes)?;
            Part::mapped(settings, mapping.keep_from_children()?, Some(file))
        })
    }
}

impl Settings {
    fn check(&self) -> Result<(), BuddyError> {
        let Settings { unit_bytes, max_order, .. } = *self;
        if !unit_bytes.is_power_of_two() || !UNIT_BYTES.contains(&unit_bytes) {
            return Err(BuddyError::UnitSize { unit_bytes });
        }
        if max_order > MAX_ORDER || max_order > (MAX_BLOCK_BYTES / unit_bytes).ilog2() as u8 {
            return Err(BuddyError::MaxOrder { max_order, unit_bytes });
        }
        Ok(())
    }

    /// How much of `bytes` makes whole base units, and what that should be aligned to: its largest block.
    #[cfg(all(feature = "std", target_os = "linux"))]
    fn fit(&self, bytes: usize) -> Result<(usize, usize), BuddyError> {
        if bytes > isize::MAX as usize {
            return Err(BuddyError::TooLarge { bytes });
        }
        let units = bytes / self.unit_bytes;
        if units == 0 {
            return Err(BuddyError::TooSmall { bytes, unit_bytes: self.unit_bytes });
        }
        // Before the system is asked for memory that could not be used.
        if units > MAX_UNITS {
            return Err(BuddyError::TooManyUnits { units });
        }
        Ok((units * self.unit_bytes, self.unit_bytes << units.ilog2().min(u32::from(self.max_order))))
    }

    /// A caller's file, mapped.
    #[cfg(all(feature = "std", target_os = "linux"))]
    fn map_file(&self, file: OwnedFd, offset: u64, bytes: usize) -> Result<(SharedFile, Mapping), BuddyError> {
        let (_, align) = self.fit(bytes)?;
        let file = memfd::adopt(file, offset, bytes)?;
        let mapping = Mapping::file(&file, align)?;
        Ok((file, mapping))
    }
}

impl Part {
    fn new(settings: &Settings, memory: impl RegionMemory) -> Result<Self, BuddyError> {
        let (units, reserve_units) = (memory.bytes() / settings.unit_bytes, settings.reserve_units);
        if units > MAX_UNITS {
            return Err(BuddyError::TooManyUnits { units });
        }
        let region = Region::new(memory, settings.unit_bytes, settings.node.unwrap_or_default())
            .map_err(|error| BuddyError::region(error, settings.unit_bytes))?;
        // Lawful for a region, but `Host` and `Exposed` pages are both read through their address.
        if region.base().is_null() {
            return Err(BuddyError::NoAddress);
        }
        let units = region.units() as usize;
        if reserve_units >= units {
            return Err(BuddyError::Reserve { reserve_units, units });
        }
        Ok(Part {
            region,
            max_order: settings.max_order,
            reserve_units,
            #[cfg(all(feature = "std", target_os = "linux"))]
            file: None,
        })
    }

    /// Memory whose pages are not there yet, so that it can still choose their node.
    #[cfg(all(feature = "std", target_os = "linux"))]
    fn mapped(settings: &Settings, mut mapping: Mapping, file: Option<SharedFile>) -> Result<Self, BuddyError> {
        if let Some(on) = settings.node {
            node::prefer(&mut mapping, on)?;
        }
        mapping.prefault(settings.prefault)?;
        Ok(Part { file, ..Part::new(settings, mapping)? })
    }
}

// === build ===

impl<L: RawLock, A: CpuAccess> BuddyBuilder<L, A> {
    /// The buddy over everything that was added.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong since the builder was made, or that there is no memory.
    pub fn build(self) -> Result<Buddy<L, A>, BuddyError> {
        let parts = self.parts?;
        let unit_bytes = parts.iter().map(|part| part.region.unit_bytes()).min().ok_or(BuddyError::NoMemory)?;
        let units = parts.iter().map(|part| part.region.bytes() / unit_bytes).sum();
        if units > MAX_UNITS {
            return Err(BuddyError::TooManyUnits { units });
        }

        let mut nodes: Vec<NodeId> = parts.iter().map(|part| part.region.node()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let zone_of: Box<[usize]> =
            parts.iter().map(|part| nodes.binary_search(&part.region.node()).unwrap_or(0)).collect();

        let mut members: Vec<(Vec<Member>, usize)> = nodes.iter().map(|_| (Vec::new(), 0)).collect();
        let mut max_order = 0;
        for (at, part) in parts.iter().enumerate() {
            let shift = (part.region.unit_bytes() / unit_bytes).ilog2() as u8;
            let area = Area::new(&part.region, part.max_order);
            max_order = max_order.max(area.max_order() + shift);
            let (zone, reserve) = &mut members[zone_of[at]];
            zone.push(Member::new(at, shift, area));
            *reserve += part.reserve_units << shift;
        }
        let geometry = Geometry { unit_bytes, max_order, nodes: nodes.len() as u16 };
        let zones = nodes.iter().zip(members).map(|(node, (members, reserve))| Zone::new(*node, members, reserve));

        let provider_parts = Parts {
            zones: zones.collect(),
            zone_of,
            geometry,
            #[cfg(all(feature = "std", target_os = "linux"))]
            files: Box::new([]),
            regions: Box::new([]),
        };
        #[cfg(all(feature = "std", target_os = "linux"))]
        let provider_parts = {
            let (regions, files): (Vec<_>, Vec<_>) = parts.into_iter().map(|part| (part.region, part.file)).unzip();
            Parts { regions: regions.into_boxed_slice(), files: files.into_boxed_slice(), ..provider_parts }
        };
        #[cfg(not(all(feature = "std", target_os = "linux")))]
        let provider_parts = Parts { regions: parts.into_iter().map(|part| part.region).collect(), ..provider_parts };

        // SAFETY:
        // 1. `A` is `Host` or `Exposed`. It is `Host` only where every region was added by a verb that keeps `A`, and
        //    each of those adds memory nobody else writes, or is unsafe and has its caller promise that. Both are memory
        //    that the CPU can reach, which by `RegionMemory` all memory with an address is: `Part::new` refuses any other.
        // 2. Each region went, all free, into the area of the zone that `zone_of` names.
        let provider = unsafe { BuddyProvider::new(provider_parts) };
        Ok(Buddy::from_home(match self.reaper {
            Some(reaper) => Home::with_reaper(provider, reaper),
            None => Home::new(provider),
        }))
    }
}

impl<L: RawLock, A: CpuAccess> core::fmt::Debug for BuddyBuilder<L, A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BuddyBuilder")
            .field("settings", &self.settings)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}
