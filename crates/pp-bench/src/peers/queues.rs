//! What a Rust program would use to pass free buffers between threads if there were no pool.

use alloc::sync::Arc;

use crossbeam_queue::{ArrayQueue, SegQueue};
use opool::{PoolAllocator, RefGuard};

use crate::loops::Direct;

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
