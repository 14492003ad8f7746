//! The conformance suite for providers: what keeps its contract passes, and what breaks one promise is named by it.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

use common::{Depot, Shape};
use pp_core::conformance::{self, Broken, Obligation, Passed};
use pp_core::{
    Backing, Description, Descriptor, Device, DmaAddr, Exposed, Geometry, Home, Host, MemoryProvider, NodeId,
    ProvideError, Recycling, Region, RegionMemory, Request, Unit, UnitDrain, UnitSink, doc,
};

fn not_shown(passed: &Passed) -> Vec<Obligation> {
    passed.not_shown.iter().map(|(obligation, _)| *obligation).collect()
}

#[test]
fn the_heap_of_the_examples_conforms() {
    let passed = conformance::provider(|| Home::new(doc::Heap::new(4096, 64))).unwrap();
    assert_eq!((passed.capacity, not_shown(&passed)), (64, vec![Obligation::Premapped, Obligation::DeviceLost]));
}

#[test]
fn a_provider_that_never_runs_dry_is_said_not_to_have_shown_it() {
    let passed = conformance::provider(|| Home::new(doc::Heap::new(64, 2000))).unwrap();
    assert_eq!((passed.capacity, not_shown(&passed)[0]), (1024, Obligation::Failure));
}

#[test]
fn the_provider_of_our_own_tests_conforms_in_every_shape_and_kind() {
    let shape = Shape { max_order: 2, nodes: 2, reserve: 3, ..Shape::plain(4096, 16) };
    let passed = conformance::provider(|| Home::new(Depot::<Host>::new(shape))).unwrap();
    assert_eq!((passed.capacity, not_shown(&passed)), (32, vec![Obligation::Premapped]), "it has a device to lose");
    let exposed = conformance::provider(|| Home::new(Depot::<Exposed>::new(shape))).unwrap();
    assert_eq!((exposed.capacity, not_shown(&exposed)), (32, vec![Obligation::Premapped]));
    let premapped = || {
        let depot = Depot::<Device>::new(Shape::plain(4096, 20));
        depot.premap(true);
        Home::new(depot)
    };
    assert_eq!(not_shown(&conformance::provider(premapped).unwrap()), []);
}

/// One promise that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Every fifth unit goes out twice.
    Twice,
    /// Order 1 is the first unit of a pair, and the second goes out as well.
    Overlap,
    /// A request cuts the unit that was handed out before it.
    Cuts,
    /// Every third release is forgotten.
    Forgets,
    /// What another thread than the last taker gives back is lost.
    OwnThreadOnly,
    /// The same, and it panics.
    OwnThreadPanics,
    /// Order 1 is in the geometry, and order 0 comes.
    WrongOrder,
    /// A node that it has not is refused.
    OneNodeOnly,
    /// One order more with every request.
    Grows,
    /// One address for all.
    SameAddress,
    /// An address that is another one later.
    AddressMoves,
    /// More than there is room for.
    Overfills,
    /// A bulk is its first unit.
    FirstOfBulk,
    /// A note in the home words is believed.
    Believes,
    /// A free list in the units' own bytes, those that are out included.
    WritesIn,
    /// No address.
    Nowhere,
    /// All or nothing, and what it had by then is lost.
    DropsOnFailure,
    /// A failed refill is not wanted back.
    OnceDry,
    /// Lost, it says that it is out of memory.
    SilentLoss,
    /// Lost, it comes back.
    Resurrects,
    /// Lost, it takes nothing back.
    RefusesAfterLoss,
    /// Units that are out count as free.
    Boasts,
    /// The pieces of memory that it shows are gone once units are out.
    HidesRegions,
    /// A piece of memory that it shows is its own, with descriptors that its units have not.
    StrangeRegion,
    /// None: the control.
    Nothing,
}

/// The heap of the examples with a fault in front.
struct Faulty {
    heap: doc::Heap,
    strange: [Region; 1],
    fault: Fault,
    calls: AtomicUsize,
    lost: AtomicBool,
    last: Mutex<Option<usize>>,
    taker: Mutex<Option<ThreadId>>,
}

/// The heap's memory once more.
struct Same(*mut u8);
// SAFETY: nobody reaches anything through it.
unsafe impl Send for Same {}
// SAFETY: as above.
unsafe impl Sync for Same {}
// SAFETY: none: it is the heap's memory.
unsafe impl RegionMemory for Same {
    fn base(&self) -> *mut u8 {
        self.0
    }
    fn bytes(&self) -> usize {
        32 * 4096
    }
}

impl Faulty {
    fn home(fault: Fault) -> Home<Faulty> {
        let (calls, lost) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (last, taker) = (Mutex::new(None), Mutex::new(None));
        let heap = doc::Heap::new(4096, 32);
        let strange = [Region::new(Same(heap.regions()[0].base()), 4096, NodeId(0)).unwrap()];
        Home::new(Faulty { heap, strange, fault, calls, lost, last, taker })
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Asks the heap for one.
    fn one(&self) -> Option<Unit> {
        let mut place = [std::mem::MaybeUninit::uninit()];
        let mut sink = UnitSink::new(&mut place);
        let _ = self.heap.alloc_bulk(&Request::new(0, None), &mut sink);
        // SAFETY: the sink holds one, and this takes it out.
        (!sink.is_empty()).then(|| unsafe { Unit::new(place[0].assume_init().as_ref()) })
    }

    /// The descriptor with this address, of a heap that is alive.
    fn at(&self, key: usize) -> &Descriptor {
        // SAFETY: only addresses of this heap's descriptors are kept.
        unsafe { &*std::ptr::with_exposed_provenance::<Descriptor>(key) }
    }
}

// SAFETY: none: each of these is broken, in such a way that the suite finds it before anything happens.
unsafe impl MemoryProvider for Faulty {
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        *self.taker.lock().unwrap() = Some(thread::current().id());
        if self.is_lost() {
            match self.fault {
                Fault::SilentLoss => return Err(ProvideError::OutOfMemory),
                Fault::Resurrects => self.lost.store(false, Ordering::Relaxed),
                _ => {}
            }
            return Err(ProvideError::DeviceLost);
        }
        if self.fault == Fault::OneNodeOnly && request.node.is_some_and(|node| node.0 != 0) {
            return Ok(());
        }
        if self.fault == Fault::Overfills && units.room() > 0 {
            for _ in 0..=units.room() {
                units.push(self.one().expect("a unit"));
            }
        }
        if self.fault == Fault::DropsOnFailure && units.room() > self.heap.free_units() {
            while self.one().is_some() {}
            return Err(ProvideError::OutOfMemory);
        }
        // What an earlier call handed out last; perhaps home again.
        let last = self.last.lock().unwrap().map(|last| self.at(last));
        while units.room() > 0 {
            let Some(unit) = self.one() else {
                if self.fault == Fault::OnceDry {
                    return Err(ProvideError::DeviceLost);
                }
                return Err(ProvideError::OutOfMemory);
            };
            let descriptor = unit.descriptor();
            let key = std::ptr::from_ref(descriptor).expose_provenance();
            *self.last.lock().unwrap() = Some(key);
            let reshape = |unit: &Descriptor, bytes: u32, order| {
                // SAFETY: none; the suite must find it before anybody uses the unit.
                unsafe { unit.reshape(unit.addr(), bytes, order, Recycling::Allowed) };
            };
            match self.fault {
                Fault::Twice if call.is_multiple_of(5) && units.room() > 1 => {
                    // SAFETY: none, as above.
                    units.push(unsafe { Unit::new(self.at(key)) });
                }
                Fault::Overlap => reshape(descriptor, 4096 << request.order, request.order),
                Fault::Cuts => {
                    if let Some(last) = last.filter(|last| !std::ptr::eq(*last, descriptor)) {
                        reshape(last, 2048, 0);
                    }
                    reshape(descriptor, 4096, 0);
                }
                Fault::Believes => descriptor.home_words()[0].store(4711, Ordering::Relaxed),
                Fault::WritesIn => {
                    if let Some(last) = last.filter(|last| !std::ptr::eq(*last, descriptor)) {
                        // SAFETY: memory of the heap; whose it is, is the question.
                        unsafe { last.addr().add(64).write(last.addr().add(64).read().wrapping_add(1)) };
                    }
                }
                // SAFETY: none, as above.
                Fault::Nowhere => unsafe { descriptor.reshape(std::ptr::null_mut(), 4096, 0, Recycling::Allowed) },
                _ => {}
            }
            units.push(unit);
        }
        Ok(())
    }

    fn release(&self, unit: Unit) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let taker = *self.taker.lock().unwrap_or_else(PoisonError::into_inner);
        let elsewhere = taker.is_some_and(|taker| taker != thread::current().id());
        match self.fault {
            Fault::Forgets if call.is_multiple_of(3) => {}
            Fault::OwnThreadOnly if elsewhere => {}
            Fault::OwnThreadPanics => assert!(!elsewhere, "not on this thread"),
            Fault::Believes if unit.descriptor().home_words()[0].load(Ordering::Relaxed) != 4711 => {}
            Fault::RefusesAfterLoss => assert!(!self.is_lost(), "the device is gone"),
            _ => return self.heap.release(unit),
        }
        if self.fault == Fault::OwnThreadPanics || self.fault == Fault::RefusesAfterLoss {
            self.heap.release(unit);
        }
    }

    fn release_bulk(&self, units: UnitDrain<'_>) {
        let most = if self.fault == Fault::FirstOfBulk { 1 } else { usize::MAX };
        units.take(most).for_each(|unit| self.release(unit));
    }

    fn geometry(&self) -> Geometry {
        let Geometry { unit_bytes, .. } = self.heap.geometry();
        let max_order = match self.fault {
            Fault::Overlap | Fault::WrongOrder => 1,
            Fault::Grows => (self.calls.load(Ordering::Relaxed) % 5) as u8,
            _ => 0,
        };
        Geometry { unit_bytes, max_order, nodes: 1 }
    }

    fn describe(&self) -> Description {
        let free = if self.fault == Fault::Boasts { 32 } else { self.heap.free_units() };
        Description::new("faulty", 32, free)
    }

    fn regions(&self) -> &[Region] {
        match self.fault {
            Fault::HidesRegions if self.heap.free_units() < 32 => &[],
            Fault::StrangeRegion => &self.strange,
            _ => self.heap.regions(),
        }
    }

    fn premapped(&self, unit: &Unit) -> Option<DmaAddr> {
        let addr = unit.descriptor().addr().addr() as u64;
        match self.fault {
            Fault::SameAddress => Some(DmaAddr(0x1000)),
            Fault::AddressMoves => Some(DmaAddr(addr + self.calls.load(Ordering::Relaxed) as u64 * 0x1_0000_0000)),
            _ => None,
        }
    }

    fn device_lost(&self) {
        if matches!(self.fault, Fault::SilentLoss | Fault::Resurrects | Fault::RefusesAfterLoss) {
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

// SAFETY: the heap's memory.
unsafe impl Backing for Faulty {
    type Access = Host;
}

fn named(fault: Fault) -> Obligation {
    let broken = conformance::provider(|| Faulty::home(fault)).expect_err(&format!("{fault:?} was not noticed"));
    println!("{fault:?}: {broken}");
    broken.obligation
}

#[test]
fn each_broken_provider_is_named_by_the_promise_it_breaks() {
    let sound = conformance::provider(|| Faulty::home(Fault::Nothing)).expect("without a fault it is sound");
    assert_eq!(sound.capacity, 32);
    for (fault, obligation) in [
        (Fault::Twice, Obligation::Uniqueness),
        (Fault::Overlap, Obligation::Uniqueness),
        (Fault::Cuts, Obligation::Stability),
        (Fault::Forgets, Obligation::Conservation),
        (Fault::OwnThreadOnly, Obligation::AnyThread),
        (Fault::OwnThreadPanics, Obligation::AnyThread),
        (Fault::WrongOrder, Obligation::Order),
        (Fault::OneNodeOnly, Obligation::Order),
        (Fault::Grows, Obligation::Order),
        (Fault::SameAddress, Obligation::Premapped),
        (Fault::AddressMoves, Obligation::Premapped),
        (Fault::Overfills, Obligation::Bulk),
        (Fault::FirstOfBulk, Obligation::Bulk),
        (Fault::Believes, Obligation::HomeWords),
        (Fault::WritesIn, Obligation::Memory),
        (Fault::Nowhere, Obligation::Memory),
        (Fault::DropsOnFailure, Obligation::Failure),
        (Fault::OnceDry, Obligation::Failure),
        (Fault::SilentLoss, Obligation::DeviceLost),
        (Fault::Resurrects, Obligation::DeviceLost),
        (Fault::RefusesAfterLoss, Obligation::DeviceLost),
        (Fault::Boasts, Obligation::Description),
        (Fault::HidesRegions, Obligation::Regions),
        (Fault::StrangeRegion, Obligation::Regions),
    ] {
        assert_eq!(named(fault), obligation, "{fault:?}");
    }
}

#[test]
fn a_broken_promise_reads_as_a_sentence() {
    let broken: Broken = conformance::provider(|| Faulty::home(Fault::Forgets)).unwrap_err();
    let text = broken.to_string();
    assert!(text.starts_with("Conservation is broken (what comes back can be had again): after "), "{text}");
    assert_eq!(format!("{broken:?}"), text, "what `unwrap` shows");
}
