//! What a pool is for: in steady state the provider is left alone and its memory is not broken up; the same traffic on
//! pass-through asks the allocator for every page.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::time::Duration;

use common::{Checker, Generator, PAGE, pool_on, rings_of};
use pp_core::{Backing, Home, Host, PageBatch};
use pp_netdev::{Action, Forwarder, Report};
use pp_provider_buddy::Buddy;
use pp_provider_passthrough::PassThrough;

const UNITS: usize = 512;
const DESCRIPTORS: u32 = 64;
const FRAMES: u64 = if cfg!(miri) { 60 } else { 50_000 };

/// Runs the traffic on a pool that has fetched what it can need, and calls `look` again and again meanwhile.
fn run<P: Backing<Access = Host>>(provider: &Home<P>, mut look: impl FnMut()) -> Report {
    let (mut pool, window) = pool_on(provider, UNITS);
    let mut warm: PageBatch<256> = pool.alloc_batch();
    pool.recycle_batch(&mut warm);
    let mut config = rings_of(DESCRIPTORS);
    config.expected = FRAMES.try_into().ok();
    config.observe_every = Duration::from_millis(1);
    look();
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    forwarder.run(&mut Generator::new(FRAMES), &mut Checker::default(), |_| look()).unwrap()
}

#[test]
fn the_buddy_is_left_alone_and_its_memory_stays_whole() {
    let buddy = Buddy::anonymous(4 << 20).unwrap();
    // Something to lose: once the pool has its pages, every other one of a stretch goes home, so the index is not 0.
    let mut other = pp_core::PagePool::builder(&buddy).build().unwrap();
    let mut stretch: Vec<_> = other.alloc_batch::<64>().collect();
    let mut seen = Vec::new();
    let home: Home<_> = (&buddy).into();
    let report = run(&home, || {
        if seen.is_empty() {
            let mut keep = false;
            stretch.retain(|_| {
                keep = !keep;
                keep
            });
            other.trim(0);
        }
        seen.push(buddy.fragmentation_index());
    });
    // The first look came before the traffic, right after the pool had fetched its pages.
    assert!(seen[0] > 0.0, "the index says nothing here");
    assert!(seen.iter().all(|index| *index == seen[0]), "{seen:?}");
    let pool = &report.pools[0];
    assert_eq!(Some(pool.stats.hold), pool.provider_allocs_at_10_percent);
    assert_eq!((pool.stats.released, pool.stats.recycled_percent()), (0, 100.0));
    assert_eq!(pool.provider.fragmentation_index, Some(seen[0]));
    assert_eq!(stretch.len(), 32);
}

#[test]
fn the_same_traffic_on_pass_through_takes_every_page_from_the_allocator() {
    let home: Home<_> = PassThrough::with_sizes(PAGE, 0).unwrap().into();
    let report = run(&home, || ());
    let pool = &report.pools[0];
    assert!(pool.stats.hold as u64 >= FRAMES, "{:?}", pool.stats);
    assert!(pool.stats.released as u64 >= FRAMES, "{:?}", pool.stats);
    assert_eq!(pool.stats.recycled_percent(), 0.0);
    assert!(pool.stats.hold > 2 * pool.provider_allocs_at_10_percent.unwrap());
}
