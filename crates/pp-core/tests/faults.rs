//! The k-th step fails, for k = 1 until a run in which nothing was left to fail: nothing is leaked, and the pool goes on.
//!
//! Creation fails for want of memory; a refill because provider, device or constructor fail; leaving because a page-out
//! hook panics, wherever a page leaves.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Depot, Give, Heap, Shape, Window, law};
use pp_core::{
    AllocError, BuildError, Counting, DmaDirection, DmaError, Home, Identity, NodePolicy, Page, PageBatch, PagePool,
    PoolHandle, PoolState, ProvideError, Reaper, Shared, doc,
};

#[global_allocator]
static HEAP: Heap = Heap;

/// Runs `attempt` for k = 1, 2, ... until it says that nothing failed; how many failures that were.
fn each_step(mut attempt: impl FnMut(usize) -> bool) -> usize {
    (1..10_000).find(|k| !attempt(*k)).expect("an end") - 1
}

fn home(units: usize) -> Home<Depot> {
    Home::new(Depot::new(Shape { reserve: 1, ..Shape::plain(4096, units) }))
}

#[test]
fn creation_without_memory_leaves_nothing_behind() {
    let steps = each_step(|k| {
        let home = home(8);
        let device = Arc::new(Counting::new(Identity));
        let hooked = device.clone();
        let builder = PagePool::builder(home.clone()).name("rx0").returners(3, 64).limit(9).watermark(3, |_| {});
        let builder = builder.dma(device.clone(), DmaDirection::FromDevice).dma_sync(0, 2048);
        let builder = builder.page_in(move |_| assert_eq!(hooked.counts().unmaps, 0));
        let (pool, failed) = Heap::failing(k, || builder.build());
        assert_eq!(pool.as_ref().err(), failed.then_some(&BuildError::OutOfMemory), "step {k}");
        drop(pool);
        assert_eq!((Home::owners(&home), Arc::strong_count(&device)), (1, 1), "step {k}");
        failed
    });
    // The slots, the list of bags, four bags, the consumer, the block.
    assert!(steps >= 8, "only {steps} allocations could fail");
}

#[test]
fn creation_that_failed_frees_all_it_had() {
    each_step(|k| {
        let home = home(8);
        let before = Heap::live();
        let builder = PagePool::builder(home.clone()).name("rx0").returners(3, 64).page_in(|_| {});
        let (pool, failed) = Heap::failing(k, || builder.build());
        drop(pool);
        assert_eq!(Heap::live(), before, "step {k}");
        failed
    });
}

#[test]
fn a_list_of_mappings_that_cannot_grow_is_a_full_device() {
    let mut refusals = 0;
    each_step(|k| {
        let home = Home::new(doc::Heap::new(4096, 512));
        let device = Arc::new(Counting::new(Identity));
        let builder = PagePool::builder(home.clone()).cache(16).refill(16);
        let mut pool = builder.dma(device.clone(), DmaDirection::FromDevice).build().unwrap();
        let mut held: Vec<Page> = Vec::with_capacity(512);
        let ((), failed) = Heap::failing(k, || {
            for _ in 0..300 {
                match pool.alloc() {
                    Ok(page) => held.push(page),
                    Err(error) => assert_eq!(error, AllocError::Dma(DmaError::Full)),
                }
            }
        });
        refusals += 300 - held.len();
        assert_eq!(pool.stats().in_use(), held.len());
        assert_eq!(
            (pool.stats().mapped, pool.stats().outstanding()),
            (pool.stats().inflight(), 512 - home.free_units())
        );
        held.extend(pool.alloc());
        drop(pool);
        assert_eq!(device.counts().maps, device.counts().unmaps, "what is out is unmapped too");
        drop(held);
        assert_eq!((home.free_units(), Home::owners(&home)), (512, 1));
        failed
    });
    // One unit of a refill is refused; the others make the refill a success.
    assert!(refusals <= 2, "{refusals}");
}

#[test]
fn what_a_reaper_cannot_be_told_for_want_of_memory_is_freed_on_the_spot() {
    let steps = each_step(|k| {
        let told = Arc::new(AtomicUsize::new(0));
        let counted = told.clone();
        let reaper = Reaper::new(move |remains| {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(remains);
        });
        let depot: Depot = Depot::new(Shape::plain(4096, 8));
        let home = Home::with_reaper(depot, reaper.clone());
        let device = Arc::new(Counting::new(Identity));
        let builder = PagePool::builder(home).reaper(reaper).dma(device.clone(), DmaDirection::FromDevice);
        let mut pool = builder.build().unwrap();
        let page = pool.alloc().unwrap();
        drop(pool);
        let ((), failed) = Heap::failing(k, || drop(page));
        assert_eq!(Arc::strong_count(&device), 1, "step {k}: the table went");
        assert_eq!(told.load(Ordering::Relaxed), 2 - usize::from(failed), "step {k}");
        failed
    });
    assert_eq!(steps, 2, "the pool's table, and the provider");
}

/// What refills go through in these tests: several, from ring and provider, of pages that come and go.
fn traffic(pool: &mut PagePool) -> (usize, usize) {
    let (mut held, mut errors, mut panics) = (Vec::new(), 0, 0);
    for round in 0..40 {
        match catch_unwind(AssertUnwindSafe(|| pool.alloc())) {
            Ok(Ok(page)) => held.push(page),
            Ok(Err(_)) => errors += 1,
            Err(_) => panics += 1,
        }
        match round % 8 {
            3 => held.truncate(held.len() / 2),
            5 => held.drain(..held.len().min(3)).for_each(|page| pool.recycle_direct(page)),
            7 => drop(catch_unwind(AssertUnwindSafe(|| drop(pool.alloc_batch::<6>())))),
            _ => {}
        }
    }
    let stats = pool.stats();
    law(&stats, stats.allocations(), stats.allocations() - held.len(), held.len());
    drop(held);
    (errors, panics)
}

fn refill_pool(home: &Home<Depot>, window: &Arc<Window>, page_in: impl Fn() + Send + Sync + 'static) -> PagePool {
    let builder = PagePool::builder(home.clone()).cache(8).refill(4).pool_size(6);
    builder.dma(window.clone(), DmaDirection::FromDevice).page_in(move |_| page_in()).build().unwrap()
}

/// After a fault: all is counted, the pool still works, and nothing is left when it ends.
fn still_sound(mut pool: PagePool, home: &Home<Depot>, window: &Window) {
    assert_eq!((pool.stats().outstanding(), pool.stats().inflight()), (home.out(), window.mapped()));
    assert!(pool.alloc_batch::<8>().is_full(), "the pool goes on");
    drop(pool);
    assert_eq!((home.out(), window.mapped(), Home::owners(home)), (0, 0, 1));
    window.verify();
}

#[test]
fn a_provider_that_fails_once() {
    for fault in [Give::Fail(ProvideError::OutOfMemory), Give::AtMost(0), Give::AtMost(1), Give::AtMost(3)] {
        let steps = each_step(|k| {
            let (home, window) = (home(32), Arc::new(Window::new(false)));
            home.plan(move |call| if call == k { fault } else { Give::All });
            let mut pool = refill_pool(&home, &window, || {});
            let (errors, panics) = traffic(&mut pool);
            assert!(panics == 0 && errors <= 1);
            let reached = home.calls() >= k;
            still_sound(pool, &home, &window);
            reached
        });
        assert!(steps >= 4, "{fault:?}: the provider was asked {steps} times");
    }
}

#[test]
fn a_device_that_fails_to_map_once() {
    let steps = each_step(|k| {
        let (home, window) = (home(32), Arc::new(Window::new(false)));
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = calls.clone();
        window.plan(move |call| {
            seen.store(call, Ordering::Relaxed);
            if call == k { Err(DmaError::Full) } else { Ok(()) }
        });
        let mut pool = refill_pool(&home, &window, || {});
        assert_eq!(traffic(&mut pool), (0, 0), "the other units of the refill do");
        let reached = calls.load(Ordering::Relaxed) >= k;
        still_sound(pool, &home, &window);
        reached
    });
    assert!(steps >= 10, "{steps}");
}

#[test]
fn a_constructor_that_panics_once() {
    let steps = each_step(|k| {
        let (home, window) = (home(32), Arc::new(Window::new(false)));
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = calls.clone();
        let mut pool = refill_pool(&home, &window, move || {
            assert_ne!(seen.fetch_add(1, Ordering::Relaxed) + 1, k, "a constructor that panics");
        });
        let (errors, panics) = traffic(&mut pool);
        assert!(errors == 0 && panics <= 1);
        let reached = calls.load(Ordering::Relaxed) >= k;
        still_sound(pool, &home, &window);
        reached
    });
    assert!(steps >= 10, "{steps}");
}

/// Every way a page can leave, one after the other.
fn leave_in_every_way(pool: PagePool, attempt: &mut dyn FnMut(&mut dyn FnMut())) {
    let handle = pool.handle();
    let mut pool = Some(pool);
    let mut returner = pool.as_ref().and_then(|pool| pool.handle().returner());
    let mut pages: Vec<Page> = Vec::new();
    let open = |pool: &mut Option<PagePool>, pages: &mut Vec<Page>, count| {
        if let Some(pool) = pool {
            pages.extend((0..count).filter_map(|_| pool.alloc().ok()));
        }
    };
    open(&mut pool, &mut pages, 24);
    let batch = |pages: &mut Vec<Page>| {
        let mut batch = PageBatch::<6>::new();
        pages.drain(..6).for_each(|page| batch.push(page).expect("room"));
        batch
    };
    let mut one = batch(&mut pages);
    attempt(&mut || drop(std::mem::take(&mut one))); // 4 fit the ring, 2 leave in bulk
    let mut two = batch(&mut pages);
    attempt(&mut || returner.iter_mut().for_each(|returner| returner.put_batch(&mut two))); // the bag, then leaving
    attempt(&mut || drop(pages.pop())); // one by one
    attempt(&mut || drop(pages.pop().map(Page::detach)));
    let shared: Option<Shared> = pages.pop().map(Page::share);
    let mut others = vec![shared.clone()];
    others.push(shared);
    attempt(&mut || others.pop().flatten().into_iter().for_each(Shared::release));
    attempt(&mut || others.clear());
    attempt(&mut || assert!(pool.as_mut().is_none_or(|pool| pool.trim(3) > 0)));
    open(&mut pool, &mut pages, 6);
    attempt(&mut || pool.iter_mut().for_each(|pool| pool.update_nid(NodePolicy::Any)));
    open(&mut pool, &mut pages, 9);
    if let (Some(returner), Some(page)) = (&mut returner, pages.pop()) {
        returner.put(page);
    }
    drop(pages.pop());
    attempt(&mut || drop(pool.take())); // cache, ring and bag
    let mut three = batch(&mut pages);
    attempt(&mut || drop(std::mem::take(&mut three))); // in bulk to a closed pool
    let mut four = batch(&mut pages);
    attempt(&mut || returner.iter_mut().for_each(|returner| returner.put_batch(&mut four))); // into a closed bag and past it
    while !pages.is_empty() {
        attempt(&mut || drop(pages.pop()));
    }
    // While the Returner lives, which need never do anything again.
    assert_eq!(handle.state(), PoolState::Closed, "{}", handle.stats());
}

#[test]
fn a_destructor_that_panics_once() {
    let steps = each_step(|k| {
        let (home, window) = (home(40), Arc::new(Window::new(false)));
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = calls.clone();
        let builder = PagePool::builder(home.clone()).cache(8).refill(4).pool_size(4).returners(1, 4);
        let builder = builder.dma(window.clone(), DmaDirection::FromDevice);
        let pool = builder
            .page_out(move |_| assert_ne!(seen.fetch_add(1, Ordering::Relaxed) + 1, k, "a destructor that panics"))
            .build()
            .unwrap();
        let handle: PoolHandle = pool.handle();
        let mut panics = 0;
        leave_in_every_way(pool, &mut |step| panics += usize::from(catch_unwind(AssertUnwindSafe(step)).is_err()));
        let stats = handle.stats();
        assert_eq!((home.out(), window.mapped(), Home::owners(&home)), (0, 0, 1), "step {k}");
        assert_eq!((handle.state(), stats.strays, stats.hold), (PoolState::Closed, 0, stats.released), "step {k}");
        law(&stats, stats.allocations(), stats.allocations() - stats.detached, 0);
        assert_eq!(calls.load(Ordering::Relaxed), stats.hold, "step {k}: each page left once");
        assert_eq!(Arc::strong_count(&window), 1, "step {k}: the pool was torn down");
        window.verify();
        assert!(panics <= 1);
        panics == 1
    });
    assert!(steps >= 24, "{steps}");
}

#[test]
fn a_destructor_that_panics_in_a_mixed_batch_strands_no_page_behind_it() {
    let steps = each_step(|k| {
        let home = home(40);
        let calls = Arc::new(AtomicUsize::new(0));
        let pool = |panics: bool| {
            let seen = calls.clone();
            let hook = move || !panics || seen.fetch_add(1, Ordering::Relaxed) + 1 != k;
            let builder = PagePool::builder(home.clone()).cache(8).refill(4).pool_size(1);
            builder.page_out(move |_| assert!(hook(), "a destructor that panics")).build().unwrap()
        };
        let (mut ours, mut theirs) = (pool(true), pool(false));
        let mut batch = PageBatch::<16>::new();
        for _ in 0..4 {
            batch.push(ours.alloc().unwrap()).unwrap();
            batch.push(ours.alloc().unwrap()).unwrap();
            batch.push(theirs.alloc().unwrap()).unwrap();
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(batch))).is_err();
        for pool in [&ours, &theirs] {
            let stats = pool.stats();
            assert_eq!((stats.in_use(), stats.in_ring), (0, 1), "step {k}");
            assert_eq!(stats.recycle.ring_full + 1, stats.allocations(), "step {k}");
        }
        drop((theirs, catch_unwind(AssertUnwindSafe(|| drop(ours)))));
        assert_eq!((home.out(), Home::owners(&home)), (0, 1), "step {k}");
        panicked
    });
    assert_eq!(steps, 7, "all but the one that the ring has room for");
}
