//! No memory for descriptors is an error like no memory for pages. Alone in its process for the sake of its allocator.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::alloc::{GlobalAlloc, Layout, System};

use pp_core::{AllocError, PagePool};
use pp_provider_passthrough::PassThrough;

/// Zeroed blocks of a page's size are counted; everything that is not zeroed can be refused.
struct Tight;

const PAGE: usize = 1 << 16;
static PAGES: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static REFUSE: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: passes on to the system's allocator what it does not refuse.
unsafe impl GlobalAlloc for Tight {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSE.get() {
            return null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        PAGES.fetch_add(usize::from(layout.align() == PAGE), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if REFUSE.get() {
            return null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, bytes) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        PAGES.fetch_sub(usize::from(layout.align() == PAGE), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Tight = Tight;

#[test]
fn without_memory_for_descriptors_pages_are_given_back_and_the_pool_goes_on() {
    let pages = PassThrough::with_sizes(PAGE, 0).unwrap();
    let mut pool = PagePool::builder(&pages).build().unwrap();

    REFUSE.set(true);
    let refused = pool.alloc().map(drop);
    REFUSE.set(false);
    assert_eq!(refused, Err(AllocError::OutOfMemory));
    assert_eq!((PAGES.load(Relaxed), pages.units_out()), (0, 0), "what was fresh is freed");

    // The first descriptors suffice for one refill of 64. With one of them idle the next refill gets one page.
    let mut held: Vec<_> = (0..64).map(|_| pool.alloc().unwrap()).collect();
    held.pop();
    assert_eq!((PAGES.load(Relaxed), pages.units_out()), (63, 63));
    REFUSE.set(true);
    let (last, refused) = (pool.alloc(), pool.alloc().map(drop));
    REFUSE.set(false);
    held.push(last.unwrap());
    assert_eq!(refused, Err(AllocError::OutOfMemory));
    assert_eq!((PAGES.load(Relaxed), pages.units_out()), (64, 64));

    held.push(pool.alloc().unwrap());
    assert!(held.iter().all(|page| page.iter().all(|byte| *byte == 0)));
    drop(held);
    drop(pool);
    assert_eq!((PAGES.load(Relaxed), pages.units_out(), pages.stray_releases()), (0, 0, 0));
}
