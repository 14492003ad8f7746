//! The provider: what a pool calls. Policy is in `zone` and `area`; here their answers become units.

#![allow(unsafe_code, reason = "pp-core's provider contract is an unsafe trait")]

use alloc::boxed::Box;
use core::marker::PhantomData;

use pp_core::lock::RawLock;
use pp_core::sync::Counter;
use pp_core::{
    Backing, CpuAccess, Description, Descriptor, Exposed, Geometry, Host, MemoryProvider, ProvideError, Recycling,
    Region, Request, Unit, UnitDrain, UnitSink,
};

use crate::info::Pieces;
use crate::zone::{Depth, Place, Zone, ZoneState};

/// How many units of several zones are sorted at a time on their way home: a full pool cache.
const SORTED_AT_ONCE: usize = 128;

/// The memory of a [`Buddy`](crate::Buddy), and what of it is free.
///
/// Met inside a [`Home`](pp_core::Home) only; make one through [`Buddy`](crate::Buddy).
pub struct BuddyProvider<L, A> {
    regions: Box<[Region]>,
    /// The zone of each region.
    zone_of: Box<[usize]>,
    zones: Box<[Zone<L>]>,
    geometry: Geometry,
    /// Releases of units that are not ours or not out.
    strays: Counter,
    #[cfg(all(feature = "std", target_os = "linux"))]
    files: Box<[Option<crate::memfd::SharedFile>]>,
    access: PhantomData<fn() -> A>,
}

/// What a provider is put together from.
pub(crate) struct Parts<L> {
    pub(crate) regions: Box<[Region]>,
    pub(crate) zone_of: Box<[usize]>,
    pub(crate) zones: Box<[Zone<L>]>,
    pub(crate) geometry: Geometry,
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) files: Box<[Option<crate::memfd::SharedFile>]>,
}

impl<L: RawLock, A: CpuAccess> BuddyProvider<L, A> {
    /// # Safety
    ///
    /// 1. All memory of `parts.regions` is what [`Backing`] promises for `A`.
    /// 2. Everything in `parts.regions` is free in exactly one of `parts.zones`, the one that `parts.zone_of` names.
    pub(crate) unsafe fn new(parts: Parts<L>) -> Self {
        BuddyProvider {
            regions: parts.regions,
            zone_of: parts.zone_of,
            zones: parts.zones,
            geometry: parts.geometry,
            strays: Counter::new(0),
            #[cfg(all(feature = "std", target_os = "linux"))]
            files: parts.files,
            access: PhantomData,
        }
    }

    pub(crate) fn zones(&self) -> &[Zone<L>] {
        &self.zones
    }

    pub(crate) fn strays(&self) -> usize {
        self.strays.get()
    }

    #[cfg(all(feature = "std", target_os = "linux"))]
    pub(crate) fn file(&self, region: usize) -> Option<&crate::memfd::SharedFile> {
        self.files.get(region)?.as_ref()
    }

    pub(crate) fn pieces(&self) -> Pieces {
        self.zones.iter().map(Zone::pieces).fold(Pieces::default(), Pieces::add)
    }

    /// The zones in the order in which a request tries them: its node first.
    fn zones_for(&self, request: &Request) -> impl Iterator<Item = &Zone<L>> {
        let first = request.node.and_then(|node| self.zones.iter().position(|zone| zone.node() == node)).unwrap_or(0);
        let (before, from) = self.zones.split_at(first);
        from.iter().chain(before)
    }

    fn place(&self, descriptor: &Descriptor) -> Option<Place> {
        self.regions
            .iter()
            .enumerate()
            .find_map(|(region, memory)| memory.index_of(descriptor).map(|index| Place { region, index }))
    }

    /// Takes from one zone into the sink. Returns how many.
    fn take(&self, zone: &Zone<L>, order: u8, units: &mut UnitSink<'_>, depth: Depth) -> usize {
        let bytes = (self.geometry.unit_bytes << order) as u32;
        zone.with(|state| {
            state.take(&self.regions, order, units.room(), depth, |place| {
                // There always is one, and there always is room: an area hands out what it has, and no more than it was asked for.
                let descriptor = self.regions.get(place.region).and_then(|region| region.descriptor(place.index));
                let Some(descriptor) = descriptor else { return };
                // SAFETY:
                // 1. Home, and no other `Unit`: the area's map, which only the holder of the zone's lock changes and
                //    no page holder reaches, had the block as free and now has it as out.
                // 2. Outlives: regions are dropped with the provider, and pools hold the provider's `Home`.
                let unit = unsafe { Unit::new(descriptor) };
                let recycling = if depth == Depth::Reserve { Recycling::Never } else { Recycling::Allowed };
                if descriptor.order() != order
                    || descriptor.unit_bytes() != bytes as usize
                    || descriptor.recycling() != recycling
                {
                    // SAFETY: we hold the only `Unit`, so we alone decide about it; the block's `bytes` bytes lie
                    // inside the region, whose memory is what `A` promises.
                    unsafe { descriptor.reshape(descriptor.addr(), bytes, order, recycling) };
                }
                if units.room() > 0 {
                    units.push(unit);
                }
            })
        })
    }

    /// The zone of a place; the first for what is not ours, to be counted there.
    fn zone_of(&self, place: Option<Place>) -> usize {
        place.and_then(|place| self.zone_of.get(place.region)).copied().unwrap_or(0)
    }

    /// Takes a unit back whose place is known. The zone is the place's.
    fn put(&self, state: &mut ZoneState, place: Option<Place>) {
        if !place.is_some_and(|place| state.put(&self.regions, place)) {
            // Not ours, or not out: nothing of ours has changed, and a release must not panic.
            self.strays.add_shared(1);
        }
    }
}

// SAFETY:
// 1. Uniqueness: see `take`; blocks of one area never overlap because `area` only cuts and joins along buddies.
// 2. Stability: regions, with memory and descriptors, are dropped with the provider and never before.
// 3. Conservation: `put` frees what the area has on record as out.
// 4. Any thread: areas are reached under their zone's lock only. No path panics: indices come from `Region::index_of`,
//    and a unit that is unknown or not out is counted and left alone.
// 5. Order: `take` hands out `request.order` only; `geometry` is a constant.
// 7. Regions: a field that nothing changes; every unit is a block of one of them.
unsafe impl<L: RawLock, A: CpuAccess> MemoryProvider for BuddyProvider<L, A> {
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        if units.room() == 0 {
            return Ok(());
        }
        if request.order > self.geometry.max_order {
            return Err(ProvideError::OutOfMemory);
        }
        // One zone serves a call: a refill that could be filled up from a far node is better short and near.
        for depth in [Depth::Ordinary, Depth::Reserve] {
            for zone in self.zones_for(request) {
                if self.take(zone, request.order, units, depth) > 0 {
                    return Ok(());
                }
            }
        }
        Err(ProvideError::OutOfMemory)
    }

    fn release(&self, unit: Unit) {
        let place = self.place(unit.descriptor());
        unit.consume();
        if let Some(zone) = self.zones.get(self.zone_of(place)) {
            zone.with(|state| self.put(state, place));
        }
    }

    fn release_bulk(&self, mut units: UnitDrain<'_>) {
        if let [zone] = &*self.zones {
            return zone.with(|state| {
                for unit in units {
                    let place = self.place(unit.descriptor());
                    unit.consume();
                    self.put(state, place);
                }
            });
        }
        // Sorted by zone on the stack. Chaining them through their own words would need no array, but those
        // words are open to others.
        while units.len() > 0 {
            let mut places = [None; SORTED_AT_ONCE];
            let mut count = 0;
            for (place, unit) in places.iter_mut().zip(units.by_ref()) {
                *place = self.place(unit.descriptor());
                unit.consume();
                count += 1;
            }
            let places = || places.iter().take(count).copied();
            for (at, zone) in self.zones.iter().enumerate() {
                if places().any(|place| self.zone_of(place) == at) {
                    zone.with(|state| {
                        places().filter(|place| self.zone_of(*place) == at).for_each(|place| self.put(state, place));
                    });
                }
            }
        }
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn describe(&self) -> Description {
        let (total, free) = self
            .zones
            .iter()
            .map(Zone::info)
            .fold((0, 0), |(total, free), info| (total + info.total_units, free + info.free_units));
        Description::new("buddy", total, free).with_fragmentation(self.pieces().index())
    }
}

// SAFETY: the maker of the provider promised that its regions are `Host` memory.
unsafe impl<L: RawLock> Backing for BuddyProvider<L, Host> {
    type Access = Host;
}

// SAFETY: the maker of the provider promised that its regions are `Exposed` memory.
unsafe impl<L: RawLock> Backing for BuddyProvider<L, Exposed> {
    type Access = Exposed;
}

impl<L: RawLock, A: CpuAccess> core::fmt::Debug for BuddyProvider<L, A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BuddyProvider")
            .field("access", &A::NAME)
            .field("geometry", &self.geometry)
            .field("regions", &self.regions)
            .finish_non_exhaustive()
    }
}
