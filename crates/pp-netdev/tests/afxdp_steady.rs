//! Forwarding between interfaces asks the allocator and the provider for nothing, as root.

#![cfg(all(feature = "af-xdp", target_os = "linux"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/wire.rs"]
mod wire;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pp_netdev::afxdp::{AfxdpProgress, Directions};
use pp_netdev::{ForwardConfig, Verdict};
use pp_testbed::{Path, skip_without_rights};

use wire::{ENTRIES, Memories, check, forward};

/// Allocations by threads of the forwarder.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this is one.
    static FORWARDS: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: the system's allocator does all of it; counting touches no memory of its callers, and a thread-local without a
// destructor needs no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    if FORWARDS.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn steady_state_asks_for_nothing() {
    skip_without_rights!();
    const RATE: u64 = 20_000;
    const PACKETS: u64 = 5 * RATE;
    let path = Path::builder().build().unwrap();
    let sink = path.sink().unwrap();
    let mut config = ForwardConfig::default();
    config.observe_every = Duration::from_millis(20);
    // Each packet: its thread is one of the forwarder's from the first on.
    let program = |_: usize| {
        |_: &mut [u8]| {
            FORWARDS.set(true);
            Verdict::Forward
        }
    };
    // After a second's packets, and near the end: allocations, and pages from the provider.
    let (mut early, mut late) = (None, None);
    let observer = |seen: &AfxdpProgress| {
        FORWARDS.set(true);
        let figures = (ALLOCATIONS.load(Ordering::Relaxed), seen.pools[0].stats.hold + seen.pools[1].stats.hold);
        if seen.traffic.packets_in >= RATE && early.is_none() {
            early = Some(figures);
        }
        if early.is_some() && seen.traffic.packets_in < PACKETS {
            late = Some(figures);
        }
    };
    let (report, sent) = forward(&path, Memories::Shared, Directions::Both, program, config, observer, || {
        let traffic = path.traffic().size(1400).rate(RATE).count(PACKETS).numbered();
        let sent = path.generate(traffic).unwrap().wait().unwrap();
        thread::sleep(Duration::from_millis(200));
        sent
    });
    let report = report.unwrap();
    check(&report);
    let (early, late) = (early.unwrap(), late.unwrap());
    assert_eq!(early, late, "allocations, and pages from the provider");
    let fetched: Vec<_> = report.run.pools.iter().map(|pool| pool.stats.hold).collect();
    assert_eq!(fetched, [3 * ENTRIES as usize; 2], "those that were fetched before");
    assert_eq!(report.copied_bytes, 0);

    let counts = sink.counts().unwrap();
    assert_eq!((counts.numbered, counts.misplaced), (report.ports[1].total(|count| count.packets_out.get()), 0));
    let kernel = report.ports[0].queues[0].kernel.unwrap();
    if (kernel.rx_ring_full, kernel.rx_dropped) == (0, 0) {
        // The machine had time for us.
        assert_eq!(counts.numbered, sent);
    }
}
