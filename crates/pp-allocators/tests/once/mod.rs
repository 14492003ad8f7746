//! A provider that hands each unit out once: it orders nothing between threads, so a model finds what the slots fail to.

use std::alloc::{alloc_zeroed, dealloc};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use core::alloc::Layout;
use pp_core::{
    Backing, Description, Geometry, Host, MemoryProvider, NodeId, ProvideError, Region, RegionMemory, Request, Unit,
    UnitSink,
};

/// What was handed out and came home, seen from outside.
#[derive(Default)]
pub(crate) struct Count {
    handed_out: AtomicUsize,
    home: AtomicUsize,
}

impl Count {
    pub(crate) fn handed_out(&self) -> usize {
        self.handed_out.load(Ordering::Relaxed)
    }

    pub(crate) fn out(&self) -> usize {
        self.handed_out() - self.home.load(Ordering::Relaxed)
    }
}

pub(crate) struct Once {
    region: Region,
    count: Arc<Count>,
}

impl Once {
    pub(crate) fn new(unit_bytes: usize, units: usize) -> (Self, Arc<Count>) {
        let layout = Layout::from_size_align(unit_bytes * units, unit_bytes).unwrap();
        // SAFETY: not of size zero.
        let memory = Memory { base: unsafe { alloc_zeroed(layout) }, layout };
        let count = Arc::new(Count::default());
        (Once { region: Region::new(memory, unit_bytes, NodeId(0)).unwrap(), count: count.clone() }, count)
    }
}

// SAFETY: (1) each index is handed out once; (2) the region is a field; (3) a unit is never asked for again; (4) all of it is
// atomic; (5) there is one order.
unsafe impl MemoryProvider for Once {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        while units.room() > 0 && self.count.handed_out() < self.region.units() as usize {
            let index = self.count.handed_out.fetch_add(1, Ordering::Relaxed);
            // SAFETY: never handed out before; one consumer asks.
            units.push(unsafe { self.region.unit(index as u32) });
        }
        if units.is_empty() { Err(ProvideError::OutOfMemory) } else { Ok(()) }
    }

    fn release(&self, unit: Unit) {
        unit.consume();
        self.count.home.fetch_add(1, Ordering::Relaxed);
    }

    fn geometry(&self) -> Geometry {
        Geometry { unit_bytes: self.region.unit_bytes(), max_order: 0, nodes: 1 }
    }

    fn describe(&self) -> Description {
        Description::new("once", self.region.units() as usize, 0)
    }
}

// SAFETY: ordinary memory of this process.
unsafe impl Backing for Once {
    type Access = Host;
}

struct Memory {
    base: *mut u8,
    layout: Layout,
}

// SAFETY: the allocation is this value's own.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

// SAFETY: zeroed, exclusive and unmoved until the drop.
unsafe impl RegionMemory for Memory {
    fn base(&self) -> *mut u8 {
        self.base
    }
    fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `Once::new`.
        unsafe { dealloc(self.base, self.layout) };
    }
}
