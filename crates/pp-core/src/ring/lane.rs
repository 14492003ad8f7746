//! The lanes of a ring, and who is in them.
//!
//! Two producers on different cores that publish in one lane take its lines from each other at each publish, which costs twenty
//! times the publish itself, and neither is ever refused anything. So a lane's cursor carries the mark of the context that used
//! it last: who finds somebody else's moves on, and the mark it leaves there sends on whoever comes back. In the end each
//! has a lane of its own, as long as there are enough; and where there are not, moving costs what sharing does.

use crate::sync::{Counter, stack};

/// Pointer-sized slots in one cache line: what a lane is a multiple of.
pub(super) const LINE: usize = 8;
/// Where contexts remember their lane, a power of two: more than there are lanes, so that those of one home can part.
pub(super) const SEATS: usize = 32;

/// The bits of a cursor that say where: no ring has more slots. The bits above are the mark's.
const AT: usize = crate::builder::MAX_RING - 1;

/// Bytes of stack that are taken for one context: more than a thread goes up and down between two puts, so that it rarely looks like two, and
/// less than most stacks have, so that two rarely look like one.
const SPAN: usize = 256 << 10;
const _: () = assert!(crate::builder::MAX_RING.is_power_of_two() && SPAN >= crate::builder::MAX_RING);

/// A producer, as far as it can be told from others: by the stack that it runs on. Two contexts that look the same share a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context(usize);

impl Context {
    /// The caller's.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        Context(stack())
    }

    /// Which [`SPAN`] the stack is in, above the position in a cursor. 0 is nobody's, except in models, where all contexts look the same.
    #[inline(always)]
    fn mark(self) -> usize {
        self.0 & !(SPAN - 1)
    }

    /// Neighbouring threads, whose stacks are some 2 MiB apart, have neighbouring seats; stacks of 64 KiB likewise. Any number:
    /// to be masked with the number of seats, or of lanes for the lane at home, or divided by the number of bags.
    #[inline(always)]
    pub(crate) fn seat(self) -> usize {
        (self.0 >> 16).wrapping_add(self.0 >> 21)
    }
}

/// A producer's part of the ring.
pub(super) struct Lane {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the next producer should try, and the mark of the last one. A guess: racing producers may set it back, and find
    /// the slot taken.
    cursor: Counter,
}

/// Who used a lane last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Me,
    Nobody,
    Another,
}

impl Lane {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Lane { start, end, cursor: Counter::new(start) }
    }

    /// Where to try next, if `context` used it last; otherwise a number that no slot has.
    #[inline(always)]
    pub(super) fn at_if_mine(&self, context: Context) -> usize {
        self.cursor.get() ^ context.mark()
    }

    /// Where to try next, for anybody, and who was last.
    pub(super) fn at(&self, context: Context) -> (usize, Last) {
        let cursor = self.cursor.get();
        let last = match cursor & !AT {
            mark if mark == context.mark() => Last::Me,
            0 => Last::Nobody,
            _ => Last::Another,
        };
        (cursor & AT, last)
    }

    /// Points the next producer at `at`, which is below the end, and says that `context` was here.
    #[inline(always)]
    pub(super) fn point(&self, at: usize, context: Context) {
        self.cursor.set(at | context.mark());
    }

    /// The same, and says that nobody was.
    pub(super) fn leave(&self, at: usize) {
        self.cursor.set(at);
    }

    #[inline(always)]
    pub(super) fn after(&self, at: usize) -> usize {
        if at + 1 >= self.end { self.start } else { at + 1 }
    }

    /// The end is the start.
    #[inline(always)]
    pub(super) fn wrap(&self, at: &mut usize) {
        if *at >= self.end {
            *at = self.start;
        }
    }
}
