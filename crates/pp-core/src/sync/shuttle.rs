//! shuttle's types. It is sequentially consistent, so it finds bad interleavings, never bad orderings.

pub use ::shuttle::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, fence};

/// A cell whose every use is a scheduling point, so that a sanitizer sees plain memory touched late.
#[derive(Debug)]
pub struct UnsafeCell<T: ?Sized> {
    point: AtomicU8,
    value: core::cell::UnsafeCell<T>,
}

impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        UnsafeCell { point: AtomicU8::new(0), value: core::cell::UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Hands out a pointer for reading.
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        self.point.load(super::Ordering::Relaxed);
        f(self.value.get())
    }

    /// Hands out a pointer for writing.
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.point.load(super::Ordering::Relaxed);
        f(self.value.get())
    }
}

/// Lets shuttle schedule somebody else inside a spin loop.
pub fn spin() {
    ::shuttle::hint::spin_loop();
}

/// Schedules must be repeatable, so every context is the same one.
pub fn context_hint() -> usize {
    0
}

/// The same.
pub(crate) fn stack() -> usize {
    0
}

/// What loom needs beside an atomic that is loaded and then stored; here nothing.
#[derive(Debug)]
pub struct Clock;

impl Clock {
    /// The clock of one object.
    #[allow(clippy::new_without_default, reason = "a part of an atomic, never a value of its own")]
    pub fn new() -> Self {
        Clock
    }

    /// To be called before each access to the object.
    pub fn tick(&self) {}
}

/// Reads an atomic that nobody writes at the moment.
///
/// # Safety
///
/// No other thread writes `atomic` at the same time.
pub unsafe fn load_unshared(atomic: &AtomicUsize) -> usize {
    atomic.load(super::Ordering::Relaxed)
}
