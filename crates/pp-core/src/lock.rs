//! The lock that providers take. The pool itself has none.
//!
//! A provider's `release` runs on whatever thread drops a page, so it needs exclusion, and what excludes depends on
//! where it runs: an OS mutex, a spin lock, a spin lock that masks interrupts. [`RawLock`] is the one thing an
//! embedder implements.

use crate::sync::{AtomicU8, Mutant, Ordering, UnsafeCell, mutant, spin};

/// A mutual exclusion primitive without data.
///
/// # Safety
///
/// Between the return of [`lock`](RawLock::lock) and the call of [`unlock`](RawLock::unlock) no other call of `lock` on
/// the same value returns; what happened before `unlock` is visible after the next `lock`.
///
/// # Examples
///
/// A lock that masks interrupts around a spin lock:
///
/// ```
/// # fn mask_interrupts() -> usize { 0 }
/// # fn restore_interrupts(_: usize) {}
/// use core::sync::atomic::{AtomicUsize, Ordering};
/// use pp_core::lock::{RawLock, SpinLock};
///
/// #[derive(Default)]
/// struct IrqLock { spin: SpinLock, flags: AtomicUsize }
///
/// // SAFETY: exclusion is the inner lock's; the flags are written and read by its holder only.
/// unsafe impl RawLock for IrqLock {
///     fn lock(&self) {
///         let flags = mask_interrupts();
///         self.spin.lock();
///         self.flags.store(flags, Ordering::Relaxed);
///     }
///     unsafe fn unlock(&self) {
///         let flags = self.flags.load(Ordering::Relaxed);
///         // SAFETY: the caller holds this lock, hence the inner one.
///         unsafe { self.spin.unlock() };
///         restore_interrupts(flags);
///     }
/// }
/// ```
pub unsafe trait RawLock: Default + Send + Sync + 'static {
    /// Waits until the lock is free and takes it.
    fn lock(&self);

    /// Frees the lock.
    ///
    /// # Safety
    ///
    /// The caller holds it.
    unsafe fn unlock(&self);
}

/// Spins until the lock is free. For no_std; with an operating system prefer its mutex. See [`Locked`].
#[derive(Debug)]
pub struct SpinLock {
    /// | state | meaning |
    /// |---|---|
    /// | 0 | free |
    /// | 1 | held; the holder stores 0 |
    held: AtomicU8,
}

impl Default for SpinLock {
    fn default() -> Self {
        SpinLock { held: AtomicU8::new(0) }
    }
}

// SAFETY: only the thread whose compare-exchange took `held` from 0 to 1 returns from `lock`, and only `unlock` undoes it.
unsafe impl RawLock for SpinLock {
    fn lock(&self) {
        // Acquire pairs with the Release in `unlock`.
        while self.held.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            if mutant(Mutant::OpenLock) {
                return;
            }
            spin();
        }
    }

    unsafe fn unlock(&self) {
        // Release pairs with the Acquire in `lock`.
        self.held.store(0, Ordering::Release);
    }
}

/// A value that is reached under a lock only.
///
/// # Examples
///
/// ```
/// use pp_core::lock::{Locked, SpinLock};
/// let free: Locked<SpinLock, Vec<u32>> = Locked::new(vec![3, 1, 2]);
/// assert_eq!(free.with(|free| free.pop()), Some(2));
/// ```
pub struct Locked<L, T> {
    lock: L,
    value: UnsafeCell<T>,
}

// SAFETY: the value moves between threads only under the lock, so `T: Send` is all that is needed.
unsafe impl<L: RawLock, T: Send> Sync for Locked<L, T> {}
// SAFETY: as above; `RawLock` is `Send`.
unsafe impl<L: RawLock, T: Send> Send for Locked<L, T> {}

impl<L: RawLock, T> Locked<L, T> {
    /// Puts `value` behind a new, free lock.
    pub fn new(value: T) -> Self {
        Locked { lock: L::default(), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the value while holding the lock, which is freed also when `f` panics.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        struct Unlock<'a, L: RawLock>(&'a L);
        impl<L: RawLock> Drop for Unlock<'_, L> {
            fn drop(&mut self) {
                // SAFETY: made right after `lock` returned, dropped once.
                unsafe { self.0.unlock() }
            }
        }
        self.lock.lock();
        let _unlock = Unlock(&self.lock);
        // SAFETY: the lock is held, so this is the only reference to the value.
        self.value.with_mut(|value| f(unsafe { &mut *value }))
    }
}

impl<L, T> core::fmt::Debug for Locked<L, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Locked")
    }
}
