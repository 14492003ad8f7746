//! The slow path: pages into the cache, from the bags, from the ring, from the provider.
//!
//! Kernel counterpart: `page_pool_refill_alloc_cache`, `__page_pool_alloc_netmems_slow` (Linux 7.3).

use alloc::collections::BinaryHeap;
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::bag::Bag;
use crate::block::{PREMAPPED, Place};
use crate::consumer::Consumer;
use crate::descriptor::{Descriptor, Recycling, SYNC_FULL, owner};
use crate::dma::DmaError;
use crate::error::AllocError;
use crate::hooks::{self, Zeroing};
use crate::limit::{Crossing, Pressure};
use crate::provider::{NodeId, Request, Unit, UnitDrain, UnitSink};
use crate::put::{self, Outbox};
use crate::ring::Step;
use crate::sync::{Mutant, Ordering, mutant};

impl Consumer {
    /// Fills the empty cache. `Some(None)`: it holds at least one page. `Some(Some(page))`: one page of high order, which
    /// goes past the cache. `None`: nothing to be had, and `self.error` says why.
    #[cold]
    pub(crate) fn refill_cache(&mut self) -> Option<Option<NonNull<Descriptor>>> {
        debug_assert_eq!(self.counts().len.get(), 0);
        self.block.enter();
        let node = self.node.preferred();
        let outcome = if self.refill_from_returns(node) {
            self.counts().refill.add(1);
            Ok(None)
        } else {
            self.counts().empty.add(1);
            self.refill_from_provider(node)
        };
        /// Puts a page of high order that nobody was given: it is in no cache, so a callback that panics would strand it.
        struct InHand(Option<NonNull<Descriptor>>);
        impl Drop for InHand {
            fn drop(&mut self) {
                if let Some(page) = self.0 {
                    // SAFETY: fresh from the provider, on the books, and not given to anybody.
                    unsafe { put::put(page) };
                }
            }
        }
        let outcome = outcome.map(InHand);
        self.notice_pressure();
        outcome.map(|mut page| page.0.take()).map_err(|error| self.error = error).ok()
    }

    /// Bags and ring. Whether that brought at least one page.
    fn refill_from_returns(&mut self, node: Option<NodeId>) -> bool {
        let wanted_node = node.filter(|_| self.entry.check_node);
        if wanted_node.is_some() || self.entry.sync || self.entry.zeroing == Zeroing::OnCrossOwner {
            self.refill_with_care(wanted_node);
        } else {
            self.refill_plainly();
        }
        self.counts().len.get() > 0
    }

    /// Nothing to be done for a page: straight into the cache, and counted together.
    fn refill_plainly(&mut self) {
        let places = self.block.as_ptr();
        let taken = self.take_returned(|index, value| {
            let descriptor = core::ptr::with_exposed_provenance_mut::<Descriptor>(value);
            // SAFETY: (1) what was published is the address of a descriptor. (2) At most `refill` pages are taken, into an empty
            // cache of at least that capacity.
            unsafe {
                let place = places.as_ptr().add(1).cast::<Place>().add(index);
                place.write(Place::new(NonNull::new_unchecked(descriptor)));
            }
            Step::More
        });
        let counts = self.counts();
        counts.ring_taken.add(taken);
        counts.filled.add(taken);
        counts.len.set(taken);
    }

    /// Looks at the node, clears, syncs. What of that runs foreign code may panic, so each page is counted by itself.
    fn refill_with_care(&mut self, wanted_node: Option<NodeId>) {
        let (entry, places) = (self.entry, self.block.as_ptr());
        // SAFETY: our own reference keeps the block; apart from `self`, which the taking borrows.
        let block = unsafe { places.as_ref() };
        let counts = &block.consumer.0;
        // SAFETY: the consumer is open.
        let table = unsafe { block.table() };
        self.take_returned(|_, value| {
            counts.ring_taken.add(1);
            let Some(descriptor) = NonNull::new(core::ptr::with_exposed_provenance_mut::<Descriptor>(value)) else {
                debug_assert!(false, "what was returned is no page");
                return Step::More;
            };
            // SAFETY: taken out of the ring or a bag, so the consumer's.
            let page = unsafe { descriptor.as_ref() };
            if wanted_node.is_some_and(|node| node != page.node()) {
                // One at a time, as the kernel does: a burst of foreign pages must not flood the provider.
                counts.waive.add(1);
                // SAFETY: ours, on the books.
                unsafe { Outbox::<1>::new(places).push(descriptor) };
                return Step::Stop;
            }
            if entry.zeroing == Zeroing::OnCrossOwner {
                // SAFETY: ours; the builder offers zeroing for memory the CPU can write only.
                unsafe { hooks::zero(page) };
                // All of it was written just now, whatever the put said.
                page.sync_len().store(SYNC_FULL, Ordering::Relaxed);
            }
            if entry.sync
                && let Some(dma) = &table.dma
            {
                dma.sync_for_device(page);
            }
            let len = counts.len.get();
            // SAFETY: as in `refill_plainly`.
            unsafe { places.as_ptr().add(1).cast::<Place>().add(len).write(Place::new(descriptor)) };
            counts.len.set(len + 1);
            counts.filled.add(1);
            Step::More
        });
    }

    /// Takes a refill's worth out of the bags and the ring and says how many that were; `accept` gets each with its number. A
    /// ring whose heads and the bags have nothing is swept before the provider is asked.
    #[inline(always)]
    fn take_returned(&mut self, accept: impl Fn(usize, usize) -> Step) -> usize {
        let Consumer { block, refill: want, reader, next_returner, next_batch, .. } = self;
        let (want, bags) = (*want, block.returner_bags());
        let stopped = Cell::new(false);
        // Counts in a register: a closure of its own for each of the three.
        let numbered = |mut index: usize| {
            let (accept, stopped) = (&accept, &stopped);
            move |value| {
                index += 1;
                let step = accept(index - 1, value);
                // A branch, which the plain path's constant answer makes vanish.
                if step == Step::Stop {
                    stopped.set(true);
                }
                step
            }
        };
        let mut taken = 0;
        // As `take_in_turns` does, in place: out of line, each page of a Returner cost four instructions more.
        for step in 0..bags.len() {
            if taken < want && !stopped.get() {
                taken += bags[(*next_returner + step) % bags.len()].take(want - taken, numbered(taken));
            }
        }
        if !bags.is_empty() {
            *next_returner = (*next_returner + 1) % bags.len();
        }
        if taken < want && !stopped.get() && block.batch_bags().iter().any(Bag::has_some) {
            let step;
            (taken, step) = take_in_turns(block.batch_bags(), next_batch, taken, want, &accept);
            stopped.set(step == Step::Stop);
        }
        if taken < want && !stopped.get() {
            taken += block.ring.take(reader, want - taken, numbered(taken));
        }
        if taken == 0 && block.ring.capacity() > 1 {
            taken = block.ring.sweep(reader, want, numbered(0));
        }
        taken
    }

    fn refill_from_provider(&mut self, node: Option<NodeId>) -> Result<Option<NonNull<Descriptor>>, AllocError> {
        let counts = self.counts();
        let room = self.block.limits.limit.get().saturating_sub(self.outstanding());
        if room == 0 {
            counts.limit_hits.add(1);
            return Err(AllocError::LimitReached);
        }
        counts.provider_calls.add(1);
        // The cache is empty, so there is no page in it that does not recycle, until one is admitted.
        counts.cached_owner.set(self.block.owner_word());
        let order = self.block.config.order;
        let request = Request::new(order, node);
        if order > 0 {
            let mut place = [MaybeUninit::uninit()];
            let mut sink = UnitSink::new(&mut place);
            let answer = self.table().home.alloc_bulk(&request, &mut sink);
            if sink.is_empty() {
                counts.provider_failures.add(1);
                return Err(answer.err().map_or(AllocError::OutOfMemory, AllocError::from));
            }
            // SAFETY: the sink holds one unit.
            let descriptor = unsafe { place[0].assume_init() };
            self.admit(descriptor).map_err(AllocError::Dma)?;
            self.counts().slow_high_order.add(1);
            return Ok(Some(descriptor));
        }
        let want = self.refill.min(room);
        // SAFETY: the cache is empty and has room for a refill; nobody else looks at its places.
        let mut sink = UnitSink::new(unsafe { core::slice::from_raw_parts_mut(self.block.place(0), want) });
        // SAFETY: the table is there while the consumer is; borrowed apart from `self` because the sink borrows the cache.
        let answer = unsafe { self.block.table() }.home.alloc_bulk(&request, &mut sink);
        let got = sink.len();
        if got == 0 {
            self.counts().provider_failures.add(1);
            return Err(answer.err().map_or(AllocError::OutOfMemory, AllocError::from));
        }
        self.admit_all(got).map_err(AllocError::Dma)?;
        self.counts().slow.add(1);
        Ok(None)
    }

    /// Admits the units that the provider left in the first `got` places. Some failing is normal.
    fn admit_all(&mut self, got: usize) -> Result<(), DmaError> {
        /// Sends home what a panicking hook left over.
        struct Rest<'a> {
            pool: &'a mut Consumer,
            next: usize,
            end: usize,
        }
        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                if self.next < self.end {
                    // SAFETY: these places hold units of the provider that were not admitted.
                    unsafe {
                        let rest =
                            core::slice::from_raw_parts(self.pool.block.place(self.next).cast(), self.end - self.next);
                        self.pool.block.table().home.release_bulk(UnitDrain::new(rest));
                    }
                }
            }
        }
        let mut rest = Rest { pool: self, next: 0, end: got };
        let mut failure = None;
        while rest.next < rest.end {
            // SAFETY: filled by the provider.
            let descriptor = unsafe { (*rest.pool.block.place(rest.next)).assume_init() };
            rest.next += 1;
            match rest.pool.admit(descriptor) {
                Ok(()) => {
                    let counts = rest.pool.counts();
                    let len = counts.len.get();
                    // SAFETY: `len` is below `next`, so this place is free or the page's own.
                    unsafe { rest.pool.block.place(len).write(Place::new(descriptor)) };
                    counts.len.set(len + 1);
                    counts.filled.add(1);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if rest.pool.counts().len.get() == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes a unit a page of this pool: mapped, cleared, constructed, on the books. On failure it is home again.
    fn admit(&mut self, descriptor: NonNull<Descriptor>) -> Result<(), DmaError> {
        /// Sends the unit home again unless it was admitted; also when the hook panics.
        struct Undo<'a> {
            pool: &'a mut Consumer,
            unit: Option<NonNull<Descriptor>>,
        }
        impl Drop for Undo<'_> {
            fn drop(&mut self) {
                let Some(unit) = self.unit else { return };
                let table = self.pool.table();
                // SAFETY: the unit is ours and nobody has seen it yet.
                self.pool.block.unmap(table, unsafe { unit.as_ref() });
                table.home.release(Unit::from_raw(unit));
            }
        }
        let mut undo = Undo { pool: self, unit: Some(descriptor) };
        let pool = &mut *undo.pool;
        // SAFETY: handed out by the provider, so ours.
        let page = unsafe { descriptor.as_ref() };
        page.sync_len().store(SYNC_FULL, Ordering::Relaxed);
        page.refs.store(0, Ordering::Relaxed);
        pool.map(page)?;
        if pool.entry.zeroing != Zeroing::Never {
            // SAFETY: ours; the builder offers zeroing for memory the CPU can write only.
            unsafe { hooks::zero(page) };
        }
        if let Some(page_in) = &pool.table().page_in {
            page_in(page);
        }
        pool.sync_for_device(page);
        let tag = if page.recycling() == Recycling::Never { owner::NEVER } else { 0 };
        if tag != 0 {
            pool.counts().cached_owner.set(owner::HOME);
        }
        page.owner.store(pool.block.owner_word() | tag, Ordering::Relaxed);
        let hold = &pool.block.books.0.hold;
        hold.set(hold.get().wrapping_add(1));
        undo.unit = None;
        Ok(())
    }

    fn map(&mut self, page: &Descriptor) -> Result<(), DmaError> {
        let table = self.table();
        let unit = Unit::from_raw(NonNull::from(page));
        if let Some(addr) = table.home.premapped(&unit) {
            page.dma_addr.store(addr.pack().ok_or(DmaError::AddressTooWide)?, Ordering::Relaxed);
            page.dma_claim.store(PREMAPPED, Ordering::Relaxed);
            return Ok(());
        }
        if table.dma.is_none() {
            return Ok(());
        }
        // Room in the list first: a mapping that is not listed could not be ended at close.
        let slot = page.mapped_slot().load(Ordering::Relaxed) as usize;
        let listed = self.mapped.get(slot) == Some(&NonNull::from(page));
        if !listed {
            self.compact_mapped()?;
        }
        let Some(dma) = &self.table().dma else { return Ok(()) };
        let addr = dma.ops.map(page, dma.direction)?;
        let Some(packed) = addr.pack() else {
            dma.ops.unmap(addr, page.unit_bytes(), dma.direction);
            return Err(DmaError::AddressTooWide);
        };
        page.dma_addr.store(packed, Ordering::Relaxed);
        // Relaxed: both words travel with the page, and the only one to look without it is we ourselves, at close.
        page.dma_claim.store(self.block.config.id, Ordering::Relaxed);
        self.counts().mapped.add(1);
        // There is room; asked once more, because the compiler then knows that the push does not grow the list.
        debug_assert!(listed || self.mapped.len() < self.mapped.capacity(), "no room for a mapped unit");
        if !listed && self.mapped.len() < self.mapped.capacity() {
            page.mapped_slot().store(self.mapped.len() as u32, Ordering::Relaxed);
            self.mapped.push(NonNull::from(page));
        }
        Ok(())
    }

    /// Makes room for one more in the list of mapped units. An entry is stale when its unit is no longer mapped by us, or is
    /// listed twice; before the list grows, those go.
    ///
    /// The units are only looked at: one that leaves meanwhile is home, where the words it shares with us are the provider's
    /// free-list links. So those that stay do not learn their new place, and are listed once more at their next stay.
    fn compact_mapped(&mut self) -> Result<(), DmaError> {
        if self.mapped.len() < self.mapped.capacity() {
            return Ok(());
        }
        let id = self.block.config.id;
        if mutant(Mutant::TidyWritesAway) {
            for (index, entry) in self.mapped.iter().enumerate() {
                // SAFETY: none; this is the defect that the model must find.
                let page = unsafe { entry.as_ref() };
                let ours = page.dma_claim.load(Ordering::Relaxed) == id;
                if ours && page.mapped_slot().load(Ordering::Relaxed) == index as u32 {
                    page.mapped_slot().store(0, Ordering::Relaxed);
                }
            }
        }
        // SAFETY: descriptors stay readable as long as the provider lives, and we are open on it. Relaxed: only we ever put
        // our id into the claim, so a claim that is ours stays ours or becomes 0 meanwhile, and then the entry is stale.
        self.mapped.retain(|entry| unsafe { entry.as_ref() }.dma_claim.load(Ordering::Relaxed) == id);
        // A heap's sort: in place, and it has no panic, which the one of slices keeps for an order that is none.
        self.mapped = BinaryHeap::from(core::mem::take(&mut self.mapped)).into_sorted_vec();
        self.mapped.dedup();
        let kept = self.mapped.len();
        let grow = if kept * 2 > self.mapped.capacity() { kept.max(64) } else { 1 };
        self.mapped.try_reserve(grow).map_err(|_| DmaError::Full)
    }

    pub(crate) fn sync_for_device(&self, page: &Descriptor) {
        if self.entry.sync
            && let Some(dma) = &self.table().dma
        {
            dma.sync_for_device(page);
        }
    }

    fn outstanding(&self) -> usize {
        let books = &self.block.books.0;
        // Off-the-books pages after the others: one that leaves meanwhile is counted twice, never not at all.
        let inflight = books.inflight();
        inflight + books.strays.get()
    }

    fn notice_pressure(&mut self) {
        if self.table().watermark.is_none() {
            return;
        }
        let watermark = self.block.limits.watermark.get();
        let outstanding = self.outstanding();
        let above = outstanding > watermark;
        if above == self.above_watermark {
            return;
        }
        self.above_watermark = above;
        if let Some(hook) = &self.table().watermark {
            let crossing = if above { Crossing::Rising } else { Crossing::Falling };
            hook(&Pressure { crossing, outstanding, watermark, limit: self.block.limits.limit() });
        }
    }
}

/// Goes on from `taken` up to `want` with bags, of which another one comes first each time, and says how far that came and why not further.
///
/// Out of line: what comes after it has all registers, whether batches left anything or not.
#[inline(never)]
fn take_in_turns(
    bags: &[Bag],
    first: &mut usize,
    mut taken: usize,
    want: usize,
    accept: &impl Fn(usize, usize) -> Step,
) -> (usize, Step) {
    let (before, after) = bags.split_at_checked(*first).unwrap_or_default();
    *first = if after.len() > 1 { *first + 1 } else { 0 };
    let mut step = Step::More;
    for bag in after.iter().chain(before) {
        if taken == want || step == Step::Stop {
            break;
        }
        let mut index = taken;
        taken += bag.take(want - taken, |value| {
            index += 1;
            step = accept(index - 1, value);
            step
        });
    }
    (taken, step)
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use core::cell::Cell;
    use core::ptr::NonNull;

    use super::{Bag, Step, take_in_turns};

    #[test]
    fn a_stop_in_one_bag_is_one_in_all() {
        let bags = [(); 3].map(|()| Bag::new(8, None).expect("memory"));
        for bag in &bags {
            let mut writer = bag.claim().expect("nobody's yet");
            assert_eq!(bag.publish_some(&mut writer, &[NonNull::dangling(); 2]), 2);
        }
        assert_eq!(take_in_turns(&bags, &mut 1, 0, 9, &|_, _| Step::Stop), (1, Step::Stop));
    }

    #[test]
    fn the_one_bag_that_has_something_is_found_whosever_turn_it_is() {
        for filled in 0..3 {
            for turn in 0..3 {
                let bags = [(); 3].map(|()| Bag::new(8, None).expect("memory"));
                // Never looked at.
                let pages = [NonNull::dangling(); 5];
                let mut writer = bags[filled].claim().expect("nobody's yet");
                assert_eq!(bags[filled].publish_some(&mut writer, &pages), 5);
                let (mut next, numbers) = (turn, Cell::new(0));
                let accept = |number, _| {
                    numbers.set(numbers.get() * 10 + number);
                    if number == 4 { Step::Stop } else { Step::More }
                };
                // Two were taken before.
                assert_eq!(take_in_turns(&bags, &mut next, 2, 9, &accept), (5, Step::Stop), "{filled} {turn}");
                assert_eq!((numbers.get(), next), (234, (turn + 1) % 3));
                assert!(bags[filled].has_some(), "two are left");
            }
        }
    }
}
