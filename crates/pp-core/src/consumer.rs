//! What the consumer does out of line, and what it needs for that.
//!
//! [`PagePool`](crate::PagePool) holds one of these beside the block. Its inline paths touch the block only; whatever they
//! cannot do in a few instructions is here, and the refill is in [`refill`](crate::refill).

use alloc::vec::Vec;
use core::ptr::NonNull;

use crate::bag::Bag;
use crate::block::{BlockRef, Place, Table};
use crate::descriptor::Descriptor;
use crate::dma::DmaRange;
use crate::error::AllocError;
use crate::hooks::Zeroing;
use crate::pool::NodePolicy;
use crate::put::{self, Outbox};
use crate::ring::{RingReader, Step};
use crate::stats::ConsumerCounts;
use crate::sync::{Mutant, Ordering, mutant};

/// What a page that enters the cache needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) zeroing: Zeroing,
    pub(crate) sync: bool,
    pub(crate) check_node: bool,
}

/// See the module.
pub(crate) struct Consumer {
    pub(crate) block: BlockRef,
    pub(crate) entry: Entry,
    pub(crate) node: NodePolicy,
    pub(crate) refill: usize,
    pub(crate) reader: RingReader,
    /// The bags to look into first at the next refill, of those for Returners and those for batches.
    pub(crate) next_returner: usize,
    pub(crate) next_batch: usize,
    /// Units this pool has mapped, each perhaps no longer. Kept so that closing can unmap what is still out.
    pub(crate) mapped: Vec<NonNull<Descriptor>>,
    pub(crate) above_watermark: bool,
    /// Why the last allocation failed, kept here so that the fast path returns one word.
    pub(crate) error: AllocError,
}

impl Consumer {
    pub(crate) fn new(block: BlockRef, entry: Entry, node: NodePolicy, refill: usize) -> Self {
        let reader = block.ring.reader();
        Consumer {
            block,
            entry,
            node,
            refill,
            reader,
            next_returner: 0,
            next_batch: 0,
            mapped: Vec::new(),
            above_watermark: false,
            error: AllocError::OutOfMemory,
        }
    }

    #[inline(always)]
    pub(crate) fn counts(&self) -> &ConsumerCounts {
        &self.block.consumer.0
    }

    /// Provider, DMA and hooks: there as long as the consumer is.
    #[inline]
    pub(crate) fn table(&self) -> &Table {
        // SAFETY: the consumer is open until its drop is through.
        unsafe { self.block.table() }
    }

    #[cold]
    pub(crate) fn alloc_slow(&mut self) -> Result<NonNull<Descriptor>, AllocError> {
        if let Some(high_order) = self.refill_cache().ok_or(self.error)? {
            return Ok(high_order);
        }
        let counts = self.counts();
        let rest = counts.len.get() - 1;
        counts.len.set(rest);
        counts.pops.add(1);
        // SAFETY: a refill that succeeded left at least one page.
        Ok(unsafe { (*self.block.place(rest)).assume_init() })
    }

    #[cold]
    pub(crate) fn recycle_slow(&self, descriptor: NonNull<Descriptor>) {
        // SAFETY: given up by the caller, so ours.
        let page = unsafe { descriptor.as_ref() };
        let ours = page.owner.load(Ordering::Relaxed) == self.block.owner_word();
        let len = self.counts().len.get();
        if ours && len < self.block.config.cache_capacity {
            self.sync_for_device(page);
            // SAFETY: the length is below the capacity.
            unsafe { self.block.place(len).write(Place::new(descriptor)) };
            self.counts().len.set(len + 1);
            return;
        }
        if ours {
            self.counts().cache_full.add(1);
        }
        // SAFETY: ours to give up.
        unsafe { put::put_rarely(descriptor) };
    }

    /// Syncs `range` of a page for the CPU, counted from the pool's sync offset.
    pub(crate) fn sync_for_cpu(&self, page: &Descriptor, range: DmaRange) {
        let Some(sync) = self.table().dma.as_ref().and_then(|dma| dma.sync) else { return };
        self.sync_range_for_cpu(page, DmaRange { offset: sync.offset.saturating_add(range.offset), len: range.len });
    }

    /// The same, counted from the page's first byte.
    pub(crate) fn sync_range_for_cpu(&self, page: &Descriptor, range: DmaRange) {
        let Some(dma) = &self.table().dma else { return };
        // Another pool's address means something else to this pool's device, or nothing.
        let ours = put::block_of(page.owner.load(Ordering::Relaxed)) == Some(self.block.as_ptr());
        let (Some(_), Some(addr), true) = (dma.sync, page.dma(), ours) else { return };
        let len = range.len.min(page.unit_bytes().saturating_sub(range.offset));
        if len > 0 {
            dma.ops.sync_for_cpu(addr, DmaRange { offset: range.offset, len }, dma.direction);
        }
    }

    /// See [`PagePool::trim`](crate::PagePool::trim).
    pub(crate) fn trim(&mut self, keep: usize) -> usize {
        let stats = self.block.stats();
        let mut excess = (stats.in_cache + stats.in_ring).saturating_sub(keep);
        let start = excess;
        // SAFETY: the consumer is open.
        let mut outbox = unsafe { Outbox::<64>::new(self.block.as_ptr()) };
        let mut give = |value: usize| {
            self.block.consumer.0.ring_taken.add(1);
            if let Some(descriptor) = NonNull::new(core::ptr::with_exposed_provenance_mut(value)) {
                // SAFETY: taken out of the ring or a bag, so the consumer's.
                unsafe { outbox.push(descriptor) };
            }
            Step::More
        };
        while excess > 0 {
            let mut taken = self.block.ring.take(&mut self.reader, excess, &mut give);
            for bag in &self.block.bags {
                taken += bag.take(excess - taken, &mut give);
            }
            if taken == 0 {
                taken = self.block.ring.sweep(&mut self.reader, excess, &mut give);
            }
            if taken == 0 {
                break;
            }
            excess -= taken;
        }
        drop(outbox);
        let from_cache = excess.min(self.counts().len.get());
        self.flush_cache(from_cache);
        start - (excess - from_cache)
    }

    /// Gives the `count` pages that lie longest in the cache back to the provider.
    pub(crate) fn flush_cache(&mut self, count: usize) {
        let counts = self.counts();
        let len = counts.len.get();
        let count = count.min(len);
        // SAFETY: the first `len` places are initialised and the consumer's alone.
        unsafe { core::slice::from_raw_parts_mut(self.block.place(0), len) }.rotate_left(count);
        // SAFETY: the consumer is open.
        let mut outbox = unsafe { Outbox::<64>::new(self.block.as_ptr()) };
        for rest in (len - count..len).rev() {
            counts.len.set(rest);
            counts.flushed.add(1);
            // SAFETY: it was below the length and no longer is, so it is ours alone.
            unsafe { outbox.push((*self.block.place(rest)).assume_init()) };
        }
    }

    /// Everything idle leaves, everything that comes later is turned away. Can be called again after a hook panicked.
    pub(crate) fn close(&mut self) {
        let counts = self.counts();
        // SAFETY: the consumer is open until `Books::close`, after this.
        let mut outbox = unsafe { Outbox::<64>::new(self.block.as_ptr()) };
        while let Some(rest) = counts.len.get().checked_sub(1) {
            counts.len.set(rest);
            counts.flushed.add(1);
            // SAFETY: it was below the length and no longer is, so it is ours alone.
            unsafe { outbox.push((*self.block.place(rest)).assume_init()) };
        }
        let mut give = |value: usize| {
            counts.ring_taken.add(1);
            if let Some(descriptor) = NonNull::new(core::ptr::with_exposed_provenance_mut(value)) {
                // SAFETY: a seal's swap or a claim took it out, so it is the consumer's.
                unsafe { outbox.push(descriptor) };
            }
        };
        self.block.ring.seal(&mut give);
        if !self.block.bags.is_empty() {
            self.block.bags.iter().for_each(Bag::close);
            // Pairs with the store and the load in `Bag::advance`, and with the fence in `Bag::state_at_last`.
            self.block.config.returns_fence.heavy();
        }
        for bag in &self.block.bags {
            while !mutant(Mutant::BagForgotten)
                && let Some(value) = bag.claim_closed()
            {
                give(value);
            }
        }
        drop(outbox);
        let mapped = core::mem::take(&mut self.mapped);
        if let Some(dma) = &self.table().dma {
            for descriptor in mapped {
                // SAFETY: descriptors stay readable as long as the provider lives, and we are still open on it.
                self.block.scrub(dma, unsafe { descriptor.as_ref() });
            }
        }
    }
}
