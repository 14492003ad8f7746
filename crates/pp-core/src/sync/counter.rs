//! Counters with one writer.

use core::sync::atomic::{AtomicUsize, Ordering};

/// A number that one context writes and any may read: a plain load and a plain store, never a read-modify-write.
///
/// Always a `core` atomic: it decides nothing that another thread relies on, so a model checker need not branch on it.
///
/// | state | meaning |
/// |---|---|
/// | `n` | what its single writer last stored; readers may see an older one |
///
/// # Examples
///
/// ```
/// use pp_core::sync::Counter;
/// let count = Counter::new(5);
/// count.add(2); // by its one writer
/// count.sub(1);
/// count.add_shared(4); // by anybody: a read-modify-write
/// count.sub_shared(1);
/// assert_eq!(count.get(), 9);
/// count.set(0);
/// ```
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicUsize);

impl Counter {
    /// Starts at `value`.
    #[inline(always)]
    pub const fn new(value: usize) -> Self {
        Counter(AtomicUsize::new(value))
    }

    /// The current value.
    #[inline(always)]
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Overwrites the value; for the single writer.
    #[inline(always)]
    pub fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n`, wrapping; for the single writer.
    #[inline(always)]
    pub fn add(&self, n: usize) {
        self.set(self.get().wrapping_add(n));
    }

    /// Takes `n` away, wrapping; for the single writer.
    #[inline(always)]
    pub fn sub(&self, n: usize) {
        self.set(self.get().wrapping_sub(n));
    }

    /// Adds `n` from any context. For counts that leave the fast paths only: this one is a read-modify-write.
    #[inline]
    pub fn add_shared(&self, n: usize) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away from any context.
    #[inline]
    pub fn sub_shared(&self, n: usize) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}
