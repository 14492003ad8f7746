//! What the models stand on: a provider that adds as few executions as it can, and knows what it has out.

use std::sync::{Arc, Mutex};

use loom::thread;
use pp_core::sync::{AtomicUsize, Canary, Ordering, UnsafeCell, load_unshared};
use pp_core::{
    Backing, Description, Geometry, Home, Host, MemoryProvider, NodeId, PagePool, ProvideError, Region, RegionMemory,
    Request, Unit, UnitSink,
};

/// A page of the processor, so that every type can stand on it, and a UMEM begins at one.
pub(crate) const UNIT: usize = 4096;

struct Memory(*mut [u8]);

// SAFETY: the allocation is this value's own.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}
// SAFETY: initialised, exclusive and unmoved until the drop.
unsafe impl RegionMemory for Memory {
    fn base(&self) -> *mut u8 {
        self.0.cast()
    }
    fn bytes(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw`.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// A provider whose only synchronisation is one word a unit: 1 home, 0 out.
struct Units {
    region: Region,
    home: Box<[AtomicUsize]>,
    scene: Arc<Scene>,
}

// SAFETY: (1) the word's compare-exchange hands a unit to one; (2) the region is a field; (3) `release` sets the word again;
// (4) all of it is atomic, and panics only where the model has failed; (5) one order; (7) the region is a field, and all units are of it.
unsafe impl MemoryProvider for Units {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        for (index, home) in self.home.iter().enumerate() {
            if units.room() == 0 {
                break;
            }
            // Acquire pairs with the Release in `release`.
            if home.compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                self.scene.out.lock().unwrap().push(index);
                // SAFETY: it was home, and is no longer.
                units.push(unsafe { self.region.unit(index as u32) });
            }
        }
        if units.is_empty() { Err(ProvideError::OutOfMemory) } else { Ok(()) }
    }

    fn release(&self, unit: Unit) {
        let index = self.region.index_of(unit.descriptor()).expect("a unit of this region") as usize;
        self.scene.out.lock().unwrap().retain(|out| *out != index);
        *self.scene.last_release.lock().unwrap() = Some(thread::current().id());
        unit.consume();
        let before = self.home[index].swap(1, Ordering::Release);
        assert_eq!(before, 0, "a unit came home twice");
    }

    fn regions(&self) -> &[Region] {
        core::slice::from_ref(&self.region)
    }

    fn geometry(&self) -> Geometry {
        Geometry { unit_bytes: UNIT, max_order: 0, nodes: 1 }
    }

    fn describe(&self) -> Description {
        Description::new("units", self.home.len(), 0)
    }
}

// SAFETY: ordinary memory of this process.
unsafe impl Backing for Units {
    type Access = Host;
}

impl Drop for Units {
    fn drop(&mut self) {
        for home in &self.home {
            // SAFETY: `&mut self`; loom reports it if some access is not before this one.
            assert_eq!(unsafe { load_unshared(home) }, 1, "the provider is freed while a unit is out");
        }
        self.scene.gone.bury();
        let before = self.scene.freed_by.lock().unwrap().replace(thread::current().id());
        assert!(before.is_none(), "the provider was freed twice");
    }
}

/// One execution's world, seen from outside.
pub(crate) struct Scene {
    gone: Canary,
    freed_by: Mutex<Option<thread::ThreadId>>,
    last_release: Mutex<Option<thread::ThreadId>>,
    base: usize,
    /// Stands for the bytes of each unit, which loom does not see.
    bytes: Vec<UnsafeCell<u8>>,
    out: Mutex<Vec<usize>>,
}

// SAFETY: its cells are probes: loom reports uses that exclude each other at the same time.
unsafe impl Sync for Scene {}

impl Scene {
    /// A provider of `units` units, to be moved into allocators: the models' main thread keeps no owner of it.
    pub(crate) fn new(units: usize) -> (Arc<Scene>, Home<impl Backing<Access = Host>>) {
        let memory = Memory(Box::into_raw(vec![0u8; UNIT * (units + 1)].into_boxed_slice()));
        let region = Region::new(memory, UNIT, NodeId(0)).expect("a size that fits");
        let scene = Arc::new(Scene {
            gone: Canary::new(),
            freed_by: Mutex::default(),
            last_release: Mutex::default(),
            base: region.base().addr(),
            bytes: (0..units).map(|_| UnsafeCell::new(0)).collect(),
            out: Mutex::default(),
        });
        let home = (0..units).map(|_| AtomicUsize::new(1)).collect();
        (scene.clone(), Home::new(Units { region, home, scene }))
    }

    /// Whoever has the unit at this address writes it.
    pub(crate) fn write(&self, addr: usize, byte: u8) {
        // SAFETY: loom reports it if anybody else uses it at the same time.
        self.unit(addr).with_mut(|place| unsafe { *place = byte });
    }

    /// Whoever has the unit at this address reads it.
    pub(crate) fn read(&self, addr: usize) -> u8 {
        // SAFETY: as above.
        self.unit(addr).with(|place| unsafe { *place })
    }

    fn unit(&self, addr: usize) -> &UnsafeCell<u8> {
        &self.bytes[(addr - self.base) / UNIT]
    }

    /// Where the first unit is.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Units that are out at this moment of the execution, whatever a thread may see.
    pub(crate) fn out(&self) -> usize {
        self.out.lock().unwrap().len()
    }

    /// Which of these actors sent the last unit home.
    pub(crate) fn last_sent_by(&self, actors: &[(&'static str, thread::ThreadId)]) -> &'static str {
        name(actors, *self.last_release.lock().unwrap())
    }

    /// Checks that everything came to its end, and names the actor that freed the provider.
    pub(crate) fn freed_by(&self, actors: &[(&'static str, thread::ThreadId)]) -> &'static str {
        let freed_by = *self.freed_by.lock().unwrap();
        assert!(freed_by.is_some(), "the provider is still there: a page or an owner was lost");
        self.gone.enter();
        name(actors, freed_by)
    }
}

fn name(actors: &[(&'static str, thread::ThreadId)], thread: Option<thread::ThreadId>) -> &'static str {
    actors.iter().find(|(_, id)| Some(*id) == thread).map_or("main", |(name, _)| name)
}

/// A pool with `slots` ring slots, two cache places, one page a refill.
pub(crate) fn tiny<P: Backing<Access = Host>>(home: Home<P>, slots: usize) -> PagePool {
    PagePool::builder(home).pool_size(slots).cache(2).refill(1).build().expect("a pool")
}
