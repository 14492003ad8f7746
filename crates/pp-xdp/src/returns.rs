//! What comes back to an allocator that is no pool, from any thread.
//!
//! The allocator has a stack of its own, which it takes from without a lock; everybody else pushes here, and when the stack is
//! empty the allocator takes all of it at once. So the lock is taken once a return, for a push, and once in a stack's length on
//! the other side. It spins: what is done under it is a few instructions, and there is nothing to sleep on without an
//! operating system. Memory leaves and enters providers outside of it.

use alloc::vec::Vec;

use pp_core::BuildError;
use pp_core::lock::{Locked, SpinLock};
use pp_core::sync::{Mutant, mutant};

use crate::sync::Arc;

/// An empty list with room for `len` items. The caller chose the number, so memory may not do.
pub(crate) fn room<T>(len: usize) -> Result<Vec<T>, BuildError> {
    let mut items = Vec::new();
    items.try_reserve_exact(len).map_err(|_| BuildError::OutOfMemory)?;
    Ok(items)
}

/// An allocator's free list: its own stack, and what others return.
pub(crate) struct Stock<T> {
    free: Vec<T>,
    returns: Arc<Returns<T>>,
    keep: usize,
}

struct Returns<T>(Locked<SpinLock, Inner<T>>);

struct Inner<T> {
    items: Vec<T>,
    /// At most so many items.
    keep: usize,
    /// Whether the allocator is still there.
    open: bool,
}

impl<T> Stock<T> {
    /// Room for `keep` items on each side, the allocator's and that of those who return, so that nobody allocates later.
    pub(crate) fn new(keep: usize) -> Result<Self, BuildError> {
        Ok(Stock { free: room(keep)?, returns: Returns::new(keep)?, keep })
    }

    /// Items on the allocator's side.
    pub(crate) fn len(&self) -> usize {
        self.free.len()
    }

    /// At most so many items on each side.
    pub(crate) fn keep(&self) -> usize {
        self.keep
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.free.is_empty() {
            self.returns.take_into(&mut self.free);
        }
        self.free.pop()
    }

    /// Lays an item down, for which there is room.
    pub(crate) fn push(&mut self, item: T) {
        self.free.push(item);
    }

    /// An item that comes back here when it is dropped.
    pub(crate) fn lend(&self, item: T) -> Loan<T> {
        Loan { item: Some(item), returns: self.returns.clone() }
    }

    /// What was lent here; otherwise the loan as it was.
    pub(crate) fn redeem(&self, mut loan: Loan<T>) -> Result<T, Loan<T>> {
        if !Arc::ptr_eq(&loan.returns, &self.returns) {
            return Err(loan);
        }
        loan.item.take().ok_or(loan)
    }

    /// Lays down what was lent here, without the lock; another's goes back to that one.
    pub(crate) fn recycle(&mut self, loan: Loan<T>) {
        if self.free.len() >= self.keep {
            return drop(loan); // the other side may have room
        }
        match self.redeem(loan) {
            Ok(item) => self.push(item),
            Err(others) => drop(others),
        }
    }
}

impl<T> Drop for Stock<T> {
    fn drop(&mut self) {
        drop(self.returns.close());
    }
}

impl<T> Returns<T> {
    fn new(keep: usize) -> Result<Arc<Self>, BuildError> {
        Ok(Arc::new(Returns(Locked::new(Inner { items: room(keep)?, keep, open: true }))))
    }

    /// Gives an item back, or says that there is no room or no allocator.
    fn give(&self, item: T) -> Result<(), T> {
        self.0.with(|inner| {
            let open = inner.open || mutant(Mutant::Named("a return to who has gone"));
            if !open || inner.items.len() >= inner.keep {
                return Err(item);
            }
            inner.items.push(item);
            Ok(())
        })
    }

    /// Takes all there is into `stack`, which is empty and has room for as many.
    fn take_into(&self, stack: &mut Vec<T>) {
        self.0.with(|inner| core::mem::swap(&mut inner.items, stack));
    }

    /// The allocator goes: what comes from now on is the returner's to send home.
    fn close(&self) -> Vec<T> {
        self.0.with(|inner| {
            inner.open = false;
            core::mem::take(&mut inner.items)
        })
    }
}

/// An item that goes back to its allocator when it is dropped, or, when that is gone, the way of its own drop.
pub(crate) struct Loan<T> {
    /// There until the drop.
    item: Option<T>,
    returns: Arc<Returns<T>>,
}

impl<T> Loan<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.item.as_ref()
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.item.as_mut()
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        // What is not taken is dropped here, outside of the lock.
        let _homeless = self.item.take().map(|item| self.returns.give(item));
    }
}
