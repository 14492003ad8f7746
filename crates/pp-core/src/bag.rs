//! A bag: what one producer has returned and the consumer has not taken yet. A [`Returner`](crate::Returner) has one as long as it
//! lives, a batch that is put by the shared path borrows one while it is put.
//!
//! Single producer, single consumer. A put is plain stores, the last of which publishes, and a look whether the bag is closed.
//! The consumer takes from it whenever it refills, so there is nothing to flush and a sleeping producer strands nothing.
//!
//! Closing needs the two sides to see each other: the closer says that the bag is closed and then looks what is in it, the producer
//! puts something in and then looks whether it is closed. With a full fence between the two steps of each, at least one of them
//! sees the other's first step. For a Returner's put that is an [`AsymmetricFence`]: the closer, who comes once, pays for both where the system
//! lets it. A batch, and a Returner at its end, has a fence of its own (`state_at_last`), which also hands the bag to the next
//! producer. From the close on what lies in the bag is for whoever claims it, one page at a time, and both try.
//!
//! No memory safety rests on what the closer imposes: were it broken, a page put at the moment of the close would lie in the bag until the
//! Returner's next put, or its end.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use crate::descriptor::Descriptor;
use crate::ring::{CacheLine, Step};
use crate::sync::{
    AsymmetricFence, AtomicU8, AtomicUsize, Clock, Counter, Mutant, Ordering, UnsafeCell, fence, mutant,
};

/// What `end` says of a bag that is not closed.
const OPEN: usize = 0;

pub(crate) struct Bag {
    places: Box<[UnsafeCell<usize>]>,
    /// | state | meaning |
    /// |---|---|
    /// | `OPEN` | what is published is the consumer's |
    /// | 2n + 1 | closed, and the first n pages ever published are taken: the next is for whoever makes this 2n + 3 |
    end: AtomicUsize,
    /// Between each put and the close. `None`: there is none, as each producer puts once and takes a last look then.
    fence: Option<AsymmetricFence>,
    given: CacheLine<Given>,
    taken: CacheLine<Taken>,
    /// The consumer looks at the head and changes it then.
    clock: Clock,
}

/// The producers'.
struct Given {
    /// | state | meaning |
    /// |---|---|
    /// | 0 | free for a new producer |
    /// | 1 | some producer's |
    owner: AtomicU8,
    /// | state | meaning |
    /// |---|---|
    /// | n | n pages were ever published. Written by the producer alone |
    tail: AtomicUsize,
}

/// The consumer's.
struct Taken {
    /// | state | meaning |
    /// |---|---|
    /// | n | the consumer took n pages. Written by the consumer alone, read by the producer for room. Stands still once the bag is closed |
    head: AtomicUsize,
    /// The tail as the consumer last saw it: as long as that is enough, taking leaves the producer's line alone.
    tail_seen: Counter,
}

// SAFETY: a place is written by the producer while it lies outside head..tail, and taken by the consumer while it lies inside; tail
// (Release, Acquire) and head (Release, Acquire) hand it over each way. Once closed, the head stands still, so that no
// place that was published is written again.
unsafe impl Send for Bag {}
// SAFETY: as above; that there is one producer is `claim`'s work, that there is one consumer is `PagePool`'s.
unsafe impl Sync for Bag {}

/// The producer's own view: what it knows without looking.
#[derive(Debug)]
pub(crate) struct BagWriter {
    tail: usize,
    /// The tail at which there is no room, as far as it knows.
    full: usize,
    /// The bag's; the plain one, which nobody asks for, if it has none.
    fence: AsymmetricFence,
}

/// Whether the consumer still takes from a bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a producer must empty a closed bag"]
pub(crate) enum State {
    Open,
    /// What lies in it is for whoever claims it.
    Closed,
}

/// Always some: there are a power of two of places.
#[inline(always)]
fn place(places: &[UnsafeCell<usize>], position: usize) -> Option<&UnsafeCell<usize>> {
    let place = places.get(position & places.len().wrapping_sub(1));
    debug_assert!(place.is_some(), "a bag without places");
    place
}

impl Bag {
    /// A bag for `capacity` pages, or `None` when there is no memory for it. Without a `fence`, of which the closer has the other half, it is for
    /// [`Bag::publish_some`] alone.
    pub(crate) fn new(capacity: usize, fence: Option<AsymmetricFence>) -> Option<Self> {
        let capacity = capacity.next_power_of_two();
        let mut places = Vec::new();
        places.try_reserve_exact(capacity).ok()?;
        places.resize_with(capacity, || UnsafeCell::new(0));
        Some(Bag {
            places: places.into_boxed_slice(),
            end: AtomicUsize::new(OPEN),
            fence,
            given: CacheLine(Given { owner: AtomicU8::new(0), tail: AtomicUsize::new(0) }),
            taken: CacheLine(Taken { head: AtomicUsize::new(0), tail_seen: Counter::new(0) }),
            clock: Clock::new(),
        })
    }

    /// Whether nobody has it and `count` pages fit, as far as a look without a claim can tell.
    pub(crate) fn seems_free_for(&self, count: usize) -> bool {
        self.clock.tick();
        let (tail, head) = (self.given.0.tail.load(Ordering::Relaxed), self.taken.0.head.load(Ordering::Relaxed));
        let room = self.places.len().saturating_sub(tail.wrapping_sub(head));
        room >= count && self.given.0.owner.load(Ordering::Relaxed) == 0
    }

    /// Makes the caller the one producer, if there is none.
    pub(crate) fn claim(&self) -> Option<BagWriter> {
        // Acquire pairs with the fence in `state_at_last`, before `disown`: the next producer goes on where the last one stopped.
        self.given.0.owner.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let (tail, head) = (self.given.0.tail.load(Ordering::Relaxed), self.taken.0.head.load(Ordering::Acquire));
        Some(BagWriter {
            tail,
            full: head.wrapping_add(self.places.len()),
            fence: self.fence.unwrap_or(AsymmetricFence::PLAIN),
        })
    }

    /// The producer's last look: it must empty a closed bag, with [`Bag::claim_closed`]. What lies in an open one stays for the consumer.
    pub(crate) fn state_at_last(&self) -> State {
        // SeqCst pairs with the closer's `heavy`, without any help of the system: the producer has time here. And releases what it did to
        // the next producer, by `disown`.
        if !mutant(Mutant::NoFenceAtLast) {
            fence(Ordering::SeqCst);
        }
        if self.is_closed() { State::Closed } else { State::Open }
    }

    /// Leaves the bag to the next producer, after the last look.
    pub(crate) fn disown(&self) {
        // Relaxed: the fence in `state_at_last` stands before it, and pairs with the Acquire in `claim`. What was claimed of a closed bag since
        // then needs no release: the head stands still, so that the next producer writes no place that was read.
        self.given.0.owner.store(0, Ordering::Relaxed);
    }

    /// The `count` places from `position` on, which are no more than there are: in two pieces where they wrap around.
    #[inline(always)]
    fn run(&self, position: usize, count: usize) -> [&[UnsafeCell<usize>]; 2] {
        let places = &*self.places;
        let start = position & places.len().wrapping_sub(1);
        let first = count.min(places.len().saturating_sub(start));
        let piece = |start: usize, len: usize| places.get(start..start.wrapping_add(len)).unwrap_or_default();
        [piece(start, first), piece(0, count - first)]
    }

    /// Makes what lies before `tail` the consumer's, and says whether the bag is closed: then the producer must empty it, with
    /// [`Bag::claim_closed`]. For the producer.
    #[inline(always)]
    fn advance(&self, writer: &mut BagWriter, tail: usize) -> State {
        debug_assert!(self.fence.is_some(), "a put into a bag that has no fence for it");
        writer.tail = tail;
        self.clock.tick();
        // Releases, and pairs with the Acquire in `take` and `claim_closed`: the places and the pages behind them. Store and load together
        // pair with `heavy` in the close: if the closer did not see this tail, we see its end.
        writer.fence.store(&self.given.0.tail, tail);
        self.clock.tick();
        let is_open = writer.fence.load(&self.end) == OPEN || mutant(Mutant::BagWithoutSeal);
        if is_open { State::Open } else { State::Closed }
    }

    /// Publishes one value, and says whether the bag is closed; `None`: there is no room, and it still is the caller's. For the producer.
    #[inline(always)]
    pub(crate) fn publish_one(&self, writer: &mut BagWriter, value: usize) -> Option<State> {
        if !self.put_in(&self.places, writer.tail, &mut writer.full, value) {
            return None;
        }
        Some(self.advance(writer, writer.tail.wrapping_add(1)))
    }

    /// Opens the bag for values that are published together. For the producer.
    #[inline(always)]
    pub(crate) fn open<'a>(&'a self, writer: &'a mut BagWriter) -> OpenBag<'a> {
        OpenBag { places: &self.places, next: writer.tail, full: writer.full, bag: self, writer }
    }

    /// Publishes pages together, as many as there is room for, and says how many. For a producer that claimed the bag for this alone: its last
    /// look must follow.
    #[inline]
    pub(crate) fn publish_some(&self, writer: &mut BagWriter, pages: &[NonNull<Descriptor>]) -> usize {
        let count = pages.len().min(writer.full.wrapping_sub(writer.tail));
        let [first, second] = self.run(writer.tail, count);
        let (head, rest) = pages.split_at_checked(first.len()).unwrap_or_default();
        for (places, pages) in [(first, head), (second, rest)] {
            for (place, page) in places.iter().zip(pages) {
                // SAFETY: outside head..tail, so it is the producer's.
                place.with_mut(|place| unsafe { *place = page.as_ptr().expose_provenance() });
            }
        }
        writer.tail = writer.tail.wrapping_add(count);
        self.clock.tick();
        // Pairs with the Acquire in `take` and `claim_closed`: the places and the pages behind them. Whether the bag is closed, the last look
        // says, by a fence of its own.
        let release = if mutant(Mutant::RelaxedBagTail) { Ordering::Relaxed } else { Ordering::Release };
        self.given.0.tail.store(writer.tail, release);
        count
    }

    /// Puts a value in at `at`, not published yet, unless that is `full` and stays so at a second look.
    #[inline(always)]
    fn put_in(&self, places: &[UnsafeCell<usize>], at: usize, full: &mut usize, value: usize) -> bool {
        if at == *full {
            *full = self.head_now().wrapping_add(places.len());
            if at == *full {
                return false;
            }
        }
        let Some(place) = place(places, at) else { return false };
        // SAFETY: outside head..tail, so it is the producer's.
        place.with_mut(|place| unsafe { *place = value });
        true
    }

    /// How far the consumer is. For the producer, when it knows of no room.
    #[cold]
    fn head_now(&self) -> usize {
        self.clock.tick();
        // Acquire pairs with the Release in `Commit`: the consumer has read the places it freed.
        self.taken.0.head.load(Ordering::Acquire)
    }

    /// Whether there was something to take a moment ago. For the consumer.
    #[inline(always)]
    pub(crate) fn has_some(&self) -> bool {
        self.clock.tick();
        let Taken { head, tail_seen } = &self.taken.0;
        let head = head.load(Ordering::Relaxed);
        // What was seen before first, which is on the consumer's own line. Relaxed: `take` looks again.
        tail_seen.get() != head || self.given.0.tail.load(Ordering::Relaxed) != head
    }

    /// Takes up to `want`, handing each to `accept` until that says stop. For the consumer, before it closed.
    #[inline]
    pub(crate) fn take(&self, want: usize, mut accept: impl FnMut(usize) -> Step) -> usize {
        self.clock.tick();
        let Taken { head, tail_seen } = &self.taken.0;
        let head = head.load(Ordering::Relaxed);
        let mut known = tail_seen.get().wrapping_sub(head);
        if known < want {
            // Acquire pairs with the Release in `advance` and `publish_some`.
            let tail = self.given.0.tail.load(Ordering::Acquire);
            tail_seen.set(tail);
            known = tail.wrapping_sub(head);
        }
        let count = want.min(known);
        if count == 0 {
            return 0;
        }
        let mut at = Commit { bag: self, head };
        let mut taken = 0;
        'taking: for places in self.run(head, count) {
            for place in places {
                // SAFETY: inside head..tail, so it is the consumer's.
                let value = place.with(|place| unsafe { *place });
                at.head = at.head.wrapping_add(1);
                taken += 1;
                if accept(value) == Step::Stop {
                    break 'taking;
                }
            }
        }
        if self.fence.is_some_and(AsymmetricFence::waits) {
            // Written as well, so that their lines are wholly ours when the producer wants them back: it waits for its stores, and taking a
            // line over is quicker than ending its sharing.
            for place in self.run(head, taken).into_iter().flatten() {
                // SAFETY: as above; the head moves on below.
                place.with_mut(|place| unsafe { *place = 0 });
            }
        }
        taken
    }

    /// Closes the bag: what lies in it and what comes later is for whoever claims it. May be called again. For the consumer, whose
    /// `heavy` must follow, and then its claims.
    pub(crate) fn close(&self) {
        if !self.is_closed() {
            let head = self.taken.0.head.load(Ordering::Relaxed);
            self.clock.tick();
            // Relaxed: the caller's `heavy` orders it against the tail, and whoever claims by it looks at the tail next, which says for itself
            // what it needs.
            self.end.store(head.wrapping_mul(2) | 1, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        self.clock.tick();
        // Relaxed: says that `claim_closed` is worth a call, which looks again; what must be seen here, a fence before the call makes seen.
        self.end.load(Ordering::Relaxed) != OPEN
    }

    /// The next page of a closed bag, for the caller alone. For the closer and for the producer, at the same time.
    #[cold]
    pub(crate) fn claim_closed(&self) -> Option<usize> {
        let release = if mutant(Mutant::RelaxedBagEnd) { Ordering::Relaxed } else { Ordering::Release };
        self.clock.tick();
        // Acquire pairs with the Release below: a claim of the producer's comes with its tail, so that the end is never past the tail.
        let mut end = self.end.load(Ordering::Acquire);
        loop {
            // Acquire pairs with the Release in `advance` and `publish_some`.
            let tail = self.given.0.tail.load(Ordering::Acquire);
            if end == OPEN || end == tail.wrapping_mul(2) | 1 {
                return None;
            }
            // SAFETY: inside head..tail, and no longer written: the head stands still, and the producer writes outside.
            let value = place(&self.places, end / 2)?.with(|place| unsafe { *place });
            self.clock.tick();
            match self.end.compare_exchange(end, end.wrapping_add(2), release, Ordering::Acquire) {
                Ok(_) => return Some(value),
                Err(now) => end = now,
            }
        }
    }

    /// How many lie in it, exact when nobody is inside a call; 0 once closed.
    pub(crate) fn len(&self) -> usize {
        // Acquire pairs with the Release in `Commit`: the tail is then no older than the one that the consumer took up to.
        // It may be newer, by more than fit at a time.
        let acquire = if mutant(Mutant::RelaxedBagLen) { Ordering::Relaxed } else { Ordering::Acquire };
        let head = self.taken.0.head.load(acquire);
        let tail = self.given.0.tail.load(Ordering::Relaxed);
        if self.is_closed() { 0 } else { tail.wrapping_sub(head).min(self.places.len()) }
    }
}

/// A bag that its producer is putting values into, none of which is the consumer's yet. What was put in is published at the end, also when
/// the producer panics before it.
///
/// None of its numbers is handed to code out of line: so they stay in registers.
pub(crate) struct OpenBag<'a> {
    places: &'a [UnsafeCell<usize>],
    /// Where the next value goes.
    next: usize,
    full: usize,
    bag: &'a Bag,
    writer: &'a mut BagWriter,
}

impl<'a> OpenBag<'a> {
    /// The places that the next `count` values go to, as far as they are known to be free and lie in one piece.
    #[inline(always)]
    pub(crate) fn next_places(&self, count: usize) -> &'a [UnsafeCell<usize>] {
        let start = self.next & self.places.len().wrapping_sub(1);
        let places = self.places.get(start..).unwrap_or_default();
        places.get(..count.min(self.full.wrapping_sub(self.next))).unwrap_or_default()
    }

    /// Puts one value in, into the first of the [next places](OpenBag::next_places).
    ///
    /// # Safety
    ///
    /// It is that one.
    #[inline(always)]
    pub(crate) unsafe fn push_at(&mut self, place: &UnsafeCell<usize>, value: usize) {
        // SAFETY: outside head..tail, so it is the producer's.
        place.with_mut(|place| unsafe { *place = value });
        self.next = self.next.wrapping_add(1);
    }

    /// Puts one value in; `false` if there is no room.
    #[inline(always)]
    pub(crate) fn push(&mut self, value: usize) -> bool {
        let is_in = self.bag.put_in(self.places, self.next, &mut self.full, value);
        self.next = self.next.wrapping_add(usize::from(is_in));
        is_in
    }

    /// Publishes what was put in, and says whether the bag is closed. What is published is gone: the producer may touch it no more.
    #[inline(always)]
    pub(crate) fn publish(self) -> State {
        ManuallyDrop::new(self).end()
    }

    #[inline(always)]
    fn end(&mut self) -> State {
        self.writer.full = self.full;
        self.bag.advance(self.writer, self.next)
    }
}

impl Drop for OpenBag<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Whoever opened it takes a last look after this.
        let _ = self.end();
    }
}

/// Tells the producer what was read, also when the taker's callback panics.
struct Commit<'a> {
    bag: &'a Bag,
    head: usize,
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `head_now` and `claim`: we have read what we free.
        let release = if mutant(Mutant::RelaxedBagHead) { Ordering::Relaxed } else { Ordering::Release };
        self.bag.clock.tick();
        self.bag.taken.0.head.store(self.head, release);
    }
}
