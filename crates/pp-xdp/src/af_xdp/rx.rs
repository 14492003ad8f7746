//! The receiving side of a queue: pages into the fill ring, packets out of the receive ring.

use alloc::sync::Arc;

use pp_core::{AllocError, Host, Page, PageBatch, PagePool};
use thiserror::Error;

use super::binding::{Binding, WakeError};
use super::counters::QueueCounters;
use super::descriptor::XdpDesc;
use super::places::Way;
use super::ring::{Consumer, Producer};
use crate::buff::XdpBuff;
use crate::buffer::Buffer;
use crate::packet::Packet;
use crate::rxq::RxqInfo;

/// Pages taken from a pool at a time.
const AT_ONCE: usize = 64;

/// Why no page could be given to the kernel: from `refill` of [`XskRx`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefillError {
    /// The pool has none; what is posted stays so.
    #[error(transparent)]
    Alloc(#[from] AllocError),
    /// The pool draws on other memory.
    #[error(
        "the pool's pages are not chunks of the queue's UMEM; build the pool on the provider that the UMEM was made of"
    )]
    NotInUmem,
}

/// The receiving side of a queue. For one thread at a time; [`XskQueue`](super::XskQueue) has it.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::af_xdp::{Umem, model};
/// # let home = Home::new(Heap::new(4096, 64));
/// # let umem = Umem::new(home.clone())?;
/// # let mut pool = PagePool::builder(home).build()?;
/// let (mut queue, mut kernel) = model::queue(&umem, 16)?;
/// assert_eq!(queue.rx.refill(&mut pool)?, 16);
/// kernel.receive(b"a packet of some length");
/// for mut buff in queue.rx.receive(64) {
///     buff.adjust_head(-4)?; // any program
///     assert_eq!(buff.len(), 27);
/// } // dropped: back to the pool
/// assert_eq!((queue.rx.refill(&mut pool)?, queue.counters().packets_in.get()), (1, 1));
/// if queue.rx.needs_wake() {
///     queue.rx.wake()?; // a device in zero-copy mode that had run out of chunks
/// }
/// assert_eq!(queue.rx.rxq().params().map(|params| params.queue), Some(0));
/// # drop(queue); kernel.quiet();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct XskRx {
    ring: Consumer<XdpDesc>,
    fill: Producer<u64>,
    rxq: RxqInfo,
    /// The chunks so far of a packet whose last one has not been read.
    begun: Begun,
    counters: Arc<QueueCounters>,
    /// After the rings: the last side's drop closes the queue.
    binding: Arc<Binding>,
}

#[derive(Debug)]
enum Begun {
    /// The next descriptor begins a packet.
    Nothing,
    /// It continues this one.
    Packet(Packet),
    /// It continues one that is to be dropped.
    Broken,
}

impl XskRx {
    pub(crate) fn new(
        ring: Consumer<XdpDesc>,
        fill: Producer<u64>,
        rxq: RxqInfo,
        counters: Arc<QueueCounters>,
        binding: Arc<Binding>,
    ) -> Self {
        XskRx { ring, fill, rxq, begun: Begun::Nothing, counters, binding }
    }

    /// Drops the rings.
    pub(crate) fn into_binding(self) -> Arc<Binding> {
        let XskRx { binding, .. } = self;
        binding
    }

    /// The queue's entry for XDP: which interface and queue, which memory.
    pub fn rxq(&self) -> &RxqInfo {
        &self.rxq
    }

    /// Gives the kernel pages of `pool` to receive into, as many as the fill ring has room for, and says how many that were. To be
    /// called after each burst of packets; returns at once where there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`RefillError`] if it could give fewer, for want of pages or because they are of other memory.
    pub fn refill(&mut self, pool: &mut PagePool<Host>) -> Result<usize, RefillError> {
        let mut given = 0;
        // In batches, unless the ring runs low: a cursor that the kernel writes is read once for all of them.
        let burst = (AT_ONCE as u32).min(self.fill.size() / 2).max(1);
        let Ok(mut room) = self.fill.room(burst) else {
            self.counters.astray.add(1);
            return Ok(0);
        };
        let result = loop {
            let mut batch: PageBatch<AT_ONCE> = PageBatch::new();
            let wanted = room.min(AT_ONCE as u32) as usize;
            if wanted == 0 {
                break Ok(());
            }
            if wanted == AT_ONCE {
                pool.alloc_into(&mut batch);
            } else {
                while batch.len() < wanted {
                    let Ok(page) = pool.alloc() else { break };
                    drop(batch.push(page));
                }
            }
            let got = batch.len();
            while let Some(page) = batch.pop() {
                if let Err(page) = self.post(page) {
                    pool.recycle_direct(page);
                    pool.recycle_batch(&mut batch);
                    self.publish(given);
                    return Err(RefillError::NotInUmem);
                }
                given += 1;
            }
            if got < wanted {
                break Err(RefillError::Alloc(pool.last_error()));
            }
            room -= got as u32;
        };
        self.publish(given);
        result.map(|()| given)
    }

    /// Puts a page into the fill ring, which has room.
    fn post(&mut self, page: Page<Host>) -> Result<(), Page<Host>> {
        let umem = self.binding.umem();
        let Some(index) = umem.index_of(page.descriptor()) else { return Err(page) };
        self.fill.write(umem.addr(index, 0));
        self.binding.give(index, page, Way::Receive);
        Ok(())
    }

    fn publish(&mut self, given: usize) {
        if given > 0 {
            self.counters.given.add(given);
            self.fill.publish();
        }
    }

    /// Whether the kernel has stopped receiving until it is [woken](Self::wake): it ran out of chunks, and there are some again.
    pub fn needs_wake(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// Has the kernel look at the fill ring; with busy polling, has it receive.
    ///
    /// # Errors
    ///
    /// [`WakeError`].
    pub fn wake(&mut self) -> Result<(), WakeError> {
        self.counters.wakes.add(1);
        self.binding.wake_rx()
    }

    /// Packets that have come in, as long as there are some and the budget of descriptors lasts.
    pub fn receive(&mut self, budget: usize) -> Received<'_> {
        let budget = u32::try_from(budget).unwrap_or(u32::MAX);
        let available = self.ring.available(budget).unwrap_or_else(|_| {
            self.counters.astray.add(1);
            self.ring.known()
        });
        let left = available.min(budget);
        let XskRx { ring, rxq, begun, counters, binding, .. } = self;
        Received { ring, rxq, begun, counters, binding, left, packets: 0, bytes: 0, chunks: 0 }
    }
}

/// Packets of a queue, one after the other, from `receive` of [`XskRx`].
#[derive(Debug)]
pub struct Received<'q> {
    ring: &'q mut Consumer<XdpDesc>,
    rxq: &'q RxqInfo,
    begun: &'q mut Begun,
    counters: &'q QueueCounters,
    binding: &'q Binding,
    left: u32,
    packets: usize,
    bytes: usize,
    chunks: usize,
}

impl<'q> Received<'q> {
    /// The page that a descriptor names, if that makes sense.
    fn page(&mut self, desc: XdpDesc) -> Option<(Page<Host>, usize)> {
        let umem = self.binding.umem();
        let Some((index, offset)) = umem.locate(desc.addr) else {
            self.counters.out_of_area.add(1);
            return None;
        };
        let Some(page) = self.binding.take(index, Way::Receive) else {
            self.counters.not_given.add(1);
            return None;
        };
        self.chunks += 1;
        // The offset lies in the chunk; the length may be any.
        if desc.len == 0 || desc.len as usize > page.len() - offset {
            self.counters.bad_length.add(1);
            return None; // the page goes back to its pool
        }
        Some((page, offset))
    }

    /// What a packet is with one more chunk; `None` if it can't be.
    fn add(&mut self, desc: XdpDesc) -> Option<Packet> {
        let len = desc.len as usize;
        // Most packets are of one chunk, and need not be moved to and fro.
        if matches!(self.begun, Begun::Nothing) {
            let (page, offset) = self.page(desc)?;
            // Its memory is what the queue has registered, and the range was looked at.
            return self.rxq.prepare(Buffer::Umem(page), offset, len).ok().map(XdpBuff::into_packet);
        }
        match core::mem::replace(self.begun, Begun::Nothing) {
            // Seen to above.
            Begun::Nothing => None,
            Begun::Packet(mut packet) => {
                let (page, offset) = self.page(desc)?;
                packet.add_frag(Buffer::Umem(page), offset, len).ok()?;
                Some(packet)
            }
            Begun::Broken => {
                // Its page comes back all the same.
                drop(self.page(desc));
                None
            }
        }
    }
}

impl<'q> Iterator for Received<'q> {
    type Item = XdpBuff<'q>;

    fn next(&mut self) -> Option<XdpBuff<'q>> {
        while self.left > 0 {
            self.left -= 1;
            let desc = self.ring.read()?;
            let was_broken = matches!(self.begun, Begun::Broken);
            match self.add(desc) {
                Some(packet) if desc.is_continued() => *self.begun = Begun::Packet(packet),
                Some(packet) => {
                    self.packets += 1;
                    self.bytes += packet.len();
                    return Some(XdpBuff::new(self.rxq, packet));
                }
                None => {
                    if !was_broken {
                        self.counters.broken_packets.add(1);
                    }
                    if desc.is_continued() {
                        *self.begun = Begun::Broken;
                    }
                }
            }
        }
        None
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.ring.release();
        self.counters.received.add(self.chunks);
        self.counters.packets_in.add(self.packets);
        self.counters.bytes_in.add(self.bytes);
    }
}
