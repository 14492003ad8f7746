//! The books: how many pages a pool still has to wait for, and who ends it.
//!
//! `hold` counts pages entering and is the consumer's own. `released` counts pages leaving, from any thread. Closing
//! subtracts `hold` from `released` once and marks the word; whoever makes the difference zero after that, the closing consumer
//! or the thread that brings the last page, is *elected* and tears the pool down. One read-modify-write decides, so there is
//! exactly one elected thread, and for all others that read-modify-write is the last touch. A read never elects.
//!
//! Kernel counterpart: `pages_state_hold_cnt`, `pages_state_release_cnt`, `page_pool_inflight` (Linux 7.3). The
//! kernel polls once a second for the moment that this election finds by itself.

use crate::sync::{AtomicUsize, Counter, Mutant, Ordering, mutant};

/// The one who got it tears the pool down.
#[must_use = "an elected thread must tear the pool down"]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Elected,
    NotElected,
}

/// Whether a pool still has a consumer. See [`PoolHandle`](crate::PoolHandle).
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

/// The lowest bit of the word: there is no consumer any more.
const CLOSED: usize = 1;
const ONE: usize = 2;

pub(crate) struct Books {
    /// Pages that ever entered. Written by the consumer.
    pub(crate) hold: Counter,
    /// Counts in twos, so that the lowest bit can say whether the pool is closed. All arithmetic wraps: only differences
    /// count, and those are small.
    ///
    /// | state | meaning | who leaves it |
    /// |---|---|---|
    /// | 2n | open, n pages left so far | `leave` adds; `close` subtracts `hold` and sets the bit |
    /// | 1 - 2n | closed, n pages still out | `leave` adds |
    /// | 1 | closed, all home; the thread that wrote it was elected | nobody |
    released: AtomicUsize,
    /// Pages off the books and not yet home: detached, or released while shared.
    pub(crate) strays: Counter,
}

impl Books {
    pub(crate) fn new() -> Self {
        Books { hold: Counter::new(0), released: AtomicUsize::new(0), strays: Counter::new(0) }
    }

    /// Books out `n` pages. The caller's last touch of the pool unless elected; by pointer, because a reference argument would
    /// outlive that touch.
    ///
    /// # Safety
    ///
    /// `this` is valid; the caller's pages that leave now are what keeps it so.
    #[inline]
    pub(crate) unsafe fn leave(this: *const Self, n: usize) -> Verdict {
        // Release: what this thread did with pool and pages happens before the teardown. Acquire: if we are
        // elected, what all the others did happens before ours. Both pair with this same operation elsewhere and with `close`.
        let order = if mutant(Mutant::RelaxedReleased) { Ordering::Relaxed } else { Ordering::AcqRel };
        // SAFETY: valid until our pages are booked out, which this does.
        let before = unsafe { &(*this).released }.fetch_add(n * ONE, order);
        if mutant(Mutant::ElectByRead) {
            // SAFETY: none; this is the defect that the models must find.
            return Books::verdict(unsafe { &(*this).released }.load(Ordering::Acquire));
        }
        Books::verdict(before.wrapping_add(n * ONE))
    }

    /// The consumer is gone: from here on the word says what is still out.
    pub(crate) fn close(&self) -> Verdict {
        let less = self.hold.get().wrapping_mul(ONE).wrapping_sub(CLOSED);
        // Pairs with `leave`, both ways, as described there.
        let order = if mutant(Mutant::RelaxedReleased) { Ordering::Relaxed } else { Ordering::AcqRel };
        let before = self.released.fetch_sub(less, order);
        Books::verdict(before.wrapping_sub(less))
    }

    /// An open pool's word is even, so nobody is elected before the close.
    fn verdict(word: usize) -> Verdict {
        if word == CLOSED { Verdict::Elected } else { Verdict::NotElected }
    }

    fn look(&self) -> usize {
        // Acquire pairs with the Release in `leave`: whoever sees a page gone sees that it had entered, and that it is a stray
        // if it is one. No model can tell: both of these are plain counters, whose newest value a model checker always sees.
        self.released.load(Ordering::Acquire)
    }

    /// Pages on the books: out, in the cache, in the ring. May be read at any time by anybody; elects nobody.
    pub(crate) fn inflight(&self) -> usize {
        // Release count first, hold second, as the kernel reads them: a race can only over-estimate.
        let word = self.look();
        let held = if word & CLOSED == 0 { self.hold.get().wrapping_mul(ONE) } else { CLOSED };
        held.wrapping_sub(word) / ONE
    }

    pub(crate) fn state(&self) -> PoolState {
        match self.look() {
            CLOSED => PoolState::Closed,
            word if word & CLOSED == 0 => PoolState::Open,
            _ => PoolState::Closing,
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
    fn counts_that_wrap_change_no_difference() {
        let books = Books::new();
        books.hold.set(usize::MAX / 2 + 8);
        assert_eq!(leave(&books, usize::MAX / 2), Verdict::NotElected);
        assert_eq!(leave(&books, 3), Verdict::NotElected);
        assert_eq!((books.inflight(), books.state()), (5, PoolState::Open));
        assert_eq!(books.close(), Verdict::NotElected);
        assert_eq!((books.inflight(), books.state()), (5, PoolState::Closing));
        assert_eq!(leave(&books, 5), Verdict::Elected);
    }

    #[test]
    fn a_look_at_any_moment_of_the_close_sees_what_is_out() {
        let books = Books::new();
        books.hold.set(2000);
        assert_eq!(leave(&books, 1999), Verdict::NotElected);
        assert_eq!(books.inflight(), 1);
        assert_eq!(books.close(), Verdict::NotElected);
        assert_eq!(books.inflight(), 1);
    }
}
