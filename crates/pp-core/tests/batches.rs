//! What a batch knows of its pages: a batch that one pool filled is put without a look at them, and nothing else may be.

#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use pp_core::doc::Heap;
use pp_core::{Home, Page, PageBatch, PagePool, Returner};

/// Two pools with their own memory, and a Returner of the first.
fn two_pools() -> (PagePool, PagePool, Returner) {
    let pool =
        || PagePool::builder(Home::new(Heap::new(4096, 64))).cache(64).refill(8).returners(1, 64).build().unwrap();
    let (one, other) = (pool(), pool());
    let returner = one.handle().returner().unwrap();
    (one, other, returner)
}

/// Every way of giving all of a batch to the first pool.
const WAYS: [fn(&mut PagePool, &mut Returner, &mut PageBatch<8>); 4] = [
    |pool, _, batch| pool.recycle_batch(batch),
    |_, returner, batch| returner.put_batch(batch),
    |_, returner, batch| returner.put_all(batch.drain()),
    |pool, _, batch| pool.handle().put_batch(batch),
];

/// Gives what `make` made to the first pool in every way, and says that `mine` of the pages were its own and `foreign` the other's.
fn each_goes_to_its_own(mine: usize, foreign: usize, make: fn(&mut PagePool, &mut PagePool) -> PageBatch<8>) {
    for way in WAYS {
        let (mut one, mut other, mut returner) = two_pools();
        let mut batch = make(&mut one, &mut other);
        let before = [&one, &other].map(|pool| pool.stats().in_use());
        assert_eq!(before, [mine, foreign]);
        way(&mut one, &mut returner, &mut batch);
        assert!(batch.is_empty());
        assert_eq!([&one, &other].map(|pool| pool.stats().in_use()), [0, 0]);
        assert_eq!(other.stats().in_ring, foreign, "a page of another pool takes the shared path of its own");
        // Whoever kept a page that is not theirs would hand it out, and find out at the end.
        let all: Vec<Page> = std::iter::from_fn(|| one.alloc().ok()).collect();
        assert_eq!(all.len(), 64);
        drop((all, one, returner));
        let all: Vec<Page> = std::iter::from_fn(|| other.alloc().ok()).collect();
        assert_eq!(all.len(), 64);
    }
}

#[test]
fn filled_by_one_pool() {
    each_goes_to_its_own(8, 0, |one, _| one.alloc_batch());
    each_goes_to_its_own(0, 8, |_, other| other.alloc_batch());
}

#[test]
fn with_a_page_pushed_into_it() {
    each_goes_to_its_own(7, 1, |one, other| {
        let mut batch: PageBatch<8> = one.alloc_batch();
        one.recycle_direct(batch.pop().unwrap());
        batch.push(other.alloc().unwrap()).unwrap();
        batch
    });
    each_goes_to_its_own(1, 7, |one, other| {
        let mut batch: PageBatch<8> = one.alloc_batch();
        while batch.len() > 1 {
            one.recycle_direct(batch.pop().unwrap());
        }
        while !batch.is_full() {
            batch.push(other.alloc().unwrap()).unwrap();
        }
        batch
    });
}

/// `first` pages of one, and the rest of the other.
fn mixed(one: &mut PagePool, other: &mut PagePool, first: usize) -> PageBatch<8> {
    let mut batch: PageBatch<8> = one.alloc_batch();
    while batch.len() > first {
        one.recycle_direct(batch.pop().unwrap());
    }
    assert_eq!(other.alloc_into(&mut batch), 8 - first);
    batch
}

#[test]
fn filled_by_two_pools() {
    each_goes_to_its_own(1, 7, |one, other| mixed(one, other, 1));
    each_goes_to_its_own(7, 1, |one, other| mixed(one, other, 7));
    each_goes_to_its_own(1, 7, |one, other| mixed(other, one, 7));
    each_goes_to_its_own(7, 1, |one, other| mixed(other, one, 1));
    // Emptied in between: nothing is left of what it knew.
    each_goes_to_its_own(0, 8, |one, other| mixed(one, other, 0));
    each_goes_to_its_own(8, 0, |one, other| mixed(other, one, 0));
}

#[test]
fn made_of_an_array() {
    each_goes_to_its_own(4, 4, |one, other| {
        PageBatch::from(std::array::from_fn(|at| if at % 2 == 0 { one.alloc() } else { other.alloc() }.unwrap()))
    });
}

#[test]
fn drained_in_order_and_looked_at() {
    let (mut pool, ..) = two_pools();
    let mut batch: PageBatch<8> = pool.alloc_batch();
    let addresses: Vec<_> = batch.as_slice().iter().map(|page| page.as_ptr()).collect();
    let drained: Vec<_> = batch.drain().map(|page| page.as_ptr()).collect();
    assert_eq!(drained, addresses);
    assert_eq!((batch.len(), batch.as_slice().len()), (0, 0));
    // A drain that is forgotten loses its pages and nothing else.
    let mut batch: PageBatch<8> = pool.alloc_batch();
    std::mem::forget(batch.drain());
    assert!(batch.is_empty());
    assert_eq!(pool.stats().in_use(), 8);
}
