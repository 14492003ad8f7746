//! Each verb once, by its plain meaning.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use common::*;
use pp_core::{Home, MemoryProvider, NodeId, Recycling};
use pp_provider_buddy::{Buddy, BuddyProvider, DefaultLock};

fn memory(bytes: usize) -> &'static mut [u8] {
    Box::leak(vec![0; bytes].into_boxed_slice())
}

/// `bytes` at an address that is a multiple of `align` plus `offset`.
fn memory_at(bytes: usize, align: usize, offset: usize) -> &'static mut [u8] {
    let all = memory(bytes + offset + align);
    let skip = all.as_ptr().addr().wrapping_neg() & (align - 1);
    &mut all[skip + offset..skip + offset + bytes]
}

#[test]
fn static_memory_is_handed_out_and_taken_back() {
    let buddy = Buddy::static_memory(memory_at(64 << 10, 64 << 10, 0)).unwrap();
    assert_eq!((buddy.total_units(), buddy.free_units()), (16, 16));
    let units = alloc(&*buddy, 0, 3);
    assert_eq!(units.len(), 3);
    assert_eq!(buddy.free_units(), 13);
    for unit in &units {
        let (address, bytes) = span(unit);
        assert_eq!((address % 4096, bytes), (0, 4096));
        // SAFETY: the unit is ours.
        unsafe { unit.descriptor().addr().write_bytes(0xa5, bytes) };
    }
    release_bulk(&*buddy, units);
    assert_eq!(buddy.free_units(), 16);
    assert_eq!(buddy.free_blocks(4), 1);
}

#[test]
fn blocks_are_aligned_as_addresses_wherever_the_region_starts() {
    for offset in [0, 4096, 3 * 4096, 4097, 15 * 4096] {
        let buddy = Buddy::static_memory(memory_at(64 << 12, 64 << 12, offset)).unwrap();
        let before = buddy.buddyinfo();
        for order in 0..=buddy.geometry().max_order {
            let units = alloc_all(&*buddy, order, 64);
            for unit in &units {
                let (address, bytes) = span(unit);
                assert_eq!(bytes, 4096 << order);
                assert_eq!(address % bytes, 0, "offset {offset} order {order}");
                assert_eq!(unit.descriptor().order(), order);
            }
            assert!(!units.is_empty());
            release_bulk(&*buddy, units);
            assert_eq!(buddy.buddyinfo(), before);
        }
    }
}

#[test]
fn geometry_names_what_can_be_had() {
    let buddy = Buddy::builder().max_order(3).static_memory(memory_at(64 << 10, 64 << 10, 0)).build().unwrap();
    let geometry = buddy.geometry();
    assert_eq!((geometry.unit_bytes, geometry.max_order, geometry.nodes), (4096, 3, 1));
    assert_eq!(buddy.free_blocks(3), 2);
    assert_eq!(alloc(&*buddy, 3, 5).len(), 2);
    // Not more than fits: eight units make no block of order 10.
    let small = Buddy::static_memory(memory_at(32 << 10, 64 << 10, 0)).unwrap();
    assert_eq!(small.geometry().max_order, 3);
    assert!(alloc(&*small, 4, 1).is_empty());
}

#[test]
fn describe_gives_names_and_figures() {
    let buddy = Buddy::static_memory(memory_at(32 << 10, 32 << 10, 0)).unwrap();
    let description = buddy.describe();
    assert_eq!((description.name, description.total_units, description.free_units), ("buddy", 8, 8));
    assert_eq!(description.fragmentation_index, Some(0.0));
    let units = alloc(&*buddy, 0, 1);
    let index = buddy.fragmentation_index();
    assert_eq!(index, 0.0, "7 free units in 3 pieces, which is as few as 7 can be");
    assert_eq!(buddy.describe().free_units, 7);
    release_bulk(&*buddy, units);
}

#[test]
fn fragmentation_index_counts_missing_merges() {
    let buddy = Buddy::static_memory(memory_at(32 << 10, 32 << 10, 0)).unwrap();
    let units = alloc(&*buddy, 0, 8);
    assert_eq!(buddy.fragmentation_index(), 0.0, "nothing is free");
    let (even, odd): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| (span(unit).0 / 4096).is_multiple_of(2));
    release_bulk(&*buddy, even);
    // Four free units, four pieces, one at best: (4 - 1) / (4 - 1).
    assert_eq!(buddy.fragmentation_index(), 1.0);
    assert_eq!(buddy.describe().fragmentation_index, Some(1.0));
    assert_eq!(buddy.free_blocks(0), 4);
    let mut odd = odd;
    release_bulk(&*buddy, odd.split_off(3));
    // One pair joined: five units in four pieces, two at best: (4 - 2) / (5 - 2).
    assert_eq!(buddy.fragmentation_index(), 2.0 / 3.0);
    release_bulk(&*buddy, odd);
    assert_eq!(buddy.fragmentation_index(), 0.0);
}

#[test]
fn buddyinfo_lists_free_blocks_by_node_and_order() {
    let buddy = Buddy::builder()
        .node(NodeId(3))
        .static_memory(memory_at(32 << 10, 32 << 10, 0))
        .node(NodeId(1))
        .reserve_units(2)
        .static_memory(memory_at(16 << 10, 16 << 10, 0))
        .build()
        .unwrap();
    let info = buddy.buddyinfo();
    assert_eq!(info.iter().map(|node| node.node).collect::<Vec<_>>(), [NodeId(1), NodeId(3)]);
    assert_eq!((info[0].total_units, info[0].reserve_units, info[0].blocks[2]), (4, 2, 1));
    assert_eq!((info[1].total_units, info[1].reserve_units, info[1].blocks[3]), (8, 0, 1));
    assert_eq!(info[1].to_string(), "node 3 free 8/8 blocks 0 0 0 1");
    // The regions keep the builder's order.
    assert_eq!(buddy.regions().iter().map(|region| region.node().0).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn handles_share_one_buddy() {
    let buddy = Buddy::static_memory(memory_at(32 << 10, 32 << 10, 0)).unwrap();
    let same = buddy.clone();
    let home: Home<BuddyProvider<DefaultLock, pp_core::Host>> = (&buddy).into();
    assert_eq!(Home::owners(&home), 3);
    let units = alloc(&*home, 0, 2);
    assert_eq!(same.free_units(), 6);
    for unit in units {
        same.release(unit);
    }
    assert_eq!(buddy.free_units(), 8);
    let home: Home<_> = buddy.into();
    drop(same);
    assert_eq!(Home::owners(&home), 2);
}

#[test]
fn units_of_others_and_units_that_are_home_change_nothing() {
    let ours = Buddy::static_memory(memory_at(32 << 10, 32 << 10, 0)).unwrap();
    let other = Buddy::static_memory(memory_at(32 << 10, 32 << 10, 0)).unwrap();
    let strange = alloc(&*other, 0, 1).remove(0);
    let out = alloc(&*ours, 1, 1).remove(0);
    let before = ours.buddyinfo();
    ours.release(strange);
    assert_eq!((ours.stray_releases(), ours.buddyinfo()), (1, before.clone()));
    assert_eq!(other.free_units(), 7, "lost to the other, not corrupted");

    let region = &ours.regions()[0];
    let first = region.index_of(out.descriptor()).unwrap();
    let index_of_free = (0..region.units()).find(|index| index / 2 != first / 2).unwrap();
    for wrong in [first + 1, index_of_free] {
        // SAFETY: not true, and that is the test: the middle of a block, and a unit that is home.
        ours.release(unsafe { region.unit(wrong) });
    }
    assert_eq!((ours.stray_releases(), ours.buddyinfo()), (3, before));
    ours.release(out);
    assert_eq!((ours.stray_releases(), ours.free_blocks(3)), (3, 1));
}

#[test]
fn the_order_that_counts_is_the_providers_own() {
    let buddy = Buddy::static_memory(memory_at(32 << 10, 32 << 10, 0)).unwrap();
    let unit = alloc(&*buddy, 2, 1).remove(0);
    let descriptor = unit.descriptor();
    // SAFETY: the unit is ours; the shorter length lies inside it.
    unsafe { descriptor.reshape(descriptor.addr(), 4096, 0, Recycling::Allowed) };
    buddy.release(unit);
    assert_eq!((buddy.free_units(), buddy.free_blocks(3)), (8, 1));
    // And the next holder is told the truth again.
    let unit = alloc(&*buddy, 0, 1).remove(0);
    assert_eq!((unit.descriptor().order(), unit.descriptor().unit_bytes()), (0, 4096));
    buddy.release(unit);
}

#[test]
fn scribbled_links_hand_nothing_out_twice() {
    use core::sync::atomic::Ordering::Relaxed;
    for scribble in [[u32::MAX, 0], [0, 0], [7, 7], [1, 2], [5, u32::MAX], [1 << 30, 1 << 30]] {
        let buddy = Buddy::static_memory(memory_at(32 << 10, 32 << 10, 0)).unwrap();
        let mut units = alloc(&*buddy, 0, 8);
        for unit in [7, 5, 3, 1].map(|at| units.remove(at)) {
            buddy.release(unit);
        }
        let region = &buddy.regions()[0];
        for index in 0..region.units() {
            let words = region.descriptor(index).unwrap().home_words();
            words[0].store(scribble[0], Relaxed);
            words[1].store(scribble[1], Relaxed);
        }
        units.extend(alloc_all(&*buddy, 0, 8));
        let mut addresses: Vec<_> = units.iter().map(span).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), units.len(), "twice: {scribble:?}");
        release_bulk(&*buddy, units);
        assert_eq!(buddy.free_units(), 8);
    }
}

mod types {
    use pp_core::lock::SpinLock;
    use pp_core::{Backing, Exposed, Home, Host};
    use pp_provider_buddy::{Buddy, BuddyProvider, DefaultLock};
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    assert_impl_all!(Buddy: Send, Sync, Clone, Into<Home<BuddyProvider<DefaultLock, Host>>>);
    assert_impl_all!(Buddy<SpinLock, Exposed>: Send, Sync, Clone);
    assert_impl_all!(BuddyProvider<DefaultLock, Host>: Backing<Access = Host>);
    assert_impl_all!(BuddyProvider<DefaultLock, Exposed>: Backing<Access = Exposed>);
    assert_not_impl_any!(BuddyProvider<DefaultLock, Exposed>: Backing<Access = Host>);
}

#[test]
fn the_default_lock_excludes() {
    use pp_core::lock::Locked;
    let value = Locked::<DefaultLock, (usize, usize)>::new((0, 0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    value.with(|(a, b)| {
                        *a += 1;
                        assert_eq!(*a, *b + 1);
                        *b += 1;
                    });
                }
            });
        }
    });
    assert_eq!(value.with(|pair| *pair), (80_000, 80_000));
}

#[test]
fn debug_texts_name_what_they_show() {
    let builder = Buddy::builder().static_memory(memory_at(32 << 10, 32 << 10, 0));
    assert!(format!("{builder:?}").starts_with("BuddyBuilder { settings: Settings { unit_bytes: 4096"));
    let buddy = builder.build().unwrap();
    assert!(format!("{buddy:?}").contains("\"buddy\"") && format!("{buddy:?}").contains("free_units: 8"));
    assert!(format!("{:?}", *buddy).contains("access: \"host\""));
}
