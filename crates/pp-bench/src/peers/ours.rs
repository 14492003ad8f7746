//! The pool's own ways.

use pp_core::{Home, Page, PageBatch, PagePool, PoolHandle, doc::Heap};

use crate::loops::{self, BATCH, Bulk};

/// A pool of `pages` pages of 4 KiB on the heap, with as many places in its ring as a ring may have.
pub(crate) fn heap_pool(pages: usize) -> PagePool {
    let builder = PagePool::builder(Home::new(Heap::new(4096, pages))).pool_size(pages);
    builder.build().expect("memory for a pool")
}

/// Straight back into the cache.
pub(crate) struct Direct(pub(crate) PagePool);

impl loops::Direct for Direct {
    type Item = Page;
    #[inline(always)]
    fn get(&mut self) -> Option<Page> {
        self.0.alloc().ok()
    }
    #[inline(always)]
    fn put(&mut self, page: Page) {
        self.0.recycle_direct(page);
    }
}

impl Bulk for Direct {
    type Batch = PageBatch<BATCH>;
    fn batch() -> Self::Batch {
        PageBatch::new()
    }
    #[inline(always)]
    fn get_all(&mut self, to: &mut Self::Batch) {
        self.0.alloc_into(to);
        all(to);
    }
    #[inline(always)]
    fn put_all(&mut self, from: &mut Self::Batch) {
        self.0.recycle_batch(from);
    }
}

/// A batch that was not filled would be measured as one that cost nothing.
#[inline(always)]
fn all(batch: &PageBatch<BATCH>) {
    if !batch.is_full() {
        loops::empty();
    }
}

/// The same with a batch that does not know whose its pages are, because one was pushed into it: each is looked at.
pub(crate) struct Pushed(pub(crate) PagePool);

impl Bulk for Pushed {
    type Batch = PageBatch<BATCH>;
    fn batch() -> Self::Batch {
        PageBatch::new()
    }
    #[inline(always)]
    fn get_all(&mut self, to: &mut Self::Batch) {
        self.0.alloc_into(to);
        all(to);
        if let Some(page) = to.pop() {
            let _ = to.push(page);
        }
    }
    #[inline(always)]
    fn put_all(&mut self, from: &mut Self::Batch) {
        self.0.recycle_batch(from);
    }
}

/// Back by the shared path.
pub(crate) struct ByRing(pub(crate) PagePool);

impl loops::Direct for ByRing {
    type Item = Page;
    #[inline(always)]
    fn get(&mut self) -> Option<Page> {
        self.0.alloc().ok()
    }
    #[inline(always)]
    fn put(&mut self, page: Page) {
        drop(page);
    }
}

/// The same in bulk.
pub(crate) struct BulkByRing(pub(crate) PagePool, pub(crate) PoolHandle);

impl Bulk for BulkByRing {
    type Batch = PageBatch<BATCH>;
    fn batch() -> Self::Batch {
        PageBatch::new()
    }
    #[inline(always)]
    fn get_all(&mut self, to: &mut Self::Batch) {
        self.0.alloc_into(to);
        all(to);
    }
    #[inline(always)]
    fn put_all(&mut self, from: &mut Self::Batch) {
        self.1.put_batch(from);
    }
}
