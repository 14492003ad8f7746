//! The driver's end of a ring that takes buffers back.

use super::{Completion, DONE, EMPTY, FAILED, Left, POSTED, Ring};
use crate::buffer::Buffer;
use crate::sync::{Arc, Ordering, broken, unless};

/// The driver's end that takes buffers back. See the [module](crate::ring#examples).
#[derive(Debug)]
pub struct Cleaner {
    ring: Arc<Ring>,
    head: usize,
}

/// A buffer that came back from the device. See the [module](crate::ring#examples).
#[derive(Debug)]
pub struct Completed {
    /// The buffer, the driver's again.
    pub buffer: Buffer,
    /// Bytes received or transmitted.
    pub len: u32,
    /// As the device or the poster wrote it.
    pub mark: u64,
    /// Whether it worked.
    pub completion: Completion,
}

impl Cleaner {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        Cleaner { ring, head: 0 }
    }

    /// Whether the next descriptor is complete.
    #[inline]
    pub fn has_completed(&self) -> bool {
        // Acquire: as in `take`, so that a caller may reason from it.
        matches!(self.ring.slots[self.head].state(Ordering::Acquire), DONE | FAILED)
    }

    /// Takes back the next buffer that the device has completed.
    #[inline]
    pub fn take(&mut self) -> Option<Completed> {
        let slot = &self.ring.slots[self.head];
        // Acquire: pairs with the Release in `DeviceEnd::complete`.
        let completion = match slot.state(unless("taking without Acquire", Ordering::Acquire)) {
            DONE => Completion::Done,
            FAILED => Completion::Failed,
            _ => return None,
        };
        self.empty(completion)
    }

    /// Takes back the next buffer that the device has not completed and never will, because it left.
    ///
    /// `None` while the device is there or another buffer is complete.
    pub fn take_abandoned(&mut self) -> Option<Completed> {
        if !broken("abandoning before the device left") {
            self.device_left()?;
        }
        // Acquire: pairs with the Release in `Poster::post`.
        if self.ring.slots[self.head].state(unless("abandoning without Acquire", Ordering::Acquire)) != POSTED {
            return None;
        }
        self.empty(Completion::Failed)
    }

    fn empty(&mut self, completion: Completion) -> Option<Completed> {
        let slot = &self.ring.slots[self.head];
        let (len, mark) = (slot.len.load(Ordering::Relaxed), slot.mark.load(Ordering::Relaxed));
        // SAFETY: the callers loaded a state other than `EMPTY` with Acquire, `POSTED` only after the device had left;
        // from there on only the one cleaner moves the descriptor, which it does below.
        let buffer = unsafe { self.ring.reclaim(self.head) }?;
        // Release: pairs with the Acquire in `Poster::has_room`.
        if !broken("a page that is taken and stays") {
            slot.pass(EMPTY, unless("emptying without Release", Ordering::Release));
        }
        self.head = self.ring.after(self.head);
        Some(Completed { buffer, len, mark, completion })
    }

    /// Returns when a buffer is complete, or the device has left; if it had left already, when the poster has too.
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

    /// Leaves with every buffer taken back.
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
