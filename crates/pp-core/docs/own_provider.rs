use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use pp_core::{lock::*, *};

/// A spin lock whose holder is not interrupted. One word for the flags is enough: only the holder reads and writes it.
#[derive(Default)]
struct IrqLock(SpinLock, AtomicUsize);

// SAFETY: exclusion is the spin lock's.
unsafe impl RawLock for IrqLock {
    fn lock(&self) {
        let before = irq::mask();
        self.0.lock();
        self.1.store(before, Relaxed);
    }
    unsafe fn unlock(&self) {
        let before = self.1.load(Relaxed);
        // SAFETY: the caller holds this lock, and with it the inner one.
        unsafe { self.0.unlock() };
        irq::restore(before);
    }
}

/// Units that are home, last in first out. Regions are added and stay for ever, so a unit is its descriptor.
struct Banks { home: Locked<IrqLock, Vec<&'static Descriptor>>, total: AtomicUsize, physical: fn(*mut u8) -> u64 }

impl Banks {
    fn add(&self, memory: &'static mut [u8]) -> Result<(), RegionError> {
        let region: &Region = Box::leak(Box::new(Region::new(StaticMemory::new(memory), 4096, NodeId(0))?));
        let total = self.total.fetch_add(region.units() as usize, Relaxed) + region.units() as usize;
        // Room for every unit there is, as a release must not allocate. Made, and the old one freed, outside the lock:
        // with interrupts masked the heap must not be called.
        let mut larger = Vec::with_capacity(total);
        self.home.with(|home| {
            if home.capacity() < larger.capacity() { larger.append(home); core::mem::swap(home, &mut larger); }
            home.extend((0..region.units()).filter_map(|index| region.descriptor(index)));
        });
        Ok(())
    }
}

// SAFETY: (1) a unit is in `home` exactly while it is home; (2) regions stay for ever; (3) what comes back is pushed;
// (4) it locks, and calls nobody; (5) there is one order; (6) a unit's memory lies in one piece, at `physical`.
unsafe impl MemoryProvider for Banks {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        self.home.with(|home| {
            while units.room() > 0 && let Some(unit) = home.pop() {
                // SAFETY: it was home, and no longer is.
                units.push(unsafe { Unit::new(unit) });
            }
        });
        Ok(())
    }
    fn release(&self, unit: Unit) {
        // SAFETY: one of our descriptors, which stay for ever.
        let home_again = unsafe { &*core::ptr::from_ref(unit.descriptor()) };
        unit.consume();
        self.home.with(|home| if home.len() < home.capacity() { home.push(home_again) });
    }
    fn geometry(&self) -> Geometry { Geometry { unit_bytes: 4096, max_order: 0, nodes: 1 } }
    fn describe(&self) -> Description {
        Description::new("banks", self.total.load(Relaxed), self.home.with(|home| home.len()))
    }
    fn premapped(&self, unit: &Unit) -> Option<DmaAddr> { Some(DmaAddr((self.physical)(unit.descriptor().addr()))) }
}

// SAFETY: static memory that nothing but its region reaches.
unsafe impl Backing for Banks { type Access = Host; }
