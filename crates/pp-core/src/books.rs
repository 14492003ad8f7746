//! The books: how many pages a pool still has to wait for, and who ends it.
//!
//! `hold` counts pages entering and is the consumer's own. `released` counts pages leaving, from any thread. Closing
//! subtracts `hold` from `released` once; whoever makes it zero, the closing consumer or the thread that brings
//! the last page, is *elected* and tears the pool down. One read-modify-write decides, so there is
//! exactly one elected thread, and for all others that read-modify-write is the last touch. A read never elects.
//!
//! Kernel counterpart: `pages_state_hold_cnt`, `pages_state_release_cnt`, `page_pool_inflight` (Linux 7.3). The
//! kernel polls once a second for the moment that this election finds by itself.

use crate::sync::{AtomicIsize, AtomicU8, Counter, Mutant, Ordering, mutant};

/// The one who got it tears the pool down.
#[must_use = "an elected thread must tear the pool down"]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Elected,
    NotElected,
}

/// Whether a pool still has a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolState {
    /// It has one.
    Open,
    /// It was dropped; some of its pages are still out.
    Closing,
    /// It was dropped and all its pages are home.
    Closed,
}

const OPEN: u8 = 0;
const CLOSING: u8 = 1;

pub(crate) struct Books {
    /// Pages that ever entered. Written by the consumer.
    pub(crate) hold: Counter,
    /// | state | meaning | who leaves it |
    /// |---|---|---|
    /// | n >= 0, open | n pages left so far | `leave` adds; `close` subtracts `hold` |
    /// | -n < 0 | closed, n pages still out | `leave` adds |
    /// | 0, closed | all home; the thread that wrote it was elected | nobody |
    released: AtomicIsize,
    /// Pages off the books and not yet home: detached, or released while shared.
    pub(crate) strays: Counter,
    /// Told to readers only; elects nobody. `OPEN`, then `CLOSING` for good, after the subtraction.
    state: AtomicU8,
}

impl Books {
    pub(crate) fn new() -> Self {
        Books {
            hold: Counter::new(0),
            released: AtomicIsize::new(0),
            strays: Counter::new(0),
            state: AtomicU8::new(OPEN),
        }
    }

    /// Books out `n` pages. The caller's last touch of the pool unless elected; by pointer, because a reference argument would
    /// outlive that touch.
    ///
    /// # Safety
    ///
    /// `this` is valid; the caller's pages that leave now are what keeps it so.
    #[inline]
    pub(crate) unsafe fn leave(this: *const Self, n: usize) -> Verdict {
        let n = n as isize;
        // Release: what this thread did with pool and pages happens before the teardown. Acquire: if we are
        // elected, what all the others did happens before ours. Both pair with this same operation elsewhere and with `close`.
        let order = if mutant(Mutant::RelaxedReleased) { Ordering::Relaxed } else { Ordering::AcqRel };
        // SAFETY: valid until our pages are booked out, which this does.
        let before = unsafe { &(*this).released }.fetch_add(n, order);
        if mutant(Mutant::ElectByRead) {
            // SAFETY: none; this is the defect that the models must find.
            let now = unsafe { &(*this).released }.load(Ordering::Acquire);
            return if now == 0 { Verdict::Elected } else { Verdict::NotElected };
        }
        // Before closing the word is not negative, so this can only hit zero after.
        if before.wrapping_add(n) == 0 { Verdict::Elected } else { Verdict::NotElected }
    }

    /// The consumer is gone: from here on zero means all home.
    pub(crate) fn close(&self) -> Verdict {
        let hold = self.hold.get() as isize;
        // Pairs with `leave`, both ways, as described there.
        let order = if mutant(Mutant::RelaxedReleased) { Ordering::Relaxed } else { Ordering::AcqRel };
        let before = self.released.fetch_sub(hold, order);
        // The caller still holds the block. Release pairs with the Acquire in `inflight`: whoever sees `CLOSING` sees the
        // subtraction.
        let release = if mutant(Mutant::RelaxedClosing) { Ordering::Relaxed } else { Ordering::Release };
        self.state.store(CLOSING, release);
        if before.wrapping_sub(hold) == 0 { Verdict::Elected } else { Verdict::NotElected }
    }

    /// On 32-bit machines 2^31 pages through a pool would wrap `released` below zero. The consumer takes the same number
    /// off both sides long before. Called where the provider is asked.
    #[inline]
    pub(crate) fn rebase(&self, limit: isize) -> usize {
        let settled = self.released.load(Ordering::Relaxed);
        if settled < limit {
            return 0;
        }
        self.released.fetch_sub(settled, Ordering::Relaxed);
        self.hold.set(self.hold.get().wrapping_sub(settled as usize));
        settled as usize
    }

    /// Pages on the books: out, in the cache, in the ring. May be read at any time by anybody; elects nobody.
    pub(crate) fn inflight(&self) -> usize {
        // Acquire pairs with the Release in `close`.
        let closed = self.state.load(Ordering::Acquire) == CLOSING;
        // Release count first, hold second, as the kernel reads them: a race can only over-estimate. Acquire pairs with the
        // Release in `leave`: whoever sees a page gone sees that it had entered, and that it is a stray if it is one.
        let released = self.released.load(Ordering::Acquire);
        let hold = self.hold.get();
        if closed || released < 0 { released.unsigned_abs() } else { hold.wrapping_sub(released as usize) }
    }

    pub(crate) fn state(&self) -> PoolState {
        // Relaxed: what is older than `CLOSING` is not seen after it, and `inflight` looks again with Acquire.
        if self.state.load(Ordering::Relaxed) == OPEN {
            PoolState::Open
        } else if self.inflight() == 0 {
            PoolState::Closed
        } else {
            PoolState::Closing
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn leave(books: &Books, n: usize) -> Verdict {
        // SAFETY: a reference is valid.
        unsafe { Books::leave(books, n) }
    }

    #[test]
    fn the_last_page_elects_exactly_once() {
        let books = Books::new();
        books.hold.set(3);
        assert_eq!(leave(&books, 1), Verdict::NotElected);
        assert_eq!(books.inflight(), 2);
        assert_eq!(books.close(), Verdict::NotElected);
        assert_eq!((books.inflight(), books.state()), (2, PoolState::Closing));
        assert_eq!(leave(&books, 1), Verdict::NotElected);
        assert_eq!(leave(&books, 1), Verdict::Elected);
        assert_eq!((books.inflight(), books.state()), (0, PoolState::Closed));
    }

    #[test]
    fn closing_with_nothing_out_elects_the_closer() {
        let books = Books::new();
        assert_eq!(books.close(), Verdict::Elected);
        let books = Books::new();
        books.hold.set(2);
        assert_eq!(leave(&books, 2), Verdict::NotElected);
        assert_eq!(books.close(), Verdict::Elected);
    }

    #[test]
    fn rebasing_changes_no_difference() {
        let books = Books::new();
        books.hold.set(1000);
        assert_eq!(leave(&books, 990), Verdict::NotElected);
        assert_eq!(books.rebase(10_000), 0);
        assert_eq!(books.rebase(500), 990);
        assert_eq!(books.inflight(), 10);
        assert_eq!(books.close(), Verdict::NotElected);
        assert_eq!(leave(&books, 10), Verdict::Elected);
    }
}
