//! A provider for examples and tests: a stack of units on the heap.

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

use crate::access::Host;
use crate::lock::{Locked, SpinLock};
use crate::provider::{
    Backing, Description, Geometry, MemoryProvider, NodeId, ProvideError, Request, Unit, UnitDrain, UnitSink,
};
use crate::region::{Region, RegionMemory};

struct HeapMemory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the allocation is this value's own until it is dropped.
unsafe impl Send for HeapMemory {}
// SAFETY: as above.
unsafe impl Sync for HeapMemory {}

// SAFETY: zeroed memory from the allocator, exclusive and unmoved until the drop.
unsafe impl RegionMemory for HeapMemory {
    fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }
    fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `Heap::new`.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// A fixed number of units, last in first out. Small enough to read, honest enough to test with.
#[derive(Debug)]
pub struct Heap {
    region: Region,
    free: Locked<SpinLock, Vec<u32>>,
}

impl Heap {
    /// `units` units of `unit_bytes` each.
    ///
    /// # Panics
    ///
    /// On sizes that no region can have, or without memory: it is for examples.
    pub fn new(unit_bytes: usize, units: usize) -> Self {
        let layout = Layout::from_size_align(unit_bytes * units, unit_bytes).expect("a size that fits");
        assert!(layout.size() > 0, "at least one unit");
        // SAFETY: not of size 0, as just asserted.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory for an example");
        let region = Region::new(HeapMemory { base, layout }, unit_bytes, NodeId(0)).expect("a size that fits");
        let free = Locked::new((0..region.units()).rev().collect());
        Heap { region, free }
    }

    /// Units at home.
    pub fn free_units(&self) -> usize {
        self.free.with(|free| free.len())
    }
}

// SAFETY: (1) an index is in `free` exactly while its unit is home; (2) the region is a field; (3) `release` pushes what
// `alloc_bulk` popped; (4) both lock, neither calls back or panics on a unit of ours; (5) there is one order; (7) the region
// is a field, and all units are of it.
unsafe impl MemoryProvider for Heap {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        self.free.with(|free| {
            while units.room() > 0 {
                let Some(index) = free.pop() else { return Err(ProvideError::OutOfMemory) };
                // SAFETY: it was in `free`, so it is home, and it no longer is.
                units.push(unsafe { self.region.unit(index) });
            }
            Ok(())
        })
    }

    fn release(&self, unit: Unit) {
        let index = self.region.index_of(unit.descriptor());
        // Before another thread can have it.
        unit.consume();
        self.free.with(|free| free.extend(index));
    }

    fn release_bulk(&self, units: UnitDrain<'_>) {
        self.free.with(|free| {
            for unit in units {
                free.extend(self.region.index_of(unit.descriptor()));
                unit.consume();
            }
        });
    }

    fn geometry(&self) -> Geometry {
        Geometry { unit_bytes: self.region.unit_bytes(), max_order: 0, nodes: 1 }
    }

    fn regions(&self) -> &[Region] {
        core::slice::from_ref(&self.region)
    }

    fn describe(&self) -> Description {
        Description::new("heap", self.region.units() as usize, self.free_units())
    }
}

// SAFETY: ordinary memory of this process.
unsafe impl Backing for Heap {
    type Access = Host;
}
