//! The descriptor ring between a driver and a device: a circle of DMA addresses, each owned by one side at a time.
//!
//! Real NICs have one ring a queue and direction: the driver writes an address and a length into a descriptor and flips
//! its ownership flag, the device does its work and flips it back. So do these. Three parties walk round the circle in
//! the same order: the [`Poster`] gives buffers to the device, the [`DeviceEnd`] works on them, the [`Cleaner`] takes
//! them back. A receive queue holds both driver ends; on a transmit queue they belong to two threads.
//!
//! A buffer that is posted, a page or a part of one, is no [`Buffer`] any more: no CPU reference to its bytes can exist
//! while the device may write them. The ring keeps it raw, as drivers keep it in their `rx_buf` arrays, and turns what is
//! left into buffers again when the last end is gone, so that a panic strands none.
//!
//! # Ordering
//!
//! Everything in a descriptor is written before its ownership flag is stored with Release, and read after the flag was
//! loaded with Acquire; that pair carries the page's bytes along. No index is shared: who may go on is seen in the
//! descriptor, so the two sides write no line that the other one polls for nothing.
//!
//! # Examples
//!
//! One page to the device and back, with all three parties on one thread:
//!
//! ```
//! # use std::sync::Arc;
//! # use pp_core::{DmaDirection, Home, PagePool, doc::Heap};
//! use pp_netdev::ring::{Bells, Completion, Left, ring};
//! use pp_netdev::{Bell, DmaWindow};
//!
//! let window = Arc::new(DmaWindow::new(8, 4096)?);
//! let pool = PagePool::builder(Home::new(Heap::new(4096, 8)));
//! let mut pool = pool.dma(window.clone(), DmaDirection::FromDevice).build()?;
//! let bell = Arc::new(Bell::new()); // one for all, since there is one thread
//! let bells = Bells { poster: bell.clone(), device: bell.clone(), cleaner: bell };
//! let (mut poster, mut device, mut cleaner) = ring(2.try_into()?, bells);
//! assert!(poster.descriptors() == 2 && poster.has_room());
//!
//! // The driver gives a page, and room for 1514 bytes in it.
//! if let Err(refused) = poster.post(pool.alloc()?, 1514, 0) {
//!     drop(refused.into_buffer());
//! }
//! poster.kick(); // once a burst
//!
//! device.wait();
//! let work = device.work().expect("just posted");
//! // SAFETY: posted, so nobody else uses the page.
//! unsafe { window.write(work.addr, 0, b"a frame")? };
//! device.complete(Completion::Done, 7, work.mark);
//! device.interrupt();
//!
//! cleaner.wait();
//! assert!(cleaner.has_completed());
//! let mut completed = cleaner.take().expect("just completed");
//! assert_eq!(&completed.buffer.bytes_mut()[..completed.len as usize], b"a frame");
//! drop(completed.buffer);
//! cleaner.notify(); // there is room again
//!
//! // A device that goes leaves what it was given.
//! poster.post(pool.alloc()?, 1514, 0).map_err(|refused| refused.to_string())?;
//! assert!(device.poster_left().is_none());
//! device.finish();
//! assert_eq!((poster.device_left(), cleaner.device_left()), (Some(Left::Complete), Some(Left::Complete)));
//! let never_used = cleaner.take_abandoned().expect("the second page");
//! drop(never_used.buffer);
//! poster.finish();
//! assert_eq!(cleaner.poster_left(), Some(Left::Complete));
//! cleaner.finish(); // the poster would see it by `cleaner_left`
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cleaner;
mod device;
mod poster;

use std::num::NonZeroU32;
use std::ptr::NonNull;
// Not the facade's: a descriptor's contents are its owner's alone, which its canary checks. The flag decides.
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

use pp_core::{Descriptor, RawPart};

use crate::bell::Bell;
use crate::buffer::Buffer;
use crate::sync::{Arc, AtomicU8, Canary, Clock, MODEL, Ordering, broken, unless};
pub use cleaner::{Cleaner, Completed};
pub use device::{Completion, DeviceEnd, Work};
pub use poster::{PostError, Poster};

/// One descriptor, as the device sees it too.
#[derive(Debug)]
#[repr(C, align(32))]
struct Slot {
    /// Whose turn it is.
    ///
    /// | state | the descriptor is | who moves it on |
    /// |---|---|---|
    /// | `EMPTY` | the driver's, without a buffer | the poster, to `POSTED` |
    /// | `POSTED` | the device's | the device, to `DONE` or `FAILED`; the cleaner, once the device is gone, to `EMPTY` |
    /// | `DONE` | the driver's, worked on | the cleaner, to `EMPTY` |
    /// | `FAILED` | the driver's, the device could not do it | the cleaner, to `EMPTY` |
    state: AtomicU8,
    clock: Clock,
    /// Stands for the words below under a model checker.
    contents: Canary,
    /// Bytes: room to receive into or length to transmit when posted, received when done.
    len: AtomicU32,
    /// Where the device finds the buffer.
    addr: AtomicU64,
    /// Carried along unread; see [`Frame::mark`](crate::Frame::mark).
    mark: AtomicU64,
}

const _: () = assert!(MODEL || size_of::<Slot>() == 32, "two descriptors to a cache line");

/// The driver's raw buffer for one descriptor, which the device never looks at (`rx_buf` in drivers).
#[derive(Debug)]
struct Held {
    /// The buffer's page: not null exactly while the state is not `EMPTY`.
    page: AtomicPtr<Descriptor>,
    /// Where in its page the buffer begins, and how long it is; a whole page says 0.
    part: [AtomicU32; 2],
}

const EMPTY: u8 = 0;
const POSTED: u8 = 1;
const DONE: u8 = 2;
const FAILED: u8 = 3;

/// How one of the three parties left. See the [module](crate::ring#examples).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It said that its work is complete.
    Complete,
    /// It just went: an error or a panic.
    Abandoned,
}

/// Whether a party is still there.
#[derive(Debug)]
struct Presence {
    /// | state | meaning |
    /// |---|---|
    /// | `HERE` | at work |
    /// | `COMPLETE` | left, with everything done |
    /// | `ABANDONED` | left otherwise |
    state: AtomicU8,
    clock: Clock,
}

const HERE: u8 = 0;
const COMPLETE: u8 = 1;
const ABANDONED: u8 = 2;

impl Presence {
    fn new() -> Self {
        Presence { state: AtomicU8::new(HERE), clock: Clock::new() }
    }

    fn leave(&self, how: Left) {
        let state = if how == Left::Complete { COMPLETE } else { ABANDONED };
        self.clock.tick();
        // Release: pairs with the Acquire in `left`; the party's last touch of any descriptor happens before.
        self.state.store(state, unless("leaving without Release", Ordering::Release));
    }

    #[inline]
    fn left(&self) -> Option<Left> {
        self.clock.tick();
        // Acquire: pairs with the Release in `leave`.
        match self.state.load(unless("looking who left without Acquire", Ordering::Acquire)) {
            HERE => None,
            COMPLETE => Some(Left::Complete),
            _ => Some(Left::Abandoned),
        }
    }
}

/// The bells of the three parties of a ring. Several rings may share one. See the [module](crate::ring#examples).
#[derive(Clone, Debug)]
pub struct Bells {
    // `std`'s in every build: part of the interface, and nothing is decided by who drops a bell last.
    /// Of the thread that posts.
    pub poster: std::sync::Arc<Bell>,
    /// Of the device.
    pub device: std::sync::Arc<Bell>,
    /// Of the thread that cleans.
    pub cleaner: std::sync::Arc<Bell>,
}

/// What the three ends share.
#[derive(Debug)]
struct Ring {
    slots: Box<[Slot]>,
    /// One a slot.
    held: Box<[Held]>,
    poster: Presence,
    device: Presence,
    cleaner: Presence,
    bells: Bells,
}

/// A ring of `len` descriptors, all empty.
///
/// Kernel counterpart: the `dma_alloc_coherent` of a queue's descriptors, `ndo_open` of most drivers.
/// See the [module](crate::ring#examples).
pub fn ring(len: NonZeroU32, bells: Bells) -> (Poster, DeviceEnd, Cleaner) {
    let slot = || Slot {
        state: AtomicU8::new(EMPTY),
        clock: Clock::new(),
        contents: Canary::new(),
        len: AtomicU32::new(0),
        addr: AtomicU64::new(0),
        mark: AtomicU64::new(0),
    };
    let held = || Held { page: AtomicPtr::new(std::ptr::null_mut()), part: [AtomicU32::new(0), AtomicU32::new(0)] };
    let ring = Arc::new(Ring {
        slots: (0..len.get()).map(|_| slot()).collect(),
        held: (0..len.get()).map(|_| held()).collect(),
        poster: Presence::new(),
        device: Presence::new(),
        cleaner: Presence::new(),
        bells,
    });
    (Poster::new(Arc::clone(&ring)), DeviceEnd::new(Arc::clone(&ring)), Cleaner::new(ring))
}

impl Ring {
    /// The index after `at`, round the circle.
    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// Keeps the buffer of descriptor `at` as raw words. Before the descriptor is passed on.
    #[inline]
    fn keep(&self, at: usize, buffer: Buffer) {
        let (held, RawPart { descriptor, offset, len }) = (&self.held[at], buffer.into_raw());
        held.page.store(descriptor.as_ptr(), Ordering::Relaxed);
        held.part[0].store(offset, Ordering::Relaxed);
        held.part[1].store(len, Ordering::Relaxed);
    }

    /// Turns the raw words back into the buffer of descriptor `at`.
    ///
    /// # Safety
    ///
    /// The descriptor's state is not `EMPTY`, was loaded with Acquire, is not `POSTED` unless the device is gone, and the
    /// caller is the one party that may move it to `EMPTY`, which it does next.
    #[inline]
    unsafe fn reclaim(&self, at: usize) -> Option<Buffer> {
        self.slots[at].contents.enter();
        let held = &self.held[at];
        let descriptor = NonNull::new(held.page.load(Ordering::Relaxed))?;
        let [offset, len] = held.part.each_ref().map(|word| word.load(Ordering::Relaxed));
        // SAFETY: `keep` stored what `into_raw` gave it, of a buffer that was not empty; by the caller's promise it is
        // taken out once.
        Some(unsafe { Buffer::from_raw(RawPart { descriptor, offset, len }) })
    }
}

impl Slot {
    /// Whose turn it is.
    #[inline]
    fn state(&self, ordering: Ordering) -> u8 {
        self.clock.tick();
        self.state.load(ordering)
    }

    /// Says whose turn it is now.
    #[inline]
    fn pass(&self, state: u8, ordering: Ordering) {
        self.clock.tick();
        self.state.store(state, ordering);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for (at, slot) in self.slots.iter().enumerate() {
            // Relaxed: the reference count of the ring ordered every end's last touch before this.
            if slot.state(Ordering::Relaxed) != EMPTY && !broken("a ring that ends with its pages") {
                // SAFETY: no end is left, so nobody else moves the descriptor; the buffer goes home by the shared path.
                drop(unsafe { self.reclaim(at) });
            }
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
