//! One event that happens once, and one waiter for it.

use core::task::{Poll, Waker};

use crate::sync::{AtomicU8, Clock, Mutant, Ordering, UnsafeCell, mutant};

const IDLE: u8 = 0;
const WAITING: u8 = 1;
const DONE: u8 = 2;

/// Fires when the last page of a closed pool is home and everything behind the pool is gone.
pub(crate) struct Completion {
    /// | state | meaning | who leaves it |
    /// |---|---|---|
    /// | `IDLE` | no waker stored; the waiter may write one | the waiter to `WAITING`, the elected thread to `DONE` |
    /// | `WAITING` | a waker is stored; the waiter may not touch it | the waiter to `IDLE`, the elected thread to `DONE` |
    /// | `DONE` | it happened; a waker found by the swap is the elected thread's | nobody |
    state: AtomicU8,
    waker: UnsafeCell<Option<Waker>>,
    clock: Clock,
}

// SAFETY: the waker is written by the one waiter in state IDLE and taken by the one elected thread after its swap found
// WAITING; the state word hands it over.
unsafe impl Sync for Completion {}
// SAFETY: as above.
unsafe impl Send for Completion {}

impl Completion {
    pub(crate) fn new() -> Self {
        Completion { state: AtomicU8::new(IDLE), waker: UnsafeCell::new(None), clock: Clock::new() }
    }

    /// Says that it happened. For the elected thread, once.
    pub(crate) fn fire(&self) {
        // Release: the teardown happens before the waiter goes on. Acquire: the waker is there if WAITING is.
        // Both pair with the operations in `poll`.
        self.clock.tick();
        if self.state.swap(DONE, Ordering::AcqRel) == WAITING {
            // SAFETY: the waiter stored the waker, then published WAITING, which it cannot take back any more.
            if let Some(waker) = self.waker.with_mut(|waker| unsafe { (*waker).take() }) {
                waker.wake();
            }
        }
    }

    /// Whether it happened.
    pub(crate) fn is_done(&self) -> bool {
        self.clock.tick();
        // Acquire pairs with the Release in `fire`.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Stores `waker` unless it happened.
    ///
    /// # Safety
    ///
    /// One caller at a time.
    pub(crate) unsafe fn poll(&self, waker: &Waker) -> Poll<()> {
        if self.is_done() {
            return Poll::Ready(());
        }
        // Take an earlier waker back, which we stored ourselves: Relaxed. Acquire on failure pairs with the Release in `fire`.
        self.clock.tick();
        if self.state.compare_exchange(WAITING, IDLE, Ordering::Relaxed, Ordering::Acquire) == Err(DONE) {
            return Poll::Ready(());
        }
        // SAFETY: the state is IDLE, so the elected thread leaves the waker alone, and we are the only waiter.
        self.waker.with_mut(|place| unsafe { *place = Some(waker.clone()) });
        // Release pairs with the Acquire of the swap in `fire`.
        if mutant(Mutant::LostWake) {
            self.state.store(WAITING, Ordering::Release);
            return Poll::Pending;
        }
        self.clock.tick();
        match self.state.compare_exchange(IDLE, WAITING, Ordering::Release, Ordering::Acquire) {
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    }
}
