//! Locks, nodes and the reserve.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use core::cell::Cell;

use common::*;
use pp_core::lock::{RawLock, SpinLock};
use pp_core::{Exposed, Host, MemoryProvider, NodeId, Recycling, RegionMemory};
use pp_provider_buddy::{Buddy, BuddyBuilder, BuddyError, DefaultLock};

thread_local! {
    static LOCKED: Cell<usize> = const { Cell::new(0) };
}

/// Counts how often this thread takes it.
#[derive(Default)]
struct CountingLock(SpinLock);

// SAFETY: exclusion is the inner lock's.
unsafe impl RawLock for CountingLock {
    fn lock(&self) {
        LOCKED.set(LOCKED.get() + 1);
        self.0.lock();
    }
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds it.
        unsafe { self.0.unlock() }
    }
}

fn locked<R>(f: impl FnOnce() -> R) -> (usize, R) {
    let before = LOCKED.get();
    let result = f();
    (LOCKED.get() - before, result)
}

/// Adds `units` of 4 KiB, aligned so that they make one block if their number allows.
fn with<L: RawLock>(builder: BuddyBuilder<L, Host>, units: usize) -> BuddyBuilder<L, Host> {
    let bytes = units * 4096;
    // SAFETY: nobody else knows the memory.
    unsafe { builder.exclusive_memory(Heap::new(bytes, bytes.next_power_of_two(), 0)) }
}

#[test]
fn memory_of_any_kind_counts_as_written_by_others() {
    let heap = Heap::new(32 << 10, 32 << 10, 0);
    let base = heap.base();
    let buddy: Buddy<DefaultLock, Exposed> = Buddy::builder().memory(heap).build().unwrap();
    assert_eq!((buddy.total_units(), buddy.regions()[0].base()), (8, base));
}

#[test]
fn bulk_takes_the_lock_once() {
    let buddy = with(Buddy::builder().lock::<CountingLock>(), 256).build().unwrap();
    let (locks, units) = locked(|| alloc(&*buddy, 0, 64));
    assert_eq!((locks, units.len()), (1, 64));
    let (locks, ()) = locked(|| release_bulk(&*buddy, units));
    assert_eq!(locks, 1);
    let units = alloc(&*buddy, 0, 256);
    let (locks, ()) = locked(|| release_bulk(&*buddy, units));
    assert_eq!(locks, 1, "one zone: however many units");
}

#[test]
fn bulk_release_takes_each_zones_lock_once() {
    let builder = with(with(Buddy::builder().lock::<CountingLock>().node(NodeId(0)), 32).node(NodeId(1)), 32);
    let buddy = builder.build().unwrap();
    let near = alloc_on(&*buddy, 0, Some(NodeId(0)), 32);
    let far = alloc_on(&*buddy, 0, Some(NodeId(1)), 32);
    let mixed: Vec<_> = near.into_iter().zip(far).flat_map(|(near, far)| [near, far]).collect();
    assert_eq!(mixed.len(), 64);
    let (locks, ()) = locked(|| release_bulk(&*buddy, mixed));
    assert_eq!(locks, 2);
    assert_eq!(buddy.free_units(), 64);
    assert_eq!(buddy.free_blocks(5), 2, "each went home to its own zone");
    // And of one zone only that zone's.
    let far = alloc_on(&*buddy, 0, Some(NodeId(1)), 32);
    assert_eq!(locked(|| release_bulk(&*buddy, far)).0, 1);
}

#[test]
fn requests_prefer_their_node_and_fall_back() {
    let buddy = with(with(Buddy::builder().node(NodeId(0)), 8).node(NodeId(1)), 8).build().unwrap();
    assert_eq!(buddy.geometry().nodes, 2);
    let far = alloc_on(&*buddy, 0, Some(NodeId(1)), 16);
    assert_eq!(far.len(), 8, "one call stays on one node");
    assert!(far.iter().all(|unit| unit.descriptor().node() == NodeId(1)));
    let fallen_back = alloc_on(&*buddy, 0, Some(NodeId(1)), 4);
    assert_eq!(fallen_back.len(), 4);
    assert!(fallen_back.iter().all(|unit| unit.descriptor().node() == NodeId(0)));
    // A node that has no memory, and none at all.
    assert_eq!(alloc_on(&*buddy, 0, Some(NodeId(7)), 2).len(), 2);
    assert_eq!(alloc_on(&*buddy, 0, None, 8).len(), 2);
    assert!(alloc_on(&*buddy, 0, None, 1).is_empty());
    release_bulk(&*buddy, far);
    assert_eq!(buddy.buddyinfo()[1].free_units, 8);
}

#[test]
fn regions_of_a_node_share_its_zone() {
    let buddy = with(with(Buddy::builder().lock::<CountingLock>(), 8), 4).build().unwrap();
    assert_eq!((buddy.geometry().nodes, buddy.regions().len()), (1, 2));
    let (locks, units) = locked(|| alloc(&*buddy, 0, 12));
    assert_eq!((locks, units.len()), (1, 12));
    assert_eq!(locked(|| release_bulk(&*buddy, units)).0, 1);
    assert_eq!((buddy.free_blocks(3), buddy.free_blocks(2)), (1, 1));
    let one = alloc(&*buddy, 0, 1);
    assert!(buddy.regions()[0].contains(one[0].descriptor()), "the first region goes first");
    release_bulk(&*buddy, one);
}

#[test]
fn a_larger_base_unit_serves_the_orders_it_can() {
    let builder = with(Buddy::builder(), 8).unit_bytes(16 << 10);
    // SAFETY: nobody else knows the memory.
    let buddy = unsafe { builder.exclusive_memory(Heap::new(64 << 10, 64 << 10, 0)) }.build().unwrap();
    assert_eq!((buddy.geometry().unit_bytes, buddy.geometry().max_order), (4096, 4));
    assert_eq!(buddy.total_units(), 24);
    let small = alloc(&*buddy, 0, 24);
    assert_eq!(small.len(), 8, "units of 4 KiB come from the first region only");
    let large = alloc(&*buddy, 2, 24);
    assert_eq!(large.len(), 4);
    assert!(large.iter().all(|unit| span(unit).1 == 16 << 10 && unit.descriptor().order() == 2));
    assert_eq!(buddy.free_units(), 0);
    release_bulk(&*buddy, large);
    assert_eq!((buddy.free_units(), buddy.free_blocks(4)), (16, 1));
    release_bulk(&*buddy, small);
    assert_eq!(buddy.free_units(), 24);
}

#[test]
fn without_a_reserve_everything_goes_out_and_nothing_is_marked() {
    let buddy = with(Buddy::builder(), 16).build().unwrap();
    let units = alloc(&*buddy, 0, 32);
    assert_eq!(units.len(), 16);
    assert!(units.iter().all(|unit| unit.descriptor().recycling() == Recycling::Allowed));
    assert!(alloc(&*buddy, 0, 1).is_empty());
    release_bulk(&*buddy, units);
}

#[test]
fn the_reserve_is_touched_last_one_by_one_and_marked() {
    let buddy = with(Buddy::builder().reserve_units(4), 16).build().unwrap();
    let ordinary = alloc(&*buddy, 0, 64);
    assert_eq!(ordinary.len(), 12, "a bulk request stops at the mark");
    assert!(ordinary.iter().all(|unit| unit.descriptor().recycling() == Recycling::Allowed));

    let mut reserve = Vec::new();
    for left in (0..4).rev() {
        let some = alloc(&*buddy, 0, 64);
        assert_eq!((some.len(), buddy.free_units()), (1, left));
        assert!((some[0].descriptor().recycling() == Recycling::Never));
        reserve.extend(some);
    }
    assert!(alloc(&*buddy, 0, 64).is_empty());

    // Below the mark a unit that came home is of the reserve again, whoever had it; above it none is.
    let mut ordinary = ordinary;
    release_bulk(&*buddy, ordinary.split_off(11));
    let again = alloc(&*buddy, 0, 1);
    assert!((again[0].descriptor().recycling() == Recycling::Never));
    release_bulk(&*buddy, again);
    release_bulk(&*buddy, reserve);
    let again = alloc(&*buddy, 0, 64);
    assert_eq!((again.len(), (again[0].descriptor().recycling() == Recycling::Never)), (1, false));
    release_bulk(&*buddy, again);
    release_bulk(&*buddy, ordinary);
    assert_eq!((buddy.free_units(), buddy.free_blocks(4)), (16, 1));
}

#[test]
fn a_large_order_counts_against_the_mark_with_all_its_units() {
    let buddy = with(Buddy::builder().reserve_units(3), 16).build().unwrap();
    let blocks = alloc(&*buddy, 2, 64);
    assert_eq!(blocks.len(), 3, "a fourth block would leave 0 of 3");
    let last = alloc(&*buddy, 2, 64);
    assert_eq!((last.len(), (last[0].descriptor().recycling() == Recycling::Never), buddy.free_units()), (1, true, 0));
    release_bulk(&*buddy, blocks);
    release_bulk(&*buddy, last);
}

#[test]
fn every_nodes_ordinary_memory_goes_before_any_reserve() {
    let builder = with(Buddy::builder().node(NodeId(0)).reserve_units(2), 8).node(NodeId(1));
    let buddy = with(builder, 8).build().unwrap();
    let mut nodes = Vec::new();
    let mut units = Vec::new();
    loop {
        let some = alloc_on(&*buddy, 0, Some(NodeId(0)), 64);
        let Some(first) = some.first() else { break };
        nodes.push((first.descriptor().node().0, some.len(), (first.descriptor().recycling() == Recycling::Never)));
        units.extend(some);
    }
    assert_eq!(nodes, [(0, 6, false), (1, 6, false), (0, 1, true), (0, 1, true), (1, 1, true), (1, 1, true)]);
    release_bulk(&*buddy, units);
}

#[test]
fn a_reserve_that_leaves_nothing_is_refused() {
    let error = with(Buddy::builder().reserve_units(16), 16).build().unwrap_err();
    assert_eq!(error, BuddyError::Reserve { reserve_units: 16, units: 16 });
    assert!(with(Buddy::builder().reserve_units(15), 16).build().is_ok());
}

#[test]
fn threads_share_one_buddy_and_nobody_sees_anothers_bytes() {
    use std::time::{Duration, Instant};
    let buddy = with(Buddy::builder(), 96).build().unwrap();
    let before = buddy.buddyinfo();
    let end = Instant::now() + Duration::from_millis(400);
    std::thread::scope(|scope| {
        for me in 1..=4u8 {
            let buddy = buddy.clone();
            scope.spawn(move || {
                let mut round = 0usize;
                while Instant::now() < end {
                    round += 1;
                    let order = (round % 3) as u8;
                    let units = alloc(&*buddy, order, 1 + round % 20);
                    let memory = |unit: &pp_core::Unit| {
                        // SAFETY: the unit is ours, all of it, until it is released below.
                        unsafe { core::slice::from_raw_parts_mut(unit.descriptor().addr(), 4096 << order) }
                    };
                    units.iter().for_each(|unit| memory(unit).fill(me));
                    assert!(units.iter().all(|unit| memory(unit).iter().all(|byte| *byte == me)));
                    if round.is_multiple_of(2) {
                        release_bulk(&*buddy, units);
                    } else {
                        units.into_iter().for_each(|unit| buddy.release(unit));
                    }
                }
            });
        }
    });
    assert_eq!((buddy.buddyinfo(), buddy.stray_releases()), (before, 0));
}
