//! A pool on a buddy: what the two promise each other.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use common::*;
use pp_core::{Exposed, Home, NodeId, Page, PagePool, Recycling};
use pp_provider_buddy::{Buddy, BuddyBuilder};

/// `units` of 4 KiB in one block if their number allows.
fn with(builder: BuddyBuilder, units: usize) -> BuddyBuilder {
    let bytes = units * 4096;
    // SAFETY: nobody else knows the memory.
    unsafe { builder.exclusive_memory(Heap::new(bytes, bytes.next_power_of_two(), 0)) }
}

fn alloc_until_empty(pool: &mut PagePool) -> Vec<Page> {
    std::iter::from_fn(|| pool.alloc().ok()).collect()
}

#[test]
fn pages_come_from_the_buddy_and_all_go_home() {
    let buddy = with(Buddy::builder(), 256).build().unwrap();
    let before = buddy.buddyinfo();
    let mut pool = PagePool::builder(&buddy).build().unwrap();
    let mut pages = alloc_until_empty(&mut pool);
    assert_eq!((pages.len(), buddy.free_units()), (256, 0));
    for (n, page) in pages.iter_mut().enumerate() {
        page.fill(n as u8);
    }
    assert!(pages.iter().enumerate().all(|(n, page)| page.iter().all(|byte| *byte == n as u8)));
    let rest = pages.split_off(100);
    std::thread::scope(|scope| scope.spawn(|| drop(rest)).join().unwrap());
    drop(pool);
    assert_eq!(pages.len(), 100);
    assert!(pages.iter().all(|page| page.len() == 4096), "pages outlive their pool");
    drop(pages);
    assert_eq!((buddy.buddyinfo(), buddy.stray_releases()), (before, 0));
}

#[test]
fn steady_state_leaves_the_buddy_alone() {
    let buddy = with(Buddy::builder(), 256).build().unwrap();
    let mut pool = PagePool::builder(&buddy).build().unwrap();
    let index = {
        drop(pool.alloc().unwrap());
        (buddy.fragmentation_index(), buddy.buddyinfo())
    };
    for _ in 0..1000 {
        let pages: Vec<_> = (0..32).map(|_| pool.alloc().unwrap()).collect();
        pages.into_iter().for_each(|page| pool.recycle_direct(page));
    }
    assert_eq!((buddy.fragmentation_index(), buddy.buddyinfo()), index);
}

#[test]
fn pages_from_the_reserve_go_home_and_never_round() {
    let buddy = with(Buddy::builder().reserve_units(4), 16).build().unwrap();
    let mut pool = PagePool::builder(&buddy).build().unwrap();
    let pages = alloc_until_empty(&mut pool);
    assert_eq!(pages.len(), 16);
    let (reserve, ordinary): (Vec<_>, Vec<_>) =
        pages.into_iter().partition(|page| page.descriptor().recycling() == Recycling::Never);
    assert_eq!((reserve.len(), ordinary.len()), (4, 12));
    for (n, page) in reserve.into_iter().enumerate() {
        match n % 2 {
            0 => pool.recycle_direct(page),
            _ => drop(page),
        }
        assert_eq!(buddy.free_units(), n + 1, "home at once");
    }
    ordinary.into_iter().for_each(|page| pool.recycle_direct(page));
    assert_eq!((buddy.free_units(), pool.stats().in_cache), (4, 12), "the others stay in the pool");
}

#[test]
fn two_pools_of_two_orders_share_one_buddy() {
    let buddy = with(Buddy::builder().node(NodeId(0)), 64).build().unwrap();
    let mut small = PagePool::builder(&buddy).name("small").cache(4).refill(2).build().unwrap();
    let mut large = PagePool::builder(&buddy).name("large").order(3).cache(4).refill(2).build().unwrap();
    let (page, block) = (small.alloc().unwrap(), large.alloc().unwrap());
    assert_eq!((page.len(), block.len()), (4096, 32768));
    assert!(block.as_ptr().addr().is_multiple_of(32768));
    assert_eq!((small.provider().name, large.page_bytes()), ("buddy", 32768));
    drop((page, small));
    drop((large, block));
    assert_eq!((buddy.free_units(), buddy.free_blocks(6)), (64, 1));
    assert!(PagePool::builder(&buddy).order(7).build().is_err(), "a block larger than any there is");
}

#[test]
fn the_last_page_keeps_the_memory() {
    let home: Home<_> = with(Buddy::builder(), 8).build().unwrap().into();
    let mut pool = PagePool::builder(home).build().unwrap();
    let page = pool.alloc().unwrap();
    let mut detached = pool.alloc().unwrap().detach();
    drop(pool);
    drop(page);
    detached.fill(7); // an address sanitizer would see the memory freed
    assert_eq!(detached[4095], 7);
}

#[test]
fn exposed_memory_makes_pools_of_exposed_pages() {
    let buddy = Buddy::builder().memory(Heap::new(32 << 10, 32 << 10, 0)).build().unwrap();
    let mut pool: PagePool<Exposed> = PagePool::builder(&buddy).build().unwrap();
    let mut page = pool.alloc().unwrap();
    page.copy_from(10, b"bytes").unwrap();
    let mut out = [0; 5];
    page.copy_to(10, &mut out).unwrap();
    assert_eq!(&out, b"bytes");
}
