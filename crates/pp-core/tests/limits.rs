//! Limits, watermarks, nodes: what bounds and steers the slow path.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::{Arc, Mutex};

use common::{Depot, Give, Shape, law, take};
use pp_core::{
    AllocError, Crossing, Home, MemoryProvider, NodeId, NodePolicy, PageBatch, PagePool, Pressure, ProvideError,
};

fn home(units: usize) -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, units)))
}

#[test]
fn the_limit_bounds_units_out_of_the_provider() {
    let home = home(32);
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(4).limit(6).build().unwrap();
    let mut pages = take(&mut pool, 6);
    assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached);
    assert_eq!((pool.stats().limit_hits, home.out(), pool.handle().limit()), (1, 6, Some(6)));
    // Off the books is still out of the provider.
    let stray = pages.pop().unwrap().detach();
    let shared = pages.pop().unwrap().share();
    let other = shared.clone();
    shared.release();
    assert_eq!((pool.stats().inflight(), pool.stats().outstanding()), (4, 6));
    assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached);
    drop(stray);
    pages.push(pool.alloc().expect("one came home"));
    assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached);
    drop(other);
    pages.push(pool.alloc().expect("another did"));
    assert_eq!(home.out(), 6);
    drop(pages);
    assert_eq!(take(&mut pool, 6).len(), 6, "it recovers");
    assert_eq!(pool.stats().limit_hits, 3);
}

#[test]
fn a_limit_inside_a_refill_cuts_it() {
    let home = home(32);
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(8).limit(5).build().unwrap();
    let batch: PageBatch<8> = pool.alloc_batch();
    assert_eq!((batch.len(), home.out(), pool.last_error()), (5, 5, AllocError::LimitReached));
}

#[test]
fn set_limit_counts_from_the_next_time_the_provider_is_asked() {
    let home = home(32);
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(1).build().unwrap();
    let handle = pool.handle();
    assert_eq!(handle.limit(), None);
    let pages = take(&mut pool, 5);
    handle.set_limit(Some(3));
    assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached, "what is out stays out");
    drop(pages);
    assert_eq!(take(&mut pool, 5).len(), 5, "the ring has no limit");
    handle.set_limit(None);
    assert_eq!((take(&mut pool, 6).len(), handle.limit()), (6, None));
}

#[test]
fn the_watermark_speaks_before_the_limit_and_again_after() {
    let home = home(32);
    let heard: Arc<Mutex<Vec<Pressure>>> = Arc::default();
    let log = heard.clone();
    let builder = PagePool::builder(home.clone()).cache(4).refill(1).limit(6);
    let mut pool = builder.watermark(3, move |pressure| log.lock().unwrap().push(*pressure)).build().unwrap();
    let mut kept = take(&mut pool, 3);
    assert!(heard.lock().unwrap().is_empty(), "at the watermark is not above it");
    kept.push(pool.alloc().unwrap());
    {
        let heard = heard.lock().unwrap();
        let pressure = heard.last().expect("a word before the limit");
        assert_eq!((pressure.crossing, pressure.outstanding), (Crossing::Rising, 4));
        assert_eq!((pressure.watermark, pressure.limit, heard.len()), (3, Some(6), 1));
    }
    kept.extend(take(&mut pool, 2));
    assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached);
    assert_eq!(heard.lock().unwrap().len(), 1, "once a crossing");
    kept.into_iter().for_each(|page| drop(page.detach()));
    assert_eq!(heard.lock().unwrap().len(), 1, "the falling edge waits for a refill");
    let _page = pool.alloc().unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!((heard.len(), heard[1].crossing, heard[1].outstanding), (2, Crossing::Falling, 1));
}

#[test]
fn a_watermark_callback_that_panics_loses_no_page() {
    for order in [0, 2] {
        let home: Home<Depot> = Home::new(Depot::new(Shape { max_order: 2, ..Shape::plain(4096, 32) }));
        let builder = PagePool::builder(home.clone()).order(order).cache(4).refill(2);
        let mut pool = builder.watermark(0, |_| panic!("a watermark callback that panics")).build().unwrap();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(pool.alloc())));
        assert!(panic.is_err());
        assert_eq!(pool.stats().in_use(), 0, "order {order}: nobody was given a page");
        drop(pool.alloc().expect("the pool goes on"));
        drop(pool);
        assert_eq!(home.out(), 0, "order {order}");
    }
}

fn two_nodes() -> Home<Depot> {
    Home::new(Depot::new(Shape { nodes: 2, ..Shape::plain(4096, 16) }))
}

#[test]
fn pages_come_from_the_preferred_node_while_it_has_some() {
    let home = two_nodes();
    let mut pool = PagePool::builder(home.clone()).cache(32).refill(1).node(NodePolicy::On(NodeId(1))).build().unwrap();
    let pages = take(&mut pool, 20);
    assert!(pages[..16].iter().all(|page| page.node() == NodeId(1)));
    assert!(pages[16..].iter().all(|page| page.node() == NodeId(0)), "then from where there are some");
}

#[test]
fn update_nid_flushes_the_cache_and_refills_waive_one_page_at_a_time() {
    let home: Home<Depot> = Home::new(Depot::new(Shape { nodes: 2, ..Shape::plain(4096, 64) }));
    let mut pool = PagePool::builder(home.clone()).cache(16).refill(8).node(NodePolicy::On(NodeId(0))).build().unwrap();
    drop(take(&mut pool, 6));
    assert_eq!((pool.stats().in_ring, pool.stats().in_cache), (6, 2));
    pool.update_nid(NodePolicy::On(NodeId(1)));
    assert_eq!((pool.stats().in_ring, pool.stats().in_cache, home.out()), (6, 0, 6), "the ring is looked at later");
    let page = pool.alloc().unwrap();
    let stats = pool.stats();
    assert_eq!((page.node(), stats.alloc.waive, stats.alloc.slow), (NodeId(1), 1, 2), "one waived, then the provider");
    assert_eq!((stats.in_ring, home.out()), (5, 5 + 8));
    law(&stats, 7, 6, 1);
    drop(take(&mut pool, 7));
    for waived in 2..=6 {
        pool.update_nid(NodePolicy::On(NodeId(1)));
        assert_eq!(pool.alloc().unwrap().node(), NodeId(1));
        assert_eq!(pool.stats().alloc.waive, waived, "one a refill");
    }
    pool.update_nid(NodePolicy::On(NodeId(1)));
    assert_eq!((pool.alloc().unwrap().node(), pool.stats().alloc.waive), (NodeId(1), 6), "those that match stay");
}

#[test]
fn the_local_policy_asks_at_every_refill() {
    use std::sync::atomic::{AtomicU16, Ordering};
    static HERE: AtomicU16 = AtomicU16::new(1);
    let home = two_nodes();
    let local = NodePolicy::Local(|| NodeId(HERE.load(Ordering::Relaxed)));
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(1).node(local).build().unwrap();
    assert_eq!(pool.alloc().unwrap().node(), NodeId(1));
    HERE.store(0, Ordering::Relaxed);
    assert_eq!((pool.alloc().unwrap().node(), pool.stats().alloc.waive), (NodeId(0), 1));
}

#[test]
fn a_pool_that_prefers_no_node_waives_nothing() {
    let home = two_nodes();
    let mut pool = PagePool::builder(home.clone()).cache(32).refill(32).build().unwrap();
    drop(take(&mut pool, 32));
    drop(take(&mut pool, 32));
    assert_eq!((pool.stats().alloc.waive, pool.stats().alloc.refill), (0, 1));
}

#[test]
fn a_provider_that_gives_less_or_nothing_is_normal() {
    let home = home(32);
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(8).build().unwrap();
    home.plan(|call| match call {
        1 => Give::AtMost(3),
        2 => Give::Fail(ProvideError::OutOfMemory),
        _ => Give::All,
    });
    let batch: PageBatch<8> = pool.alloc_batch();
    assert_eq!((batch.len(), pool.last_error()), (3, AllocError::OutOfMemory));
    assert_eq!((pool.stats().provider_calls, pool.stats().provider_failures), (2, 1));
    assert_eq!(pool.alloc_batch::<8>().len(), 8);
    home.device_lost();
    pool.trim(0);
    assert_eq!(pool.alloc().unwrap_err(), AllocError::DeviceLost);
    drop(batch);
    assert!(pool.alloc().is_ok(), "what is in the ring is still good");
    pool.trim(0);
    assert_eq!(home.out(), 0, "a lost device still takes its units back");
}

#[test]
fn a_refill_waives_one_page_however_many_places_it_looks_into() {
    let home: Home<Depot> = Home::new(Depot::new(Shape { nodes: 2, ..Shape::plain(4096, 64) }));
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(8).returners(2, 4).build().unwrap();
    pool.update_nid(NodePolicy::On(NodeId(0)));
    let mut pages: Vec<_> = std::iter::from_fn(|| pool.alloc().ok()).take(8).collect();
    assert!(pages.iter().all(|page| page.node() == NodeId(0)));
    let handle = pool.handle();
    let mut returners = [handle.returner().unwrap(), handle.returner().unwrap()];
    for returner in &mut returners {
        returner.put(pages.pop().unwrap());
    }
    drop(pages);
    pool.update_nid(NodePolicy::On(NodeId(1)));
    let page = pool.alloc().unwrap();
    let stats = pool.stats();
    assert_eq!((stats.alloc.waive, page.node()), (1, NodeId(1)), "{stats:?}");
}
