//! The descriptor ring between a driver and a device: a circle of DMA addresses, each owned by one side at a time.
//!
//! Real NICs have one ring a queue and direction: the driver writes an address and a length into a descriptor and flips
//! its ownership flag, the device does its work and flips it back. So do these. Three parties walk round the circle in
//! the same order: the [`Poster`] gives pages to the device, the [`DeviceEnd`] works on them, the [`Cleaner`] takes
//! them back. A receive queue holds both driver ends; on a transmit queue they belong to two threads.
//!
//! A page that is posted is no `Page` any more ([`Page::into_raw`]): no CPU reference to its bytes can exist while the
//! device may write them. The ring keeps the raw page as drivers keep it in their `rx_buf` arrays, and turns what is
//! left into pages again when the last end is gone, so that a panic strands none.
//!
//! # Ordering
//!
//! Everything in a descriptor is written before its ownership flag is stored with Release, and read after the flag was
//! loaded with Acquire; that pair carries the page's bytes along. No index is shared: who may go on is seen in the
//! descriptor, so the two sides write no line that the other one polls for nothing.

mod cleaner;
mod device;
mod poster;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use pp_core::{Descriptor, Host, Page};

use crate::bell::Bell;
pub use cleaner::{Cleaner, Completed};
pub use device::{Completion, DeviceEnd, Work};
pub use poster::{PostError, Poster};

/// One descriptor. The device reads and writes all of it but `page`.
#[derive(Debug)]
#[repr(C, align(32))]
struct Slot {
    /// Whose turn it is.
    ///
    /// | state | the descriptor is | who moves it on |
    /// |---|---|---|
    /// | `EMPTY` | the driver's, without a page | the poster, to `POSTED` |
    /// | `POSTED` | the device's | the device, to `DONE` or `FAILED`; the cleaner, once the device is gone, to `EMPTY` |
    /// | `DONE` | the driver's, worked on | the cleaner, to `EMPTY` |
    /// | `FAILED` | the driver's, the device could not do it | the cleaner, to `EMPTY` |
    state: AtomicU32,
    /// Bytes: room to receive into or length to transmit when posted, received when done.
    len: AtomicU32,
    /// Where the device finds the page.
    addr: AtomicU64,
    /// Carried along unread; see [`Frame::mark`](crate::Frame::mark).
    mark: AtomicU64,
    /// The driver's raw page: not null exactly while the state is not `EMPTY`.
    page: AtomicPtr<Descriptor>,
}

const EMPTY: u32 = 0;
const POSTED: u32 = 1;
const DONE: u32 = 2;
const FAILED: u32 = 3;

/// How one of the three parties left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It said that its work is complete.
    Complete,
    /// It just went: an error or a panic.
    Abandoned,
}

/// Whether a party is still there.
#[derive(Debug, Default)]
struct Presence {
    /// | state | meaning |
    /// |---|---|
    /// | `HERE` | at work |
    /// | `COMPLETE` | left, with everything done |
    /// | `ABANDONED` | left otherwise |
    state: AtomicU8,
}

const HERE: u8 = 0;
const COMPLETE: u8 = 1;
const ABANDONED: u8 = 2;

impl Presence {
    fn leave(&self, how: Left) {
        let state = if how == Left::Complete { COMPLETE } else { ABANDONED };
        // Release: pairs with the Acquire in `left`; the party's last touch of any descriptor happens before.
        self.state.store(state, Ordering::Release);
    }

    #[inline]
    fn left(&self) -> Option<Left> {
        // Acquire: pairs with the Release in `leave`.
        match self.state.load(Ordering::Acquire) {
            HERE => None,
            COMPLETE => Some(Left::Complete),
            _ => Some(Left::Abandoned),
        }
    }
}

/// The bells of the three parties of a ring. Several rings may share one.
#[derive(Clone, Debug)]
pub struct Bells {
    /// Of the thread that posts.
    pub poster: Arc<Bell>,
    /// Of the device.
    pub device: Arc<Bell>,
    /// Of the thread that cleans.
    pub cleaner: Arc<Bell>,
}

/// What the three ends share.
#[derive(Debug)]
struct Ring {
    slots: Box<[Slot]>,
    poster: Presence,
    device: Presence,
    cleaner: Presence,
    bells: Bells,
}

/// A ring of `len` descriptors, all empty.
///
/// Kernel counterpart: the `dma_alloc_coherent` of a queue's descriptors, `ndo_open` of most drivers.
pub fn ring(len: NonZeroU32, bells: Bells) -> (Poster, DeviceEnd, Cleaner) {
    let slot = || Slot {
        state: AtomicU32::new(EMPTY),
        len: AtomicU32::new(0),
        addr: AtomicU64::new(0),
        mark: AtomicU64::new(0),
        page: AtomicPtr::new(std::ptr::null_mut()),
    };
    let ring = Arc::new(Ring {
        slots: (0..len.get()).map(|_| slot()).collect(),
        poster: Presence::default(),
        device: Presence::default(),
        cleaner: Presence::default(),
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
}

impl Slot {
    /// Turns the raw page back into a page.
    ///
    /// # Safety
    ///
    /// The state is not `EMPTY`, was loaded with Acquire, is not `POSTED` unless the device is gone, and the caller is
    /// the one party that may move the descriptor to `EMPTY`, which it does next.
    #[inline]
    unsafe fn reclaim(&self) -> Option<Page<Host>> {
        let page = std::ptr::NonNull::new(self.page.load(Ordering::Relaxed))?;
        // SAFETY: the poster stored what `into_raw` gave it, and by the caller's promise it is taken out once.
        Some(unsafe { Page::from_raw(page) })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for slot in &self.slots {
            // Relaxed: the reference count of the ring ordered every end's last touch before this.
            if slot.state.load(Ordering::Relaxed) != EMPTY {
                // SAFETY: no end is left, so nobody else moves the descriptor; the page goes home by the shared path.
                drop(unsafe { slot.reclaim() });
            }
        }
    }
}

#[cfg(test)]
mod tests;
