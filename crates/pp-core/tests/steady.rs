//! The steady state: nothing is constructed, nothing allocated, nothing faulted in, and memory is bounded.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Depot, Heap, Shape, law};
use pp_core::{
    AllocError, Counting, Crossing, DmaDirection, Home, Identity, PageBatch, PagePool, PoolBuilder, Returner, Zeroing,
    doc,
};

#[global_allocator]
static HEAP: Heap = Heap;

/// Pages of this thread that were faulted in without reading a disk.
fn minor_faults() -> libc::c_long {
    // SAFETY: all zero is a value of it, and the call fills it in.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: a valid place for the answer.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) }, 0);
    usage.ru_minflt
}

const UNITS: usize = 256;
const RECYCLES: usize = 1_000_000;

fn home() -> Home<doc::Heap> {
    Home::new(doc::Heap::new(4096, UNITS))
}

/// Lets `round`, which recycles `each` pages, run a million recycles, and checks that the pool took nothing for them.
fn steady(builder: PoolBuilder, each: usize, mut round: impl FnMut(&mut PagePool, &mut Option<Returner>)) {
    let entered = Arc::new(AtomicUsize::new(0));
    let seen = entered.clone();
    let builder = builder.cache(64).refill(32).pool_size(256).returners(1, 64);
    let mut pool = builder.page_in(move |_| assert!(seen.fetch_add(1, Ordering::Relaxed) < UNITS)).build().unwrap();
    let mut returner = pool.handle().returner();
    // Once round, so that every page has entered and been touched.
    let mut all: PageBatch<UNITS> = pool.alloc_batch();
    assert!(all.is_full());
    pool.handle().put_batch(&mut all);
    (0..100).for_each(|_| round(&mut pool, &mut returner));

    let rounds = RECYCLES / each;
    let (before, allocations) = (pool.stats(), Heap::calls());
    // A machine short of memory may take a page back now and then: one undisturbed run is the proof.
    let mut run = || {
        let before = minor_faults();
        (0..rounds).for_each(|_| round(&mut pool, &mut returner));
        minor_faults() - before
    };
    let runs = (1..=3).find(|_| run() == 0).expect("a run without minor faults");
    if cfg!(not(feature = "leak-trace")) {
        assert_eq!(Heap::calls() - allocations, 0, "allocations on the heap");
    }
    let after = pool.stats();
    assert_eq!(after.puts() - before.puts(), runs * rounds * each);
    assert_eq!((after.provider_calls, after.hold), (before.provider_calls, before.hold), "the provider is left alone");
    assert_eq!((entered.load(Ordering::Relaxed), after.hold), (UNITS, UNITS), "constructors run are pages entered");
    law(&after, after.puts(), after.puts(), 0);
}

/// What a holder does: writes.
fn touch(page: &mut [u8]) {
    page[0] = page[0].wrapping_add(1);
    page[4095] = page[0];
}

#[test]
fn straight_back_into_the_cache() {
    steady(PagePool::builder(home()), 1, |pool, _| {
        let mut page = pool.alloc().unwrap();
        touch(&mut page);
        pool.recycle_direct(page);
    });
}

#[test]
fn batches_into_the_cache_and_through_the_ring() {
    let mut direct = false;
    steady(PagePool::builder(home()), 48, move |pool, _| {
        let mut batch: PageBatch<48> = pool.alloc_batch();
        direct = !direct;
        if direct { pool.recycle_batch(&mut batch) } else { drop(batch) }
    });
}

#[test]
fn one_by_one_through_the_ring() {
    steady(PagePool::builder(home()), 3, |pool, _| {
        let pages = [(); 3].map(|()| pool.alloc().unwrap());
        let [one, two, mut three] = pages;
        touch(&mut three);
        drop(one);
        two.try_put().unwrap();
        pool.handle().put(three);
    });
}

#[test]
fn through_a_returners_bag() {
    steady(PagePool::builder(home()), 17, |pool, returner| {
        let returner = returner.as_mut().unwrap();
        let mut batch: PageBatch<16> = pool.alloc_batch();
        returner.put_batch(&mut batch);
        returner.put(pool.alloc().unwrap());
    });
}

#[test]
fn shared_and_unshared() {
    steady(PagePool::builder(home()), 2, |pool, _| {
        let shared = pool.alloc().unwrap().share();
        let other = shared.clone();
        drop(shared);
        pool.recycle_direct(other.try_unshare().unwrap());
        drop(pool.alloc().unwrap().share());
    });
}

#[test]
fn mapped_synced_and_cleared() {
    let device = Arc::new(Counting::new(Identity));
    let builder = PagePool::builder(home()).dma(device.clone(), DmaDirection::FromDevice).dma_sync(0, 64);
    steady(builder.zeroing(Zeroing::OnCrossOwner), 16, |pool, _| {
        let mut batch: PageBatch<16> = pool.alloc_batch();
        batch.pop().unwrap().put_synced(60);
        pool.recycle_direct(batch.pop().unwrap());
        drop(batch);
    });
    let counts = device.counts();
    assert_eq!((counts.maps, counts.unmaps), (UNITS, UNITS), "mapped once, for a million recycles");
}

#[test]
fn pages_that_leave_and_enter_cost_no_heap_either() {
    let home = home();
    let device = Arc::new(Counting::new(Identity));
    let builder = PagePool::builder(home.clone()).cache(16).refill(16).pool_size(4);
    let mut pool = builder.dma(device.clone(), DmaDirection::FromDevice).build().unwrap();
    let mut round = || {
        let batch: PageBatch<32> = pool.alloc_batch();
        assert!(batch.is_full());
        drop(batch);
    };
    (0..100).for_each(|_| round());
    let before = Heap::calls();
    (0..10_000).for_each(|_| round());
    if cfg!(not(feature = "leak-trace")) {
        assert_eq!(Heap::calls() - before, 0, "the list of mappings is tidied, not grown");
    }
    assert!(pool.stats().recycle.ring_full > 100_000);
    drop(pool);
    assert_eq!((device.counts().maps - device.counts().unmaps, home.free_units()), (0, UNITS));
}

/// A provider that writes into the words it shares with the pool, so that no note there survives a stay at home.
#[test]
fn the_list_of_mappings_does_not_grow_with_the_stays() {
    let home: Home<Depot> = Home::new(Depot::new(Shape::plain(4096, UNITS)));
    let builder = PagePool::builder(home.clone()).cache(64).refill(64).pool_size(128);
    let mut pool = builder.dma(Counting::new(Identity), DmaDirection::FromDevice).build().unwrap();
    // Out and home again, in ever other order, with some that stay.
    let mut round = |round: usize| {
        let mut batch: PageBatch<UNITS> = pool.alloc_batch();
        assert!(batch.is_full());
        drop(batch.by_ref().take(round % UNITS).collect::<Vec<_>>());
        drop(batch);
        pool.trim(round % 100);
    };
    (0..300).for_each(&mut round);
    let before = Heap::live();
    (300..1_000).for_each(&mut round);
    let grown = Heap::live() - before;
    assert!(cfg!(feature = "leak-trace") || grown <= 0, "{grown} bytes more");
}

#[test]
fn a_consumer_that_keeps_every_page_stays_under_its_limit_and_recovers() {
    const LIMIT: usize = 100;
    let home = home();
    let (rising, falling) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (up, down) = (rising.clone(), falling.clone());
    let builder = PagePool::builder(home.clone()).cache(16).refill(8).limit(LIMIT);
    let mut pool = builder
        .watermark(80, move |pressure| {
            let at = if pressure.crossing == Crossing::Rising { &up } else { &down };
            at.store(pressure.outstanding, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    let mut kept = Vec::new();
    let mut warned_at = None;
    for asked in 0..10_000 {
        match pool.alloc() {
            Ok(page) if asked % 3 == 0 => kept.push(page.detach()),
            Ok(page) => kept.push(page),
            Err(error) => assert_eq!(error, AllocError::LimitReached),
        }
        if rising.load(Ordering::Relaxed) > 0 && warned_at.is_none() {
            warned_at = Some(kept.len());
        }
        assert!(UNITS - home.free_units() <= LIMIT, "memory is bounded");
    }
    assert_eq!(kept.len(), LIMIT);
    let warned_at = warned_at.expect("a warning");
    assert!(warned_at < LIMIT && rising.load(Ordering::Relaxed) <= LIMIT, "before the limit, at {warned_at}");
    assert_eq!(falling.load(Ordering::Relaxed), 0);
    drop(kept);
    pool.trim(10);
    let mut batch: PageBatch<64> = pool.alloc_batch();
    assert!(batch.is_full(), "it recovers");
    assert!((1..=80).contains(&falling.load(Ordering::Relaxed)), "and says so");
    pool.recycle_batch(&mut batch);
    drop(pool);
    assert_eq!(home.free_units(), UNITS);
}
