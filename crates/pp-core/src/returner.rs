//! For threads that return much.

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::access::{Access, Host};
use crate::bag::BagWriter;
use crate::batch::PageBatch;
use crate::block::BlockRef;
use crate::descriptor::Descriptor;
use crate::page::Page;
use crate::put;
use crate::ring::CacheLine;

/// A bag of its own for one thread, registered with the pool.
///
/// The consumer takes from it when it refills: there is nothing to flush, and a sleeping thread strands nothing. A full bag
/// spills to the ring, and pages of other pools find their own way. Dropping it frees the place for another; what lies in
/// it stays for the consumer.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).returners(1, 64).build()?;
/// let mut returner = pool.handle().returner().expect("one place");
/// assert!(pool.handle().returner().is_none());
/// let page = pool.alloc()?;
/// std::thread::spawn(move || returner.put(page)).join().unwrap();
/// assert_eq!(pool.stats().in_ring, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Returner<A: Access = Host> {
    block: BlockRef,
    index: usize,
    /// On lines of its own: each put writes it, and Returners of several threads may lie side by side.
    writer: CacheLine<BagWriter>,
    _access: PhantomData<fn(A)>,
}

impl<A: Access> Returner<A> {
    pub(crate) fn claim(block: &BlockRef) -> Option<Self> {
        let (index, writer) = block
            .bags
            .iter()
            .enumerate()
            .find_map(|(index, bag)| bag.claim().map(|writer| (index, CacheLine(writer))))?;
        Some(Returner { block: block.clone(), index, writer, _access: PhantomData })
    }

    /// Puts one page.
    #[inline]
    pub fn put(&mut self, page: Page<A>) {
        let descriptor = page.into_descriptor();
        // SAFETY: the page came by value. The bag is ours since `claim`.
        let is_put = self
            .block
            .bags
            .get(self.index)
            .is_some_and(|bag| unsafe { put::put_one_in_bag(&self.block, bag, &mut self.writer.0, descriptor) });
        if !is_put {
            // SAFETY: refused, so still ours.
            unsafe { put::put_rarely(descriptor) };
        }
    }

    /// Puts all pages of `batch`: plain stores and one read-modify-write. The batch is empty afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, PageBatch, PagePool, doc::Heap};
    /// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 64))).returners(1, 64).build()?;
    /// let mut batch: PageBatch<32> = pool.alloc_batch();
    /// let mut returner = pool.handle().returner().expect("one place");
    /// std::thread::spawn(move || returner.put_batch(&mut batch)).join().unwrap();
    /// assert_eq!(pool.stats().in_ring, 32);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn put_batch<const N: usize>(&mut self, batch: &mut PageBatch<N, A>) {
        self.put_run(batch.take());
    }

    fn put_run(&mut self, run: &[NonNull<Descriptor>]) {
        // SAFETY: the pages came by value or were given up by their batch. The bag is ours since `claim`.
        unsafe {
            match self.block.bags.get(self.index) {
                Some(bag) => put::put_in_bag(&self.block, bag, &mut self.writer.0, run),
                None => put::put_many(run),
            }
        }
    }
}

impl<A: Access> Drop for Returner<A> {
    fn drop(&mut self) {
        if let Some(bag) = self.block.bags.get(self.index) {
            bag.disown();
        }
    }
}

impl<A: Access> core::fmt::Debug for Returner<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Returner").field("pool", &self.block.config.name).field("bag", &self.index).finish()
    }
}
