//! A DMA backend with units to map, and what its device sees of them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::hand::{Held, Ledger, Spans, Writes, take};
use super::{Broken, Dice, Obligation};
use crate::dma::{Dma, DmaAddr, DmaDirection, DmaError};
use crate::doc::Heap;
use crate::provider::Request;

/// The one under test, and units to map. The units are filled with their own number.
pub(super) struct Bench<D> {
    pub(super) dma: D,
    pub(super) units: Vec<Held>,
    _heaps: Vec<Heap>,
}

/// An address, and the unit under it.
pub(super) type Mapped = (DmaAddr, usize);

impl<D: Dma> Bench<D> {
    /// `count` units of each of these sizes, in turn.
    pub(super) fn new(dma: D, sizes: &[usize], count: usize) -> Result<Self, Broken> {
        let heaps: Vec<_> = sizes.iter().map(|bytes| Heap::new(*bytes, count)).collect();
        let (mut ledger, mut units) = (Ledger::new(Writes::Memory), Vec::new());
        for _ in 0..count {
            for heap in &heaps {
                units.extend(take(heap, &mut ledger, &Request::new(0, None), 1)?);
            }
        }
        Ok(Bench { dma, units, _heaps: heaps })
    }

    pub(super) fn map(&self, unit: usize, direction: DmaDirection) -> Result<DmaAddr, DmaError> {
        self.dma.map(self.units[unit].descriptor(), direction)
    }

    pub(super) fn unmap(&self, (addr, unit): Mapped, direction: DmaDirection) {
        self.dma.unmap(addr, self.bytes(unit), direction);
    }

    fn bytes(&self, unit: usize) -> usize {
        self.units[unit].descriptor().unit_bytes()
    }

    /// Maps all that go, and says why others did not.
    pub(super) fn map_all(&self, direction: DmaDirection) -> Result<(Vec<Mapped>, Option<DmaError>), Broken> {
        let (mut spans, mut mapped, mut refused) = (Spans::default(), Vec::new(), None);
        for unit in 0..self.units.len() {
            match self.map(unit, direction) {
                Ok(addr) => {
                    let bytes = self.bytes(unit);
                    spans.add(addr.0, bytes).map_err(|(at, _)| overlap(addr, bytes, at))?;
                    mapped.push((addr, unit));
                }
                Err(error) => refused = Some(error),
            }
        }
        Ok((mapped, refused))
    }

    pub(super) fn unmap_all(&self, mapped: Vec<Mapped>, direction: DmaDirection) {
        mapped.into_iter().for_each(|mapped| self.unmap(mapped, direction));
    }

    /// Nothing is mapped: counts how many go at once, and unmaps them.
    pub(super) fn recount(&self, obligation: Obligation, expected: usize, after: &str) -> Result<(), Broken> {
        let (mapped, error) = self.map_all(DmaDirection::FromDevice)?;
        let found = mapped.len();
        self.unmap_all(mapped, DmaDirection::FromDevice);
        obligation.check(found == expected, || {
            let why = error.map_or(String::new(), |error| format!(" ({error})"));
            format!("of {expected} mappings {found} could be made again after {after}{why}")
        })
    }
}

pub(super) fn overlap(addr: DmaAddr, bytes: usize, at: u64) -> Broken {
    Obligation::Reach.broken(format!("{addr} for {bytes} bytes reaches into the unit mapped at {at:#x}"))
}

/// Maps all that go, and unmaps them in an order that nobody planned for; with a device, looks through it all the while. How
/// long each unit was.
pub(super) fn reach<D: Dma>(
    bench: &Bench<D>,
    look: Option<&impl Fn(&D, DmaAddr, usize) -> Option<u8>>,
) -> Result<Vec<usize>, Broken> {
    let both = DmaDirection::Bidirectional;
    let (mut mapped, error) = bench.map_all(both)?;
    Obligation::Reach.check(!mapped.is_empty(), || format!("not one unit could be mapped: {error:?}"))?;
    let lengths = mapped.iter().map(|(_, unit)| bench.bytes(*unit)).collect();
    let Some(look) = look else {
        bench.unmap_all(mapped, both);
        return Ok(lengths);
    };
    let look = |addr, offset| look(&bench.dma, addr, offset);
    let sees = |(addr, unit): Mapped, offset: usize| {
        let (seen, there) = (look(addr, offset), bench.units[unit].tag());
        Obligation::Reach.check(seen == Some(there), || {
            let bytes = bench.bytes(unit);
            format!("byte {offset} of the unit of {bytes} bytes at {addr} is {there}, and the device sees {seen:?}")
        })
    };
    for (addr, unit) in mapped.iter().copied() {
        let bytes = bench.bytes(unit);
        (0..bytes).step_by(2048).chain([1, bytes - 1]).try_for_each(|offset| sees((addr, unit), offset))?;
        // Another unit may begin where this one ends.
        let next = mapped.iter().find(|(other, _)| other.0 == addr.0.wrapping_add(bytes as u64));
        let (beyond, next) = (look(addr, bytes), next.map(|(_, unit)| bench.units[*unit].tag()));
        Obligation::Reach.check(beyond.is_none() || beyond == next, || {
            format!("the device reaches beyond the unit of {bytes} bytes at {addr}")
        })?;
    }
    let mut dice = Dice(0x9e37_79b9);
    while !mapped.is_empty() {
        let (addr, unit) = mapped.swap_remove(dice.roll(mapped.len()));
        let bytes = bench.bytes(unit);
        bench.unmap((addr, unit), both);
        let late = [0, bytes / 2, bytes - 1].map(|offset| look(addr, offset));
        Obligation::Unmap.check(late == [None; 3], || format!("the device still sees {late:?} at {addr}"))?;
        // The others are mapped as before.
        mapped
            .iter()
            .try_for_each(|other| [0, bench.bytes(other.1) - 1].iter().try_for_each(|at| sees(*other, *at)))?;
    }
    Ok(lengths)
}
