//! The driver's side of a receive queue: one pool, one ring.

use pp_core::{AllocError, DmaError, DmaRange, Host, Page, PagePool};
use thiserror::Error;

use crate::ring::{Cleaner, Completion, Left, PostError, Poster};

/// Empty descriptors that are worth a refill; a ring shorter than four times that uses a quarter of its length.
///
/// Filling in bursts keeps the pool's cache and the descriptors' lines warm (`NAPI_BUDGET / 4` in many drivers).
const REFILL_AT: u32 = 16;

/// A received packet: its bytes are the first `len` of the page.
#[derive(Debug)]
pub struct Received {
    /// The page, synced for the CPU as far as the packet goes.
    pub page: Page<Host>,
    /// Bytes in the packet.
    pub len: u32,
    /// What the device wrote along; see [`Frame::mark`](crate::Frame::mark).
    pub mark: u64,
}

/// Why no page could be given to a receiving device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RefillError {
    /// The pool's pages have no DMA address.
    #[error("the pool's pages are not mapped for the device; build the pool with .dma(window, direction)")]
    NotMapped,
    /// The pool had no page.
    #[error("the receive ring has no page left to receive into: {0}")]
    Alloc(#[from] AllocError),
}

impl RefillError {
    /// Whether pages that come back can end it.
    pub fn is_passing(&self) -> bool {
        use AllocError::{Dma, LimitReached, OutOfMemory};
        matches!(self, RefillError::Alloc(OutOfMemory | LimitReached | Dma(DmaError::Full)))
    }
}

/// A receive queue: posts the pool's pages, takes packets out. One pool a queue, so that `&mut` protects both.
#[derive(Debug)]
pub struct RxQueue {
    // The ring before the pool, so that dropping the queue tells the device first. It only tells it: the device may be
    // copying while the pool closes, which is safe because unmapping waits for the lock of the window's entry.
    /// `None` once the queue was shut.
    poster: Option<Poster>,
    cleaner: Cleaner,
    pool: PagePool<Host>,
    descriptors: u32,
    posted: u32,
    refill_at: u32,
}

impl RxQueue {
    /// A queue on the two driver ends of one ring. Nothing is posted yet.
    pub fn new(pool: PagePool<Host>, poster: Poster, cleaner: Cleaner) -> Self {
        let descriptors = poster.descriptors();
        let refill_at = (descriptors / 4).clamp(1, REFILL_AT);
        RxQueue { poster: Some(poster), cleaner, pool, descriptors, posted: 0, refill_at }
    }

    /// The queue's pool.
    pub fn pool(&mut self) -> &mut PagePool<Host> {
        &mut self.pool
    }

    /// Pages that the device has, or has completed and we have not taken yet.
    pub fn posted(&self) -> u32 {
        self.posted
    }

    /// Posts pages until the ring is full, if enough descriptors are empty to be worth it, and rings the doorbell.
    ///
    /// Kernel counterpart: the `alloc_rx_buffers` of a driver, over `page_pool_dev_alloc_pages`.
    ///
    /// # Errors
    ///
    /// [`RefillError`]; what was posted before it stays posted.
    pub fn refill(&mut self) -> Result<(), RefillError> {
        let Some(poster) = &mut self.poster else { return Ok(()) };
        if self.descriptors - self.posted < self.refill_at {
            return Ok(());
        }
        let filled = loop {
            if !poster.has_room() {
                break Ok(());
            }
            let page = match self.pool.alloc() {
                Ok(page) => page,
                Err(error) => break Err(error.into()),
            };
            let room = page.len() as u32;
            match poster.post(page, room, 0) {
                Ok(()) => self.posted += 1,
                // `TooLong` cannot be: the length is the page's own.
                Err(PostError::Full(page) | PostError::TooLong(page)) => {
                    self.pool.recycle_direct(page);
                    break Ok(());
                }
                Err(PostError::NotMapped(page)) => {
                    self.pool.recycle_direct(page);
                    break Err(RefillError::NotMapped);
                }
            }
        };
        poster.kick();
        filled
    }

    /// Posts nothing any more: the device uses what it has and then leaves.
    pub fn shut(&mut self) {
        self.poster = None;
    }

    /// The next packet, in the order of the wire. Pages that the device could not write go back into the pool.
    #[inline]
    pub fn receive(&mut self) -> Option<Received> {
        loop {
            let completed = self.cleaner.take()?;
            self.posted -= 1;
            if completed.completion == Completion::Failed {
                self.pool.recycle_direct(completed.page);
                continue;
            }
            let range = DmaRange { offset: 0, len: completed.len as usize };
            self.pool.dma_sync_for_cpu(&completed.page, range);
            return Some(Received { page: completed.page, len: completed.len, mark: completed.mark });
        }
    }

    /// Gives a packet's page straight back to the pool: what `XDP_DROP` does.
    #[inline]
    pub fn recycle(&mut self, page: Page<Host>) {
        self.pool.recycle_direct(page);
    }

    /// Whether a packet, or a page that failed, waits to be taken.
    pub fn has_received(&self) -> bool {
        self.cleaner.has_completed()
    }

    /// Whether and how the device left. To be asked before the last [`receive`](RxQueue::receive).
    pub fn device_left(&self) -> Option<Left> {
        self.cleaner.device_left()
    }

    /// Takes the pages back that were posted and never used, and gives the pool back.
    ///
    /// The device must have left; pages that a device still has go home when it leaves, by the shared path.
    pub fn close(mut self) -> PagePool<Host> {
        while let Some(completed) = self.cleaner.take().or_else(|| self.cleaner.take_abandoned()) {
            self.pool.recycle_direct(completed.page);
        }
        self.pool
    }
}
