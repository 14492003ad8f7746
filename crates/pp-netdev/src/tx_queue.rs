//! The driver's side of a transmit queue: the poll loop posts, another thread takes the pages back.

use std::sync::Arc;

use pp_core::{Host, PageBatch, PagePart, PoolHandle, Returner, defrag_all};

use crate::buffer::Buffer;
use crate::counters::Live;
use crate::ring::{Cleaner, Completed, Completion, Left, PostError, Poster};

/// Buffers that are given back at once: as many as one poll can have sent.
const CLEAN_BATCH: usize = crate::napi::NAPI_BUDGET;

/// The posting half of a transmit queue. Kernel counterpart: `ndo_start_xmit`, `ndo_xdp_xmit`.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use pp_core::{DmaDirection, Home, PagePool, doc::Heap};
/// # use pp_netdev::ring::{Bells, Completion, Left, ring};
/// # use pp_netdev::{Bell, DmaWindow, TxQueue};
/// # let window = Arc::new(DmaWindow::new(64, 4096)?);
/// # let pool = PagePool::builder(Home::new(Heap::new(4096, 8)));
/// # let mut pool = pool.dma(window.clone(), DmaDirection::Bidirectional).build()?;
/// # let bell = Arc::new(Bell::new());
/// # let bells = Bells { poster: bell.clone(), device: bell.clone(), cleaner: bell };
/// let (poster, mut device, mut cleaner) = ring(16.try_into()?, bells);
/// let mut queue = TxQueue::new(poster);
/// let mut page = pool.alloc()?;
/// page[..4].copy_from_slice(b"ping");
/// if queue.has_room() && queue.peer_left().is_none() {
///     queue.send(page, 4, 0).map_err(|refused| refused.to_string())?;
///     queue.kick(); // once a burst
/// }
/// queue.finish();
///
/// device.complete(Completion::Done, 4, 0); // it went out
/// assert_eq!(device.poster_left(), Some(Left::Complete));
/// drop(cleaner.take()); // home: what `TxCleaner` does all day
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TxQueue {
    poster: Poster,
}

impl TxQueue {
    /// A queue on the posting end of a ring.
    pub fn new(poster: Poster) -> Self {
        TxQueue { poster }
    }

    /// Whether a packet can be sent now.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.poster.has_room()
    }

    /// Moves a packet to the device: the first `len` bytes of `buffer`. [`kick`](TxQueue::kick) once a burst.
    ///
    /// Its page must be mapped in the device's [`DmaWindow`](crate::DmaWindow), for both directions. A window is
    /// coherent; for a device that is not, what the CPU wrote would have to be synced here.
    ///
    /// # Errors
    ///
    /// [`PostError`], with the buffer.
    #[inline]
    pub fn send(&mut self, buffer: impl Into<Buffer>, len: u32, mark: u64) -> Result<(), PostError> {
        self.poster.post(buffer, len, mark)
    }

    /// Rings the device's doorbell.
    #[inline]
    pub fn kick(&self) {
        self.poster.kick();
    }

    /// Whether and how the device or the thread that cleans left: there is nobody to send to then.
    #[inline]
    pub fn peer_left(&self) -> Option<Left> {
        self.poster.device_left().or_else(|| self.poster.cleaner_left())
    }

    /// Ends the queue: the device sends what is posted, finishes its output and leaves. Dropping the queue instead
    /// leaves the output unfinished.
    pub fn finish(self) {
        self.poster.finish();
    }
}

/// The cleaning half of a transmit queue: takes sent buffers back from the device and returns them to their pool, on
/// a thread that is not the pool's consumer. Of a page in parts it returns what the last part leaves.
///
/// Kernel counterpart: the transmit clean of a driver, over `xdp_return_frame_bulk` (Linux 7.3, `net/core/xdp.c`).
///
/// [`Napi`](crate::Napi) has an example.
#[derive(Debug)]
pub struct TxCleaner {
    cleaner: Cleaner,
    returner: Option<Returner<Host>>,
    /// The parts of one batch, so that those of one page are dropped together.
    parts: Vec<PagePart<Host>>,
    live: Arc<Live>,
}

impl TxCleaner {
    /// A cleaner that returns to the pool behind `pool`: through a [`Returner`] of its own if the pool has one left,
    /// by bulk puts otherwise.
    pub fn new(cleaner: Cleaner, pool: &PoolHandle<Host>, live: Arc<Live>) -> Self {
        TxCleaner { cleaner, returner: pool.returner(), parts: Vec::with_capacity(CLEAN_BATCH), live }
    }

    /// Cleans until the device and the poster have left and every buffer is back.
    pub fn run(mut self) {
        loop {
            // In this order: what a party did before it left is there once we see that it has left.
            let both_left = self.cleaner.poster_left().is_some() && self.cleaner.device_left().is_some();
            if self.clean() > 0 {
                self.cleaner.notify();
            } else if both_left {
                break;
            } else {
                self.cleaner.wait();
            }
        }
        self.cleaner.finish();
    }

    /// Takes back one batch: what is complete, and if the device left, what it never came to. Returns how many.
    fn clean(&mut self) -> usize {
        let mut pages = PageBatch::<CLEAN_BATCH>::new();
        let mut buffers = 0;
        while buffers < CLEAN_BATCH {
            let Some(Completed { buffer, completion, .. }) =
                self.cleaner.take().or_else(|| self.cleaner.take_abandoned())
            else {
                break;
            };
            buffers += 1;
            self.live.cleaned.unsent.add(usize::from(completion == Completion::Failed));
            match buffer {
                // It has room: the loop's bound is the batch's. If it had not, the page would go home by itself.
                Buffer::Page(page) => drop(pages.push(page)),
                Buffer::Part(part) => self.parts.push(part),
            }
        }
        defrag_all(self.parts.drain(..), |page| drop(pages.push(page)));
        if buffers > 0 {
            self.live.cleaned.buffers.add(buffers);
            self.live.cleaned.batches.add(1);
            match &mut self.returner {
                Some(returner) => returner.put_batch(&mut pages),
                None => drop(pages),
            }
        }
        buffers
    }
}
