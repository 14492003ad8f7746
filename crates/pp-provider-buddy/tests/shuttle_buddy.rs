//! Random and PCT schedules of the same body, at sizes that loom cannot reach.
//!
//! No must-fail twin here: nothing between a lock and its unlock is a scheduling point of shuttle that finds the
//! free lists half changed, so an open lock is loom's to find.
#![cfg(all(shuttle, feature = "shuttle"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "common/body.rs"]
mod body;
mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use body::{Size, Spawn, bulk_against_release};
use common::*;
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

/// How many schedules, settable for long runs.
fn iterations() -> usize {
    std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}

fn large() -> Size {
    Size { units: 64, out: 40, releasers: 4, want: 16, rounds: 4 }
}

#[test]
fn shuttle_buddy_bulk_against_release_random() {
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let record = outcomes.clone();
    let body = move || {
        let got = bulk_against_release::<Shuttle, DefaultLock>(&large());
        record.lock().unwrap().insert(got);
    };
    shuttle::check_random(body, iterations());
    let outcomes = outcomes.lock().unwrap();
    println!("taken {outcomes:?}");
    assert!(outcomes.len() > 1);
    assert!(outcomes.iter().all(|got| (24..=64).contains(got)));
}

#[test]
fn shuttle_buddy_bulk_against_release_pct() {
    let body = || {
        let got = bulk_against_release::<Shuttle, DefaultLock>(&large());
        assert!((24..=64).contains(&got));
    };
    shuttle::check_pct(body, iterations(), 3);
}
