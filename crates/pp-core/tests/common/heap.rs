//! A global allocator that counts what its thread does, and fails when told to.

use core::cell::Cell;
use std::alloc::{GlobalAlloc, Layout, System};

thread_local! {
    // Without a destructor and initialised at compile time: an allocator may use no other kind.
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static FAIL_AT: Cell<usize> = const { Cell::new(0) };
}

/// Make it the `#[global_allocator]` of the test binary.
pub(crate) struct Heap;

impl Heap {
    /// Allocations that this thread has made, ever.
    pub(crate) fn calls() -> usize {
        CALLS.get()
    }

    /// Bytes that this thread has allocated, less those that it has freed.
    pub(crate) fn live() -> isize {
        LIVE.get()
    }

    /// Runs `f` while the `k`-th allocation of this thread from now on fails, counted from 1; whether it came to that.
    pub(crate) fn failing<R>(k: usize, f: impl FnOnce() -> R) -> (R, bool) {
        FAIL_AT.set(CALLS.get() + k);
        let outcome = f();
        let reached = CALLS.get() >= FAIL_AT.replace(0);
        (outcome, reached)
    }

    fn count(bytes: usize) -> bool {
        CALLS.set(CALLS.get() + 1);
        let fails = CALLS.get() == FAIL_AT.get();
        LIVE.set(LIVE.get() + if fails { 0 } else { bytes as isize });
        fails
    }
}

// SAFETY: `System`'s, but for the calls that fail, which null says.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Heap::count(layout.size()) {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if Heap::count(new_size) {
            return core::ptr::null_mut();
        }
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}
