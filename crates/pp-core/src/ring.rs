//! The ring: where any thread leaves pages for the consumer.
//!
//! Bounded, many producers, one consumer, and a *bag*: what order pages come back in is no part of the contract. That
//! freedom buys three things. A producer needs one read-modify-write in all, the one that publishes, because where
//! it publishes is only a guess (a lane's cursor, no reservation to make or to wait for). Producers in
//! different contexts begin in different lanes and stay off each other's lines; one that finds its lane full, or somebody
//! else in it, moves on to the next. And closing needs no lock: it swaps a seal into every slot, a publish fails on
//! the seal, and then the returner releases its page itself.
//!
//! Publishing is the returner's last touch: everything it writes here, it writes before. From that moment on the page
//! is the consumer's, and with it the right to free this ring.
//!
//! Every index in here is in range. It is looked up with `get` all the same, and none means no room: that costs what the check
//! of an index does, and leaves no panic that could be reached from a put.
//!
//! Kernel counterpart: `struct ptr_ring` (Linux 7.3, `include/linux/ptr_ring.h`), which takes a producer lock and frees
//! the pool under a producer that still holds it unless the destroyer takes the lock once more (271683bb2cf3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::sync::{Counter, SEAL, Slot};

pub(crate) use self::lane::Context;
use self::lane::{LINE, Lane, Last, SEATS};

mod lane;

/// Aligns to a pair of cache lines, the unit that neighbouring cores fight over (x86 prefetches lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CacheLine<T>(pub(crate) T);

/// Lanes at most; more producers than that share.
const MAX_LANES: usize = 8;
/// A lane is worth having from this many slots on.
const MIN_LANE: usize = 64;
/// How many slots of a lane a producer tries. More than one only matters when two contexts share a lane.
const TRIES: usize = 4;

/// Where a producer looked that could not publish at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missed {
    context: Context,
    /// The slot in its home lane that was not free: somebody's, or sealed. `None`: somebody else was in that lane, or it moved on
    /// from there.
    taken: Option<usize>,
}

/// Why a page could not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No free slot where the producer looked.
    Full,
    /// The pool was closed.
    Sealed,
}

pub(crate) struct Ring {
    slots: Box<[Slot]>,
    /// How many lanes there are, less one; a power of two of them.
    mask: usize,
    /// In place, because each load that a publish waits for is a fifth of its time.
    lanes: [CacheLine<Lane>; MAX_LANES],
    /// The lane that each context is in, written when it moves.
    seats: CacheLine<[Counter; SEATS]>,
}

/// Where the consumer is. Lives with the consumer: producers never look at it.
#[derive(Debug)]
pub(crate) struct RingReader {
    lane: usize,
    heads: [usize; MAX_LANES],
}

impl Ring {
    /// A ring of `size` slots, or `None` when there is no memory for it.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let count = (size / MIN_LANE).clamp(1, MAX_LANES);
        let count = if count.is_power_of_two() { count } else { count.next_power_of_two() / 2 };
        let lane_len = size.div_ceil(count).next_multiple_of(if count > 1 { LINE } else { 1 });
        let mut slots = Vec::new();
        slots.try_reserve_exact(size).ok()?;
        slots.resize_with(size, Slot::new);
        let lanes = core::array::from_fn(|lane| {
            let start = (lane * lane_len).min(size);
            let end = (start + lane_len).min(size);
            CacheLine(Lane::new(start, end))
        });
        // At home.
        let seats = CacheLine(core::array::from_fn(Counter::new));
        Some(Ring { slots: slots.into_boxed_slice(), mask: count - 1, lanes, seats })
    }

    /// The lanes there are.
    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().take(self.mask + 1).map(|lane| &lane.0)
    }

    /// The consumer's place at the start of every lane.
    pub(crate) fn reader(&self) -> RingReader {
        let mut heads = [0; MAX_LANES];
        for (head, lane) in heads.iter_mut().zip(self.lanes()) {
            *head = lane.start;
        }
        RingReader { lane: 0, heads }
    }

    /// Gives `value` to the consumer. On `Ok` the caller may not touch the pool again on the page's account.
    ///
    /// # Safety
    ///
    /// `this` is valid until the value is published.
    #[inline]
    pub(crate) unsafe fn publish(this: *const Self, value: usize) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Ring::publish_here(this, value).or_else(|missed| Ring::publish_elsewhere(this, value, missed)) }
    }

    /// The same, in the one slot that most likely is free.
    ///
    /// # Safety
    ///
    /// As [`publish`](Ring::publish).
    #[inline(always)]
    pub(crate) unsafe fn publish_here(this: *const Self, value: usize) -> Result<(), Missed> {
        // SAFETY: valid so far; not used after a slot took the value.
        let (slots, lanes, mask) = unsafe { (&*(*this).slots, &(*this).lanes, (*this).mask) };
        let context = Context::here();
        // The home lane, not the one that the seat names: a branch instead of a load that the next one would wait for.
        let Some(CacheLine(lane)) = lanes.get(context.seat() & mask) else {
            return Err(Missed { context, taken: None });
        };
        let at = lane.at_if_mine(context);
        let Some(slot) = slots.get(at) else { return Err(Missed { context, taken: None }) };
        // Before the publish, which is our last touch.
        lane.point(lane.after(at), context);
        slot.publish(value).map_err(|_| Missed { context, taken: Some(at) })
    }

    /// Gives the values to the consumer, in one go along the caller's lane. On `Ok` the caller may not touch the pool again on
    /// the pages' account; otherwise the first so many are given away and the rest is the caller's.
    ///
    /// # Safety
    ///
    /// `this` is valid until the last value is published.
    #[inline]
    pub(crate) unsafe fn publish_all(
        this: *const Self,
        mut values: impl ExactSizeIterator<Item = usize>,
    ) -> Result<(), (usize, Refused)> {
        let count = values.len();
        // SAFETY: valid so far; not used after a slot took the last value.
        let (slots, lanes, mask) = unsafe { (&*(*this).slots, &(*this).lanes, (*this).mask) };
        let context = Context::here();
        // SAFETY: as above.
        let Some(seat) = (unsafe { (*this).seats.0.get(context.seat() & (SEATS - 1)) }) else {
            return Err((0, Refused::Full));
        };
        let current = seat.get() & mask;
        let Some(CacheLine(lane)) = lanes.get(current) else { return Err((0, Refused::Full)) };
        let (mut at, last) = lane.at(context);
        if last == Last::Another && mask > 0 {
            // The first one finds us a lane, and all of them follow it there next time.
            // SAFETY: none is published yet.
            return unsafe { Ring::publish_each(this, 0, values) };
        }
        let (start, end) = (lane.start, lane.end);
        // Once for all, before the first publish.
        let far = at + count.min(end - start);
        lane.point(if far >= end { far - (end - start) } else { far }, context);
        for done in 0..count {
            let Some(value) = values.next() else { break };
            let Some(slot) = slots.get(at) else { return Err((done, Refused::Full)) };
            match slot.publish(value) {
                Ok(()) => at = if at + 1 >= end { start } else { at + 1 },
                Err(SEAL) => return Err((done, Refused::Sealed)),
                Err(_) => {
                    // In the way: page by page from here on.
                    lane.point(at, context);
                    // SAFETY: these values are not published yet.
                    return unsafe { Ring::publish_each(this, done, core::iter::once(value).chain(values)) };
                }
            }
        }
        Ok(())
    }

    /// The values one by one, after `done` others.
    ///
    /// # Safety
    ///
    /// As [`publish_all`](Ring::publish_all).
    #[cold]
    unsafe fn publish_each(
        this: *const Self,
        done: usize,
        values: impl Iterator<Item = usize>,
    ) -> Result<(), (usize, Refused)> {
        for (step, value) in values.enumerate() {
            // SAFETY: this value is not published yet.
            unsafe { Ring::publish(this, value) }.map_err(|refused| (done + step, refused))?;
        }
        Ok(())
    }

    /// For a producer that is not in its home lane, or found its slot there `taken`: on to the next lane that has room, to
    /// stay there. Not back home as soon as there is room again, because that would be right behind the consumer, on
    /// the line that it is emptying.
    ///
    /// Looks before it publishes in a new lane: there slots may well be taken, and a read-modify-write that fails costs as
    /// much as one that succeeds.
    ///
    /// # Safety
    ///
    /// As [`publish`](Ring::publish).
    #[cold]
    pub(crate) unsafe fn publish_elsewhere(this: *const Self, value: usize, missed: Missed) -> Result<(), Refused> {
        let Missed { context, mut taken } = missed;
        // SAFETY: valid so far; not used after a slot took the value.
        let (slots, lanes, mask) = unsafe { (&*(*this).slots, &(*this).lanes, (*this).mask) };
        // SAFETY: as above.
        let Some(seat) = (unsafe { (*this).seats.0.get(context.seat() & (SEATS - 1)) }) else {
            return Err(Refused::Full);
        };
        let current = if taken.is_some() { context.seat() } else { seat.get() } & mask;
        let Some(CacheLine(lane)) = lanes.get(current) else { return Err(Refused::Full) };
        let (at, last) = lane.at(context);
        if taken.is_none() && last != Last::Another {
            lane.point(lane.after(at), context);
            let Some(slot) = slots.get(at) else { return Err(Refused::Full) };
            match slot.publish(value) {
                Ok(()) => return Ok(()),
                Err(SEAL) => return Err(Refused::Sealed),
                Err(_) => taken = Some(at),
            }
        }
        if let Some(at) = taken
            && slots.get(lane.after(at)).is_some_and(|slot| slot.peek() != 0)
        {
            // Full, not just shared: the consumer will free this very slot first. And we do not come back.
            lane.leave(at);
        }
        // A ring of one lane is looked through: a cursor that a racing producer set back must not make it seem full, and there
        // is no other lane to go to.
        let tries = if mask == 0 { slots.len() } else { TRIES };
        for step in 1..=mask + 1 {
            let index = (current + step) & mask;
            let Some(CacheLine(lane)) = lanes.get(index) else { continue };
            let (first, _) = lane.at(context);
            let mut at = first;
            for _ in 0..tries.min(lane.end - lane.start) {
                let Some(slot) = slots.get(at) else { break };
                match slot.peek() {
                    0 => {
                        // Before the publish, which is our last touch.
                        lane.point(lane.after(at), context);
                        seat.set(index);
                        match slot.publish(value) {
                            Ok(()) => return Ok(()),
                            Err(SEAL) => return Err(Refused::Sealed),
                            Err(_) => lane.leave(first),
                        }
                    }
                    SEAL => return Err(Refused::Sealed),
                    _ => {}
                }
                at = lane.after(at);
            }
        }
        Err(Refused::Full)
    }

    /// Takes up to `want` pages, handing each to `accept` until that says stop. For the consumer.
    ///
    /// Follows the producers' order, and may miss pages: a cursor that was set back leaves some behind the head. So
    /// before it believes that there are none, the consumer [sweeps](Ring::sweep).
    #[inline]
    pub(crate) fn take(&self, reader: &mut RingReader, want: usize, mut accept: impl FnMut(usize) -> Step) -> usize {
        let mut taken = 0;
        for _ in 0..=self.mask {
            let (Some(CacheLine(lane)), Some(head)) = (self.lanes.get(reader.lane), reader.heads.get_mut(reader.lane))
            else {
                break;
            };
            // In stretches up to the lane's end, so that no slot needs a look at where the lane ends.
            'lane: while taken < want {
                let stretch = *head..lane.end.min(head.saturating_add(want - taken));
                for slot in self.slots.get(stretch).unwrap_or_default() {
                    let Some(value) = slot.take() else { break 'lane };
                    *head += 1;
                    taken += 1;
                    if accept(value) == Step::Stop {
                        lane.wrap(head);
                        return taken;
                    }
                }
                lane.wrap(head);
            }
            if taken == want {
                return taken;
            }
            reader.lane = (reader.lane + 1) & self.mask;
        }
        taken
    }

    /// The same from every slot there is.
    #[cold]
    pub(crate) fn sweep(&self, reader: &mut RingReader, want: usize, mut accept: impl FnMut(usize) -> Step) -> usize {
        let mut taken = 0;
        for (lane, head) in self.lanes().zip(&mut reader.heads) {
            for at in lane.start..lane.end {
                if taken == want {
                    return taken;
                }
                let Some(slot) = self.slots.get(at).filter(|slot| slot.peek() != 0) else { continue };
                let Some(value) = slot.take() else { continue };
                *head = lane.after(at);
                taken += 1;
                if accept(value) == Step::Stop {
                    return taken;
                }
            }
        }
        taken
    }

    /// Closes every slot and hands over what was in them. May be called again after `f` panicked.
    pub(crate) fn seal(&self, mut f: impl FnMut(usize)) {
        for slot in &self.slots {
            if let Some(value) = slot.seal() {
                f(value);
            }
        }
    }

    /// How many pages lie in it, exact when nobody is inside a call.
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| !matches!(slot.peek(), 0 | SEAL)).count()
    }

    /// How many slots it has.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }
}

/// Whether a taker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    Stop,
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
