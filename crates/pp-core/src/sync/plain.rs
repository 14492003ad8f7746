//! The real thing: re-exports of `core`, and cells that vanish.

pub use core::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU8, AtomicUsize, fence};

/// `core::cell::UnsafeCell` with loom's closure interface.
#[derive(Debug)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    #[inline(always)]
    pub const fn new(value: T) -> Self {
        UnsafeCell(core::cell::UnsafeCell::new(value))
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Hands out a pointer for reading; what the closure does with it needs its own SAFETY text.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Hands out a pointer for writing; what the closure does with it needs its own SAFETY text.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Waits a moment inside a spin loop.
#[inline(always)]
pub fn spin() {
    core::hint::spin_loop();
}

/// A number that differs between contexts that run at the same time: the page of the current stack.
///
/// Distinct threads, interrupt stacks and fibres have distinct stacks, so this needs no thread-local storage and works
/// without an operating system. It is a hint: equal values cost a shared cache line, never correctness.
#[inline(always)]
pub fn context_hint() -> usize {
    let here = 0u8;
    let address = core::ptr::from_ref(core::hint::black_box(&here)).addr();
    // Stacks are at least 16 KiB apart and megabyte-aligned in places; fold the higher bits in.
    (address >> 14) ^ (address >> 21)
}

#[derive(Debug)]
pub(crate) struct Clock;

impl Clock {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Clock
    }

    #[inline(always)]
    pub(crate) fn tick(&self) {}
}
