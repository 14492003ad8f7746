//! A bag: what one [`Returner`](crate::Returner) has returned and the consumer has not taken yet.
//!
//! Single producer, single consumer. A batch costs its plain stores and one read-modify-write on the tail, which also
//! finds the seal. The consumer takes from it whenever it refills, so there is nothing to flush and a
//! sleeping returner strands nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::ring::{CacheLine, Step};
use crate::sync::{AtomicU8, AtomicUsize, Clock, Counter, Mutant, Ordering, UnsafeCell, mutant};

/// Closed for good; the lowest bit of the tail. Positions count in twos above it, so that wrapping never meets it.
const SEALED: usize = 1;
const ONE: usize = 2;

pub(crate) struct Bag {
    places: Box<[UnsafeCell<usize>]>,
    /// | state | meaning |
    /// |---|---|
    /// | 2n | n pages were ever published |
    /// | 2n + 1 | the same, and the pool is closed: what a publish adds from now on stays the producer's |
    tail: CacheLine<AtomicUsize>,
    /// How many the consumer ever took, in twos. Written by the consumer, read by the producer for room.
    head: CacheLine<AtomicUsize>,
    /// The consumer looks at the head and changes it then.
    clock: Clock,
    /// Where the tail stood when the consumer closed. The consumer's own note.
    sealed_at: Counter,
    /// | state | meaning |
    /// |---|---|
    /// | 0 | free for a new Returner |
    /// | 1 | some Returner's |
    owner: AtomicU8,
}

// SAFETY: a place is written by the producer while it lies outside head..tail, and emptied by the consumer while it
// lies inside; tail (Release, Acquire) and head (Release, Acquire) hand it over each way.
unsafe impl Send for Bag {}
// SAFETY: as above; that there is one producer is `claim`'s work, that there is one consumer is `PagePool`'s.
unsafe impl Sync for Bag {}

/// The producer's own view: what it knows without looking.
#[derive(Debug)]
pub(crate) struct BagWriter {
    tail: usize,
    head: usize,
}

impl Bag {
    /// A bag for `capacity` pages, or `None` when there is no memory for it.
    pub(crate) fn new(capacity: usize) -> Option<Self> {
        let capacity = capacity.next_power_of_two();
        let mut places = Vec::new();
        places.try_reserve_exact(capacity).ok()?;
        places.resize_with(capacity, || UnsafeCell::new(0));
        Some(Bag {
            places: places.into_boxed_slice(),
            tail: CacheLine(AtomicUsize::new(0)),
            head: CacheLine(AtomicUsize::new(0)),
            clock: Clock::new(),
            sealed_at: Counter::new(0),
            owner: AtomicU8::new(0),
        })
    }

    /// Makes the caller the one producer, if there is none.
    pub(crate) fn claim(&self) -> Option<BagWriter> {
        // Acquire pairs with the Release in `disown`: the next producer goes on where the last one stopped.
        self.owner.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(BagWriter {
            tail: self.tail.0.load(Ordering::Relaxed) & !SEALED,
            head: self.head.0.load(Ordering::Acquire),
        })
    }

    /// Ends the producer's time. What lies in the bag stays for the consumer.
    pub(crate) fn disown(&self) {
        // Release pairs with the Acquire in `claim`.
        let release = if mutant(Mutant::RelaxedDisown) { Ordering::Relaxed } else { Ordering::Release };
        self.owner.store(0, release);
    }

    /// Always some: there are a power of two of places.
    #[inline(always)]
    fn place(places: &[UnsafeCell<usize>], position: usize) -> Option<&UnsafeCell<usize>> {
        let place = places.get((position / ONE) & places.len().wrapping_sub(1));
        debug_assert!(place.is_some(), "a bag without places");
        place
    }

    /// The `count` places from `position` on, which are no more than there are: in two pieces where they wrap around.
    #[inline(always)]
    fn run(&self, position: usize, count: usize) -> [&[UnsafeCell<usize>]; 2] {
        let places = &*self.places;
        let start = (position / ONE) & places.len().wrapping_sub(1);
        let first = count.min(places.len().saturating_sub(start));
        let piece = |start: usize, len: usize| places.get(start..start.wrapping_add(len)).unwrap_or_default();
        [piece(start, first), piece(0, count - first)]
    }

    /// How many more fit, as far as the producer can see.
    #[inline(always)]
    fn room(&self, writer: &mut BagWriter, wanted: usize) -> usize {
        let room = |writer: &BagWriter| self.places.len() - writer.tail.wrapping_sub(writer.head) / ONE;
        if room(writer) < wanted {
            // Acquire pairs with the Release in `Commit`: the consumer has read the places it freed.
            self.clock.tick();
            writer.head = self.head.0.load(Ordering::Acquire);
        }
        room(writer)
    }

    /// Makes what lies in the next `count` places the consumer's, and says whether it is: not so once the bag is sealed. For the
    /// producer.
    #[inline(always)]
    fn advance(&self, writer: &mut BagWriter, count: usize) -> bool {
        // Release pairs with the Acquire in `take` and `seal`: the places and the pages behind them.
        let release = if mutant(Mutant::RelaxedBagTail) { Ordering::Relaxed } else { Ordering::Release };
        let before = self.tail.0.fetch_add(count * ONE, release);
        writer.tail = writer.tail.wrapping_add(count * ONE);
        // Sealed before: the consumer never looks again, so all of them are still ours.
        before & SEALED == 0
    }

    /// Publishes one value and says whether that went: not when sealed or full. For the producer.
    ///
    /// What is published is gone: the producer may touch it no more.
    #[inline(always)]
    pub(crate) fn publish_one(&self, writer: &mut BagWriter, value: usize) -> bool {
        if self.room(writer, 1) == 0 {
            return false;
        }
        let Some(place) = Bag::place(&self.places, writer.tail) else { return false };
        // SAFETY: outside head..tail, so it is the producer's.
        place.with_mut(|place| unsafe { *place = value });
        self.advance(writer, 1)
    }

    /// Publishes as many of `values` as fit and says how many; 0 when sealed or full. For the producer.
    ///
    /// Everything published is gone: the producer may touch it no more.
    #[inline]
    pub(crate) fn publish(&self, writer: &mut BagWriter, mut values: impl ExactSizeIterator<Item = usize>) -> usize {
        let count = values.len().min(self.room(writer, values.len()));
        if count == 0 {
            return 0;
        }
        for places in self.run(writer.tail, count) {
            for (place, value) in places.iter().zip(&mut values) {
                // SAFETY: outside head..tail, so it is the producer's.
                place.with_mut(|place| unsafe { *place = value });
            }
        }
        if self.advance(writer, count) { count } else { 0 }
    }

    /// Takes up to `want`, handing each to `accept` until that says stop. For the consumer.
    #[inline]
    pub(crate) fn take(&self, want: usize, mut accept: impl FnMut(usize) -> Step) -> usize {
        // Acquire pairs with the Release in `publish`.
        let tail = self.tail.0.load(Ordering::Acquire) & !SEALED;
        self.clock.tick();
        let head = self.head.0.load(Ordering::Relaxed);
        let count = want.min(tail.wrapping_sub(head) / ONE);
        if count == 0 {
            return 0;
        }
        let mut at = Commit { bag: self, head };
        let mut taken = 0;
        'taking: for places in self.run(head, count) {
            for place in places {
                // Written as well, so that the line is wholly ours when the producer wants it back: taking a line over is cheaper than
                // ending its sharing, which the producer's next read-modify-write would have to wait for.
                // SAFETY: inside head..tail, so it is the consumer's.
                let value = place.with_mut(|place| unsafe { core::mem::replace(&mut *place, 0) });
                at.head = at.head.wrapping_add(ONE);
                taken += 1;
                if accept(value) == Step::Stop {
                    break 'taking;
                }
            }
        }
        taken
    }

    /// Closes the bag and hands over what was in it. May be called again after `f` panicked. For the consumer.
    pub(crate) fn seal(&self, mut f: impl FnMut(usize)) {
        // Acquire pairs with the Release in `publish`.
        let before = if mutant(Mutant::BagWithoutSeal) {
            self.tail.0.load(Ordering::Acquire)
        } else {
            self.tail.0.fetch_or(SEALED, Ordering::Acquire)
        };
        if before & SEALED == 0 {
            self.sealed_at.set(before);
        }
        if mutant(Mutant::BagForgotten) {
            return;
        }
        let mut at = Commit { bag: self, head: self.head.0.load(Ordering::Relaxed) };
        while at.head != self.sealed_at.get() {
            let Some(value) = Bag::read(&self.places, at.head) else { break };
            at.head = at.head.wrapping_add(ONE);
            f(value);
        }
    }

    #[inline(always)]
    fn read(places: &[UnsafeCell<usize>], position: usize) -> Option<usize> {
        // SAFETY: called by the consumer for a position inside head..tail, which is the consumer's to read.
        Bag::place(places, position).map(|place| place.with(|place| unsafe { *place }))
    }

    /// How many lie in it, exact when nobody is inside a call; 0 once closed.
    pub(crate) fn len(&self) -> usize {
        // Acquire pairs with the Release in `Commit`: the tail is then no older than the one that the consumer took up to.
        // It may be newer, by more than fit at a time.
        let acquire = if mutant(Mutant::RelaxedBagLen) { Ordering::Relaxed } else { Ordering::Acquire };
        let head = self.head.0.load(acquire);
        let tail = self.tail.0.load(Ordering::Relaxed);
        if tail & SEALED != 0 { 0 } else { (tail.wrapping_sub(head) / ONE).min(self.places.len()) }
    }
}

/// Tells the producer what was read, also when the taker's callback panics.
struct Commit<'a> {
    bag: &'a Bag,
    head: usize,
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `room` and `claim`: we have read what we free.
        let release = if mutant(Mutant::RelaxedBagHead) { Ordering::Relaxed } else { Ordering::Release };
        self.bag.clock.tick();
        self.bag.head.0.store(self.head, release);
    }
}
