//! Driving a provider without a pool.
#![allow(dead_code, reason = "each test file uses its part")]

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use std::alloc::{Layout, alloc_zeroed, dealloc};

use pp_core::{Descriptor, MemoryProvider, NodeId, RegionMemory, Request, Unit, UnitDrain, UnitSink};

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

/// Memory that is freed with its region, `offset` bytes after a multiple of `align`.
#[derive(Debug)]
pub(crate) struct Heap {
    start: NonNull<u8>,
    layout: Layout,
    offset: usize,
}

impl Heap {
    pub(crate) fn new(bytes: usize, align: usize, offset: usize) -> Self {
        let layout = Layout::from_size_align(bytes + offset, align).unwrap();
        // SAFETY: the layout is not empty in any test.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        Heap { start, layout, offset }
    }
}

// SAFETY: memory of the global allocator, bound to no thread.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

// SAFETY: zeroed memory that nobody else knows, until the drop.
unsafe impl RegionMemory for Heap {
    fn base(&self) -> *mut u8 {
        self.start.as_ptr().wrapping_add(self.offset)
    }
    fn bytes(&self) -> usize {
        self.layout.size() - self.offset
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
