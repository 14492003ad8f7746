//! The verbs that move a page on, one test each that fails when the verb's body is emptied.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use common::{Depot, Shape, check, fill, law, take};
use pp_core::{AllocError, Home, Host, NodePolicy, PageBatch, PagePool, PoolBuilder, PoolState, Recycling};

fn home(units: usize) -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, units)))
}

/// A cache of 8 that is filled by 4.
fn builder(home: &Home<Depot>) -> PoolBuilder {
    PagePool::builder(home.clone()).cache(8).refill(4).pool_size(16)
}

#[test]
fn alloc_takes_from_cache_then_ring_then_provider() {
    let home = home(8);
    let mut pool = builder(&home).build().unwrap();
    let first = take(&mut pool, 5);
    let stats = pool.stats();
    assert_eq!((stats.alloc.slow, stats.alloc.fast, stats.alloc.empty, stats.provider_calls), (2, 3, 2, 2));
    assert_eq!((stats.hold, stats.in_cache, home.out()), (8, 3, 8));
    drop(first);
    assert_eq!((pool.stats().in_ring, pool.stats().recycle.ring), (5, 5));
    let again = take(&mut pool, 8);
    let stats = pool.stats();
    assert_eq!((stats.alloc.refill, stats.alloc.slow, stats.hold), (2, 2, 8), "the ring comes before the provider");
    assert_eq!(pool.alloc().unwrap_err(), AllocError::OutOfMemory);
    assert_eq!((pool.last_error(), pool.stats().provider_failures), (AllocError::OutOfMemory, 1));
    law(&pool.stats(), 13, 5, 8);
    drop(again);
    assert_eq!(pool.alloc().map(|page| page.len()), Ok(4096), "an error is not for ever");
}

#[test]
fn every_page_is_its_own_memory() {
    let home = home(8);
    let mut pool = builder(&home).build().unwrap();
    let mut pages = take(&mut pool, 8);
    for (tag, page) in pages.iter_mut().enumerate() {
        fill(page, tag as u64);
        assert!(page.as_ptr().addr().is_multiple_of(4096));
    }
    for (tag, page) in pages.iter().enumerate() {
        check(page, tag as u64);
    }
}

#[test]
fn alloc_batch_fills_what_it_can() {
    let home = home(10);
    let mut pool = builder(&home).build().unwrap();
    let seven: PageBatch<7> = pool.alloc_batch();
    assert!(seven.is_full());
    law(&pool.stats(), 7, 0, 7);
    let rest: PageBatch<7> = pool.alloc_batch();
    assert_eq!((rest.len(), pool.last_error()), (3, AllocError::OutOfMemory));
    law(&pool.stats(), 10, 0, 10);
    let none: PageBatch<7> = pool.alloc_batch();
    assert!(none.is_empty());
    let nothing: PageBatch<0> = pool.alloc_batch();
    assert!(nothing.is_empty() && nothing.is_full());
}

#[test]
fn alloc_into_adds_to_what_is_there() {
    let home = home(8);
    let mut pool = builder(&home).build().unwrap();
    let mut batch = PageBatch::<4>::new();
    let mut first = pool.alloc().unwrap();
    fill(&mut first, 77);
    batch.push(first).unwrap();
    assert_eq!(pool.alloc_into(&mut batch), 3);
    assert_eq!(pool.alloc_into(&mut batch), 0, "it is full");
    let page = pool.alloc().unwrap();
    let page = batch.push(page).expect_err("it is full");
    assert_eq!(batch.by_ref().count(), 4);
    law(&pool.stats(), 5, 4, 1);
    drop(page);
}

#[test]
fn recycle_direct_is_the_next_page_out() {
    let home = home(8);
    let mut pool = builder(&home).build().unwrap();
    let mut page = pool.alloc().unwrap();
    fill(&mut page, 5);
    pool.recycle_direct(page);
    let stats = pool.stats();
    assert_eq!((stats.recycle.cached, stats.in_cache, stats.recycle.ring), (1, 4, 0));
    check(&pool.alloc().unwrap(), 5);
}

#[test]
fn a_full_cache_sends_recycled_pages_to_the_ring() {
    let home = home(16);
    let mut pool = builder(&home).build().unwrap();
    for page in take(&mut pool, 12) {
        pool.recycle_direct(page);
    }
    let stats = pool.stats();
    assert_eq!((stats.recycle.cached, stats.recycle.cache_full, stats.recycle.ring), (8, 4, 4));
    law(&stats, 12, 12, 0);
}

#[test]
fn recycle_batch_goes_into_the_cache_as_far_as_it_fits() {
    let home = home(16);
    let mut pool = builder(&home).build().unwrap();
    let mut six: PageBatch<6> = pool.alloc_batch();
    let mut more: PageBatch<6> = pool.alloc_batch();
    pool.recycle_batch(&mut six);
    assert!(six.is_empty());
    assert_eq!((pool.stats().recycle.cached, pool.stats().recycle.ring), (6, 0));
    pool.recycle_batch(&mut more);
    assert!(more.is_empty());
    assert_eq!((pool.stats().recycle.cached, pool.stats().recycle.cache_full, pool.stats().recycle.ring), (8, 4, 4));
    law(&pool.stats(), 12, 12, 0);
}

#[test]
fn a_page_of_another_pool_goes_to_its_own() {
    let home = home(16);
    let mut ours = builder(&home).build().unwrap();
    let mut theirs = builder(&home).returners(1, 8).build().unwrap();
    let mut batch: PageBatch<4> = ours.alloc_batch();
    theirs.recycle_direct(batch.pop().unwrap());
    batch.push(theirs.alloc().unwrap()).unwrap();
    theirs.recycle_batch(&mut batch);
    theirs.handle().put(ours.alloc().unwrap());
    theirs.handle().returner().unwrap().put(ours.alloc().unwrap());
    let stats = ours.stats();
    assert_eq!((stats.recycle.ring, stats.in_use()), (6, 0));
    assert_eq!((theirs.stats().recycle.cached, theirs.stats().puts()), (1, 1));
}

#[test]
fn dropping_handle_put_and_put_batch_go_through_the_ring() {
    let home = home(16);
    let mut pool = builder(&home).build().unwrap();
    let handle = pool.handle();
    let mut batch: PageBatch<4> = pool.alloc_batch();
    let (one, two) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| handle.put(one));
        scope.spawn(|| drop(two));
        scope.spawn(|| {
            handle.put_batch(&mut batch);
            assert!(batch.is_empty());
        });
    });
    assert_eq!((pool.stats().recycle.ring, pool.stats().in_ring, handle.inflight()), (6, 6, 8));
    drop(pool.alloc_batch::<5>());
    assert_eq!((pool.stats().recycle.ring, pool.stats().in_ring), (11, 7), "one of the ring is in the cache");
}

#[test]
fn a_full_ring_gives_pages_back_to_the_provider() {
    let home = home(16);
    let mut pool = builder(&home).pool_size(3).build().unwrap();
    let mut batch: PageBatch<8> = pool.alloc_batch();
    drop(batch.pop());
    drop(batch);
    let stats = pool.stats();
    assert_eq!((stats.recycle.ring, stats.recycle.ring_full, stats.released), (3, 5, 5));
    assert_eq!(home.out(), 3);
    law(&stats, 8, 8, 0);
}

#[test]
fn try_put_takes_no_other_way_than_the_ring() {
    let home = home(16);
    let mut pool = builder(&home).pool_size(1).build().unwrap();
    let (one, mut two, three) = (pool.alloc().unwrap(), pool.alloc().unwrap(), pool.alloc().unwrap());
    assert!(one.try_put().is_ok());
    fill(&mut two, 9);
    let two = two.try_put().expect_err("the ring is full");
    check(&two, 9);
    let two = two.detach().try_put().expect_err("it is on no books");
    assert_eq!((pool.stats().in_ring, pool.stats().puts(), home.out()), (1, 1, 4));
    drop(pool);
    let three = three.try_put().expect_err("the pool is closed");
    drop((two, three));
    assert_eq!(home.out(), 0);
}

#[test]
fn a_returner_fills_its_bag_then_the_ring() {
    let home = home(32);
    let mut pool = builder(&home).cache(16).refill(16).pool_size(2).returners(2, 4).build().unwrap();
    let handle = pool.handle();
    let mut returner = handle.returner().unwrap();
    let other = handle.returner().unwrap();
    assert!(handle.returner().is_none(), "two places");
    drop(other);
    assert!(handle.returner().is_some());
    let mut seven: PageBatch<7> = pool.alloc_batch();
    returner.put(seven.pop().unwrap());
    assert_eq!((pool.stats().in_ring, pool.stats().recycle.ring), (1, 1));
    returner.put_batch(&mut seven);
    assert!(seven.is_empty());
    let stats = pool.stats();
    assert_eq!((stats.in_ring, stats.recycle.ring, stats.recycle.ring_full), (6, 6, 1), "4 in the bag, 2 in the ring");
    pool.trim(6);
    assert_eq!((pool.stats().in_ring, pool.stats().in_cache), (0, 6), "trim empties the returns before the cache");
    returner.put(pool.alloc().unwrap());
    drop(returner);
    let held = take(&mut pool, 6);
    assert_eq!(pool.stats().alloc.refill, 1, "what a dropped returner left is still the consumer's");
    law(&pool.stats(), 14, 8, 6);
    drop((pool, held));
    assert_eq!((handle.state(), home.out()), (PoolState::Closed, 0));
}

#[test]
fn a_refill_asks_each_returner_in_turn() {
    let home = home(32);
    let mut pool = builder(&home).cache(8).refill(2).returners(2, 4).build().unwrap();
    let mut returners = [pool.handle().returner().unwrap(), pool.handle().returner().unwrap()];
    let pages = take(&mut pool, 8);
    let firsts: Vec<_> = pages.iter().map(|page| page.as_ptr()).collect();
    for (index, page) in pages.into_iter().enumerate() {
        returners[index / 4].put(page);
    }
    let refills = [take(&mut pool, 2), take(&mut pool, 2)];
    let bags: Vec<_> = refills.iter().flatten().map(|page| firsts.iter().position(|at| *at == page.as_ptr())).collect();
    assert!(bags[..2].iter().all(|at| at.unwrap() < 4) != bags[2..].iter().all(|at| at.unwrap() < 4), "{bags:?}");
}

#[test]
fn a_batch_fills_one_bag_after_the_other_then_the_ring() {
    let home = home(32);
    for (bags, in_ring, ring_full) in [(0, 4, 16), (1, 12, 8), (2, 20, 0)] {
        let mut pool = builder(&home).pool_size(4).cache(8).refill(4).batch_bags(bags, 8).build().unwrap();
        let batch: PageBatch<20> = pool.alloc_batch();
        assert_eq!(batch.len(), 20);
        std::thread::spawn(move || drop(batch)).join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.in_ring, stats.recycle.ring_full), (in_ring, ring_full), "{bags} bags");
        let again = take(&mut pool, in_ring);
        let addresses: std::collections::HashSet<_> = again.iter().map(|page| page.as_ptr()).collect();
        assert_eq!(
            (addresses.len(), pool.stats().in_ring),
            (in_ring, 0),
            "each once, and before the provider is asked"
        );
        assert_eq!(pool.stats().provider_calls, 5);
    }
}

#[test]
fn a_refill_asks_each_bag_of_batches_in_turn() {
    let home = home(32);
    let mut pool = builder(&home).pool_size(4).cache(9).refill(4).batch_bags(2, 8).build().unwrap();
    let batches: [PageBatch<9>; 2] = [pool.alloc_batch(), pool.alloc_batch()];
    let firsts: Vec<_> = batches[0].as_slice().iter().map(|page| page.as_ptr()).collect();
    // What refills brought too much.
    let cached = pool.stats().in_cache;
    let rest = take(&mut pool, cached);
    batches.into_iter().for_each(drop);
    let refills = [take(&mut pool, 4), take(&mut pool, 4)];
    let of_first = refills.map(|pages| pages.iter().filter(|page| firsts.contains(&page.as_ptr())).count());
    assert!(of_first == [4, 0] || of_first == [0, 4], "{of_first:?}");
    drop(rest);
}

#[test]
fn high_order_pages_come_one_by_one_and_recycle() {
    let home = Home::new(Depot::new(Shape { max_order: 3, ..Shape::plain(4096, 24) }));
    let mut pool = builder(&home).order(3).build().unwrap();
    assert_eq!((pool.page_bytes(), pool.handle().page_bytes()), (32768, 32768));
    let mut page = pool.alloc().unwrap();
    fill(&mut page, 3);
    assert_eq!((page.len(), page.descriptor().order(), home.out()), (32768, 3, 8));
    pool.recycle_direct(page);
    let page = pool.alloc().unwrap();
    check(&page, 3);
    let more: PageBatch<4> = pool.alloc_batch();
    assert_eq!(more.len(), 2, "24 units are 3 of these");
    let stats = pool.stats();
    assert_eq!((stats.alloc.slow_high_order, stats.alloc.fast, stats.alloc.slow), (3, 1, 0));
    law(&stats, 4, 1, 3);
    drop((pool, page, more));
    assert_eq!(home.out(), 0);
}

#[test]
fn pages_from_the_reserve_never_recycle() {
    let home = Home::new(Depot::<Host>::new(Shape { reserve: 1, ..Shape::plain(4096, 4) }));
    let mut pool = builder(&home).returners(1, 4).build().unwrap();
    let mut pages = take(&mut pool, 4);
    let reserve = |pages: &mut Vec<pp_core::Page>| {
        let at =
            pages.iter().position(|page| page.descriptor().recycling() == Recycling::Never).expect("the last unit");
        pages.swap_remove(at)
    };
    pool.recycle_direct(reserve(&mut pages));
    assert_eq!((pool.stats().recycle.released_refcnt, home.out()), (1, 3), "straight home, so that the reserve fills");
    pages.push(pool.alloc().unwrap());
    drop(reserve(&mut pages));
    pages.push(pool.alloc().unwrap());
    pool.handle().returner().unwrap().put(reserve(&mut pages));
    pages.push(pool.alloc().unwrap());
    let last = reserve(&mut pages).try_put().expect_err("it may not go round");
    let mut batch = PageBatch::<4>::new();
    batch.push(last).unwrap();
    batch.push(pages.pop().unwrap()).unwrap();
    pool.recycle_batch(&mut batch);
    let stats = pool.stats();
    assert_eq!((stats.recycle.released_refcnt, stats.recycle.cached, stats.in_use()), (4, 1, 2));
    law(&stats, 7, 5, 2);
}

#[test]
fn trim_gives_idle_pages_back_until_so_many_are_left() {
    let home = home(32);
    let mut pool = builder(&home).build().unwrap();
    let pages = take(&mut pool, 13);
    drop(pages);
    let before = pool.stats();
    assert_eq!((before.in_cache, before.in_ring), (3, 13));
    assert_eq!(pool.trim(10), 6);
    assert_eq!((pool.stats().in_cache, pool.stats().in_ring, home.out()), (3, 7, 10));
    assert_eq!(pool.trim(10), 0);
    assert_eq!(pool.trim(1), 9);
    assert_eq!((pool.stats().in_cache, pool.stats().in_ring, home.out()), (1, 0, 1));
    assert_eq!(pool.trim(0), 1);
    assert_eq!((pool.stats().inflight(), home.out()), (0, 0));
    law(&pool.stats(), 13, 13, 0);
}

#[test]
fn trim_begins_with_the_page_that_lay_longest() {
    let home = home(8);
    let mut pool = builder(&home).build().unwrap();
    let mut pages = take(&mut pool, 4);
    for (tag, page) in pages.iter_mut().enumerate() {
        fill(page, tag as u64);
    }
    pages.into_iter().for_each(|page| pool.recycle_direct(page));
    assert_eq!(pool.trim(2), 2);
    check(&pool.alloc().unwrap(), 3);
    check(&pool.alloc().unwrap(), 2);
}

#[test]
fn update_nid_empties_the_cache_only() {
    let home = home(16);
    let mut pool = builder(&home).build().unwrap();
    drop(take(&mut pool, 2));
    pool.update_nid(NodePolicy::Any);
    assert_eq!((pool.stats().in_cache, pool.stats().in_ring, home.out()), (0, 2, 2));
    law(&pool.stats(), 2, 2, 0);
}

#[test]
fn every_page_in_the_ring_is_found_wherever_racing_threads_put_it() {
    const UNITS: usize = 96;
    let home = home(UNITS);
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(8).pool_size(UNITS).build().unwrap();
    for round in 0..2_000 {
        let pages = take(&mut pool, UNITS);
        assert_eq!(home.out(), UNITS, "the provider has none left, so the ring must give all of them in round {round}");
        let mut pages = pages.into_iter();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let some: Vec<_> = pages.by_ref().take(UNITS / 4).collect();
                scope.spawn(move || some.into_iter().for_each(drop));
            }
        });
        assert_eq!(pool.stats().in_ring + pool.stats().in_cache, home.out(), "what found the ring full went home");
    }
}

#[test]
fn a_batch_is_sorted_by_pool_whatever_is_in_it() {
    let home = Home::new(Depot::<Host>::new(Shape { reserve: 1, ..Shape::plain(4096, 12) }));
    let mut pools = [(); 3].map(|()| PagePool::builder(home.clone()).refill(3).build().unwrap());
    let mut batch = PageBatch::<16>::new();
    assert_eq!(batch.sort_by_pool(), 0);
    for turn in 0..9 {
        batch.push(pools[turn % 3].alloc().unwrap()).unwrap();
    }
    for _ in 0..3 {
        let page = pools[0].alloc().unwrap();
        let reserve = page.descriptor().recycling() == Recycling::Never;
        batch.push(if reserve { page } else { page.detach() }).unwrap();
    }
    assert_eq!(
        (batch.sort_by_pool(), batch.len()),
        (3, 12),
        "neither the detached pages nor the reserve are published"
    );
    assert_eq!(batch.sort_by_pool(), 3);
    drop(batch);
    for pool in &pools {
        assert_eq!((pool.stats().in_ring, pool.stats().in_use()), (3, 0), "{}", pool.stats());
    }
}
