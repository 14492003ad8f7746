//! Every interleaving, within a bound, of a bulk allocation and releases.
#![cfg(all(loom, feature = "loom"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "common/body.rs"]
mod body;
mod common;

use core::cell::UnsafeCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use body::{Size, Spawn, bulk_against_release};
use common::*;
use loom::sync::MutexGuard;
use pp_core::lock::RawLock;
use pp_core::sync::Mutant;
use pp_provider_buddy::DefaultLock;

struct Loom;

impl Spawn for Loom {
    type Handle<T: Send + 'static> = loom::thread::JoinHandle<T>;
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        loom::thread::spawn(f)
    }
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.join().unwrap()
    }
}

/// A lock that blocks as loom understands it. Two waiters of a spin lock can yield to each other for ever, which loom
/// tries to explore: with the shipped spin lock a model has one waiter at most.
struct Blocking {
    guard: UnsafeCell<Option<MutexGuard<'static, ()>>>,
    mutex: Box<loom::sync::Mutex<()>>,
}

impl Default for Blocking {
    fn default() -> Self {
        Blocking { guard: UnsafeCell::new(None), mutex: Box::new(loom::sync::Mutex::new(())) }
    }
}

// SAFETY: the guard is touched by the holder only; all modelled threads are one thread of the system.
unsafe impl Send for Blocking {}
// SAFETY: as above.
unsafe impl Sync for Blocking {}

// SAFETY: exclusion is loom's mutex, whose guard lives from `lock` to `unlock`.
unsafe impl RawLock for Blocking {
    fn lock(&self) {
        // SAFETY: boxed, and dropped after the guard: the field comes later.
        let mutex: &'static loom::sync::Mutex<()> = unsafe { &*core::ptr::from_ref(&*self.mutex) };
        let guard = mutex.lock().unwrap();
        // SAFETY: held, so nobody else is at the cell.
        unsafe { *self.guard.get() = Some(guard) };
    }
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds the lock. The guard is moved out first: dropping it lets the next one in.
        drop(unsafe { (*self.guard.get()).take() });
    }
}

/// Explores `size` and returns how many executions there were and what they came to.
fn explore<L: RawLock>(size: Size) -> (usize, BTreeSet<usize>) {
    let seen = Arc::new(Mutex::new((0, BTreeSet::new())));
    let mut model = loom::model::Builder::new(); // reads LOOM_MAX_PREEMPTIONS
    model.preemption_bound = model.preemption_bound.or(Some(3));
    let record = seen.clone();
    model.check(move || {
        let got = bulk_against_release::<Loom, L>(&size);
        let mut seen = record.lock().unwrap();
        seen.0 += 1;
        seen.1.insert(got);
    });
    let seen = seen.lock().unwrap();
    seen.clone()
}

fn small() -> Size {
    Size { units: 4, out: 2, releasers: 1, want: 4, rounds: 1 }
}

#[test]
fn loom_buddy_bulk_against_release() {
    let (executions, outcomes) = explore::<DefaultLock>(small());
    println!("loom_buddy_bulk_against_release: {executions} executions, taken {outcomes:?}");
    assert!(executions > 1);
    assert_eq!(outcomes, BTreeSet::from([2, 3, 4]), "before, between and after the two releases");
}

#[test]
fn loom_buddy_bulk_against_two_releasers() {
    // One gives back a unit at a time, the other in bulk; nothing is free before.
    let (executions, outcomes) = explore::<Blocking>(Size { units: 4, out: 4, releasers: 2, want: 1, rounds: 2 });
    println!("loom_buddy_bulk_against_two_releasers: {executions} executions, taken {outcomes:?}");
    assert!(executions > 1);
    assert_eq!(outcomes, BTreeSet::from([0, 1, 2]));
}

#[test]
fn loom_buddy_open_lock_is_found() {
    let explored = catch_unwind(AssertUnwindSafe(|| Mutant::OpenLock.run(|| explore::<DefaultLock>(small()))));
    assert!(explored.is_err(), "a lock that does not lock went unnoticed: {explored:?}");
}
