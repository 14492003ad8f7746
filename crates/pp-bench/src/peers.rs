//! What the pool is compared with.
//!
//! They pass `usize`s, each of which stands for a page, and know nothing else of pages: no owner, no books, no
//! statistics, no way home to a provider.

use core::ptr::NonNull;

use crossbeam_queue::ArrayQueue;

/// The bare limit of the direct cases: an array and a count behind a pointer.
///
/// It checks that it is not empty and not full, as every stack that is used must, and does nothing else.
pub(crate) struct ArrayStack(NonNull<Inner>);

const PLACES: usize = 128;

/// Aligned as the pool's block is: copies of 64 places take twice as long across lines.
#[repr(C, align(128))]
struct Inner {
    places: [usize; PLACES],
    count: usize,
}

impl ArrayStack {
    /// With `count` of its places taken.
    pub(crate) fn new(count: usize) -> Self {
        let places = core::array::from_fn(|place| place + 1);
        ArrayStack(NonNull::from(Box::leak(Box::new(Inner { count: count.min(PLACES), places }))))
    }

    #[inline(always)]
    fn inner(&mut self) -> &mut Inner {
        // SAFETY: our own allocation, borrowed as `self` is.
        unsafe { self.0.as_mut() }
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<usize> {
        let inner = self.inner();
        if inner.count == 0 {
            return None;
        }
        inner.count -= 1;
        Some(inner.places[inner.count])
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, item: usize) -> bool {
        let inner = self.inner();
        if inner.count >= PLACES {
            return false;
        }
        inner.places[inner.count] = item;
        inner.count += 1;
        true
    }

    /// Moves as many as `to` has out of it, or none.
    #[inline(always)]
    pub(crate) fn pop_all<const N: usize>(&mut self, to: &mut [usize; N]) -> bool {
        let inner = self.inner();
        if inner.count < N || inner.count > PLACES {
            return false;
        }
        inner.count -= N;
        to.copy_from_slice(&inner.places[inner.count..inner.count + N]);
        true
    }

    /// Moves all of `from` into it, or none.
    #[inline(always)]
    pub(crate) fn push_all<const N: usize>(&mut self, from: &[usize; N]) -> bool {
        let inner = self.inner();
        if inner.count > PLACES - N {
            return false;
        }
        inner.places[inner.count..inner.count + N].copy_from_slice(from);
        inner.count += N;
        true
    }
}

impl Drop for ArrayStack {
    fn drop(&mut self) {
        // SAFETY: leaked by `new`, and not used again.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A crossbeam `ArrayQueue` of `capacity` places with `count` items.
pub(crate) fn array_queue(capacity: usize, count: usize) -> ArrayQueue<usize> {
    let queue = ArrayQueue::new(capacity);
    for item in 1..=count {
        let _ = queue.push(item);
    }
    queue
}

#[cfg(test)]
mod tests {
    use super::{ArrayStack, PLACES};

    #[test]
    fn the_stack_is_a_stack() {
        let mut stack = ArrayStack::new(2);
        assert_eq!((stack.pop(), stack.pop(), stack.pop()), (Some(2), Some(1), None));
        assert!((0..PLACES).all(|item| stack.push(item)));
        assert!(!stack.push(0));
        let mut batch = [0; 64];
        assert!(stack.pop_all(&mut batch));
        assert_eq!(batch[0], 64);
        assert!(stack.push_all(&batch) && !stack.push_all(&batch));
        assert_eq!(stack.pop(), Some(127));
    }
}
