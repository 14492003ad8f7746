//! Many frames at once.

use pp_core::{Access, Device, Host, Page, PageBatch};

use crate::buffer::Buffer;
use crate::frame::XdpFrame;

/// Pages that a [`FrameBulk`] collects before it puts them (`XDP_BULK_QUEUE_SIZE`).
pub const BULK_FRAMES: usize = 16;

/// Collects frames that were sent, and puts their pages together (`struct xdp_frame_bulk`): what a driver does that cleans its
/// transmit queue.
///
/// Pages of up to 16 buffers wait here, whatever pools they are of. A flush sorts them, so that each pool gets its own
/// together. A part of a page drops its reference at once and waits only if it was the last. What is of no pool
/// returns at once. Dropping a bulk flushes it.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::{Memory, Registry, RxqInfo, RxqParams};
/// use pp_xdp::FrameBulk;
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;
/// # let mut rxq = RxqInfo::new();
/// # rxq.reg(RxqParams::new(1, 0))?;
/// # rxq.reg_mem_model(&Registry::new(), pool.model())?;
/// # let mut frame = || rxq.prepare(pool.alloc().unwrap(), 256, 60).unwrap().into_frame().unwrap();
/// let mut bulk = FrameBulk::new();
/// for sent in [frame(), frame(), frame()] {
///     bulk.push(sent);
/// }
/// assert_eq!(bulk.len(), 3);
/// assert_eq!(bulk.flush(), 1); // one pool
/// assert!(bulk.is_empty());
/// # drop(frame);
/// assert_eq!(pool.stats().recycle.ring, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameBulk {
    pages: PageBatch<BULK_FRAMES, Host>,
    device: PageBatch<BULK_FRAMES, Device>,
}

impl FrameBulk {
    /// Nothing.
    pub const fn new() -> Self {
        FrameBulk { pages: PageBatch::new(), device: PageBatch::new() }
    }

    /// Pages that wait.
    pub fn len(&self) -> usize {
        self.pages.len() + self.device.len()
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a frame, fragments first (`xdp_return_frame_bulk`). When 16 pages wait, they are flushed before the next is added.
    pub fn push(&mut self, frame: XdpFrame) {
        for buffer in frame.into_packet().into_buffers() {
            match buffer {
                Buffer::Page(page) | Buffer::Umem(page) => add(&mut self.pages, page),
                Buffer::Part(part) => part.defrag().into_iter().for_each(|page| add(&mut self.pages, page)),
                Buffer::Device(page) => add(&mut self.device, page),
                no_pools @ (Buffer::Shared(_) | Buffer::Order0(_) | Buffer::Chunk(_) | Buffer::User(_)) => {
                    drop(no_pools)
                }
            }
        }
    }

    /// Puts all pages that wait, each pool's together (`xdp_flush_frame_bulk`), and says of how many pools they were.
    pub fn flush(&mut self) -> usize {
        flush(&mut self.pages) + flush(&mut self.device)
    }
}

impl Drop for FrameBulk {
    fn drop(&mut self) {
        self.flush();
    }
}

fn add<A: Access>(batch: &mut PageBatch<BULK_FRAMES, A>, page: Page<A>) {
    if let Err(page) = batch.push(page) {
        flush(batch);
        // Empty now, so there is room.
        drop(batch.push(page));
    }
}

fn flush<A: Access>(batch: &mut PageBatch<BULK_FRAMES, A>) -> usize {
    let publications = batch.sort_by_pool();
    drop(core::mem::take(batch));
    publications
}
