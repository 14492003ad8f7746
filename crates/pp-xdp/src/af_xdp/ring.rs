//! The rings between a queue and the kernel: one producer, one consumer, in shared memory.
//!
//! Both sides keep a copy of the other's cursor and read the shared one only when the copy says full or empty, so a batch costs one
//! acquire and one release (`struct xsk_queue`, Linux 6.18, `net/xdp/xsk_queue.h`).
//!
//! # Ordering
//!
//! | edge | release side | acquire side |
//! |---|---|---|
//! | entries written -> read by the other side | [`Producer::publish`], the kernel's | [`Consumer::available`], the kernel's |
//! | entries read -> written anew by the other side | [`Consumer::release`], the kernel's | [`Producer::room`], the kernel's |

#![allow(unsafe_code, reason = "memory shared with the kernel")]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;

use pp_core::sync::{AtomicU32, Mutant, Ordering, UnsafeCell, mutant};

/// Where the words and entries of a ring are.
///
/// # Safety
///
/// As long as the value lives: all pointers are valid, `entries` for `size` of them, `size` is a power of two, and of the two sides
/// each is held once.
pub(crate) struct RingMemory<T> {
    /// Counts entries ever written, modulo 2^32; the producer writes it.
    pub(crate) producer: NonNull<AtomicU32>,
    /// Counts entries ever read, modulo 2^32; the consumer writes it.
    pub(crate) consumer: NonNull<AtomicU32>,
    /// What the kernel says: [`NEED_WAKEUP`].
    pub(crate) flags: NonNull<AtomicU32>,
    pub(crate) entries: NonNull<UnsafeCell<T>>,
    pub(crate) size: u32,
    /// Keeps all of it.
    pub(crate) _keep: Arc<dyn Send + Sync>,
}

/// The kernel sleeps, and goes on when it is called (`XDP_RING_NEED_WAKEUP`).
pub(crate) const NEED_WAKEUP: u32 = 1;

// SAFETY: shared words are atomics, and of the entries each side uses those that the cursors give it.
unsafe impl<T: Send> Send for RingMemory<T> {}

impl<T: Copy> RingMemory<T> {
    fn load(&self, word: NonNull<AtomicU32>, order: Ordering) -> u32 {
        // SAFETY: valid by the type's promise.
        unsafe { word.as_ref() }.load(order)
    }

    fn store(&self, word: NonNull<AtomicU32>, value: u32, order: Ordering) {
        // SAFETY: as above.
        unsafe { word.as_ref() }.store(value, order);
    }

    fn entry(&self, at: u32) -> &UnsafeCell<T> {
        // SAFETY: the masked place is below `size`, and entries are valid.
        unsafe { self.entries.add((at & (self.size - 1)) as usize).as_ref() }
    }

    /// Whether the kernel wants to be called.
    pub(crate) fn needs_wakeup(&self) -> bool {
        // Relaxed: a hint, looked at after each publication; nothing rides on it.
        self.load(self.flags, Ordering::Relaxed) & NEED_WAKEUP != 0
    }
}

/// The other side's cursor is where none can be: the ring is not to be trusted any further for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Astray;

/// The writing side: of the fill and transmit rings.
pub(crate) struct Producer<T> {
    memory: RingMemory<T>,
    /// Entries published.
    published: u32,
    /// Entries written.
    written: u32,
    /// The consumer's cursor when it was read last.
    consumed: u32,
}

impl<T: Copy> Producer<T> {
    /// # Safety
    ///
    /// As [`RingMemory`] says, and the ring is empty.
    pub(crate) unsafe fn new(memory: RingMemory<T>) -> Self {
        let at = memory.load(memory.producer, Ordering::Relaxed);
        Producer { published: at, written: at, consumed: at, memory }
    }

    pub(crate) fn size(&self) -> u32 {
        self.memory.size
    }

    /// How many entries can be written: at least `want` if there is that much room, else what there is.
    pub(crate) fn room(&mut self, want: u32) -> Result<u32, Astray> {
        let size = self.memory.size;
        if size - self.written.wrapping_sub(self.consumed) < want {
            let order = if mutant(Mutant::Named("room found relaxed")) { Ordering::Relaxed } else { Ordering::Acquire };
            // Acquire: pairs with the consumer's Release, which says that it has read what is overwritten now.
            let consumed = self.memory.load(self.memory.consumer, order);
            // Only forwards, and not beyond what was published.
            if self.published.wrapping_sub(consumed) > self.published.wrapping_sub(self.consumed) {
                return Err(Astray);
            }
            self.consumed = consumed;
        }
        Ok(size - self.written.wrapping_sub(self.consumed))
    }

    /// Writes the next entry; nobody sees it before [`publish`](Self::publish). There is [room](Self::room).
    pub(crate) fn write(&mut self, entry: T) {
        debug_assert!(self.written.wrapping_sub(self.consumed) < self.memory.size, "a ring was written over");
        // SAFETY: not published, and behind what the consumer may read, so nobody else uses it.
        self.memory.entry(self.written).with_mut(|place| unsafe { place.write(entry) });
        self.written = self.written.wrapping_add(1);
    }

    /// Entries written and not published.
    pub(crate) fn unpublished(&self) -> u32 {
        self.written.wrapping_sub(self.published)
    }

    /// Entries published that the consumer had not read when its cursor was read last.
    pub(crate) fn in_ring(&self) -> u32 {
        self.published.wrapping_sub(self.consumed)
    }

    /// Shows what was written to the consumer.
    pub(crate) fn publish(&mut self) {
        self.published = self.written;
        let order =
            if mutant(Mutant::Named("entries published relaxed")) { Ordering::Relaxed } else { Ordering::Release };
        // Release: pairs with the consumer's Acquire; the entries were written before, and so were the bytes they stand for.
        self.memory.store(self.memory.producer, self.published, order);
    }

    /// Whether everything that was published has been read.
    pub(crate) fn is_drained(&mut self) -> bool {
        // Relaxed: a question, on whose answer no entry is written.
        self.memory.load(self.memory.consumer, Ordering::Relaxed) == self.published
    }

    pub(crate) fn needs_wakeup(&self) -> bool {
        self.memory.needs_wakeup()
    }

    /// Says what the kernel says when it sleeps.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(crate) fn ask_for_wakeups(&self) {
        self.memory.store(self.memory.flags, NEED_WAKEUP, Ordering::Relaxed);
    }

    /// Shows the consumer a cursor so many entries beyond all that the ring could hold, until the next publication; for tests.
    pub(crate) fn skew(&mut self, entries: u32) {
        let wrong = self.published.wrapping_add(beyond(self.memory.size, entries));
        // Relaxed: there is nothing that it stands for.
        self.memory.store(self.memory.producer, wrong, Ordering::Relaxed);
    }
}

/// The reading side: of the receive and completion rings.
pub(crate) struct Consumer<T> {
    memory: RingMemory<T>,
    /// Entries given back to the producer.
    released: u32,
    /// Entries read.
    read: u32,
    /// The producer's cursor when it was read last.
    produced: u32,
}

impl<T: Copy> Consumer<T> {
    /// # Safety
    ///
    /// As [`RingMemory`] says.
    pub(crate) unsafe fn new(memory: RingMemory<T>) -> Self {
        let at = memory.load(memory.consumer, Ordering::Relaxed);
        Consumer { released: at, read: at, produced: at, memory }
    }

    /// How many entries there are to read; looks at the shared cursor if there are fewer than `want`.
    pub(crate) fn available(&mut self, want: u32) -> Result<u32, Astray> {
        if self.produced.wrapping_sub(self.read) < want {
            let order =
                if mutant(Mutant::Named("entries read relaxed")) { Ordering::Relaxed } else { Ordering::Acquire };
            // Acquire: pairs with the producer's Release; entries and the bytes they stand for are there.
            let produced = self.memory.load(self.memory.producer, order);
            // Only forwards, and never more than the ring holds.
            if produced.wrapping_sub(self.released) > self.memory.size
                || produced.wrapping_sub(self.released) < self.produced.wrapping_sub(self.released)
            {
                return Err(Astray);
            }
            self.produced = produced;
        }
        Ok(self.produced.wrapping_sub(self.read))
    }

    /// How many entries there are to read as far as is known without looking.
    pub(crate) fn known(&self) -> u32 {
        self.produced.wrapping_sub(self.read)
    }

    /// Reads the next entry, if one is [available](Self::available).
    pub(crate) fn read(&mut self) -> Option<T> {
        if self.read == self.produced {
            return None;
        }
        // SAFETY: below the producer's cursor and not released, so the producer leaves it alone. Once and volatile: what is looked at
        // afterwards is the copy, whatever the other side does.
        let entry = self.memory.entry(self.read).with(|place| unsafe { place.read_volatile() });
        self.read = self.read.wrapping_add(1);
        Some(entry)
    }

    /// Gives the places of what was read back to the producer.
    pub(crate) fn release(&mut self) {
        if self.released != self.read {
            self.released = self.read;
            let order =
                if mutant(Mutant::Named("entries given back relaxed")) { Ordering::Relaxed } else { Ordering::Release };
            // Release: pairs with the producer's Acquire; the entries were read before.
            self.memory.store(self.memory.consumer, self.released, order);
        }
    }

    /// Shows the producer a cursor so many entries beyond all that it can have written, until the next release; for tests.
    pub(crate) fn skew(&mut self, entries: u32) {
        let wrong = self.released.wrapping_add(beyond(self.memory.size, entries));
        // Relaxed: as there.
        self.memory.store(self.memory.consumer, wrong, Ordering::Relaxed);
    }
}

/// How far ahead of its place a cursor is nowhere that the other side could take for one, whatever that has done meanwhile: less would have
/// it use entries that this side is using.
fn beyond(size: u32, entries: u32) -> u32 {
    size.saturating_add(entries.max(1)).min(u32::MAX - size)
}

// === rings of this process ===

/// A ring in ordinary memory, for both of whose sides there is somebody in this process.
struct Owned<T> {
    producer: AtomicU32,
    consumer: AtomicU32,
    flags: AtomicU32,
    entries: Box<[UnsafeCell<T>]>,
}

// SAFETY: as for `RingMemory`: each entry is one side's at a time, by the cursors.
unsafe impl<T: Send> Send for Owned<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Owned<T> {}

/// Both sides of a ring of `size` entries, a power of two, in memory of this process. Its cursors wrap after the first time round, so that
/// everything that uses one has seen them wrap.
pub(crate) fn in_memory<T: Copy + Default + Send + 'static>(size: u32) -> (Producer<T>, Consumer<T>) {
    let entries: Vec<_> = (0..size.next_power_of_two()).map(|_| UnsafeCell::new(T::default())).collect();
    let first = 0u32.wrapping_sub(entries.len() as u32);
    let [producer, consumer] = [(); 2].map(|()| AtomicU32::new(first));
    let flags = AtomicU32::new(0);
    let ring = Arc::new(Owned { producer, consumer, flags, entries: entries.into_boxed_slice() });
    let side = || RingMemory {
        producer: NonNull::from(&ring.producer),
        consumer: NonNull::from(&ring.consumer),
        flags: NonNull::from(&ring.flags),
        // Of the whole slice, not of its first entry.
        entries: NonNull::from(&*ring.entries).cast(),
        size: ring.entries.len() as u32,
        _keep: ring.clone(),
    };
    // SAFETY: the words and entries are the ring's, which both sides keep; the size is a power of two; two sides, once each.
    unsafe { (Producer::new(side()), Consumer::new(side())) }
}

impl<T> core::fmt::Debug for RingMemory<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RingMemory").field("size", &self.size).finish_non_exhaustive()
    }
}

impl<T> core::fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer").field("written", &self.written).field("size", &self.memory.size).finish()
    }
}

impl<T> core::fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer").field("read", &self.read).field("size", &self.memory.size).finish()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
