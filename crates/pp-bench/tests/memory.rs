//! What a page costs in memory beside itself: a descriptor and a place in the ring, whatever the pool's size. Counted, not
//! estimated: every allocation of this program goes through a counter.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use std::alloc::System;

use pp_core::{Home, PagePool, doc::Heap};

const PAGE: usize = 4096;

struct Counted;

std::thread_local! {
    /// A count for each thread: the harness allocates on threads of its own while a test counts.
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

fn count(change: impl FnOnce(usize) -> usize) {
    // A thread that is ending has none any more, and no test.
    let _ = BYTES.try_with(|bytes| bytes.set(change(bytes.get())));
}

// SAFETY: the system's allocator, and a count.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|bytes| bytes.wrapping_add(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(|bytes| bytes.wrapping_sub(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Bytes that `make` leaves allocated while what it made lives.
fn bytes<T>(make: impl FnOnce() -> T) -> usize {
    let before = BYTES.get();
    let made = make();
    let after = BYTES.get();
    drop(made);
    // Wraps: a thread may free what another one allocated.
    after.wrapping_sub(before)
}

#[test]
fn a_unit_costs_its_descriptor_of_64_bytes_at_most() {
    let heap = |units: usize| bytes(|| Heap::new(PAGE, units)) - units * PAGE;
    let each = (heap(8192) - heap(4096)) as f64 / 4096.0;
    // The example provider's own list has 4 bytes for each, perhaps twice that for want of knowing the number.
    assert!(each <= 64.0 + 8.0, "{each} bytes");
    assert!(size_of::<pp_core::Descriptor>() <= 64);
}

#[test]
fn a_place_in_the_ring_or_a_bag_costs_8_bytes_and_the_rest_is_constant() {
    let home = Home::new(Heap::new(PAGE, 64));
    let pool = |ring: usize| bytes(|| PagePool::builder(home.clone()).pool_size(ring).build().unwrap());
    let (small, large) = (pool(1024), pool(16_384));
    assert_eq!(large - small, (16_384 - 1024) * size_of::<usize>());
    assert!(small < 1024 * size_of::<usize>() + 8192, "{small} bytes");
    // Below 512 slots the bag for batches grows with the ring.
    assert_eq!(pool(512) - pool(64), 2 * (512 - 64) * size_of::<usize>());
    let without =
        |ring: usize| bytes(|| PagePool::builder(home.clone()).pool_size(ring).batch_bags(0, 0).build().unwrap());
    assert_eq!(without(512) - without(64), (512 - 64) * size_of::<usize>());
}

#[test]
fn pages_that_enter_cost_nothing_more() {
    let mut pool = PagePool::builder(Home::new(Heap::new(PAGE, 4096))).build().unwrap();
    let mut pages = Vec::with_capacity(4096);
    let before = BYTES.get();
    pages.extend((0..4096).map_while(|_| pool.alloc().ok()));
    assert_eq!((pages.len(), BYTES.get().wrapping_sub(before)), (4096, 0));
}
