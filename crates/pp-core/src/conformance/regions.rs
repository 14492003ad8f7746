//! Memory in whole pieces, for those who register it with a device or the kernel.

use alloc::format;
use alloc::vec::Vec;

use super::hand::{Held, Ledger, Writes};
use super::provider::{drain, give_back};
use super::{Broken, Obligation};
use crate::provider::Backing;
use crate::region::Region;

/// The pieces that it shows stay what they are, and what lies in them is units of theirs. Who shows none has promised nothing.
pub(super) fn pieces<P: Backing>(provider: &P) -> Result<(), Broken> {
    let shapes = |regions: &[Region]| -> Vec<_> {
        regions.iter().map(|region| (region.base().addr(), region.bytes(), region.descriptor(0).map(address))).collect()
    };
    let first = shapes(provider.regions());
    let unchanged = |when: &str| {
        let now = shapes(provider.regions());
        Obligation::Regions
            .check(now == first, || format!("{} pieces were {} other ones {when}", first.len(), now.len()))
    };
    unchanged("when they were asked for again")?;
    for order in 0..=provider.geometry().max_order {
        let mut ledger = Ledger::new(Writes::Nothing);
        let held = drain(provider, &mut ledger, order, 64)?;
        unchanged("with units out")?;
        held.iter().try_for_each(|unit| provider.regions().iter().try_for_each(|region| lies_right(unit, region)))?;
        give_back(provider, &mut ledger, held)?;
        unchanged("once all units were home")?;
    }
    Ok(())
}

/// A unit of a region lies in it, and what lies in it is one of its units.
fn lies_right(unit: &Held, region: &Region) -> Result<(), Broken> {
    let descriptor = unit.descriptor();
    let (start, end) = (descriptor.addr().addr(), descriptor.addr().addr() + descriptor.unit_bytes());
    let (first, last) = (region.base().addr(), region.base().addr() + region.bytes());
    let is_in = !region.base().is_null() && start < last && first < end;
    let is_all_in = first <= start && end <= last;
    Obligation::Regions.check(!is_in || (is_all_in && region.contains(descriptor)), || {
        format!("a unit at {start:#x} to {end:#x} is in a piece at {first:#x} to {last:#x} and not of it")
    })
}

fn address<T>(of: &T) -> usize {
    core::ptr::from_ref(of).addr()
}
