//! The bare limit of the direct cases: an array and a count behind a pointer.

use core::ptr::NonNull;

use crate::loops::{BATCH, Bulk, Direct, empty};

/// It checks that it is not empty and not full, as every stack that is used must, and does nothing else.
pub(crate) struct ArrayStack<const PLACES: usize = 128>(NonNull<Inner<PLACES>>);

/// Aligned as the pool's block is: copies of 64 places take twice as long across lines.
#[repr(C, align(128))]
struct Inner<const PLACES: usize> {
    places: [usize; PLACES],
    count: usize,
}

impl<const PLACES: usize> ArrayStack<PLACES> {
    /// With as many of `items` as fit.
    pub(crate) fn new(items: impl Iterator<Item = usize>) -> Self {
        let mut stack = ArrayStack(NonNull::from(Box::leak(Box::new(Inner { count: 0, places: [0; PLACES] }))));
        for item in items {
            stack.push(item);
        }
        stack
    }

    #[inline(always)]
    fn inner(&mut self) -> &mut Inner<PLACES> {
        // SAFETY: our own allocation, borrowed as `self` is.
        unsafe { self.0.as_mut() }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<usize> {
        let inner = self.inner();
        if inner.count == 0 {
            return None;
        }
        inner.count -= 1;
        Some(inner.places[inner.count])
    }

    #[inline(always)]
    fn push(&mut self, item: usize) -> bool {
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
    fn pop_all<const N: usize>(&mut self, to: &mut [usize; N]) -> bool {
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
    fn push_all<const N: usize>(&mut self, from: &[usize; N]) -> bool {
        let inner = self.inner();
        if inner.count > PLACES - N {
            return false;
        }
        inner.places[inner.count..inner.count + N].copy_from_slice(from);
        inner.count += N;
        true
    }
}

impl<const PLACES: usize> Drop for ArrayStack<PLACES> {
    fn drop(&mut self) {
        // SAFETY: leaked by `new`, and not used again.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<const PLACES: usize> Direct for ArrayStack<PLACES> {
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        self.pop()
    }
    #[inline(always)]
    fn put(&mut self, item: usize) {
        self.push(item);
    }
}

/// On lines of its own, which is where copies are fastest.
#[repr(align(64))]
pub(crate) struct Lines([usize; BATCH]);

impl<const PLACES: usize> Bulk for ArrayStack<PLACES> {
    type Batch = Lines;
    fn batch() -> Self::Batch {
        Lines([0; BATCH])
    }
    #[inline(always)]
    fn get_all(&mut self, to: &mut Self::Batch) {
        if !self.pop_all(&mut to.0) {
            empty();
        }
    }
    #[inline(always)]
    fn put_all(&mut self, from: &mut Self::Batch) {
        assert!(self.push_all(&from.0), "room for what came out of it");
    }
}

#[cfg(test)]
mod tests {
    use super::ArrayStack;

    #[test]
    fn the_stack_is_a_stack() {
        let mut stack = ArrayStack::<128>::new(1..=2);
        assert_eq!((stack.pop(), stack.pop(), stack.pop()), (Some(2), Some(1), None));
        assert!((0..128).all(|item| stack.push(item)));
        assert!(!stack.push(0));
        let mut batch = [0; 64];
        assert!(stack.pop_all(&mut batch));
        assert_eq!(batch[0], 64);
        assert!(stack.push_all(&batch) && !stack.push_all(&batch));
        assert_eq!(stack.pop(), Some(127));
    }
}
