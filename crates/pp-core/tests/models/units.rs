//! What the models' pools stand on: a provider that counts, and a device that remembers.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use pp_core::sync::{AtomicUsize, Canary, Ordering, load_unshared};
use pp_core::{
    Backing, Description, Descriptor, Dma, DmaAddr, DmaDirection, DmaError, Geometry, Home, Host, MemoryProvider,
    NodeId, PagePool, PoolBuilder, ProvideError, Region, RegionMemory, Request, Unit, UnitSink,
};

use super::thread;

const UNIT: usize = 64;
/// What a unit at home has in the words that it shares with the pool: small numbers, as free lists have.
const LINKS: [u32; 2] = [2, 3];

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

/// A provider whose only synchronisation is one word a unit, so that it adds as few executions as it can.
///
/// | word | the unit is |
/// |---|---|
/// | 1 | home |
/// | 0 | out |
struct Units {
    region: Region,
    home: Box<[AtomicUsize]>,
    scene: Arc<Scene>,
}

// SAFETY: (1) the word's compare-exchange hands a unit to one; (2) the region is a field; (3) `release` sets the word again;
// (4) all of it is atomic, and panics only where the model has failed; (5) one order.
unsafe impl MemoryProvider for Units {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        for (index, home) in self.home.iter().enumerate() {
            if units.room() == 0 {
                break;
            }
            // Acquire pairs with the Release in `release`.
            if home.compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                // SAFETY: it was home, and is no longer.
                let unit = unsafe { self.region.unit(index as u32) };
                check_links(unit.descriptor());
                self.scene.out.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                units.push(unit);
            }
        }
        if units.is_empty() { Err(ProvideError::OutOfMemory) } else { Ok(()) }
    }

    fn release(&self, unit: Unit) {
        let index = self.region.index_of(unit.descriptor()).expect("a unit of this region") as usize;
        self.scene.device.idle(unit.descriptor());
        self.scene.out.fetch_sub(1, core::sync::atomic::Ordering::Relaxed);
        set_links(unit.descriptor());
        unit.consume();
        let before = self.home[index].swap(1, Ordering::Release);
        assert_eq!(before, 0, "a unit came home twice");
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
        for (index, home) in self.home.iter().enumerate() {
            self.region.descriptor(index as u32).into_iter().for_each(check_links);
            // SAFETY: `&mut self`; the checker reports it if some access is not before this one.
            assert_eq!(unsafe { load_unshared(home) }, 1, "the provider is freed while a unit is out");
        }
        self.scene.provider_gone.bury();
        let before = self.scene.freed_by.lock().unwrap().replace(thread::current().id());
        assert!(before.is_none(), "the provider was freed twice");
    }
}

fn set_links(unit: &Descriptor) {
    unit.home_words().iter().zip(LINKS).for_each(|(word, link)| word.store(link, Ordering::Relaxed));
}

fn check_links(unit: &Descriptor) {
    let links = unit.home_words().each_ref().map(|word| word.load(Ordering::Relaxed));
    assert_eq!(links, LINKS, "somebody wrote the free-list links of a unit that was home");
}

/// A device that remembers what it reaches. Every unit has one address, the same in each mapping, so that ending another
/// pool's mapping is as easy as in an identity-mapped domain.
pub(crate) struct Device {
    mapped: Mutex<BTreeSet<u64>>,
    units: Mutex<Vec<(u64, Arc<Canary>)>>,
    /// Whether a pool of this scene has DMA: the others need not pay for the looking.
    expects_mappings: AtomicBool,
    /// Where the checker may put another thread in the middle of a call.
    step: AtomicUsize,
}

impl Device {
    fn canary(&self, addr: u64) -> Arc<Canary> {
        let units = self.units.lock().unwrap();
        units.iter().find(|(of, _)| *of == addr).expect("a unit of this region").1.clone()
    }

    /// Whether the unit is mapped.
    pub(crate) fn reaches(&self, unit: &Descriptor) -> bool {
        self.step.fetch_add(0, Ordering::Relaxed);
        self.mapped.lock().unwrap().contains(&(unit.addr().addr() as u64))
    }

    /// A unit comes home: what ended its mapping must have happened before.
    fn idle(&self, unit: &Descriptor) {
        if self.expects_mappings.load(core::sync::atomic::Ordering::Relaxed) {
            assert!(!self.reaches(unit), "a unit is home while the device reaches it");
            self.canary(unit.addr().addr() as u64).bury();
        }
    }
}

/// The pool's handle on a [`Device`].
struct Port(Arc<Scene>);

// SAFETY: no device exists; the bookkeeping is what the models look at.
unsafe impl Dma for Port {
    fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        let addr = unit.addr().addr() as u64;
        assert!(self.0.device.mapped.lock().unwrap().insert(addr), "a unit is mapped twice at a time");
        Ok(DmaAddr(addr))
    }

    fn unmap(&self, addr: DmaAddr, _: usize, _: DmaDirection) {
        self.0.device.step.fetch_add(0, Ordering::Relaxed);
        assert!(self.0.device.mapped.lock().unwrap().remove(&addr.0), "a mapping was ended twice");
        self.0.device.canary(addr.0).bury();
    }

    fn needs_sync(&self) -> bool {
        false
    }
}

/// One execution's world, seen from outside.
pub(crate) struct Scene {
    pub(crate) device: Device,
    /// Buried when the provider goes.
    pub(crate) provider_gone: Canary,
    freed_by: Mutex<Option<thread::ThreadId>>,
    /// Units that are out at this moment of the execution, whatever a thread may see.
    out: core::sync::atomic::AtomicUsize,
}

impl Scene {
    /// A provider of `units` units, to be moved into pools: the models' main thread keeps no owner of it.
    pub(crate) fn new(units: usize) -> (Arc<Scene>, Home<impl Backing<Access = Host>>) {
        let memory = Memory(Box::into_raw(vec![0u8; UNIT * (units + 1)].into_boxed_slice()));
        let memory = Region::new(memory, UNIT, NodeId(0)).expect("a size that fits");
        // The spare unit made room for the alignment; with luck there is one too many.
        let addresses = (0..units as u32).filter_map(|index| memory.descriptor(index)).map(|unit| {
            set_links(unit);
            (unit.addr().addr() as u64, Arc::new(Canary::new()))
        });
        let device = Device {
            mapped: Mutex::default(),
            units: Mutex::new(addresses.collect()),
            expects_mappings: AtomicBool::new(false),
            step: AtomicUsize::new(0),
        };
        let scene = Arc::new(Scene {
            device,
            provider_gone: Canary::new(),
            freed_by: Mutex::new(None),
            out: Default::default(),
        });
        let home = (0..units).map(|_| AtomicUsize::new(1)).collect();
        (scene.clone(), Home::new(Units { region: memory, home, scene }))
    }

    /// A DMA port on this scene's device.
    pub(crate) fn port(self: &Arc<Self>) -> impl Dma + use<> {
        self.device.expects_mappings.store(true, core::sync::atomic::Ordering::Relaxed);
        Port(self.clone())
    }

    /// Whether the provider is gone, which every unit outlived by being home.
    pub(crate) fn is_over(&self) -> bool {
        self.freed_by.lock().unwrap().is_some()
    }

    /// Whether every unit is home.
    pub(crate) fn all_home(&self) -> bool {
        self.out.load(core::sync::atomic::Ordering::Relaxed) == 0
    }

    /// Checks that everything came to its end, and names the actor that freed the provider.
    pub(crate) fn freed_by(&self, actors: &[(&'static str, thread::ThreadId)]) -> &'static str {
        let freed_by = self.freed_by.lock().unwrap().expect("the provider is still there: a page or an owner was lost");
        self.provider_gone.enter();
        assert!(self.device.mapped.lock().unwrap().is_empty(), "a mapping was never ended");
        actors.iter().find(|(_, id)| *id == freed_by).map_or("main", |(name, _)| name)
    }
}

/// A pool with `slots` ring slots, two cache places, one page a refill, no bags.
pub(crate) fn tiny<P: Backing<Access = Host>>(home: Home<P>, slots: usize) -> PoolBuilder {
    PagePool::builder(home).pool_size(slots).cache(2).refill(1).batch_bags(0, 0)
}
