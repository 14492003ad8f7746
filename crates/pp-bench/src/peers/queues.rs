//! What a Rust program would use to pass free buffers between threads if there were no pool.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_queue::{ArrayQueue, SegQueue};
use opool::{PoolAllocator, RefGuard};

use crate::loops::Direct;
use crate::spsc::Apart;

/// A crossbeam `ArrayQueue` of `capacity` places with `items`.
pub(crate) fn array_queue(capacity: usize, items: impl Iterator<Item = usize>) -> Arc<ArrayQueue<usize>> {
    let queue = ArrayQueue::new(capacity);
    for item in items {
        let _ = queue.push(item);
    }
    Arc::new(queue)
}

/// A crossbeam `SegQueue` with `items`.
pub(crate) fn seg_queue(items: impl Iterator<Item = usize>) -> Arc<SegQueue<usize>> {
    let queue = SegQueue::new();
    items.for_each(|item| queue.push(item));
    Arc::new(queue)
}

impl Direct for Arc<ArrayQueue<usize>> {
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        self.pop()
    }
    #[inline(always)]
    fn put(&mut self, item: usize) {
        let _ = self.push(item);
    }
}

impl Direct for Arc<SegQueue<usize>> {
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

/// What the kernel's page_pool returns through, as far as it can be had outside of it: a bounded ring of places that are empty or not, with
/// one lock for all producers and none for the one consumer. The lock sleeps, because a spinning one waits for whoever was interrupted.
pub(crate) struct LockedRing {
    /// 0 where there is nothing. A power of two of them.
    places: Box<[AtomicUsize]>,
    /// Where the next producer puts something.
    tail: Apart<Mutex<usize>>,
    /// Where the consumer takes something next; it alone changes it.
    head: Apart<AtomicUsize>,
}

/// One of `capacity` places, a power of two, with `items`, none of which may be 0.
pub(crate) fn locked_ring(capacity: usize, items: impl Iterator<Item = usize>) -> Arc<LockedRing> {
    assert!(capacity.is_power_of_two());
    let ring = LockedRing {
        places: (0..capacity).map(|_| AtomicUsize::new(0)).collect(),
        tail: Apart(Mutex::new(0)),
        head: Apart(AtomicUsize::new(0)),
    };
    for item in items {
        assert!(ring.push(item), "as many places as items");
    }
    Arc::new(ring)
}

impl LockedRing {
    /// `false` if it is full.
    #[inline]
    pub(crate) fn push(&self, item: usize) -> bool {
        let mut tail = self.tail.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &self.places[*tail & (self.places.len() - 1)];
        if place.load(Ordering::Acquire) != 0 {
            return false;
        }
        place.store(item, Ordering::Release);
        *tail += 1;
        true
    }

    /// For the one consumer.
    #[inline]
    pub(crate) fn pop(&self) -> Option<usize> {
        let head = self.head.0.load(Ordering::Relaxed);
        let place = &self.places[head & (self.places.len() - 1)];
        let item = place.load(Ordering::Acquire);
        if item == 0 {
            return None;
        }
        place.store(0, Ordering::Release);
        self.head.0.store(head + 1, Ordering::Relaxed);
        Some(item)
    }
}

impl Direct for Arc<LockedRing> {
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

/// What opool makes objects with: here, pages of the heap.
pub(crate) struct Boxes;

/// A page's worth, with a page's alignment.
#[repr(align(4096))]
pub(crate) struct PageBytes(pub(crate) [u8; 4096]);

impl PoolAllocator<Box<PageBytes>> for Boxes {
    fn allocate(&self) -> Box<PageBytes> {
        Box::new(PageBytes([0; 4096]))
    }
}

type Opool = opool::Pool<Boxes, Box<PageBytes>>;

/// An opool of `capacity` objects, all made.
pub(crate) fn opool_once(capacity: usize) -> Opool {
    Opool::new_prefilled(capacity, Boxes)
}

/// The same; it lives as long as the program, because its guards borrow it.
pub(crate) fn opool(capacity: usize) -> &'static Opool {
    Box::leak(Box::new(opool_once(capacity)))
}

impl Direct for &'static Opool {
    type Item = RefGuard<'static, Boxes, Box<PageBytes>>;
    #[inline(always)]
    fn get(&mut self) -> Option<Self::Item> {
        self.try_get()
    }
    #[inline(always)]
    fn put(&mut self, item: Self::Item) {
        drop(item);
    }
}

#[cfg(test)]
mod tests {
    use super::locked_ring;

    #[test]
    fn the_locked_ring_is_a_ring() {
        let ring = locked_ring(4, 1..=3);
        assert_eq!((ring.pop(), ring.pop()), (Some(1), Some(2)));
        assert!([4, 5, 6].into_iter().all(|item| ring.push(item)) && !ring.push(7));
        assert_eq!([(); 5].map(|()| ring.pop()), [Some(3), Some(4), Some(5), Some(6), None]);
    }
}
