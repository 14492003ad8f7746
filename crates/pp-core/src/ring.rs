//! The ring: where any thread leaves pages for the consumer.
//!
//! Bounded, many producers, one consumer, and a *bag*: what order pages come back in is no part of the contract. That
//! freedom buys three things. A producer needs one read-modify-write in all, the one that publishes, because where
//! it publishes is only a guess ([`Lane::cursor`], no reservation to make or to wait for). Producers in
//! different contexts guess differently and stay off each other's lines. And closing needs no lock: it swaps a
//! seal into every slot, a publish fails on the seal, and then the returner releases its page itself.
//!
//! Publishing is the returner's last touch: everything it writes here, it writes before. From that moment on the page
//! is the consumer's, and with it the right to free this ring.
//!
//! Kernel counterpart: `struct ptr_ring` (Linux 7.3, `include/linux/ptr_ring.h`), which takes a producer lock and frees
//! the pool under a producer that still holds it unless the destroyer takes the lock once more (271683bb2cf3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::sync::{Counter, SEAL, Slot, context_hint};

/// Aligns to a pair of cache lines, the unit that neighbouring cores fight over (x86 prefetches lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CacheLine<T>(pub(crate) T);

/// Pointer-sized slots in one cache line: what a lane is a multiple of.
const LINE: usize = 8;
/// Lanes at most; more producers than that share.
const MAX_LANES: usize = 8;
/// A lane is worth having from this many slots on.
const MIN_LANE: usize = 64;
/// How many slots of a lane a producer tries. More than one only matters when two contexts share a lane.
const TRIES: usize = 4;

/// A producer's part of the ring.
struct Lane {
    start: usize,
    end: usize,
    /// Where the next producer should try. A guess: racing producers may set it back, and find the slot taken.
    cursor: Counter,
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
    /// A power of two of them.
    lanes: Box<[CacheLine<Lane>]>,
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
        let mut lanes = Vec::new();
        lanes.try_reserve_exact(count).ok()?;
        for lane in 0..count {
            let start = lane * lane_len;
            let end = (start + lane_len).min(size);
            lanes.push(CacheLine(Lane { start, end, cursor: Counter::new(start) }));
        }
        Some(Ring { slots: slots.into_boxed_slice(), lanes: lanes.into_boxed_slice() })
    }

    /// The consumer's place at the start of every lane.
    pub(crate) fn reader(&self) -> RingReader {
        let mut heads = [0; MAX_LANES];
        for (head, lane) in heads.iter_mut().zip(&self.lanes) {
            *head = lane.0.start;
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
        // SAFETY: valid so far; not used after a slot took the value.
        let (slots, lanes) = unsafe { (&*(*this).slots, &*(*this).lanes) };
        let mask = lanes.len() - 1;
        let first = context_hint();
        for step in 0..lanes.len() {
            let lane = &lanes[(first + step) & mask].0;
            let guess = lane.cursor.get();
            let mut at = guess;
            for _ in 0..TRIES.min(lane.end - lane.start) {
                let next = if at + 1 >= lane.end { lane.start } else { at + 1 };
                // Before the publish, which is our last touch.
                lane.cursor.set(next);
                match slots[at].publish(value) {
                    Ok(()) => return Ok(()),
                    Err(SEAL) => return Err(Refused::Sealed),
                    Err(_) => at = next,
                }
            }
            // The lane is full here; the consumer will free this very slot first.
            lane.cursor.set(guess);
        }
        Err(Refused::Full)
    }

    /// Takes up to `want` pages, handing each to `accept` until that says stop. For the consumer.
    ///
    /// Follows the producers' order first. Only when that finds nothing, and the provider would be next, it looks into
    /// every slot: a cursor that was set back leaves pages behind the head.
    pub(crate) fn take(&self, reader: &mut RingReader, want: usize, mut accept: impl FnMut(usize) -> Step) -> usize {
        let mut taken = 0;
        for _ in 0..self.lanes.len() {
            let lane = &self.lanes[reader.lane].0;
            let head = &mut reader.heads[reader.lane];
            while taken < want {
                let Some(value) = self.slots[*head].take() else { break };
                *head = if *head + 1 >= lane.end { lane.start } else { *head + 1 };
                taken += 1;
                if accept(value) == Step::Stop {
                    return taken;
                }
            }
            if taken == want {
                return taken;
            }
            reader.lane = (reader.lane + 1) & (self.lanes.len() - 1);
        }
        if taken == 0 && self.slots.len() > 1 { self.sweep(reader, want, accept) } else { taken }
    }

    #[cold]
    fn sweep(&self, reader: &mut RingReader, want: usize, mut accept: impl FnMut(usize) -> Step) -> usize {
        let mut taken = 0;
        for (index, lane) in self.lanes.iter().enumerate() {
            for at in lane.0.start..lane.0.end {
                if taken == want {
                    return taken;
                }
                if self.slots[at].peek() == 0 {
                    continue;
                }
                let Some(value) = self.slots[at].take() else { continue };
                reader.heads[index] = if at + 1 >= lane.0.end { lane.0.start } else { at + 1 };
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
