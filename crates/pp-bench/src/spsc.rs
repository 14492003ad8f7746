//! The hand-over of the cross cases: a bounded ring between one sender and one receiver, in place of a NIC's queue or
//! a channel between pipeline stages.
//!
//! Each side remembers where it last saw the other and looks again only when that is not enough, and publishes
//! once a chunk. So the ring costs about as little as passing pages between two cores can, and every contender
//! pays the same for it.
//!
//! # Ordering
//!
//! `tail` (Release by the sender, Acquire by the receiver) hands items over, `head` the free places back.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::cores::Patience;

/// Two lines, because x86 prefetches lines in pairs.
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

struct Ring<T> {
    /// A power of two of them.
    places: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Items ever sent; written by the sender.
    tail: Apart<AtomicUsize>,
    /// Items ever received; written by the receiver.
    head: Apart<AtomicUsize>,
}

// SAFETY: a place is the sender's outside head..tail and the receiver's inside, see the module.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: it owns its items.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T> Ring<T> {
    #[inline(always)]
    fn place(&self, position: usize) -> *mut MaybeUninit<T> {
        self.places[position & (self.places.len() - 1)].get()
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        for position in *self.head.0.get_mut()..*self.tail.0.get_mut() {
            // SAFETY: sent and not received, and nobody else is left.
            unsafe { (*self.place(position)).assume_init_drop() };
        }
    }
}

/// The side that puts items in.
pub(crate) struct Sender<T> {
    ring: Arc<Ring<T>>,
    tail: usize,
    head_seen: usize,
}

/// The side that takes items out.
pub(crate) struct Receiver<T> {
    ring: Arc<Ring<T>>,
    head: usize,
    tail_seen: usize,
}

/// A ring of `capacity` places, a power of two.
pub(crate) fn ring<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two());
    let ring = Arc::new(Ring {
        places: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        tail: Apart(AtomicUsize::new(0)),
        head: Apart(AtomicUsize::new(0)),
    });
    (Sender { ring: ring.clone(), tail: 0, head_seen: 0 }, Receiver { ring, head: 0, tail_seen: 0 })
}

impl<T: Send> Sender<T> {
    /// Sends all of `items`, waiting for room for all of them first. They become visible together.
    #[inline]
    pub(crate) fn send(&mut self, items: impl ExactSizeIterator<Item = T>) {
        let count = items.len();
        let mut patience = Patience::default();
        while self.ring.places.len() - (self.tail - self.head_seen) < count {
            self.head_seen = self.ring.head.0.load(Ordering::Acquire);
            patience.lose();
        }
        for item in items.take(count) {
            // SAFETY: outside head..tail by the loop above, so it is ours.
            unsafe { (*self.ring.place(self.tail)).write(item) };
            self.tail += 1;
        }
        self.ring.tail.0.store(self.tail, Ordering::Release);
    }
}

impl<T: Send> Receiver<T> {
    /// Waits for `count` items and hands each to `accept`. Their places become free together.
    #[inline]
    pub(crate) fn receive(&mut self, count: usize, mut accept: impl FnMut(T)) {
        let mut patience = Patience::default();
        while self.tail_seen - self.head < count {
            self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
            patience.lose();
        }
        for _ in 0..count {
            // SAFETY: inside head..tail by the loop above; moved out once, as `head` moves on.
            accept(unsafe { (*self.ring.place(self.head)).assume_init_read() });
            self.head += 1;
        }
        self.ring.head.0.store(self.head, Ordering::Release);
    }

    /// Waits for `N` items. Their places become free together.
    #[inline]
    pub(crate) fn receive_chunk<const N: usize>(&mut self) -> [T; N] {
        let mut chunk = [const { MaybeUninit::uninit() }; N];
        let mut places = chunk.iter_mut();
        self.receive(N, |item| {
            if let Some(place) = places.next() {
                place.write(item);
            }
        });
        // SAFETY: `receive` handed over exactly `N` items, one for each place.
        chunk.map(|place| unsafe { place.assume_init() })
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::ring;

    #[test]
    fn items_arrive_once_and_in_order() {
        let (mut sender, mut receiver) = ring(8);
        std::thread::scope(|scope| {
            scope.spawn(move || (0..250).for_each(|chunk| sender.send((0..4).map(|i| chunk * 4 + i))));
            let mut next = 0;
            for _ in 0..1000 {
                receiver.receive(1, |item| {
                    assert_eq!(item, next);
                    next += 1;
                });
            }
        });
    }

    #[test]
    fn what_was_not_received_is_dropped() {
        let item = Arc::new(());
        let (mut sender, mut receiver) = ring(4);
        sender.send([item.clone(), item.clone(), item.clone()].into_iter());
        receiver.receive(1, drop);
        assert_eq!(Arc::strong_count(&item), 3);
        drop((sender, receiver));
        assert_eq!(Arc::strong_count(&item), 1);
    }
}
