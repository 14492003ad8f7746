//! The lock a pass-through has unless told otherwise.

#![allow(unsafe_code, reason = "pp-core's lock contract is an unsafe trait")]

use pp_core::lock::RawLock;

/// A mutex that sleeps where there is an operating system (feature `std`), a spin lock elsewhere and under the
/// model checkers.
///
/// For a context that may interrupt the holder, pass a lock that masks interrupts instead:
/// [`PassThrough::with_lock`](crate::PassThrough::with_lock). [`PassThrough`](crate::PassThrough) shows another one.
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
    use parking_lot::RawMutex;
    use parking_lot::lock_api::RawMutex as _;
    use pp_core::lock::RawLock;

    pub(super) struct Lock(RawMutex);

    impl Default for Lock {
        fn default() -> Self {
            Lock(RawMutex::INIT)
        }
    }

    // SAFETY: parking_lot's mutex excludes and orders as `RawLock` asks.
    unsafe impl RawLock for Lock {
        fn lock(&self) {
            self.0.lock();
        }

        unsafe fn unlock(&self) {
            // SAFETY: the caller holds the lock.
            unsafe { self.0.unlock() }
        }
    }
}
