//! What a receive queue runs on, and what is exchanged as one when it is restarted: a ring, a pool, and the buffers posted.

use std::num::NonZeroU32;

use pp_core::{Host, PagePool};
use pp_frag::{Frag, FragCache};

use super::{Buffers, RefillError};
use crate::buffer::Buffer;
use crate::ring::{Bells, Cleaner, DeviceEnd, Poster, ring};

/// The driver's ends of one ring, and the pool that feeds it. Kernel counterpart: what `ndo_queue_mem_alloc` fills in.
#[derive(Debug)]
pub(super) struct QueueMemory {
    // The ring before the pool, so that dropping the queue tells the device first. It only tells it: the device may be
    // copying while the pool closes, which is safe because unmapping waits for the lock of the window's entry.
    /// `None` once the queue was shut.
    pub(super) poster: Option<Poster>,
    pub(super) cleaner: Cleaner,
    /// The page that fragments are being cut from.
    pub(super) cache: FragCache<Host>,
    pub(super) pool: PagePool<Host>,
    /// Buffers in the ring.
    pub(super) posted: u32,
}

impl QueueMemory {
    pub(super) fn new(pool: PagePool<Host>, poster: Poster, cleaner: Cleaner) -> Self {
        QueueMemory { poster: Some(poster), cleaner, cache: FragCache::new(), pool, posted: 0 }
    }

    /// A ring of its own for `pool`, filled as far as the pool's pages go, and the device's end of it.
    ///
    /// # Errors
    ///
    /// Not one buffer could be posted; the pool comes back with all its pages.
    pub(super) fn alloc(
        pool: PagePool<Host>,
        descriptors: NonZeroU32,
        bells: Bells,
        buffers: Buffers,
    ) -> Result<(Self, DeviceEnd), (PagePool<Host>, RefillError)> {
        let (poster, device, cleaner) = ring(descriptors, bells);
        let mut memory = QueueMemory::new(pool, poster, cleaner);
        match memory.fill(buffers) {
            Err(error) if memory.posted == 0 || !error.is_passing() => {
                drop(device);
                Err((memory.close(), error))
            }
            _ => Ok((memory, device)),
        }
    }

    /// Posts buffers until the ring is full, and rings the doorbell.
    ///
    /// # Errors
    ///
    /// [`RefillError`]; what was posted before it stays posted.
    pub(super) fn fill(&mut self, buffers: Buffers) -> Result<(), RefillError> {
        let Some(poster) = &mut self.poster else { return Ok(()) };
        let filled = loop {
            if !poster.has_room() {
                break Ok(());
            }
            let (buffer, room) = match buffers {
                Buffers::Pages => match self.pool.alloc() {
                    Ok(page) => (Buffer::Page(page), self.pool.page_bytes() as u32),
                    Err(error) => break Err(error.into()),
                },
                Buffers::Split(size) => match self.cache.alloc(&mut self.pool, size.get() as usize) {
                    // Not the true size, which differs from one to the next: what fits one must fit all.
                    Ok(frag) => (Buffer::Part(frag.into_part()), size.get()),
                    Err(error) => break Err(error.into()),
                },
            };
            match poster.post(buffer, room, 0) {
                Ok(()) => self.posted += 1,
                Err(refused) => {
                    // There was room and the length is the buffer's own, so it is for want of an address.
                    drop(refused.into_buffer());
                    break Err(RefillError::NotMapped);
                }
            }
        };
        poster.kick();
        filled
    }

    /// Gives a buffer back on the consumer's side; one of another pool goes to its own.
    #[inline]
    pub(super) fn recycle(&mut self, buffer: Buffer) {
        match buffer {
            Buffer::Page(page) => self.pool.recycle_direct(page),
            Buffer::Part(part) => self.cache.recycle(&mut self.pool, Frag::from(part)),
        }
    }

    /// Takes the buffers back that were posted, and gives the pool back.
    ///
    /// The device must have left; buffers that a device still has go home when it leaves, by the shared path.
    pub(super) fn close(mut self) -> PagePool<Host> {
        while let Some(completed) = self.cleaner.take().or_else(|| self.cleaner.take_abandoned()) {
            self.recycle(completed.buffer);
        }
        self.pool
    }
}
