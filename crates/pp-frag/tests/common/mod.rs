//! What pp-frag's tests share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::Mutex;

use pp_core::{
    Access, Backing, Description, Device, DmaAddr, Exposed, Geometry, MemoryProvider, NodeId, PagePool, ProvideError,
    Region, RegionMemory, Request, Stats, Unit, UnitSink,
};

/// Memory of any kind, from nowhere or from the heap.
struct Memory(*mut [u8], usize);

// SAFETY: the allocation, if there is one, is this value's own.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}
// SAFETY: null, or initialised, exclusive and unmoved until the drop.
unsafe impl RegionMemory for Memory {
    fn base(&self) -> *mut u8 {
        self.0.cast()
    }
    fn bytes(&self) -> usize {
        self.1
    }
}
impl Drop for Memory {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: from `Box::into_raw`.
            drop(unsafe { Box::from_raw(self.0) });
        }
    }
}

/// A provider of units that the CPU cannot reach, or not alone.
pub(crate) struct Far<A: Access> {
    region: Region,
    free: Mutex<Vec<u32>>,
    _access: core::marker::PhantomData<fn(A)>,
}

impl Far<Device> {
    /// Units that have no address.
    pub(crate) fn without_address(unit_bytes: usize, units: usize) -> Self {
        let none = core::ptr::slice_from_raw_parts_mut(core::ptr::null_mut(), 0);
        Far::over(Memory(none, unit_bytes * units), unit_bytes)
    }
}

impl Far<Exposed> {
    /// Units that others may write.
    pub(crate) fn exposed(unit_bytes: usize, units: usize) -> Self {
        let bytes = unit_bytes * (units + 1);
        Far::over(Memory(Box::into_raw(vec![0; bytes].into_boxed_slice()), bytes), unit_bytes)
    }
}

impl<A: Access> Far<A> {
    fn over(memory: Memory, unit_bytes: usize) -> Self {
        let region = Region::new(memory, unit_bytes, NodeId(0)).expect("a region");
        let free = Mutex::new((0..region.units()).rev().collect());
        Far { region, free, _access: core::marker::PhantomData }
    }

    pub(crate) fn all_home(&self) -> bool {
        self.free.lock().unwrap().len() == self.region.units() as usize
    }
}

// SAFETY: (1) an index is in `free` exactly while its unit is home; (2) the region is a field; (3) `release` pushes what
// `alloc_bulk` popped; (4) both lock; (5) one order; (6) every unit is premapped under an address of its own.
unsafe impl<A: Access> MemoryProvider for Far<A> {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        let mut free = self.free.lock().unwrap();
        while units.room() > 0 {
            let Some(index) = free.pop() else { return Err(ProvideError::OutOfMemory) };
            // SAFETY: it was in `free`, so it is home, and it no longer is.
            units.push(unsafe { self.region.unit(index) });
        }
        Ok(())
    }

    fn release(&self, unit: Unit) {
        let index = self.region.index_of(unit.descriptor()).expect("a unit of this region");
        unit.consume();
        self.free.lock().unwrap().push(index);
    }

    fn geometry(&self) -> Geometry {
        Geometry { unit_bytes: self.region.unit_bytes(), max_order: 0, nodes: 1 }
    }

    fn describe(&self) -> Description {
        Description::new("far", self.region.units() as usize, self.free.lock().unwrap().len())
    }

    fn premapped(&self, unit: &Unit) -> Option<DmaAddr> {
        let index = u64::from(self.region.index_of(unit.descriptor())?);
        Some(DmaAddr((index + 1) * self.region.unit_bytes() as u64))
    }
}

// SAFETY: nothing is promised.
unsafe impl Backing for Far<Device> {
    type Access = Device;
}
// SAFETY: ordinary memory of this process.
unsafe impl Backing for Far<Exposed> {
    type Access = Exposed;
}

/// Nothing is out, and every page that was taken was put.
pub(crate) fn nothing_is_out<A: Access>(pool: &PagePool<A>) {
    let stats: Stats = pool.stats();
    assert_eq!((stats.in_use(), stats.allocations()), (0, stats.puts()), "{stats:?}");
}
