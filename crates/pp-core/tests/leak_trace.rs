//! Feature `leak-trace`: a page that nobody gives back shows by file, line and age.
#![cfg(all(feature = "leak-trace", not(any(loom, shuttle))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::thread;
use std::time::Duration;

use common::{Depot, Shape};
use pp_core::{Held, Home, PageBatch, PagePool};

fn pool(units: usize) -> PagePool {
    let home: Home<Depot> = Home::new(Depot::new(Shape { max_order: 1, ..Shape::plain(4096, units) }));
    PagePool::builder(home).cache(8).refill(4).pool_size(2).returners(1, 2).build().unwrap()
}

fn lines(held: &[Held]) -> Vec<(u32, usize)> {
    assert!(held.iter().all(|held| held.site.file().ends_with("leak_trace.rs")), "{held:?}");
    let mut lines: Vec<_> = held.iter().map(|held| (held.site.line(), held.pages)).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_forgotten_page_shows_by_file_line_and_age() {
    let mut pool = pool(8);
    let handle = pool.handle();
    let (page, line) = (pool.alloc().unwrap(), line!());
    let returned = pool.alloc().unwrap();
    thread::sleep(Duration::from_millis(20));
    std::mem::forget(page);
    drop(returned);
    let held = handle.who_holds();
    assert_eq!((lines(&held), pool.stats().in_use()), (vec![(line, 1)], 1));
    assert!(held[0].oldest >= Duration::from_millis(20) && held[0].oldest < Duration::from_secs(60));
    let text = held[0].to_string();
    assert!(text.starts_with("1 pages from ") && text.contains(&format!("leak_trace.rs:{line}:")), "{text}");
    drop(pool);
    assert_eq!(lines(&handle.who_holds()), [(line, 1)], "also when it is what a shutdown waits for");
}

#[test]
fn every_way_out_is_noted_and_every_way_back_is() {
    let mut pool = pool(32);
    let handle = pool.handle();
    let mut returner = handle.returner().unwrap();
    let (one, first) = (pool.alloc().unwrap(), line!());
    let (mut batch, second): (PageBatch<4>, u32) = (pool.alloc_batch(), line!());
    let mut more = PageBatch::<9>::new();
    let third = line!() + 1;
    pool.alloc_into(&mut more);
    assert_eq!(lines(&handle.who_holds()), [(first, 1), (second, 4), (third, 9)]);
    assert_eq!(handle.who_holds()[0].site.line(), first, "oldest first");

    pool.recycle_direct(one);
    drop(batch.pop());
    returner.put(batch.pop().unwrap());
    pool.recycle_batch(&mut batch);
    assert_eq!(lines(&handle.who_holds()), [(third, 9)]);
    more.pop().unwrap().try_put().unwrap();
    let refused = more.pop().unwrap().try_put().expect_err("the ring is full");
    assert_eq!(lines(&handle.who_holds()), [(third, 8)], "a refused page is still out");
    drop(refused.detach());
    let shared = more.pop().unwrap().share();
    let other = shared.clone();
    shared.release();
    assert_eq!(lines(&handle.who_holds()), [(third, 6)], "what is off the books is not the pool's to look for");
    drop(other);
    returner.put_batch(&mut more);
    assert_eq!(lines(&handle.who_holds()), []);
    assert_eq!(pool.stats().in_use(), 0);
}

#[test]
fn pages_of_another_pool_are_found_in_their_own() {
    let (mut ours, mut theirs) = (pool(8), pool(8));
    let (page, line) = (ours.alloc().unwrap(), line!());
    let other = ours.alloc().unwrap();
    theirs.recycle_direct(other);
    let mut batch = PageBatch::<2>::new();
    batch.push(ours.alloc().unwrap()).unwrap();
    batch.push(theirs.alloc().unwrap()).unwrap();
    theirs.recycle_batch(&mut batch);
    assert_eq!((lines(&ours.handle().who_holds()), theirs.handle().who_holds().len()), (vec![(line, 1)], 0));
    drop(page);
    assert!(ours.handle().who_holds().is_empty());
}

#[test]
fn high_order_pages_are_traced_too() {
    let home: Home<Depot> = Home::new(Depot::new(Shape { max_order: 1, ..Shape::plain(4096, 8) }));
    let mut pool = PagePool::builder(home).order(1).build().unwrap();
    let (page, first) = (pool.alloc().unwrap(), line!());
    let (batch, second): (PageBatch<2>, u32) = (pool.alloc_batch(), line!());
    assert_eq!(lines(&pool.handle().who_holds()), [(first, 1), (second, 2)]);
    drop((page, batch));
    assert!(pool.handle().who_holds().is_empty());
}
