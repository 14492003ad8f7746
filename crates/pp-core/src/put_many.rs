//! The way back for many pages at once.
//!
//! Pages of one pool that lie next to each other go together. If there are enough of them, they borrow a *bag* from their pool: one atomic
//! operation claims it, plain stores fill it, a fence and a store give it back, whatever the number. What finds no bag free, or no room in
//! it, takes a place in the ring each.
//!
//! The last page never goes into a bag. A batch has no reference to its pool but its own pages, and a published page may be home, and the
//! pool with it, at once; so one page stays behind until the bag is given back, and is published as a single one is: by its last touch.
//!
//! Kernel counterpart: `page_pool_put_netmem_bulk` (Linux 7.3).

use core::ptr::NonNull;

use crate::block::Block;
use crate::descriptor::{Descriptor, owner};
use crate::put::{Outbox, Reason, block_of, leave_bag, put, untrace};
use crate::ring::{Context, Ring};
use crate::sync::{MODEL, Mutant, Ordering, mutant};

/// From how many pages on it pays to borrow a bag: three atomic operations in all, where the ring takes one a page.
const WORTH_A_BAG: usize = if MODEL { 2 } else { 8 };

/// Puts several pages by the shared path; neighbours of one pool leave together where they must leave.
///
/// # Safety
///
/// The caller is the sole owner of each page and gives all of them up.
#[inline]
pub(crate) unsafe fn put_many(descriptors: &[NonNull<Descriptor>]) {
    if !descriptors.is_empty() {
        // SAFETY: the caller's promise.
        unsafe { put_some(descriptors) };
    }
}

/// # Safety
///
/// As [`put_many`].
unsafe fn put_some(descriptors: &[NonNull<Descriptor>]) {
    /// Goes on with the next run also when a page-out hook panicked in this one.
    struct Runs<'a>(&'a [NonNull<Descriptor>]);
    impl Runs<'_> {
        fn put(&mut self) {
            while let Some((first, after)) = self.0.split_first() {
                // SAFETY: as in `put`.
                let word = unsafe { first.as_ref() }.owner.load(Ordering::Relaxed);
                let Some(block) = block_of(word).filter(|_| word & owner::TAGS == 0) else {
                    self.0 = after;
                    // SAFETY: ours to give up.
                    unsafe { put(*first) };
                    continue;
                };
                let other = |d: &NonNull<Descriptor>| {
                    // SAFETY: as in `put`; each is still unpublished when it is looked at.
                    unsafe { d.as_ref() }.owner.load(Ordering::Relaxed) != word
                };
                let (run, after) = self.0.split_at(self.0.iter().position(other).unwrap_or(self.0.len()));
                self.0 = after;
                // SAFETY: the run is ours and given up; its pages name this block.
                unsafe { put_run(run, block, word) };
            }
        }
    }
    impl Drop for Runs<'_> {
        fn drop(&mut self) {
            self.put();
        }
    }
    Runs(descriptors).put();
}

/// Puts pages of one pool by the shared path.
///
/// # Safety
///
/// As [`put_many`]; all pages of `run` have the owner word `word`, which is `block` without a tag.
pub(crate) unsafe fn put_run(run: &[NonNull<Descriptor>], block: NonNull<Block>, word: usize) {
    for descriptor in run {
        untrace(word, *descriptor);
    }
    let mut run = Run { block, rest: run };
    if run.rest.len() >= WORTH_A_BAG {
        // SAFETY: the caller's promise.
        unsafe { run.borrow_bags() };
    }
    run.publish();
}

/// Pages of one pool on their way: what is left of them goes into the ring, also when a page-out hook panicked.
struct Run<'a> {
    block: NonNull<Block>,
    rest: &'a [NonNull<Descriptor>],
}

impl Run<'_> {
    /// Fills what bags for batches are free, one after the other, and leaves one page at least.
    ///
    /// # Safety
    ///
    /// The pages are the caller's, on the block's books, and given up.
    unsafe fn borrow_bags(&mut self) {
        // SAFETY: the last page is not published in here, and keeps the block alive.
        let block = unsafe { self.block.as_ref() };
        block.enter();
        let bags = block.batch_bags();
        // Neighbouring threads mostly begin with different bags.
        let first = Context::here().seat().checked_rem(bags.len()).unwrap_or(0);
        let (before, after) = bags.split_at_checked(first).unwrap_or_default();
        for bag in after.iter().chain(before) {
            let all_but_the_last = self.rest.len() - usize::from(!mutant(Mutant::LastPageInBag));
            if all_but_the_last < WORTH_A_BAG - 1 {
                break;
            }
            if bag.is_closed() {
                // The ring was sealed before, so that the rest leaves together, in `publish`.
                break;
            }
            // A claim that fails, or that finds no room, costs as much as one that does not.
            if !bag.seems_free_for(WORTH_A_BAG - 1) {
                continue;
            }
            let Some(mut writer) = bag.claim() else { continue };
            let published = bag.publish_some(&mut writer, self.rest.get(..all_but_the_last).unwrap_or_default());
            self.rest = self.rest.get(published..).unwrap_or_default();
            block.enter();
            // SAFETY: the bag is ours since `claim`, and the last page keeps its pool alive.
            unsafe { leave_bag(bag) };
        }
    }

    fn publish(&mut self) {
        let (block, run) = (self.block, core::mem::take(&mut self.rest));
        if run.is_empty() {
            return;
        }
        // SAFETY: the pages are ours, given up, and keep the block alive until the last one is published. By pointer, as in
        // `put::publish`.
        let outcome = unsafe {
            block.as_ref().enter();
            let values = run.iter().map(|descriptor| descriptor.as_ptr().expose_provenance());
            Ring::publish_all(&raw const (*block.as_ptr()).ring, values)
        };
        if let Err((published, refused)) = outcome {
            Leaving { block, rest: run.get(published..).unwrap_or_default(), reason: refused.into() }.put();
            return;
        }
        if mutant(Mutant::TouchAfterBulkPublish) {
            // SAFETY: none; this is the defect that the model must find.
            unsafe { block.as_ref() }.enter();
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.publish();
    }
}

/// Pages of one pool that leave it together; goes on also when a page-out hook panicked.
struct Leaving<'a> {
    block: NonNull<Block>,
    rest: &'a [NonNull<Descriptor>],
    reason: Reason,
}

impl Leaving<'_> {
    fn put(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        // SAFETY: the remaining pages are ours and on the books, and the outbox books them out last of all.
        unsafe {
            let mut outbox = Outbox::<32>::new(self.block);
            while let Some((first, rest)) = self.rest.split_first() {
                self.rest = rest;
                self.block.as_ref().count(self.reason);
                outbox.push(*first);
            }
        }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.put();
    }
}
