//! The sending side of a queue: packets into the transmit ring, pages out of the completion ring.

use alloc::sync::Arc;

use pp_core::{AllocError, GivenBack, Host, Page, PageBatch, PagePool};
use thiserror::Error;

use super::binding::{Binding, WakeError, Woken};
use super::counters::QueueCounters;
use super::descriptor::XdpDesc;
use super::places::Way;
use super::ring::{Consumer, Producer};
use super::umem::Umem;
use crate::buffer::Buffer;
use crate::packet::Packet;

/// Completions taken at a time.
const AT_ONCE: usize = 64;

/// Whether packets may lie in several chunks (`XDP_USE_SG`, Linux 6.6). Of [`QueueConfig`](super::QueueConfig).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buffers {
    /// One chunk a packet; longer ones are dropped by the kernel.
    #[default]
    One,
    /// As many as a packet is long.
    Several,
}

/// Why a packet could not be sent: from `send` and `send_copy` of [`XskTx`], which give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The transmit ring is full: [flush](XskTx::flush), and send it later.
    #[error("the transmit ring is full; flush it and try again, or drop the packet")]
    Full,
    /// It lies in memory that is not the queue's UMEM. The way over it is a [copy](XskTx::send_copy).
    #[error("the packet is not in the queue's UMEM; copy it")]
    NotInUmem,
    /// It is in several chunks, and the queue was opened for packets of one.
    #[error("the packet is in several chunks, and the queue sends packets of one; open it for several")]
    SeveralBuffers,
    /// It has no bytes, or a chunk of it has none, or more than a chunk may have.
    #[error("a chunk of {bytes} bytes can't be sent; chunks have 1 to {chunk_bytes}")]
    Length {
        /// Bytes of the packet in that chunk.
        bytes: usize,
        /// Bytes in a chunk.
        chunk_bytes: u32,
    },
    /// The CPU cannot reach the bytes that would have to be copied.
    #[error("the packet is in memory that the CPU cannot reach; it can't be copied")]
    Unreadable,
    /// There is no page to copy to.
    #[error("there is no page to copy to: {0}")]
    Alloc(AllocError),
}

/// The sending side of a queue. For one thread at a time; [`XskQueue`](super::XskQueue) has it.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::af_xdp::{Umem, model};
/// use pp_xdp::af_xdp::SendError;
/// # let home = Home::new(Heap::new(4096, 64));
/// # let umem = Umem::new(home.clone())?;
/// # let mut pool = PagePool::builder(home).build()?;
/// let (mut queue, mut kernel) = model::queue(&umem, 16)?;
/// queue.rx.refill(&mut pool)?;
/// kernel.receive(b"ping");
/// for buff in queue.rx.receive(64) {
///     queue.tx.send(buff).map_err(|error| error.reason)?; // the page moves: no copy
/// }
/// queue.tx.flush()?;
/// assert_eq!(kernel.transmit().as_deref(), Some(&b"ping"[..]));
/// assert_eq!(queue.tx.complete_into(&mut pool), 1);
///
/// // What lies elsewhere is copied, and that is counted.
/// # let other = Home::new(Heap::new(4096, 8));
/// let mut stranger = PagePool::builder(other).build()?;
/// # let mut rxq = pp_xdp::RxqInfo::new();
/// # rxq.reg(pp_xdp::RxqParams::new(2, 0))?;
/// # rxq.reg_mem_model(&pp_xdp::Registry::new(), pp_xdp::Memory::model(&stranger))?;
/// let packet = rxq.prepare(stranger.alloc()?, 0, 60).map_err(|error| error.reason)?;
/// let refused = queue.tx.send(packet).expect_err("of another provider");
/// assert_eq!(refused.reason, SendError::NotInUmem);
/// queue.tx.send_copy(refused.buffer, &mut pool).map_err(|error| error.reason)?;
/// queue.tx.send_bytes(b"made up on the spot", &mut pool)?;
/// queue.tx.flush()?;
/// assert!(queue.tx.has_unsent()); // until the kernel has looked
/// assert_eq!(kernel.transmit().map(|bytes| bytes.len()), Some(60));
/// assert_eq!(queue.tx.complete(64, drop), 1); // each page as one likes
/// assert_eq!(queue.counters().copied_bytes.get(), 60 + 19);
/// # drop(queue); kernel.quiet();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct XskTx {
    ring: Producer<XdpDesc>,
    completion: Consumer<u64>,
    buffers: Buffers,
    wakeups: Wakeups,
    counters: Arc<QueueCounters>,
    /// After the rings: the last side's drop closes the queue.
    binding: Arc<Binding>,
}

/// When the kernel is called to look at the transmit ring. Of [`QueueConfig`](super::QueueConfig).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wakeups {
    /// When it says that it needs it (`XDP_USE_NEED_WAKEUP`).
    #[default]
    WhenNeeded,
    /// After every flush.
    Always,
}

impl XskTx {
    pub(crate) fn new(
        ring: Producer<XdpDesc>,
        completion: Consumer<u64>,
        (buffers, wakeups): (Buffers, Wakeups),
        counters: Arc<QueueCounters>,
        binding: Arc<Binding>,
    ) -> Self {
        XskTx { ring, completion, buffers, wakeups, counters, binding }
    }

    /// Drops the rings.
    pub(crate) fn into_binding(self) -> Arc<Binding> {
        let XskTx { binding, .. } = self;
        binding
    }

    /// Puts a packet into the transmit ring, as it is; [`flush`](Self::flush) shows it to the kernel. It is the kernel's until it is
    /// completed.
    ///
    /// A driver may take fewer chunks a packet than there are here. What the kernel refuses it never completes: it counts
    /// [`tx_invalid_descs`](super::KernelStatistics::tx_invalid_descs), and the pages are its until the queue is closed.
    ///
    /// # Errors
    ///
    /// The packet, with [`SendError`].
    pub fn send(&mut self, packet: impl Into<Packet>) -> Result<(), GivenBack<Packet, SendError>> {
        let packet = packet.into();
        match self.check(&packet) {
            Ok(()) => {
                self.put(packet);
                Ok(())
            }
            Err(reason) => Err(GivenBack { buffer: packet, reason }),
        }
    }

    /// Sends a packet that lies in other memory by copying it into pages of `pool`, which draws on this queue's UMEM. What is in
    /// the UMEM is sent as it is. Counted in [`copied_bytes`](QueueCounters::copied_bytes).
    ///
    /// # Errors
    ///
    /// The packet, with [`SendError`].
    pub fn send_copy(
        &mut self,
        packet: impl Into<Packet>,
        pool: &mut PagePool<Host>,
    ) -> Result<(), GivenBack<Packet, SendError>> {
        let packet = match self.send(packet) {
            Err(GivenBack { buffer, reason: SendError::NotInUmem }) => buffer,
            other => return other,
        };
        match self.copy(&packet, pool) {
            Ok(copy) => {
                self.counters.copied_bytes.add(copy.len());
                self.put(copy);
                Ok(())
            }
            Err(reason) => Err(GivenBack { buffer: packet, reason }),
        }
    }

    /// Sends bytes from anywhere, in one go: see [`send_copy`](Self::send_copy).
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn send_bytes(&mut self, bytes: &[u8], pool: &mut PagePool<Host>) -> Result<(), SendError> {
        let copy = self.copy_from(bytes.len(), |at, part| part.copy_from_slice(&bytes[at..at + part.len()]), pool)?;
        self.counters.copied_bytes.add(bytes.len());
        self.put(copy);
        Ok(())
    }

    fn check(&mut self, packet: &Packet) -> Result<(), SendError> {
        let chunk_bytes = self.binding.umem().chunk_bytes();
        let mut chunks = 0;
        for (buffer, range) in packet.pieces() {
            page_in(self.binding.umem(), buffer).ok_or(SendError::NotInUmem)?;
            let bytes = range.len();
            if !(1..=chunk_bytes as usize).contains(&bytes) {
                return Err(SendError::Length { bytes, chunk_bytes });
            }
            chunks += 1;
        }
        self.check_room(chunks)
    }

    fn check_room(&mut self, chunks: u32) -> Result<(), SendError> {
        if chunks > 1 && self.buffers == Buffers::One {
            return Err(SendError::SeveralBuffers);
        }
        match self.ring.room(chunks) {
            Ok(room) if room >= chunks => Ok(()),
            Ok(_) => Err(SendError::Full),
            Err(_) => {
                self.counters.astray.add(1);
                Err(SendError::Full)
            }
        }
    }

    /// Puts a packet into the ring that was found to be one for it.
    fn put(&mut self, packet: Packet) {
        let (mut pieces, mut bytes, mut sent) = (packet.into_pieces().peekable(), 0, 0);
        while let Some((buffer, range)) = pieces.next() {
            let umem = self.binding.umem();
            let (Buffer::Umem(page) | Buffer::Page(page)) = buffer else {
                debug_assert!(false, "a buffer that was checked is no page");
                continue;
            };
            let Some(index) = umem.index_of(page.descriptor()) else { continue };
            let options = if pieces.peek().is_some() { XdpDesc::CONTINUED } else { 0 };
            let desc = XdpDesc { addr: umem.addr(index, range.start), len: range.len() as u32, options };
            self.ring.write(desc);
            self.binding.give(index, page, Way::Transmit);
            bytes += range.len();
            sent += 1;
        }
        self.counters.sent.add(sent);
        self.counters.packets_out.add(1);
        self.counters.bytes_out.add(bytes);
    }

    fn copy(&mut self, packet: &Packet, pool: &mut PagePool<Host>) -> Result<Packet, SendError> {
        if !packet.is_readable() {
            return Err(SendError::Unreadable);
        }
        let load = |at, part: &mut [u8]| {
            // Shorter only if a user's buffer has shrunk. What the page had before is nobody's business.
            packet.load_bytes(at, part).unwrap_or_else(|_| part.fill(0));
        };
        self.copy_from(packet.len(), load, pool)
    }

    /// A packet of `len` bytes that `load` fetches: each call the bytes from there on that fill the slice.
    fn copy_from(
        &mut self,
        len: usize,
        load: impl Fn(usize, &mut [u8]),
        pool: &mut PagePool<Host>,
    ) -> Result<Packet, SendError> {
        let chunk_bytes = self.binding.umem().chunk_bytes();
        let per_chunk = chunk_bytes as usize;
        if len == 0 {
            return Err(SendError::Length { bytes: len, chunk_bytes });
        }
        let chunks = u32::try_from(len.div_ceil(per_chunk)).unwrap_or(u32::MAX);
        self.check_room(chunks)?;
        let mut page_of = |at: usize| {
            let mut page = pool.alloc().map_err(SendError::Alloc)?;
            if !self.binding.umem().contains(&page) {
                pool.recycle_direct(page);
                return Err(SendError::NotInUmem);
            }
            let part = per_chunk.min(len - at);
            load(at, page.get_mut(..part).unwrap_or_default());
            Ok((page, part))
        };
        let (page, part) = page_of(0)?;
        let too_long = SendError::Length { bytes: len, chunk_bytes };
        let mut copy = Packet::new(Buffer::Umem(page), None, 0, part).map_err(|_| too_long)?;
        let mut at = part;
        while at < len {
            let (page, part) = page_of(at)?;
            copy.add_frag(Buffer::Umem(page), 0, part).map_err(|_| too_long)?;
            at += part;
        }
        Ok(copy)
    }

    /// Shows the kernel what was sent, and calls it if it has to be called. Returns at once where there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`WakeError`]. What was sent stays in the ring, and is tried again with the next flush.
    pub fn flush(&mut self) -> Result<(), WakeError> {
        if self.ring.unpublished() > 0 {
            self.ring.publish();
        } else if self.ring.in_ring() == 0 || self.ring.is_drained() {
            return Ok(());
        }
        if self.wakeups == Wakeups::WhenNeeded && !self.ring.needs_wakeup() {
            return Ok(());
        }
        // In copy mode a call sends a part of the ring and says that there is more. No endless loop: it ends when a call sends nothing.
        loop {
            let before = self.in_ring();
            self.counters.wakes.add(1);
            match self.binding.wake_tx()? {
                Woken::Done => return Ok(()),
                Woken::More if self.in_ring() < before => {}
                Woken::More => return Ok(()),
            }
        }
    }

    /// Entries that the kernel has not read.
    fn in_ring(&mut self) -> u32 {
        if self.ring.room(self.ring.size()).is_err() {
            self.counters.astray.add(1);
        }
        self.ring.in_ring()
    }

    /// Whether entries wait in the ring that the kernel has not read: [`flush`](Self::flush) again.
    pub fn has_unsent(&mut self) -> bool {
        self.ring.unpublished() > 0 || !self.ring.is_drained()
    }

    /// Takes back what was sent and hands each page to `give`, at most `budget`; says how many. A page that is only dropped goes
    /// home to its pool.
    pub fn complete(&mut self, budget: usize, mut give: impl FnMut(Page<Host>)) -> usize {
        let budget = u32::try_from(budget).unwrap_or(u32::MAX);
        let available = self.completion.available(budget).unwrap_or_else(|_| {
            self.counters.astray.add(1);
            self.completion.known()
        });
        let mut completed = 0;
        for _ in 0..available.min(budget) {
            let Some(addr) = self.completion.read() else { break };
            let chunk = self.binding.umem().locate(addr).map(|(index, _)| index);
            match chunk.and_then(|index| self.binding.take(index, Way::Transmit)) {
                Some(page) => {
                    completed += 1;
                    give(page);
                }
                None => self.counters.not_given.add(1),
            }
        }
        self.completion.release();
        self.counters.completed.add(completed);
        completed
    }

    /// Takes back all that was sent and puts it: pages of `pool` straight into its cache, others home to theirs, by batches. Says how many.
    pub fn complete_into(&mut self, pool: &mut PagePool<Host>) -> usize {
        let mut all = 0;
        loop {
            let mut batch: PageBatch<AT_ONCE> = PageBatch::new();
            let completed = self.complete(AT_ONCE, |page| drop(batch.push(page)));
            pool.recycle_batch(&mut batch);
            all += completed;
            if completed < AT_ONCE {
                return all;
            }
        }
    }
}

/// The page that a buffer is, if it is a chunk of that UMEM.
fn page_in<'b>(umem: &Umem, buffer: &'b Buffer) -> Option<&'b Page<Host>> {
    match buffer {
        Buffer::Umem(page) | Buffer::Page(page) => Some(page).filter(|page| umem.contains(page)),
        _ => None,
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
