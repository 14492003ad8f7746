//! The real thing: re-exports of `core`, and cells that vanish.

pub use core::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, fence};

/// `core::cell::UnsafeCell` with loom's closure interface. See the [module](crate::sync#examples).
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

/// Waits a moment inside a spin loop. See the [module](crate::sync#examples).
#[inline(always)]
pub fn spin() {
    core::hint::spin_loop();
}

/// A number that differs between contexts that run at the same time: the page of the current stack.
///
/// Distinct threads, interrupt stacks and fibres have distinct stacks, so this needs no thread-local storage and works
/// without an operating system. It is a hint: equal values cost a shared cache line, never correctness.
/// See the [module](crate::sync#examples).
#[inline(always)]
pub fn context_hint() -> usize {
    let address = stack();
    // Stacks are at least 16 KiB apart and megabyte-aligned in places; fold the higher bits in.
    (address >> 14) ^ (address >> 21)
}

/// Where the current stack is now.
#[inline(always)]
pub(crate) fn stack() -> usize {
    let address: usize;
    #[cfg(all(not(miri), target_arch = "x86_64"))]
    // SAFETY: copies the stack pointer.
    unsafe {
        core::arch::asm!("mov {}, rsp", out(reg) address, options(pure, nomem, nostack, preserves_flags));
    }
    #[cfg(all(not(miri), target_arch = "aarch64"))]
    // SAFETY: copies the stack pointer.
    unsafe {
        core::arch::asm!("mov {}, sp", out(reg) address, options(pure, nomem, nostack, preserves_flags));
    }
    #[cfg(miri)]
    {
        // Every local variable has an address at random there: a thread would look like many.
        address = 1 << 30;
    }
    #[cfg(not(any(miri, target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let here = 0u8;
        address = core::ptr::from_ref(core::hint::black_box(&here)).addr();
    }
    address
}

/// What loom needs beside an atomic that is loaded and then stored; here nothing, of no size.
/// See the [module](crate::sync#examples).
#[derive(Debug)]
pub struct Clock;

impl Clock {
    /// The clock of one object.
    #[inline(always)]
    #[allow(clippy::new_without_default, reason = "a part of an atomic, never a value of its own")]
    pub const fn new() -> Self {
        Clock
    }

    /// To be called before each access to the object.
    #[inline(always)]
    pub fn tick(&self) {}
}

/// Reads an atomic that nobody writes at the moment, as the plain memory it then is: the compiler may fold the load into
/// the instruction that uses it, which it does not do for atomic loads.
///
/// # Safety
///
/// No other thread writes `atomic` at the same time. See the [module](crate::sync#examples).
#[inline(always)]
pub unsafe fn load_unshared(atomic: &AtomicUsize) -> usize {
    // SAFETY: valid because it is a reference, free of races by the caller's promise.
    unsafe { atomic.as_ptr().read() }
}
