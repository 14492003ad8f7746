//! Statistics: the law, the kernel's names, and figures that make sense also while others are inside calls.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Depot, Shape, law, take};
use pp_core::{Home, PageBatch, PagePool, PoolState, Stats};

fn home(units: usize) -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, units)))
}

#[test]
fn the_law_holds_over_every_outcome_a_page_can_have() {
    let home = home(64);
    let mut pool = PagePool::builder(home.clone()).cache(4).refill(4).pool_size(4).returners(1, 2).build().unwrap();
    let mut pages = take(&mut pool, 24);
    let mut next = || pages.pop().unwrap();
    let mut returner = pool.handle().returner().unwrap();
    for _ in 0..5 {
        pool.recycle_direct(next()); // 4 cached, 1 in the ring
    }
    for _ in 0..3 {
        returner.put(next()); // 2 in the bag, 1 in the ring
    }
    for _ in 0..4 {
        drop(next()); // 2 in the ring, 2 find it full
    }
    let shared = next().share();
    let other = shared.clone();
    shared.release(); // off the books
    let detached = next().detach();
    let stats = pool.stats();
    law(&stats, 24, 13, 10);
    let r = &stats.recycle;
    assert_eq!((r.cached, r.cache_full, r.ring, r.ring_full, r.released_refcnt), (4, 1, 6, 2, 1));
    assert_eq!((stats.detached, stats.strays, stats.outstanding(), home.out()), (1, 2, 22, 22));
    let handle = pool.handle();
    drop(pool);
    drop(pages); // 10 to a closed pool
    drop((other, detached));
    law(&handle.stats(), 24, 23, 0);
    assert_eq!((handle.stats().recycle.released_closed, handle.stats().strays, home.out()), (10, 0, 0));
    assert_eq!(handle.stats().hold, handle.stats().released);
}

#[test]
fn a_forgotten_page_shows_as_in_use() {
    let home = home(8);
    let mut pool = PagePool::builder(home.clone()).build().unwrap();
    std::mem::forget(pool.alloc().unwrap());
    drop(pool.alloc());
    assert_eq!(pool.stats().in_use(), 1);
    let handle = pool.handle();
    let shutdown = pool.shutdown();
    assert_eq!((shutdown.outstanding(), handle.state(), handle.stats().in_use()), (1, PoolState::Closing, 1));
    assert_eq!(home.out(), 1);
    std::mem::forget(home);
}

#[test]
fn recycled_percent_is_of_all_returns() {
    assert_eq!(Stats::default().recycled_percent(), 100.0);
    let home = home(8);
    let mut pool = PagePool::builder(home).pool_size(1).build().unwrap();
    let pages = take(&mut pool, 5);
    for (at, page) in pages.into_iter().enumerate() {
        if at < 2 { pool.recycle_direct(page) } else { drop(page) }
    }
    assert_eq!(pool.stats().recycled_percent(), 60.0, "2 cached, 1 in the ring, 2 not");
}

#[test]
fn figures_are_printed_under_the_kernels_names() {
    let home = home(8);
    let mut pool = PagePool::builder(home).build().unwrap();
    drop(pool.alloc());
    let text = pool.stats().to_string();
    for name in [
        "alloc_fast",
        "alloc_slow",
        "alloc_slow_high_order",
        "alloc_empty",
        "alloc_refill",
        "alloc_waive",
        "recycle_cached",
        "recycle_cache_full",
        "recycle_ring",
        "recycle_ring_full",
        "recycle_released_refcnt",
    ] {
        assert_eq!(text.matches(&format!("{name} ")).count(), 1, "{name} in {text}");
    }
    assert!(text.contains("alloc_slow 1,") && text.contains("recycle_ring 1,"), "{text}");
}

/// Readers on other threads while pages go round: nothing can be exact, and nothing may be absurd.
#[test]
fn figures_read_during_traffic_are_possible_ones() {
    const UNITS: usize = 64;
    let home = home(UNITS);
    let mut pool = PagePool::builder(home).cache(8).refill(4).pool_size(16).returners(1, 8).build().unwrap();
    let (handle, stop) = (pool.handle(), AtomicBool::new(false));
    let mut returner = handle.returner().unwrap();
    thread::scope(|scope| {
        let (to_returner, pages) = std::sync::mpsc::sync_channel::<PageBatch<4>>(4);
        scope.spawn(move || pages.into_iter().for_each(|mut batch| returner.put_batch(&mut batch)));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let stats = handle.stats();
                assert!(stats.in_ring <= 16 + 8 && stats.in_cache <= 8 && stats.strays <= UNITS, "{stats:?}");
                // A slow reader over-estimates what is in flight, and never sees less than nothing.
                assert!(stats.released <= stats.hold && stats.hold < usize::MAX >> 1, "{stats:?}");
                assert!(stats.inflight().max(handle.inflight()) < usize::MAX >> 1, "{stats:?}");
            }
        });
        for _ in 0..30_000 {
            to_returner.send(pool.alloc_batch()).unwrap();
            drop(pool.alloc());
        }
        drop(to_returner);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(pool.stats().in_use(), 0);
}
