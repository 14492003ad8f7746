//! The lock a buddy has unless told otherwise.

#![allow(unsafe_code, reason = "pp-core's lock contract is an unsafe trait")]

use pp_core::lock::RawLock;

/// A mutex that sleeps where there is an operating system (feature `std`), a spin lock elsewhere and under the
/// model checkers.
///
/// For a context that may interrupt the holder, pass a lock that masks interrupts instead:
/// [`BuddyBuilder::lock`](crate::BuddyBuilder::lock).
#[derive(Default)]
pub struct DefaultLock(imp::Lock);

impl core::fmt::Debug for DefaultLock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("DefaultLock")
    }
}

// SAFETY: both inner locks promise what `RawLock` asks, and every call is passed on unchanged.
unsafe impl RawLock for DefaultLock {
    fn lock(&self) {
        self.0.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller holds this lock, hence the inner one.
        unsafe { self.0.unlock() }
    }
}

#[cfg(not(all(feature = "std", not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))))]
mod imp {
    pub(super) use pp_core::lock::SpinLock as Lock;
}

#[cfg(all(feature = "std", not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")))))]
mod imp {
    use core::cell::UnsafeCell;
    use core::mem::MaybeUninit;

    use parking_lot::RawMutex;
    use parking_lot::lock_api::RawMutex as _;
    use pp_core::lock::RawLock;

    type Guard = <RawMutex as parking_lot::lock_api::RawMutex>::Guard;

    /// parking_lot's mutex, and the proof of locking that it wants back: a type without data whose name depends
    /// on features that any crate in the program may set.
    pub(super) struct Lock {
        mutex: RawMutex,
        guard: UnsafeCell<MaybeUninit<Guard>>,
    }

    impl Default for Lock {
        fn default() -> Self {
            Lock { mutex: RawMutex::INIT, guard: UnsafeCell::new(MaybeUninit::uninit()) }
        }
    }

    // SAFETY: `guard` is written and read by the holder of `mutex` only.
    unsafe impl Sync for Lock {}
    // SAFETY: it marks no thread, and the mutex is `Send`. (The guard is not, for the sake of parking_lot's deadlock
    // detector, whose records are per thread; it diagnoses and decides nothing.)
    unsafe impl Send for Lock {}

    // SAFETY: parking_lot's mutex excludes and orders as `RawLock` asks.
    unsafe impl RawLock for Lock {
        fn lock(&self) {
            let guard = self.mutex.lock();
            // SAFETY: the mutex is held, so nobody else is at the cell.
            unsafe { *self.guard.get() = MaybeUninit::new(guard) };
        }

        unsafe fn unlock(&self) {
            // SAFETY: the caller holds the lock, so `lock` has filled the cell and nobody else is at it; the guard
            // is moved out once, as the next `lock` fills the cell again.
            unsafe { self.mutex.unlock((*self.guard.get()).assume_init_read()) }
        }
    }
}
