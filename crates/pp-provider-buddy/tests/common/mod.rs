//! Driving a provider without a pool.
#![allow(dead_code, reason = "each test file uses its part")]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use pp_core::{Descriptor, MemoryProvider, NodeId, Request, Unit, UnitDrain, UnitSink};

/// Asks for up to `count` units of `order` in one call.
pub(crate) fn alloc_on(provider: &dyn MemoryProvider, order: u8, node: Option<NodeId>, count: usize) -> Vec<Unit> {
    let mut places = vec![MaybeUninit::uninit(); count];
    let mut sink = UnitSink::new(&mut places);
    let result = provider.alloc_bulk(&Request::new(order, node), &mut sink);
    let len = sink.len();
    assert_eq!(result.is_err(), len == 0 && count > 0, "an error exactly when there was nothing");
    places[..len]
        .iter()
        .map(|place| {
            // SAFETY: the first `len` places were filled with units that are given to us, each taken out once.
            unsafe { Unit::new(place.assume_init().as_ref()) }
        })
        .collect()
}

/// The same on any node.
pub(crate) fn alloc(provider: &dyn MemoryProvider, order: u8, count: usize) -> Vec<Unit> {
    alloc_on(provider, order, None, count)
}

/// Calls until `count` units are there or no more come.
pub(crate) fn alloc_all(provider: &dyn MemoryProvider, order: u8, count: usize) -> Vec<Unit> {
    let mut all = Vec::new();
    while all.len() < count {
        let some = alloc(provider, order, count - all.len());
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    all
}

/// Gives `units` back in one call.
pub(crate) fn release_bulk(provider: &dyn MemoryProvider, units: Vec<Unit>) {
    let descriptors: Vec<NonNull<Descriptor>> = units.iter().map(|unit| NonNull::from(unit.descriptor())).collect();
    drop(units); // a unit without `consume` stays out
    // SAFETY: the units were ours and are given away here.
    provider.release_bulk(unsafe { UnitDrain::new(&descriptors) });
}

/// First byte and length of a unit.
pub(crate) fn span(unit: &Unit) -> (usize, usize) {
    (unit.descriptor().addr().addr(), unit.descriptor().unit_bytes())
}
