//! Every interleaving, within a bound, of a bulk allocation and releases.
#![cfg(all(loom, feature = "loom"))]

#[path = "common/body.rs"]
mod body;
mod common;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use body::{Size, Spawn, bulk_against_release};
use common::*;
use pp_core::sync::Mutant;

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

/// Explores `size` and returns how many executions there were and what they came to.
fn explore(size: Size) -> (usize, BTreeSet<usize>) {
    let seen = Arc::new(Mutex::new((0, BTreeSet::new())));
    let mut model = loom::model::Builder::new(); // reads LOOM_MAX_PREEMPTIONS
    model.preemption_bound = model.preemption_bound.or(Some(3));
    let record = seen.clone();
    model.check(move || {
        let got = bulk_against_release::<Loom>(&size);
        let mut seen = record.lock().unwrap();
        seen.0 += 1;
        seen.1.insert(got);
    });
    let seen = seen.lock().unwrap();
    seen.clone()
}

fn small() -> Size {
    Size { units: 4, out: 2, releasers: 2, want: 4, rounds: 1 }
}

#[test]
fn loom_buddy_bulk_against_release() {
    let (executions, outcomes) = explore(small());
    println!("loom_buddy_bulk_against_release: {executions} executions, taken {outcomes:?}");
    assert!(executions > 1);
    assert_eq!(outcomes, BTreeSet::from([2, 3, 4]), "before, between and after the two releases");
}

#[test]
fn loom_buddy_bulk_against_release_bulk() {
    let (executions, outcomes) = explore(Size { units: 4, out: 4, releasers: 2, want: 1, rounds: 2 });
    println!("loom_buddy_bulk_against_release_bulk: {executions} executions, taken {outcomes:?}");
    assert!(executions > 1);
    assert_eq!(outcomes, BTreeSet::from([0, 1, 2]));
}

#[test]
fn loom_buddy_open_lock_is_found() {
    let explored = catch_unwind(AssertUnwindSafe(|| Mutant::OpenLock.run(|| explore(small()))));
    assert!(explored.is_err(), "a lock that does not lock went unnoticed: {explored:?}");
}
