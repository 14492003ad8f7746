//! Which chunks the kernel holds, and through which ring of which queue.
//!
//! A descriptor is a number that the kernel, or whoever writes its memory, has written; nothing follows from it alone. It becomes a
//! page again only if this table says that the page was given to that very ring and has not come back. So a chunk that
//! is received twice, or was never given, is found out here, and a page is never in two places.

use alloc::boxed::Box;
use core::ptr::NonNull;

use pp_core::Descriptor;
use pp_core::sync::{AtomicPtr, AtomicU32, Mutant, Ordering, mutant};

/// One use of a queue, from open to quiet; never used twice for a UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u32);

/// Which of a queue's two ways a chunk is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Given to the fill ring, not yet received.
    Receive,
    /// Given to the transmit ring, not yet completed.
    Transmit,
}

/// Where one chunk is.
struct Place {
    /// | state | the chunk is | who leaves it |
    /// |---|---|---|
    /// | 0 | the user's, or home | the page's owner, by giving it to a ring |
    /// | 2 x tag | with the kernel, through that queue's fill ring | that queue's receiving side; once it is closed, its closing |
    /// | 2 x tag + 1 | with the kernel, through that queue's transmit ring | that queue's sending side; once closed, its closing |
    ///
    /// Each state is left by one thread alone, so a load and a store do. Another queue may look at any time, because a
    /// descriptor of it names a chunk that is not its own; it finds a tag that is not its own, and goes away.
    holder: AtomicU32,
    /// The page, while `holder` is not 0; written before that by whoever gives it.
    page: AtomicPtr<Descriptor>,
}

/// The places of a UMEM's chunks.
pub(crate) struct Places {
    places: Box<[Place]>,
    /// The tag that is next; 0 is nobody's.
    next: AtomicU32,
}

/// No queue of this UMEM can be opened any more: two billion have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagsExhausted;

impl Tag {
    fn holder(self, way: Way) -> u32 {
        self.0 * 2 + u32::from(way == Way::Transmit)
    }
}

impl Places {
    pub(crate) fn new(chunks: u32) -> Self {
        let place = |_| Place { holder: AtomicU32::new(0), page: AtomicPtr::new(core::ptr::null_mut()) };
        Places { places: (0..chunks).map(place).collect(), next: AtomicU32::new(1) }
    }

    /// A tag that nobody has had.
    pub(crate) fn tag(&self) -> Result<Tag, TagsExhausted> {
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            if next > u32::MAX / 2 {
                return Err(TagsExhausted);
            }
            // Relaxed: a number, and nothing beside it.
            match self.next.compare_exchange(next, next + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(tag) => return Ok(Tag(tag)),
                Err(now) => next = now,
            }
        }
    }

    /// Notes that chunk `index` is given to the kernel. The caller owned its page, and gives it up.
    pub(crate) fn give(&self, index: u32, page: NonNull<Descriptor>, tag: Tag, way: Way) {
        let Some(place) = self.places.get(index as usize) else {
            debug_assert!(false, "chunk {index} of {}", self.places.len());
            return;
        };
        debug_assert_eq!(place.holder.load(Ordering::Relaxed), 0, "chunk {index} is given twice");
        // Relaxed, both: this thread alone reads them as long as they say this tag; after a close whoever ends it has synchronised
        // with it, by being handed it.
        place.page.store(page.as_ptr(), Ordering::Relaxed);
        place.holder.store(tag.holder(way), Ordering::Relaxed);
    }

    /// Takes chunk `index` back from the kernel, if it was given there by this queue and this way. The page is the caller's then.
    pub(crate) fn take(&self, index: u32, tag: Tag, way: Way) -> Option<NonNull<Descriptor>> {
        let place = self.places.get(index as usize)?;
        if place.holder.load(Ordering::Relaxed) != tag.holder(way) {
            return None;
        }
        if !mutant(Mutant::Named("a chunk is taken and not noted")) {
            place.holder.store(0, Ordering::Relaxed);
        }
        NonNull::new(place.page.load(Ordering::Relaxed))
    }

    /// Takes back whatever the queue had given, both ways: for its end.
    pub(crate) fn take_all(&self, tag: Tag) -> impl Iterator<Item = NonNull<Descriptor>> {
        (0..self.places.len() as u32).filter_map(move |index| {
            self.take(index, tag, Way::Receive).or_else(|| self.take(index, tag, Way::Transmit))
        })
    }

    /// The pages that the kernel holds, of all queues. Figures: another thread may give or take meanwhile.
    pub(crate) fn held(&self) -> impl Iterator<Item = NonNull<Descriptor>> {
        (0..self.chunks()).filter_map(|index| self.held_at(index))
    }

    /// The page of chunk `index`, if the kernel holds it.
    pub(crate) fn held_at(&self, index: u32) -> Option<NonNull<Descriptor>> {
        let place = self.places.get(index as usize)?;
        let held = place.holder.load(Ordering::Relaxed) != 0;
        NonNull::new(place.page.load(Ordering::Relaxed)).filter(|_| held)
    }

    pub(crate) fn chunks(&self) -> u32 {
        self.places.len() as u32
    }
}

impl core::fmt::Debug for Places {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Places").field("chunks", &self.chunks()).field("held", &self.held().count()).finish()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Something to stand for a page; nothing follows it here.
    fn page(number: usize) -> NonNull<Descriptor> {
        NonNull::without_provenance(core::num::NonZero::new(number * 64).unwrap())
    }

    #[test]
    fn a_chunk_comes_back_once_and_only_to_whom_and_by_which_way_it_was_given() {
        let places = Places::new(4);
        let (one, other) = (places.tag().unwrap(), places.tag().unwrap());
        for (way, wrong_way) in [(Way::Receive, Way::Transmit), (Way::Transmit, Way::Receive)] {
            places.give(2, page(1), one, way);
            assert_eq!((places.held_at(2), places.held().count()), (Some(page(1)), 1));
            assert_eq!(places.take(2, one, wrong_way), None);
            assert_eq!(places.take(2, other, way), None);
            assert_eq!(places.take(1, one, way), None);
            assert_eq!(places.take(4, one, way), None, "there are four");
            assert_eq!(places.take(u32::MAX, one, way), None);
            assert_eq!(places.take(2, one, way), Some(page(1)));
            assert_eq!(places.take(2, one, way), None, "a second time");
            assert_eq!((places.held_at(2), places.held().count()), (None, 0));
        }
    }

    #[test]
    fn an_end_takes_what_its_queue_gave_both_ways_and_nothing_of_another() {
        let places = Places::new(6);
        let (ends, stays) = (places.tag().unwrap(), places.tag().unwrap());
        places.give(0, page(1), ends, Way::Receive);
        places.give(1, page(2), stays, Way::Receive);
        places.give(3, page(3), ends, Way::Transmit);
        places.give(5, page(4), stays, Way::Transmit);
        assert_eq!(places.take_all(ends).collect::<alloc::vec::Vec<_>>(), [page(1), page(3)]);
        assert_eq!(places.take_all(ends).count(), 0);
        assert_eq!(places.held().collect::<alloc::vec::Vec<_>>(), [page(2), page(4)]);
    }

    #[test]
    fn no_tag_is_given_twice_and_the_last_one_is_the_last() {
        let places = Places::new(1);
        places.next.store(u32::MAX / 2, Ordering::Relaxed);
        let last = places.tag().unwrap();
        assert_eq!((places.tag(), places.tag()), (Err(TagsExhausted), Err(TagsExhausted)));
        // The word has room for both its ways.
        places.give(0, page(1), last, Way::Transmit);
        assert_eq!(places.take(0, last, Way::Receive), None);
        assert_eq!(places.take(0, last, Way::Transmit), Some(page(1)));
    }
}
