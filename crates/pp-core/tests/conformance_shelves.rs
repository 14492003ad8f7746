//! The conformance suite on orders, nodes, few units, late memory and close calls: what is correct passes, and what is
//! broken there alone is named.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::alloc::Layout;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::Memory;
use pp_core::conformance::{self, Obligation, Passed};
use pp_core::{
    Access, Backing, Description, Descriptor, Device, DmaAddr, Geometry, Home, Host, MemoryProvider, NodeId,
    ProvideError, Recycling, Region, RegionMemory, Request, Unit, UnitDrain, UnitSink,
};

/// How a provider differs from the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In nothing.
    Plain,
    /// Correct: has no memory before it is asked for some.
    Late,
    /// Correct, of device memory: one address for all units, which means nothing to the CPU.
    Token,
    /// Units of higher orders do not come home.
    LosesLarge,
    /// A request of a higher order that finds none costs a small unit.
    LosesOnFailedLarge,
    /// The same, of requests that prefer node 1.
    LosesOnWish,
    /// Units of higher orders have their number in the home words while they are out.
    WordsOfLarge,
    /// A bulk of higher orders is its first unit.
    FirstOfLargeBulk,
    /// A request without room for a unit costs one.
    LosesOnNoRoom,
    /// Lost, it takes units back one by one, and panics on many.
    PanicsOnBulkAfterLoss,
    /// Units of higher orders count as one.
    MiscountsLarge,
}

/// A shelf of units for each order and node; what is out of one is not made up for by another.
struct Shelves<A: Access> {
    way: Way,
    geometry: Geometry,
    has_device: bool,
    shelves: Vec<Vec<Descriptor>>,
    /// For each shelf which of its units are home.
    home: Mutex<Vec<Vec<usize>>>,
    asked: AtomicBool,
    lost: AtomicBool,
    _memory: Vec<Memory>,
    _access: PhantomData<fn(A)>,
}

/// What the shelves hold.
#[derive(Clone, Copy, Debug)]
struct Stock {
    /// On each shelf.
    units: usize,
    max_order: u8,
    nodes: u16,
}

const UNIT_BYTES: usize = 4096;

impl<A: Access> Shelves<A> {
    fn new(way: Way, stock: Stock) -> Self {
        let Stock { units, max_order, nodes } = stock;
        let (mut shelves, mut memory) = (Vec::new(), Vec::new());
        for order in 0..=max_order {
            for node in 0..nodes {
                let bytes = UNIT_BYTES << order;
                let layout = Layout::from_size_align(bytes * units, UNIT_BYTES).unwrap();
                let place = Memory::new(layout, way != Way::Token);
                let unit = |index| {
                    let token = std::ptr::without_provenance_mut(0x1000);
                    let addr = if way == Way::Token { token } else { place.base().wrapping_add(index * bytes) };
                    let unit = Descriptor::new(addr, bytes as u32, NodeId(node));
                    // SAFETY: home, and of that length.
                    unsafe { unit.reshape(addr, bytes as u32, order, Recycling::Allowed) };
                    unit
                };
                shelves.push((0..units).map(unit).collect::<Vec<_>>());
                memory.push(place);
            }
        }
        let home = Mutex::new(shelves.iter().map(|shelf| (0..shelf.len()).collect()).collect());
        let (asked, lost) = (AtomicBool::new(way != Way::Late), AtomicBool::new(false));
        let geometry = Geometry { unit_bytes: UNIT_BYTES, max_order, nodes };
        let (_memory, _access) = (memory, PhantomData);
        Shelves { way, geometry, has_device: false, shelves, home, asked, lost, _memory, _access }
    }

    /// Premapped, and gone when its device is.
    fn with_device(self) -> Self {
        Shelves { has_device: true, ..self }
    }

    fn home(&self) -> MutexGuard<'_, Vec<Vec<usize>>> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> usize {
        usize::from(self.geometry.nodes)
    }

    /// Shelf and place of a unit.
    fn place(&self, unit: &Descriptor) -> (usize, usize) {
        let at = |shelf: &Vec<Descriptor>| shelf.iter().position(|other| std::ptr::eq(other, unit));
        let mut places = self.shelves.iter().enumerate().filter_map(|(index, shelf)| Some((index, at(shelf)?)));
        places.next().expect("a unit of this provider")
    }
}

// SAFETY: (1) a number is in `home` exactly while its unit is home, and each unit has memory of its own, or none; (2) the
// shelves are filled once; (3) `release` pushes what `alloc_bulk` popped; (4) both lock; (5) shelves are of one order; (6) the
// address is the descriptor's. Unless it is broken, in such a way that the suite finds it before anything happens.
unsafe impl<A: Access> MemoryProvider for Shelves<A> {
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        if self.has_device && self.lost.load(Ordering::Relaxed) {
            return Err(ProvideError::DeviceLost);
        }
        self.asked.store(true, Ordering::Relaxed);
        let mut home = self.home();
        let preferred = request.node.map_or(0, |node| usize::from(node.0) % self.nodes());
        let large = request.order > 0;
        if self.way == Way::LosesOnNoRoom && units.room() == 0 {
            home[0].pop();
        }
        for step in 0..self.nodes() {
            let shelf = usize::from(request.order) * self.nodes() + (preferred + step) % self.nodes();
            while units.room() > 0
                && let Some(place) = home[shelf].pop()
            {
                let unit = &self.shelves[shelf][place];
                if self.way == Way::WordsOfLarge && large {
                    unit.home_words()[0].store(place as u32, Ordering::Relaxed);
                }
                // SAFETY: it was home, and no longer is.
                units.push(unsafe { Unit::new(unit) });
            }
        }
        if !units.is_empty() {
            return Ok(());
        }
        match self.way {
            Way::LosesOnFailedLarge if large => drop(home[0].pop()),
            Way::LosesOnWish if request.node == Some(NodeId(1)) => drop(home[0].pop()),
            _ => {}
        }
        Err(ProvideError::OutOfMemory)
    }

    fn release(&self, unit: Unit) {
        let (shelf, mut place) = self.place(unit.descriptor());
        let large = unit.descriptor().order() > 0;
        if self.way == Way::WordsOfLarge && large {
            place = unit.descriptor().home_words()[0].load(Ordering::Relaxed) as usize % self.shelves[shelf].len();
        }
        unit.consume();
        if self.way != Way::LosesLarge || !large {
            self.home()[shelf].push(place);
        }
    }

    fn release_bulk(&self, units: UnitDrain<'_>) {
        assert!(self.way != Way::PanicsOnBulkAfterLoss || !self.lost.load(Ordering::Relaxed), "the device is gone");
        for (index, unit) in units.enumerate() {
            if self.way == Way::FirstOfLargeBulk && unit.descriptor().order() > 0 && index > 0 {
                unit.consume();
            } else {
                self.release(unit);
            }
        }
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn describe(&self) -> Description {
        let home = self.home();
        let base = |shelf: usize| 1 << if self.way == Way::MiscountsLarge { 0 } else { shelf / self.nodes() };
        let total: usize = self.shelves.iter().enumerate().map(|(shelf, units)| units.len() * base(shelf)).sum();
        let free = home.iter().enumerate().map(|(shelf, units)| units.len() * base(shelf)).sum();
        let asked = self.asked.load(Ordering::Relaxed);
        if asked { Description::new("shelves", total, free) } else { Description::new("shelves", 0, 0) }
    }

    fn premapped(&self, unit: &Unit) -> Option<DmaAddr> {
        self.has_device.then(|| DmaAddr(unit.descriptor().addr().addr() as u64))
    }

    fn device_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }
}

// SAFETY: memory of this provider's own, zeroed, and no `Token`.
unsafe impl Backing for Shelves<Host> {
    type Access = Host;
}

// SAFETY: nothing is promised.
unsafe impl Backing for Shelves<Device> {
    type Access = Device;
}

fn not_shown(passed: &Passed) -> Vec<Obligation> {
    passed.not_shown.iter().map(|(obligation, _)| *obligation).collect()
}

#[test]
fn providers_of_few_units_conform() {
    for (units, nodes) in [(1, 1), (2, 1), (3, 1), (4, 1), (1, 3)] {
        let stock = Stock { units, max_order: 0, nodes };
        let capacity = units * usize::from(nodes);
        let plain = conformance::provider(|| Home::new(Shelves::<Host>::new(Way::Plain, stock))).unwrap();
        let unshown = vec![Obligation::Premapped, Obligation::DeviceLost];
        assert_eq!((plain.capacity, not_shown(&plain)), (capacity, unshown));
        let device = || Home::new(Shelves::<Host>::new(Way::Plain, stock).with_device());
        let device = conformance::provider(device).unwrap();
        assert_eq!((device.capacity, not_shown(&device)), (capacity, vec![]));
    }
}

#[test]
fn orders_and_nodes_with_shelves_of_their_own_conform() {
    let stock = Stock { units: 16, max_order: 3, nodes: 3 };
    let passed = conformance::provider(|| Home::new(Shelves::<Host>::new(Way::Plain, stock).with_device())).unwrap();
    assert_eq!((passed.capacity, not_shown(&passed)), (48, vec![]));
}

#[test]
fn a_provider_whose_memory_comes_when_it_is_asked_for_conforms() {
    let stock = Stock { units: 40, max_order: 1, nodes: 1 };
    let passed = conformance::provider(|| Home::new(Shelves::<Host>::new(Way::Late, stock))).unwrap();
    assert_eq!(passed.capacity, 40);
}

#[test]
fn device_memory_whose_addresses_are_tokens_conforms() {
    let stock = Stock { units: 32, max_order: 1, nodes: 1 };
    let passed = conformance::provider(|| Home::new(Shelves::<Device>::new(Way::Token, stock))).unwrap();
    assert_eq!(passed.capacity, 32);
}

#[test]
fn what_is_broken_above_order_0_or_on_another_node_is_named() {
    let stock = Stock { units: 32, max_order: 2, nodes: 2 };
    for (way, obligation) in [
        (Way::LosesLarge, Obligation::Conservation),
        (Way::LosesOnFailedLarge, Obligation::Failure),
        (Way::LosesOnWish, Obligation::Failure),
        (Way::WordsOfLarge, Obligation::HomeWords),
        (Way::FirstOfLargeBulk, Obligation::Bulk),
        (Way::LosesOnNoRoom, Obligation::Failure),
        (Way::PanicsOnBulkAfterLoss, Obligation::DeviceLost),
        (Way::MiscountsLarge, Obligation::Description),
    ] {
        let broken = conformance::provider(|| Home::new(Shelves::<Host>::new(way, stock).with_device()));
        let broken = broken.expect_err(&format!("{way:?} was not noticed"));
        println!("{way:?}: {broken}");
        assert_eq!(broken.obligation, obligation, "{way:?}");
    }
}

/// A stack whose threads do not know of each other: a load and a store where a compare-exchange belongs.
struct Racing {
    region: Region,
    slots: Vec<AtomicU32>,
    len: AtomicUsize,
}

// SAFETY: none: (4) is broken.
unsafe impl MemoryProvider for Racing {
    fn alloc_bulk(&self, _: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        while units.room() > 0 {
            let Some(top) = self.len.load(Ordering::Acquire).checked_sub(1) else { break };
            let index = self.slots[top].load(Ordering::Relaxed);
            std::hint::spin_loop(); // so that it is found on one processor as well
            self.len.store(top, Ordering::Release);
            // SAFETY: none, as above; the suite must find it before anybody uses the memory.
            units.push(unsafe { self.region.unit(index) });
        }
        Ok(())
    }

    fn release(&self, unit: Unit) {
        let index = self.region.index_of(unit.descriptor()).expect("a unit of this provider");
        unit.consume();
        let top = self.len.load(Ordering::Acquire);
        if let Some(slot) = self.slots.get(top) {
            slot.store(index, Ordering::Relaxed);
            self.len.store(top + 1, Ordering::Release);
        }
    }

    fn geometry(&self) -> Geometry {
        Geometry { unit_bytes: UNIT_BYTES, max_order: 0, nodes: 1 }
    }

    fn describe(&self) -> Description {
        Description::new("racing", self.slots.len(), self.len.load(Ordering::Relaxed))
    }
}

// SAFETY: the region's memory; whose it is, is the question.
unsafe impl Backing for Racing {
    type Access = Host;
}

#[test]
fn calls_that_race_are_found_every_time() {
    for run in 0..3 {
        let broken = conformance::provider(|| {
            let memory = Memory::new(Layout::from_size_align(64 * UNIT_BYTES, UNIT_BYTES).unwrap(), true);
            let region = Region::new(memory, UNIT_BYTES, NodeId(0)).unwrap();
            Home::new(Racing { region, slots: (0..64).map(AtomicU32::new).collect(), len: AtomicUsize::new(64) })
        });
        let broken = broken.expect_err(&format!("it was not noticed in run {run}"));
        assert_eq!(broken.obligation, Obligation::AnyThread, "{broken}");
    }
}
