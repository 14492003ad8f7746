//! The hand-over of the cross cases: a bounded ring between one sender and one receiver, in place of a NIC's queue or
//! a channel between pipeline stages.
//!
//! Each side remembers where it last saw the other and looks again only when that is not enough, publishes once a chunk, and keeps its own
//! position in a register meanwhile. A sender that finds the ring full stops until a quarter of it is free, as a driver's transmit
//! queue does. So the ring costs about as little as passing pages between two cores can, and every contender pays the same for it.
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
    #[inline(always)]
    fn room(&self) -> usize {
        self.ring.places.len() - (self.tail - self.head_seen)
    }

    /// Sends all of `items`, waiting for room for all of them first. They become visible together.
    #[inline]
    pub(crate) fn send(&mut self, items: impl ExactSizeIterator<Item = T>) {
        let count = items.len();
        if self.room() < count {
            self.wait_for_room(count);
        }
        let (places, mut tail) = (&*self.ring.places, self.tail);
        for item in items.take(count) {
            // SAFETY: outside head..tail, as there is room, so it is ours.
            unsafe { (*places[tail & (places.len() - 1)].get()).write(item) };
            tail += 1;
        }
        self.tail = tail;
        self.ring.tail.0.store(tail, Ordering::Release);
    }

    /// Who finds the ring full waits until a quarter of it is free, as a driver stops its queue and is woken: otherwise both sides would
    /// fight over one line for every item, and that would be what is measured.
    #[inline(never)]
    fn wait_for_room(&mut self, count: usize) {
        self.head_seen = self.ring.head.0.load(Ordering::Acquire);
        if self.room() >= count {
            return;
        }
        let wanted = count.max(self.ring.places.len() / 4);
        let mut patience = Patience::default();
        while self.room() < wanted {
            // A quarter takes a microsecond at least, and each look takes the other side's line away.
            (0..64).for_each(|_| patience.lose());
            self.head_seen = self.ring.head.0.load(Ordering::Acquire);
        }
    }
}

impl<T: Send> Receiver<T> {
    /// Waits for `count` items, and then is an iterator of them. Their places become free together, when it is dropped.
    #[inline]
    pub(crate) fn receive(&mut self, count: usize) -> Received<'_, T> {
        let mut patience = Patience::default();
        while self.tail_seen - self.head < count {
            self.tail_seen = self.ring.tail.0.load(Ordering::Acquire);
            patience.lose();
        }
        let (ring, next) = (&*self.ring, self.head);
        Received { places: &ring.places, next, end: next + count, ring, head: &mut self.head }
    }

    /// Waits for `N` items. Their places become free together.
    #[inline]
    pub(crate) fn receive_chunk<const N: usize>(&mut self) -> [T; N] {
        let mut items = self.receive(N);
        core::array::from_fn(|_| items.next().expect("as many as were waited for"))
    }
}

/// Items on their way out of the ring.
pub(crate) struct Received<'a, T> {
    places: &'a [UnsafeCell<MaybeUninit<T>>],
    next: usize,
    end: usize,
    ring: &'a Ring<T>,
    head: &'a mut usize,
}

impl<T> Iterator for Received<'_, T> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        let place = &self.places[self.next & (self.places.len() - 1)];
        // SAFETY: inside head..tail, which `receive` waited for; moved out once, as `next` moves on.
        let item = unsafe { (*place.get()).assume_init_read() };
        self.next += 1;
        Some(item)
    }
}

impl<T> Drop for Received<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        *self.head = self.next;
        self.ring.head.0.store(self.next, Ordering::Release);
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
                for item in receiver.receive(1) {
                    assert_eq!(item, next);
                    next += 1;
                }
            }
        });
    }

    #[test]
    fn what_was_not_received_is_dropped() {
        let item = Arc::new(());
        let (mut sender, mut receiver) = ring(4);
        sender.send([item.clone(), item.clone(), item.clone()].into_iter());
        receiver.receive(1).for_each(drop);
        assert_eq!(Arc::strong_count(&item), 3);
        drop((sender, receiver));
        assert_eq!(Arc::strong_count(&item), 1);
    }
}
