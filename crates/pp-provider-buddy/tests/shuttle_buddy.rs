//! Random and PCT schedules of the same body, at sizes that loom cannot reach.
#![cfg(all(shuttle, feature = "shuttle"))]

#[path = "common/body.rs"]
mod body;
mod common;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use body::{Size, Spawn, bulk_against_release};
use common::*;
use pp_core::sync::Mutant;
use pp_provider_buddy::DefaultLock;

struct Shuttle;

impl Spawn for Shuttle {
    type Handle<T: Send + 'static> = shuttle::thread::JoinHandle<T>;
    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        shuttle::thread::spawn(f)
    }
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.join().unwrap()
    }
}

fn large() -> Size {
    Size { units: 64, out: 40, releasers: 4, want: 16, rounds: 4 }
}

#[test]
fn shuttle_buddy_bulk_against_release_random() {
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let record = outcomes.clone();
    shuttle::check_random(
        move || drop(record.lock().unwrap().insert(bulk_against_release::<Shuttle, DefaultLock>(&large()))),
        2000,
    );
    let outcomes = outcomes.lock().unwrap();
    println!("taken {outcomes:?}");
    assert!(outcomes.len() > 1);
    assert!(outcomes.iter().all(|got| (24..=64).contains(got)));
}

#[test]
fn shuttle_buddy_bulk_against_release_pct() {
    shuttle::check_pct(|| drop(bulk_against_release::<Shuttle, DefaultLock>(&large())), 2000, 3);
}

#[test]
fn shuttle_buddy_open_lock_is_found() {
    let explored = catch_unwind(AssertUnwindSafe(|| {
        Mutant::OpenLock
            .run(|| shuttle::check_random(|| drop(bulk_against_release::<Shuttle, DefaultLock>(&large())), 2000));
    }));
    assert!(explored.is_err(), "a lock that does not lock went unnoticed");
}
