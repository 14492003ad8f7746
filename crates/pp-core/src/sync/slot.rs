//! One place of the ring: empty, a page, or sealed.

use super::{AtomicUsize, Clock, Mutant, Ordering, mutant};

/// What a closed slot holds. Odd, so it is no descriptor's address.
pub(crate) const SEAL: usize = 1;

/// One place that many threads publish into and one takes from.
///
/// | state | meaning | who leaves it |
/// |---|---|---|
/// | 0 | empty | a producer's `publish`, the closer's `seal` |
/// | `SEAL` | closed for good | nobody |
/// | other | the address of a published descriptor | the consumer's `take` or `seal` |
#[derive(Debug)]
pub(crate) struct Slot {
    word: AtomicUsize,
    clock: Clock,
}

impl Slot {
    /// An empty slot.
    pub(crate) fn new() -> Self {
        Slot { word: AtomicUsize::new(0), clock: Clock::new() }
    }

    /// What is in it now; a hint for everybody but the consumer.
    #[inline(always)]
    pub(crate) fn peek(&self) -> usize {
        self.clock.tick();
        self.word.load(Ordering::Relaxed)
    }

    /// Puts `value` into an empty slot. `Err` carries what was there instead: a page, or `SEAL`.
    ///
    /// On success the caller has given `value` away and may not touch anything it kept alive.
    #[inline(always)]
    pub(crate) fn publish(&self, value: usize) -> Result<(), usize> {
        self.clock.tick();
        // Release: what the returner did to the page happens before the consumer's Acquire in `take` or `seal`.
        // Relaxed on failure: the caller still owns its page and learns nothing about others.
        if mutant(Mutant::PublishByStore) {
            let before = self.word.load(Ordering::Relaxed);
            if before != 0 {
                return Err(before);
            }
            self.clock.tick();
            self.word.store(value, Ordering::Release);
            return Ok(());
        }
        let success = if mutant(Mutant::RelaxedPublish) { Ordering::Relaxed } else { Ordering::Release };
        self.word.compare_exchange(0, value, success, Ordering::Relaxed).map(|_| ())
    }

    /// Takes what was published, leaving the slot empty. For the consumer, before it closed.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<usize> {
        self.clock.tick();
        // Acquire pairs with the Release in `publish`.
        let acquire = if mutant(Mutant::RelaxedTake) { Ordering::Relaxed } else { Ordering::Acquire };
        let value = self.word.load(acquire);
        if value == 0 {
            return None;
        }
        // Relaxed: only producers look for the zero, and they bring their own page; nothing else rides on it.
        // A plain store is enough: a slot that is not empty is left by the consumer alone.
        self.word.store(0, Ordering::Relaxed);
        Some(value)
    }

    /// Closes the slot and takes what was in it. For the consumer.
    #[inline]
    pub(crate) fn seal(&self) -> Option<usize> {
        self.clock.tick();
        // Acquire pairs with the Release in `publish`. A publisher that finds the seal releases its page itself, and
        // that needs nothing from us, so no Release.
        let with = if mutant(Mutant::NoSeal) { 0 } else { SEAL };
        let acquire = if mutant(Mutant::RelaxedSeal) { Ordering::Relaxed } else { Ordering::Acquire };
        let value = self.word.swap(with, acquire);
        (value != 0 && value != SEAL).then_some(value)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Slot::new()
    }
}
