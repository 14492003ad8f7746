//! A provider without a region: every unit is an allocation of its own, made when it goes out and freed when it comes home.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pp_core::{
    Backing, Description, Descriptor, Geometry, Host, MemoryProvider, NodeId, ProvideError, Request, Unit, UnitSink,
};

use super::PAGE;

const LAYOUT: Layout = match Layout::from_size_align(PAGE, PAGE) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is a power of two"),
};

/// Gives out heap allocations, at most as many at a time as it has descriptors.
pub struct Malloc {
    descriptors: Box<[Descriptor]>,
    free: Mutex<Vec<usize>>,
}

impl Malloc {
    pub fn new(units: usize) -> Self {
        let absent = || Descriptor::new(std::ptr::null_mut(), PAGE as u32, NodeId(0));
        Malloc { descriptors: (0..units).map(|_| absent()).collect(), free: Mutex::new((0..units).collect()) }
    }

    pub fn free_units(&self) -> usize {
        self.free().len()
    }

    fn free(&self) -> MutexGuard<'_, Vec<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: (1) an index is in `free` exactly while its unit is home; (2) descriptors are freed with `self`, memory when its
// unit is released; (3) `release` pushes what `alloc_bulk` popped; (4) both lock; (5) there is one order.
unsafe impl MemoryProvider for Malloc {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        let mut free = self.free();
        while units.room() > 0 {
            let Some(index) = free.pop() else { return Err(ProvideError::OutOfMemory) };
            let descriptor = &self.descriptors[index];
            // SAFETY: the layout is not empty; the unit was in `free`, so it is home, and it no longer is.
            unsafe {
                let memory = alloc_zeroed(LAYOUT);
                assert!(!memory.is_null(), "memory for a test");
                descriptor.reshape(memory, PAGE as u32, 0, false);
                units.push(Unit::new(descriptor));
            }
        }
        Ok(())
    }

    fn release(&self, unit: Unit) {
        let descriptor = unit.descriptor();
        let offset = std::ptr::from_ref(descriptor).addr() - self.descriptors.as_ptr().addr();
        // SAFETY: allocated with this layout in `alloc_bulk`, and the unit is being given back.
        unsafe { dealloc(descriptor.addr(), LAYOUT) };
        unit.consume();
        self.free().push(offset / size_of::<Descriptor>());
    }

    fn geometry(&self) -> Geometry {
        Geometry { unit_bytes: PAGE, max_order: 0, nodes: 1 }
    }

    fn describe(&self) -> Description {
        Description::new("malloc", self.descriptors.len(), self.free_units())
    }
}

// SAFETY: an allocation of this process, its holder's alone until it is released.
unsafe impl Backing for Malloc {
    type Access = Host;
}
