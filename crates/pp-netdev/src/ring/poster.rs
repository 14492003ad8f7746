//! The driver's end of a ring that gives buffers to the device.

use std::fmt;

use super::{Bells, EMPTY, Left, POSTED, Ring};
use crate::buffer::Buffer;
use crate::sync::{Arc, Ordering, unless};

/// The driver's end that gives buffers to the device. See the [module](crate::ring#examples).
#[derive(Debug)]
pub struct Poster {
    ring: Arc<Ring>,
    tail: usize,
}

/// Why a buffer was not posted. It comes back with the reason. See the [module](crate::ring#examples).
#[derive(Debug)]
#[non_exhaustive]
pub enum PostError {
    /// Every descriptor is in use.
    Full(Buffer),
    /// Its page has no DMA address.
    NotMapped(Buffer),
    /// It was to be posted for more bytes than it has.
    TooLong(Buffer),
    /// It has no bytes.
    Empty(Buffer),
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
        self.ring.slots[self.tail].state(unless("posting without Acquire", Ordering::Acquire)) == EMPTY
    }

    /// Gives `buffer` to the device: `len` bytes of room, or `len` bytes to transmit, at most the buffer's.
    ///
    /// The device finds it at once if it is awake; [`kick`](Poster::kick) wakes it.
    ///
    /// # Errors
    ///
    /// [`PostError`], with the buffer.
    #[inline]
    pub fn post(&mut self, buffer: impl Into<Buffer>, len: u32, mark: u64) -> Result<(), PostError> {
        let buffer = buffer.into();
        if !self.has_room() {
            return Err(PostError::Full(buffer));
        }
        if buffer.is_empty() {
            return Err(PostError::Empty(buffer));
        }
        if len as usize > buffer.len() {
            return Err(PostError::TooLong(buffer));
        }
        let Some(addr) = buffer.dma_addr() else {
            return Err(PostError::NotMapped(buffer));
        };
        let slot = &self.ring.slots[self.tail];
        slot.contents.bury();
        slot.addr.store(addr.0, Ordering::Relaxed);
        slot.len.store(len, Ordering::Relaxed);
        slot.mark.store(mark, Ordering::Relaxed);
        self.ring.keep(self.tail, buffer);
        // Release: pairs with the Acquire in `DeviceEnd::work` and `Cleaner::take`; hands the descriptor over, and
        // with it whatever the CPU wrote into the buffer.
        slot.pass(POSTED, unless("posting without Release", Ordering::Release));
        self.tail = self.ring.after(self.tail);
        Ok(())
    }

    /// The bells of its ring.
    pub(crate) fn bells(&self) -> &Bells {
        &self.ring.bells
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

// === impl PostError ===

impl PostError {
    /// The buffer that was not posted.
    pub fn into_buffer(self) -> Buffer {
        match self {
            PostError::Full(buffer)
            | PostError::NotMapped(buffer)
            | PostError::TooLong(buffer)
            | PostError::Empty(buffer) => buffer,
        }
    }
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PostError::Full(_) => "no descriptor of the ring is empty; clean completed ones first",
            PostError::NotMapped(_) => "the buffer has no DMA address; build its pool with .dma(window, direction)",
            PostError::TooLong(_) => "the length is larger than the buffer; post at most buffer.len() bytes",
            PostError::Empty(_) => "the buffer has no bytes; post one that has",
        })
    }
}

impl std::error::Error for PostError {}
