//! The cases of one thread: `single`, `napi64`, `bulk64`, `ring`.
//!
//! | case | a page's way |
//! |---|---|
//! | `single` | allocate one, give it straight back |
//! | `napi64` | allocate 64, one call each, then give 64 straight back, one call each |
//! | `bulk64` | the same with the bulk verbs, 64 in one call |
//! | `ring` | allocate one, drop it, which leaves it in the ring for a later refill |
//!
//! *Included*: everything that the call does, so for the pool the statistics, the owner check and its share of the
//! refills from the ring; where a batch or an array of 64 holds pages, its filling and emptying. *Excluded*: the
//! provider, whose pages all entered during the warm-up, and the pages' bytes, which nobody touches.
//!
//! Everybody runs through the same generic loop, one function a contender. After each call stands [`clobber`], so that no
//! count is kept in a register from one call to the next: between two calls of a real program there is
//! work, and these loops leave it out.

use core::hint::black_box;
use core::mem::MaybeUninit;

use crossbeam_queue::ArrayQueue;
use pp_core::{Home, Page, PageBatch, PagePool, PoolHandle, doc::Heap};

use crate::measure::Contender;
use crate::peers::{ArrayStack, array_queue};

/// Pages in flight; also the pool's default refill.
pub(crate) const BATCH: usize = 64;

/// Says to the compiler that all memory which anybody has a pointer to may have changed. No instruction.
#[inline(always)]
fn clobber() {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    black_box(());
}

/// Gives and takes one at a time.
pub(crate) trait Direct {
    type Item;
    fn get(&mut self) -> Option<Self::Item>;
    fn put(&mut self, item: Self::Item);
    /// All of `items`, one call each unless the contender has a better way.
    #[inline(always)]
    fn put_all(&mut self, items: impl Iterator<Item = Self::Item>) {
        for item in items {
            self.put(item);
            clobber();
        }
    }
}

/// Gives and takes 64 at a time.
trait Bulk {
    type Batch;
    fn batch() -> Self::Batch;
    fn get_all(&mut self, to: &mut Self::Batch);
    fn put_all(&mut self, from: &mut Self::Batch);
}

#[inline(never)]
pub(crate) fn single<D: Direct>(from: &mut D, pages: usize) {
    for _ in 0..pages {
        let Some(item) = from.get() else { empty() };
        clobber();
        from.put(item);
        clobber();
    }
}

#[inline(never)]
pub(crate) fn napi<D: Direct>(from: &mut D, pages: usize) {
    let mut held = [const { MaybeUninit::<D::Item>::uninit() }; BATCH];
    for _ in 0..pages / BATCH {
        for place in &mut held {
            let Some(item) = from.get() else { empty() };
            place.write(item);
            clobber();
        }
        // SAFETY: written above, and not read again before it is written again.
        from.put_all(held.iter().map(|place| unsafe { place.assume_init_read() }));
    }
}

#[inline(never)]
fn bulk<B: Bulk>(from: &mut B, pages: usize) {
    let mut batch = B::batch();
    for _ in 0..pages / BATCH {
        from.get_all(&mut batch);
        black_box(&mut batch);
        from.put_all(&mut batch);
        black_box(&mut batch);
    }
}

#[cold]
fn empty() -> ! {
    panic!("there is a page for every caller, and yet there was none")
}

impl Direct for PagePool {
    type Item = Page;
    #[inline(always)]
    fn get(&mut self) -> Option<Page> {
        self.alloc().ok()
    }
    #[inline(always)]
    fn put(&mut self, page: Page) {
        self.recycle_direct(page);
    }
}

impl Bulk for PagePool {
    type Batch = PageBatch<BATCH>;
    fn batch() -> Self::Batch {
        PageBatch::new()
    }
    #[inline(always)]
    fn get_all(&mut self, to: &mut Self::Batch) {
        self.alloc_into(to);
    }
    #[inline(always)]
    fn put_all(&mut self, from: &mut Self::Batch) {
        self.recycle_batch(from);
    }
}

/// A pool whose pages come back by the shared path.
struct ByRing(PagePool);

impl Direct for ByRing {
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
struct BulkByRing(PagePool, PoolHandle);

impl Bulk for BulkByRing {
    type Batch = PageBatch<BATCH>;
    fn batch() -> Self::Batch {
        PageBatch::new()
    }
    #[inline(always)]
    fn get_all(&mut self, to: &mut Self::Batch) {
        self.0.alloc_into(to);
    }
    #[inline(always)]
    fn put_all(&mut self, from: &mut Self::Batch) {
        self.1.put_batch(from);
    }
}

impl Direct for ArrayStack {
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
struct Lines([usize; BATCH]);

impl Bulk for ArrayStack {
    type Batch = Lines;
    fn batch() -> Self::Batch {
        Lines([0; BATCH])
    }
    #[inline(always)]
    fn get_all(&mut self, to: &mut Self::Batch) {
        self.pop_all(&mut to.0);
    }
    #[inline(always)]
    fn put_all(&mut self, from: &mut Self::Batch) {
        self.push_all(&from.0);
    }
}

impl Direct for ArrayQueue<usize> {
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

fn pool() -> PagePool {
    PagePool::builder(Home::new(Heap::new(4096, 256))).build().expect("memory for a small pool")
}

/// The contenders of `case`, the pool first; none for a case of another module.
pub(crate) fn contenders(case: &str) -> Vec<Contender> {
    let (mut pool, mut stack, mut queue) = (pool(), ArrayStack::new(BATCH), array_queue(2 * BATCH, BATCH));
    match case {
        "single" => vec![
            Contender::timed("pool", move |pages| single(&mut pool, pages)),
            Contender::timed("array stack", move |pages| single(&mut stack, pages)),
            Contender::timed("crossbeam ArrayQueue", move |pages| single(&mut queue, pages)),
        ],
        "napi64" => vec![
            Contender::timed("pool", move |pages| napi(&mut pool, pages)),
            Contender::timed("array stack", move |pages| napi(&mut stack, pages)),
            Contender::timed("crossbeam ArrayQueue", move |pages| napi(&mut queue, pages)),
        ],
        "bulk64" => vec![
            Contender::timed("pool", move |pages| bulk(&mut pool, pages)),
            Contender::timed("array stack", move |pages| bulk(&mut stack, pages)),
        ],
        "ring" => {
            let other = self::pool();
            let handle = other.handle();
            let (mut one, mut many) = (ByRing(pool), BulkByRing(other, handle));
            vec![
                Contender::timed("pool, drop", move |pages| single(&mut one, pages)),
                Contender::timed("pool, batch of 64", move |pages| bulk(&mut many, pages)),
                Contender::timed("crossbeam ArrayQueue", move |pages| single(&mut queue, pages)),
            ]
        }
        _ => Vec::new(),
    }
}
