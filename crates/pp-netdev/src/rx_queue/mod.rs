//! The driver's side of a receive queue: one pool, one ring.

mod memory;
mod restart;

use std::num::NonZeroU32;

use pp_core::{AllocError, DmaError, DmaRange, Host, PagePool};
use pp_frag::{FragCache, FragError};
use thiserror::Error;

use crate::buffer::Buffer;
use crate::nic::QueueGate;
use crate::ring::{Cleaner, Completed, Completion, Left, Poster};
use memory::QueueMemory;
use restart::{Draining, Retired};
pub use restart::{GRACE, RestartError, RestartFailed};

/// Empty descriptors that are worth a refill; a ring shorter than four times that uses a quarter of its length.
///
/// Filling in bursts keeps the pool's cache and the descriptors' lines warm (`NAPI_BUDGET / 4` in many drivers).
const REFILL_AT: u32 = 16;

/// What a receive queue posts. See [`RxQueue`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buffers {
    /// A page a packet: nothing to be counted, and room for any that fits a page.
    #[default]
    Pages,
    /// Fragments of so many bytes: less memory for the same number of packets, and larger ones are length errors.
    Split(NonZeroU32),
}

/// A received packet: its bytes are the first `len` of the buffer. See [`RxQueue`].
#[derive(Debug)]
pub struct Received {
    /// The buffer, synced for the CPU as far as the packet goes.
    pub buffer: Buffer,
    /// Bytes in the packet.
    pub len: u32,
    /// What the device wrote along; see [`Frame::mark`](crate::Frame::mark).
    pub mark: u64,
}

/// Why no buffer could be given to a receiving device. See [`RxQueue`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RefillError {
    /// The pool's pages have no DMA address.
    #[error("the pool's pages are not mapped for the device; build the pool with .dma(window, direction)")]
    NotMapped,
    /// The pool had no page.
    #[error("the receive ring has no page left to receive into: {0}")]
    Alloc(#[from] AllocError),
    /// The pool's pages cannot be split like that.
    #[error("the pool's pages cannot be split for the receive ring: {0}")]
    Split(FragError),
}

impl From<FragError> for RefillError {
    fn from(error: FragError) -> Self {
        match error {
            FragError::Alloc(error) => RefillError::Alloc(error),
            other => RefillError::Split(other),
        }
    }
}

impl RefillError {
    /// Whether pages that come back can end it.
    pub fn is_passing(&self) -> bool {
        use AllocError::{Dma, LimitReached, OutOfMemory};
        matches!(self, RefillError::Alloc(OutOfMemory | LimitReached | Dma(DmaError::Full)))
    }
}

/// A receive queue: posts the pool's pages or fragments of them, takes packets out. One pool a queue, so that `&mut` protects
/// both.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use pp_core::{DmaDirection, Home, PagePool, doc::Heap};
/// # use pp_netdev::ring::{Bells, Completion, ring};
/// # use pp_netdev::{Bell, Buffers, DmaWindow, RxQueue};
/// # let window = Arc::new(DmaWindow::new(64, 4096)?);
/// # let pool = PagePool::builder(Home::new(Heap::new(4096, 8)));
/// # let pool = pool.dma(window.clone(), DmaDirection::FromDevice).cache(8).build()?;
/// # let bell = Arc::new(Bell::new());
/// # let bells = Bells { poster: bell.clone(), device: bell.clone(), cleaner: bell };
/// let (poster, mut device, cleaner) = ring(16.try_into()?, bells);
/// let mut queue = RxQueue::new(pool, poster, cleaner);
/// if let Err(error) = queue.refill() {
///     assert!(error.is_passing(), "{error}"); // 8 pages for 16 descriptors: more will come back
/// }
/// assert_eq!((queue.posted(), queue.pool().stats().in_use()), (8, 8));
///
/// device.complete(Completion::Done, 60, 7); // a frame came
/// assert!(queue.has_received());
/// let packet = queue.receive().expect("one");
/// assert_eq!((packet.len, packet.mark), (60, 7));
/// queue.recycle(packet.buffer);
///
/// queue.set_buffers(Buffers::Split(2048.try_into()?)); // two packets to a page from now on
/// assert_ne!(queue.buffers(), Buffers::Pages);
///
/// queue.shut(); // no page will be posted any more
/// device.finish();
/// assert!(queue.device_left().is_some() && queue.receive().is_none());
/// assert_eq!(queue.close().stats().in_use(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RxQueue {
    memory: QueueMemory,
    /// The ring it had before a restart, as long as there are packets in it.
    draining: Option<Draining>,
    /// The pools it had before, as long as pages of theirs are out.
    retired: Vec<Retired>,
    /// How to ask the device to change rings.
    gate: Option<QueueGate>,
    buffers: Buffers,
    descriptors: u32,
    refill_at: u32,
}

impl RxQueue {
    /// A queue on the two driver ends of one ring. Nothing is posted yet.
    pub fn new(pool: PagePool<Host>, poster: Poster, cleaner: Cleaner) -> Self {
        let descriptors = poster.descriptors();
        RxQueue {
            memory: QueueMemory::new(pool, poster, cleaner),
            draining: None,
            retired: Vec::new(),
            gate: None,
            buffers: Buffers::Pages,
            descriptors,
            refill_at: (descriptors / 4).clamp(1, REFILL_AT),
        }
    }

    /// The queue's pool.
    pub fn pool(&mut self) -> &mut PagePool<Host> {
        &mut self.memory.pool
    }

    /// What is posted from the next refill on. Buffers of the other kind that are out come back as they are; no traffic
    /// needs to stop for it.
    pub fn set_buffers(&mut self, buffers: Buffers) {
        self.buffers = buffers;
        if buffers == Buffers::Pages {
            // The page it had was the only one that waits for more to be cut from it.
            self.memory.cache = FragCache::new();
        }
    }

    /// What is posted now.
    pub fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// Buffers that the device has, or has completed and we have not taken yet.
    pub fn posted(&self) -> u32 {
        self.memory.posted + self.draining.as_ref().map_or(0, |old| old.posted)
    }

    /// Posts buffers until the ring is full, if enough descriptors are empty to be worth it, and rings the doorbell.
    ///
    /// Kernel counterpart: the `alloc_rx_buffers` of a driver, over `page_pool_dev_alloc_pages`.
    ///
    /// # Errors
    ///
    /// [`RefillError`]; what was posted before it stays posted.
    pub fn refill(&mut self) -> Result<(), RefillError> {
        if !self.retired.is_empty() {
            self.free_idle();
        }
        if self.descriptors - self.memory.posted < self.refill_at {
            return Ok(());
        }
        self.memory.fill(self.buffers)
    }

    /// Posts nothing any more: the device uses what it has and then leaves.
    pub fn shut(&mut self) {
        self.memory.poster = None;
    }

    /// The next packet, in the order of the wire. Buffers that the device could not write go back into the pool.
    #[inline]
    pub fn receive(&mut self) -> Option<Received> {
        if self.draining.is_some()
            && let Some(received) = self.receive_from_old()
        {
            return Some(received);
        }
        loop {
            let completed = self.memory.cleaner.take()?;
            self.memory.posted -= 1;
            match Received::new(&self.memory.pool, completed) {
                Ok(received) => return Some(received),
                Err(failed) => self.recycle(failed),
            }
        }
    }

    /// Gives a packet's buffer straight back: what `XDP_DROP` does. One of a pool that the queue had before goes to that one.
    #[inline]
    pub fn recycle(&mut self, buffer: Buffer) {
        self.memory.recycle(buffer);
    }

    /// Whether a packet, or a buffer that failed, waits to be taken.
    pub fn has_received(&self) -> bool {
        self.memory.cleaner.has_completed() || self.draining.as_ref().is_some_and(|old| old.cleaner.has_completed())
    }

    /// Whether and how the device left. To be asked before the last [`receive`](RxQueue::receive).
    pub fn device_left(&self) -> Option<Left> {
        self.memory.cleaner.device_left()
    }

    /// Takes the buffers back that were posted and never used, and gives the pool back.
    ///
    /// The device must have left; buffers that a device still has go home when it leaves, by the shared path.
    pub fn close(self) -> PagePool<Host> {
        self.memory.close()
    }
}

impl Received {
    /// What a completed descriptor brings, or the buffer that the device could not write.
    #[inline]
    fn new(pool: &PagePool<Host>, completed: Completed) -> Result<Self, Buffer> {
        let Completed { buffer, len, mark, completion } = completed;
        if completion == Completion::Failed {
            return Err(buffer);
        }
        let range = DmaRange { offset: 0, len: len as usize };
        match &buffer {
            Buffer::Page(page) => pool.dma_sync_for_cpu(page, range),
            Buffer::Part(part) => pool.dma_sync_part_for_cpu(part, range),
        }
        Ok(Received { buffer, len, mark })
    }
}
