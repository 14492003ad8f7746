//! The device's end of a ring.

use pp_core::DmaAddr;

use super::{Bells, DONE, FAILED, Left, POSTED, Ring, Slot};
use crate::sync::{Arc, Ordering, unless};

/// The device's end. See the [module](crate::ring#examples).
#[derive(Debug)]
pub struct DeviceEnd {
    ring: Arc<Ring>,
    head: usize,
}

/// What a posted descriptor asks of the device. See the [module](crate::ring#examples).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Where the page is.
    pub addr: DmaAddr,
    /// Bytes: the room in it, or what is to be transmitted.
    pub len: u32,
    /// To be carried along.
    pub mark: u64,
}

/// How the device completed a descriptor. See the [module](crate::ring#examples).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// As asked.
    Done,
    /// It could not reach the page, or was gone before it got to it.
    Failed,
}

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
        if slot.state(unless("working without Acquire", Ordering::Acquire)) != POSTED {
            return None;
        }
        slot.contents.enter();
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
        if slot.state(Ordering::Relaxed) != POSTED {
            return;
        }
        slot.contents.bury();
        slot.len.store(len, Ordering::Relaxed);
        slot.mark.store(mark, Ordering::Relaxed);
        let state = if completion == Completion::Done { DONE } else { FAILED };
        // Release: pairs with the Acquire in `Cleaner::take`; hands the descriptor back, and with it what the device
        // wrote into the page.
        slot.pass(state, unless("completing without Release", Ordering::Release));
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

    /// The bells of the ring's three parties.
    pub(crate) fn bells(&self) -> &Bells {
        &self.ring.bells
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
