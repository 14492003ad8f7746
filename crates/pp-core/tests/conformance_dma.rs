//! The conformance suite for DMA backends: what keeps its contract passes, and what breaks one promise is named by it.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use pp_core::conformance::{self, Obligation, Passed};
use pp_core::{Counting, Descriptor, Dma, DmaAddr, DmaDirection, DmaError, DmaRange, Identity};

fn not_shown(passed: &Passed) -> Vec<Obligation> {
    passed.not_shown.iter().map(|(obligation, _)| *obligation).collect()
}

/// A window of 8 entries with a device behind it, and perhaps a fault.
struct Bus {
    slip: Slip,
    calls: AtomicUsize,
    state: Mutex<Entries>,
}

struct Entries {
    /// The unit's first byte and length, by entry.
    slots: Vec<Option<(usize, usize)>>,
    free: VecDeque<usize>,
    /// Entries that will not be free again.
    lost: usize,
    mapper: Option<ThreadId>,
}

/// One promise that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slip {
    /// None: the control.
    Nothing,
    /// Every third mapping has an address that may be taken.
    Shares,
    /// Units are mapped half.
    Half,
    /// Of larger units the first 4 KiB are mapped.
    FirstPage,
    /// The device sees the page behind as well.
    Beyond,
    /// An unmap takes the entry before with it.
    TakesTheOneBefore,
    /// The same, the entry behind.
    TakesTheOneBehind,
    /// An unmap takes all with it.
    TakesAll,
    /// Correct: only units of 4 KiB are mapped.
    Small,
    /// The device goes on seeing what was unmapped.
    Lingers,
    /// Every fifth unmap frees no entry.
    Forgets,
    /// What another thread unmaps frees no entry.
    OwnThreadOnly,
    /// The same, and it panics.
    OwnThreadPanics,
    /// A mapping that is refused costs an entry.
    UsesUp,
    /// A unit without an address is a reason to panic.
    PanicsOnNull,
    /// A sync of the last byte is out of bounds.
    OffByOne,
    /// Syncs are needed now and then.
    Moody,
}

const SPAN: u64 = 1 << 16;

impl Bus {
    fn new(slip: Slip) -> Self {
        let entries = Entries { slots: vec![None; 8], free: (0..8).collect(), lost: 0, mapper: None };
        Bus { slip, calls: AtomicUsize::new(0), state: Mutex::new(entries) }
    }

    fn state(&self) -> MutexGuard<'_, Entries> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, addr: DmaAddr, offset: usize) -> Option<u8> {
        // An offset may lead into the next entry, as it does on a bus.
        let (addr, offset) = (addr.0 + offset as u64, (addr.0 + offset as u64) % SPAN);
        let (page, len) = self.state().slots.get((addr / SPAN) as usize).copied().flatten()?;
        let visible = match self.slip {
            Slip::Half => len / 2,
            Slip::FirstPage => len.min(4096),
            Slip::Beyond => len + 1,
            _ => len,
        };
        let offset = offset as usize;
        let at = std::ptr::with_exposed_provenance::<u8>(page + offset);
        // SAFETY: a byte of the suite's heap: the unit itself or the next, and the last ones are not among our eight.
        (offset < visible).then(|| unsafe { at.read() })
    }
}

// SAFETY: the control is sound: `look` reaches an entry's unit and nothing else; the others are broken on purpose.
unsafe impl Dma for Bus {
    fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        let mut state = self.state();
        state.mapper = Some(thread::current().id());
        if unit.addr().is_null() {
            drop(state);
            assert_ne!(self.slip, Slip::PanicsOnNull, "no address");
            return Err(DmaError::Refused);
        }
        if self.slip == Slip::Small && unit.unit_bytes() > 4096 {
            return Err(DmaError::Refused);
        }
        let Some(slot) = state.free.pop_front() else {
            state.lost += usize::from(self.slip == Slip::UsesUp);
            return Err(DmaError::Full);
        };
        state.slots[slot] = Some((unit.addr().expose_provenance(), unit.unit_bytes()));
        let shared = self.slip == Slip::Shares && slot == 2;
        Ok(DmaAddr(if shared { SPAN + 4095 } else { slot as u64 * SPAN }))
    }

    fn unmap(&self, addr: DmaAddr, _: usize, _: DmaDirection) {
        let mut state = self.state();
        let slot = (addr.0 / SPAN) as usize;
        if self.slip != Slip::Lingers {
            state.slots[slot] = None;
        }
        match self.slip {
            Slip::TakesTheOneBefore if slot > 0 => state.slots[slot - 1] = None,
            Slip::TakesTheOneBehind if slot < 7 => state.slots[slot + 1] = None,
            Slip::TakesAll => state.slots.fill(None),
            _ => {}
        }
        let elsewhere = state.mapper != Some(thread::current().id());
        match self.slip {
            Slip::Forgets if self.calls.load(Ordering::Relaxed).is_multiple_of(5) => {}
            Slip::OwnThreadOnly if elsewhere => {}
            Slip::OwnThreadPanics if elsewhere => panic!("not on this thread"),
            Slip::UsesUp if state.lost > 0 => state.lost -= 1,
            _ => state.free.push_back(slot),
        }
    }

    fn sync_for_device(&self, addr: DmaAddr, range: DmaRange, _: DmaDirection) {
        let end = range.offset + range.len;
        assert!(self.slip != Slip::OffByOne || end < 4096, "{end} is not inside the unit at {addr}");
    }

    fn needs_sync(&self) -> bool {
        self.slip != Slip::Moody || self.calls.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn each_broken_device_is_named_by_the_promise_it_breaks() {
    let run = |slip| conformance::dma_with_device(move || Bus::new(slip), Bus::look);
    let passed = run(Slip::Nothing).expect("without a fault it is sound");
    assert_eq!((passed.capacity, passed.not_shown.len()), (8, 0));
    let small = run(Slip::Small).expect("it may refuse what is larger");
    assert_eq!((small.capacity, small.not_shown), (8, vec![(Obligation::Reach, "it maps nothing larger than 4 KiB")]));
    for (slip, obligation) in [
        (Slip::Shares, Obligation::Reach),
        (Slip::Half, Obligation::Reach),
        (Slip::FirstPage, Obligation::Reach),
        (Slip::Beyond, Obligation::Reach),
        (Slip::TakesTheOneBefore, Obligation::Reach),
        (Slip::TakesTheOneBehind, Obligation::Reach),
        (Slip::TakesAll, Obligation::Reach),
        (Slip::Lingers, Obligation::Unmap),
        (Slip::Forgets, Obligation::Conservation),
        (Slip::OwnThreadOnly, Obligation::AnyThread),
        (Slip::OwnThreadPanics, Obligation::AnyThread),
        (Slip::UsesUp, Obligation::Failure),
        (Slip::PanicsOnNull, Obligation::Failure),
        (Slip::OffByOne, Obligation::Sync),
        (Slip::Moody, Obligation::Sync),
    ] {
        let broken = run(slip).expect_err(&format!("{slip:?} was not noticed"));
        println!("{slip:?}: {broken}");
        assert_eq!(broken.obligation, obligation, "{slip:?}");
    }
}

#[test]
fn our_backends_without_hardware_conform() {
    let passed = conformance::dma(|| Identity).unwrap();
    assert_eq!((passed.capacity, not_shown(&passed)[0]), (256, Obligation::Failure), "it is never full");
    assert_eq!(conformance::dma(Counting::<Identity>::default).unwrap(), passed);
    // Counting in front of one that has a device: what the suite did, in numbers.
    let counting = || Arc::new(Counting::new(Bus::new(Slip::Nothing)));
    let passed = conformance::dma(counting).unwrap();
    assert_eq!((passed.capacity, not_shown(&passed)), (8, vec![Obligation::Reach, Obligation::Unmap]));
}
