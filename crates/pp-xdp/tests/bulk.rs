//! Frames returned by the sixteen: each page into its own pool, each pool's together.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use common::{Hoard, Store, frame, queue};
use pp_core::{Device, Home, PagePool};
use pp_xdp::{BULK_FRAMES, FrameBulk, Memory, Order0Pages, PoolFrags, Registry, RxqInfo, SplitPages, XdpFrame};

/// Pools on providers of their own, so that what comes home tells whose it was.
struct Three {
    homes: [Home<Store>; 3],
    pools: Vec<PagePool>,
    queues: Vec<RxqInfo>,
}

impl Three {
    fn new() -> Self {
        let registry = Registry::new();
        let homes = [(); 3].map(|()| Home::new(Store::host(4096, 64)));
        let pools: Vec<_> = homes.iter().map(|home| PagePool::builder(home.clone()).build().unwrap()).collect();
        let queues = pools.iter().map(|pool| queue(&registry, pool)).collect();
        Three { homes, pools, queues }
    }

    /// Frames of all three, one of each in turn.
    fn interleaved(&mut self, frames: usize) -> Vec<XdpFrame> {
        (0..frames).map(|turn| frame(&self.queues[turn % 3], &mut self.pools[turn % 3], 60, turn as u8)).collect()
    }
}

#[test]
fn three_pools_get_their_own_pages_with_one_publication_each() {
    let mut three = Three::new();
    let mut bulk = FrameBulk::new();
    for sent in three.interleaved(15) {
        bulk.push(sent);
    }
    assert_eq!((bulk.len(), bulk.is_empty()), (15, false));
    assert!(three.pools.iter().all(|pool| pool.stats().in_ring == 0), "they wait");
    assert_eq!(bulk.flush(), 3);
    for pool in &three.pools {
        assert_eq!((pool.stats().recycle.ring, pool.stats().in_use()), (5, 0));
    }
    assert_eq!((bulk.flush(), bulk.len()), (0, 0));
}

/// What a publication is, seen from outside: a closed pool turns each one away as a whole, and its pages go home in one call.
#[test]
fn a_flush_is_one_call_a_pool() {
    let mut three = Three::new();
    let mut bulk = FrameBulk::new();
    let frames = three.interleaved(15);
    three.pools.clear();
    three.homes.iter().for_each(|home| drop(home.releases()));
    frames.into_iter().for_each(|sent| bulk.push(sent));
    bulk.flush();
    for home in &three.homes {
        assert_eq!((home.releases(), home.out()), (vec![5], 0));
    }

    // The same pages, put one after the other as they come: what sorting saves.
    let mut three = Three::new();
    let frames = three.interleaved(15);
    three.pools.clear();
    three.homes.iter().for_each(|home| drop(home.releases()));
    drop(frames);
    assert_eq!(three.homes[0].releases(), [1; 5]);
}

#[test]
fn the_seventeenth_flushes_the_sixteen_before_it() {
    let mut three = Three::new();
    let mut bulk = FrameBulk::new();
    for (number, sent) in three.interleaved(BULK_FRAMES * 2 + 1).into_iter().enumerate() {
        bulk.push(sent);
        assert_eq!(bulk.len(), number % BULK_FRAMES + 1);
    }
    let put = |three: &Three| three.pools.iter().map(|pool| pool.stats().recycle.ring).sum::<usize>();
    assert_eq!(put(&three), 32);
    drop(bulk);
    assert_eq!(put(&three), 33, "dropping flushes");
}

#[test]
fn frames_of_every_kind_go_together() {
    let registry = Registry::new();
    let home = Home::new(Store::host(4096, 256));
    let far = Home::new(Store::device(4096, 64));
    let build = || PagePool::builder(home.clone()).refill(16).build().unwrap();
    let mut pool = build();
    let mut frags = PoolFrags::new(build(), 1024).unwrap();
    let mut order0 = Order0Pages::new(home.clone(), 16).unwrap();
    let mut split = SplitPages::new(home.clone(), 2048, 8).unwrap();
    let mut hoard = Hoard::new(home.clone());
    let mut device: PagePool<Device> = PagePool::builder(far.clone()).build().unwrap();
    let queues = [
        queue(&registry, &pool),
        queue(&registry, &frags),
        queue(&registry, &order0),
        queue(&registry, &split),
        queue(&registry, &hoard),
        queue(&registry, &device),
    ];
    let mut bulk = FrameBulk::new();
    let mut in_fragments = Vec::new();
    for round in 0..4 {
        // Several buffers a packet: a page, and a page more.
        let mut buff = queues[0].prepare(pool.alloc().unwrap(), 256, 100).unwrap();
        buff.add_frag(pool.alloc().unwrap(), 0, 4096).unwrap();
        bulk.push(buff.into_frame().unwrap());
        let mut buff = queues[1].prepare(frags.alloc().unwrap(), 0, 1024).unwrap();
        for _ in 0..3 {
            buff.add_frag(frags.alloc().unwrap(), 0, 1024).unwrap();
        }
        assert_eq!((buff.len(), buff.frags().len()), (4096, 1), "neighbours became one");
        in_fragments.push(buff.into_frame().unwrap());
        bulk.push(frame(&queues[2], &mut order0, 60, round));
        bulk.push(frame(&queues[3], &mut split, 60, round));
        bulk.push(frame(&queues[4], &mut hoard, 60, round));
        bulk.push(frame(&queues[5], &mut device, 60, round));
    }
    assert_eq!(hoard.shelved(), 1, "what is of no pool is back at once, so the next round had it again");
    // Of the pages that are split three are done with, and come with their last reference.
    in_fragments.into_iter().for_each(|sent| bulk.push(sent));
    assert_eq!(bulk.len(), 8 + 4 + 3);
    assert_eq!(bulk.flush(), 1 + 1 + 1);
    assert_eq!((pool.stats().in_use(), device.stats().in_use(), frags.pool().stats().in_use()), (0, 0, 1));
    drop((queues, pool, frags, order0, split, hoard, device));
    assert_eq!((home.out(), far.out()), (0, 0));
}
