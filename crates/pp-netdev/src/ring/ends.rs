//! The three parties of a ring.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pp_core::{DmaAddr, Host, Page};

use super::{DONE, EMPTY, FAILED, Left, POSTED, Ring, Slot};

/// The driver's end that gives pages to the device.
#[derive(Debug)]
pub struct Poster {
    ring: Arc<Ring>,
    tail: usize,
}

/// The device's end.
#[derive(Debug)]
pub struct DeviceEnd {
    ring: Arc<Ring>,
    head: usize,
}

/// The driver's end that takes pages back.
#[derive(Debug)]
pub struct Cleaner {
    ring: Arc<Ring>,
    head: usize,
}

/// Why a page was not posted. The page comes back with it.
#[derive(Debug)]
#[non_exhaustive]
pub enum PostError {
    /// Every descriptor is in use.
    Full(Page<Host>),
    /// The page has no DMA address.
    NotMapped(Page<Host>),
}

/// What a posted descriptor asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Where the page is.
    pub addr: DmaAddr,
    /// Bytes: the room in it, or what is to be transmitted.
    pub len: u32,
    /// To be carried along.
    pub mark: u64,
}

/// How the device completed a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// As asked.
    Done,
    /// It could not reach the page, or was gone before it got to it.
    Failed,
}

/// A page that came back from the device.
#[derive(Debug)]
pub struct Completed {
    /// The page, the driver's again.
    pub page: Page<Host>,
    /// Bytes received or transmitted.
    pub len: u32,
    /// As the device or the poster wrote it.
    pub mark: u64,
    /// Whether it worked.
    pub completion: Completion,
}

// === impl Poster ===

impl Poster {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        Poster { ring, tail: 0 }
    }

    /// How many descriptors the ring has.
    pub fn descriptors(&self) -> u32 {
        self.ring.slots.len() as u32
    }

    /// Whether the next descriptor is empty.
    #[inline]
    pub fn has_room(&self) -> bool {
        // Acquire: pairs with the Release in `Cleaner`, whose read of the descriptor happens before we overwrite it.
        self.ring.slots[self.tail].state.load(Ordering::Acquire) == EMPTY
    }

    /// Gives `page` to the device: `len` bytes of room, or `len` bytes to transmit.
    ///
    /// The device finds it at once if it is awake; [`kick`](Poster::kick) wakes it.
    ///
    /// # Errors
    ///
    /// [`PostError`], with the page.
    #[inline]
    pub fn post(&mut self, page: Page<Host>, len: u32, mark: u64) -> Result<(), PostError> {
        if !self.has_room() {
            return Err(PostError::Full(page));
        }
        let Some(addr) = page.dma_addr() else {
            return Err(PostError::NotMapped(page));
        };
        let slot = &self.ring.slots[self.tail];
        slot.addr.store(addr.0, Ordering::Relaxed);
        slot.len.store(len, Ordering::Relaxed);
        slot.mark.store(mark, Ordering::Relaxed);
        slot.page.store(page.into_raw().as_ptr(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `DeviceEnd::work` and `Cleaner::take`; hands the descriptor over, and
        // with it whatever the CPU wrote into the page.
        slot.state.store(POSTED, Ordering::Release);
        self.tail = self.ring.after(self.tail);
        Ok(())
    }

    /// Rings the device's doorbell: once a burst of posts.
    #[inline]
    pub fn kick(&self) {
        self.ring.bells.device.ring();
    }

    /// Whether and how the device left.
    #[inline]
    pub fn device_left(&self) -> Option<Left> {
        self.ring.device.left()
    }

    /// Whether and how the cleaner left.
    #[inline]
    pub fn cleaner_left(&self) -> Option<Left> {
        self.ring.cleaner.left()
    }

    /// Leaves with everything posted that there was to post.
    pub fn finish(self) {
        self.leave(Left::Complete);
        // `drop` sees that we have left.
    }

    fn leave(&self, how: Left) {
        if self.ring.poster.left().is_none() {
            self.ring.poster.leave(how);
            self.ring.bells.device.ring();
            self.ring.bells.cleaner.ring();
        }
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        self.leave(Left::Abandoned);
    }
}

// === impl DeviceEnd ===

impl DeviceEnd {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        DeviceEnd { ring, head: 0 }
    }

    fn slot(&self) -> &Slot {
        &self.ring.slots[self.head]
    }

    /// The next descriptor that is the device's, if there is one; it stays the device's until completed.
    #[inline]
    pub fn work(&self) -> Option<Work> {
        let slot = self.slot();
        // Acquire: pairs with the Release in `Poster::post`.
        if slot.state.load(Ordering::Acquire) != POSTED {
            return None;
        }
        Some(Work {
            addr: DmaAddr(slot.addr.load(Ordering::Relaxed)),
            len: slot.len.load(Ordering::Relaxed),
            mark: slot.mark.load(Ordering::Relaxed),
        })
    }

    /// Completes the descriptor that [`work`](DeviceEnd::work) showed. Without one, nothing happens.
    ///
    /// The driver finds it at once if it is awake; [`interrupt`](DeviceEnd::interrupt) wakes it.
    #[inline]
    pub fn complete(&mut self, completion: Completion, len: u32, mark: u64) {
        let slot = self.slot();
        // Relaxed: only to hold the caller to its word; `work` did the Acquire.
        if slot.state.load(Ordering::Relaxed) != POSTED {
            return;
        }
        slot.len.store(len, Ordering::Relaxed);
        slot.mark.store(mark, Ordering::Relaxed);
        let state = if completion == Completion::Done { DONE } else { FAILED };
        // Release: pairs with the Acquire in `Cleaner::take`; hands the descriptor back, and with it what the device
        // wrote into the page.
        slot.state.store(state, Ordering::Release);
        self.head = self.ring.after(self.head);
    }

    /// Rings the bell of the thread that cleans.
    #[inline]
    pub fn interrupt(&self) {
        self.ring.bells.cleaner.ring();
    }

    /// Returns when there is work, or the poster has left.
    pub fn wait(&self) {
        self.ring.bells.device.wait(|| self.work().is_some() || self.poster_left().is_some());
    }

    /// Whether and how the poster left: nothing is posted any more after what is there.
    ///
    /// To be asked before the last look at [`work`](DeviceEnd::work), not after it.
    #[inline]
    pub fn poster_left(&self) -> Option<Left> {
        self.ring.poster.left()
    }

    /// Leaves with everything done that the device was for.
    pub fn finish(self) {
        self.leave(Left::Complete);
    }

    fn leave(&self, how: Left) {
        if self.ring.device.left().is_none() {
            self.ring.device.leave(how);
            self.ring.bells.poster.ring();
            self.ring.bells.cleaner.ring();
        }
    }
}

impl Drop for DeviceEnd {
    fn drop(&mut self) {
        self.leave(Left::Abandoned);
    }
}

// === impl Cleaner ===

impl Cleaner {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        Cleaner { ring, head: 0 }
    }

    /// Whether the next descriptor is complete.
    #[inline]
    pub fn has_completed(&self) -> bool {
        // Acquire: as in `take`, so that a caller may reason from it.
        matches!(self.ring.slots[self.head].state.load(Ordering::Acquire), DONE | FAILED)
    }

    /// Takes back the next page that the device has completed.
    #[inline]
    pub fn take(&mut self) -> Option<Completed> {
        let slot = &self.ring.slots[self.head];
        // Acquire: pairs with the Release in `DeviceEnd::complete`.
        let completion = match slot.state.load(Ordering::Acquire) {
            DONE => Completion::Done,
            FAILED => Completion::Failed,
            _ => return None,
        };
        self.empty(completion)
    }

    /// Takes back the next page that the device has not completed and never will, because it left.
    ///
    /// `None` while the device is there or another page is complete.
    pub fn take_abandoned(&mut self) -> Option<Completed> {
        self.device_left()?;
        // Acquire: pairs with the Release in `Poster::post`.
        if self.ring.slots[self.head].state.load(Ordering::Acquire) != POSTED {
            return None;
        }
        self.empty(Completion::Failed)
    }

    fn empty(&mut self, completion: Completion) -> Option<Completed> {
        let slot = &self.ring.slots[self.head];
        let (len, mark) = (slot.len.load(Ordering::Relaxed), slot.mark.load(Ordering::Relaxed));
        // SAFETY: the callers loaded a state other than `EMPTY` with Acquire, `POSTED` only after the device had left;
        // from there on only the one cleaner moves the descriptor, which it does below.
        let page = unsafe { slot.reclaim() }?;
        // Release: pairs with the Acquire in `Poster::has_room`.
        slot.state.store(EMPTY, Ordering::Release);
        self.head = self.ring.after(self.head);
        Some(Completed { page, len, mark, completion })
    }

    /// Returns when a page is complete, or the device has left; if it had left already, when the poster has too.
    pub fn wait(&self) {
        let device_left = self.device_left().is_some();
        self.ring.bells.cleaner.wait(|| {
            self.has_completed() || if device_left { self.poster_left() } else { self.device_left() }.is_some()
        });
    }

    /// Rings the bell of the thread that posts: there is room again.
    #[inline]
    pub fn notify(&self) {
        self.ring.bells.poster.ring();
    }

    /// Whether and how the device left: nothing is completed any more after what is there.
    ///
    /// To be asked before the last [`take`](Cleaner::take), not after it.
    #[inline]
    pub fn device_left(&self) -> Option<Left> {
        self.ring.device.left()
    }

    /// Whether and how the poster left.
    #[inline]
    pub fn poster_left(&self) -> Option<Left> {
        self.ring.poster.left()
    }

    /// Leaves with every page taken back.
    pub fn finish(self) {
        self.leave(Left::Complete);
    }

    fn leave(&self, how: Left) {
        if self.ring.cleaner.left().is_none() {
            self.ring.cleaner.leave(how);
            self.ring.bells.poster.ring();
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.leave(Left::Abandoned);
    }
}

// === impl PostError ===

impl PostError {
    /// The page that was not posted.
    pub fn into_page(self) -> Page<Host> {
        match self {
            PostError::Full(page) | PostError::NotMapped(page) => page,
        }
    }
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PostError::Full(_) => "no descriptor of the ring is empty; clean completed ones first",
            PostError::NotMapped(_) => "the page has no DMA address; build its pool with .dma(window, direction)",
        })
    }
}

impl std::error::Error for PostError {}
