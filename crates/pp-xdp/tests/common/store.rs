//! A provider that counts what it is asked.

use core::marker::PhantomData;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pp_core::{
    Access, Backing, Description, Device, DmaAddr, Geometry, Host, MemoryProvider, NodeId, ProvideError, Region,
    RegionMemory, Request, Unit, UnitDrain, UnitSink,
};

/// Memory from the heap or, for devices, from nowhere.
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

/// A fixed number of units, last in first out. Device units come mapped, each at an address of its own.
pub(crate) struct Store<A: Access = Host> {
    region: Region,
    units: usize,
    free: Mutex<Vec<u32>>,
    asked: AtomicUsize,
    /// How many units came home in each call.
    releases: Mutex<Vec<usize>>,
    _access: PhantomData<fn(A)>,
}

impl Store<Host> {
    pub(crate) fn host(unit_bytes: usize, units: usize) -> Self {
        // One more, for the alignment.
        let bytes = vec![0; unit_bytes * (units + 1)].into_boxed_slice();
        let len = unit_bytes * (units + 1);
        Store::over(Memory(Box::into_raw(bytes), len), unit_bytes, units)
    }
}

impl Store<Device> {
    pub(crate) fn device(unit_bytes: usize, units: usize) -> Self {
        let none = core::ptr::slice_from_raw_parts_mut(core::ptr::null_mut(), 0);
        Store::over(Memory(none, unit_bytes * units), unit_bytes, units)
    }
}

impl<A: Access> Store<A> {
    fn over(memory: Memory, unit_bytes: usize, units: usize) -> Self {
        let region = Region::new(memory, unit_bytes, NodeId(0)).expect("a region");
        let free = Mutex::new((0..units as u32).rev().collect());
        Store { region, units, free, asked: AtomicUsize::new(0), releases: Mutex::default(), _access: PhantomData }
    }

    /// Units that are out.
    pub(crate) fn out(&self) -> usize {
        self.units - self.free.lock().unwrap().len()
    }

    /// Calls of any kind so far.
    pub(crate) fn calls(&self) -> usize {
        self.asked.load(Ordering::Relaxed) + self.releases.lock().unwrap().len()
    }

    /// How many units came home in each call since the last time this was asked.
    pub(crate) fn releases(&self) -> Vec<usize> {
        core::mem::take(&mut self.releases.lock().unwrap())
    }

    fn take_back(&self, unit: Unit) {
        let index = self.region.index_of(unit.descriptor()).expect("a unit of this region");
        let mut free = self.free.lock().unwrap();
        assert!(!free.contains(&index), "a unit came home twice");
        free.push(index);
        unit.consume();
    }
}

// SAFETY: (1) an index is in `free` exactly while its unit is home; (2) the region is a field; (3) `take_back` pushes what
// `alloc_bulk` popped; (4) both lock; (5) one order; (6) every device unit is premapped under an address of its own.
unsafe impl<A: Access> MemoryProvider for Store<A> {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut free = self.free.lock().unwrap();
        while units.room() > 0 {
            let Some(index) = free.pop() else { return Err(ProvideError::OutOfMemory) };
            // SAFETY: it was in `free`, so it is home, and it no longer is.
            units.push(unsafe { self.region.unit(index) });
        }
        Ok(())
    }

    fn release(&self, unit: Unit) {
        self.releases.lock().unwrap().push(1);
        self.take_back(unit);
    }

    fn release_bulk(&self, units: UnitDrain<'_>) {
        self.releases.lock().unwrap().push(units.len());
        units.for_each(|unit| self.take_back(unit));
    }

    fn geometry(&self) -> Geometry {
        Geometry { unit_bytes: self.region.unit_bytes(), max_order: 0, nodes: 1 }
    }

    fn describe(&self) -> Description {
        Description::new("store", self.units, self.units - self.out())
    }

    fn premapped(&self, unit: &Unit) -> Option<DmaAddr> {
        let index = u64::from(self.region.index_of(unit.descriptor())?);
        (A::NAME == Device::NAME).then(|| DmaAddr((index + 1) * self.region.unit_bytes() as u64))
    }
}

// SAFETY: ordinary memory of this process.
unsafe impl Backing for Store<Host> {
    type Access = Host;
}
// SAFETY: nothing is promised.
unsafe impl Backing for Store<Device> {
    type Access = Device;
}

impl<A: Access> Drop for Store<A> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.out(), 0, "the provider is freed under units that are out");
        }
    }
}
