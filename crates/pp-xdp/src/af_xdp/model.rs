//! A queue whose kernel is the test: the real queue, rings and table over ordinary memory, without a socket and without rights.
//!
//! For tests of what stands on queues, by threads, random operations or a model checker. The kernel here does what it is told, nonsense
//! too.

#![allow(unsafe_code, reason = "the kernel's part writes chunks that nobody else has")]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;

use pp_core::sync::{AtomicU8, Ordering};
use pp_core::{Host, Page};

use super::binding::{Binding, Closing, Driver, Probe, WakeError, Woken, close_sides};
use super::counters::QueueCounters;
use super::descriptor::XdpDesc;
use super::ring::{self, Consumer, Producer};
use super::rx::XskRx;
use super::tx::{Buffers, Wakeups, XskTx};
use super::umem::Umem;
use crate::XDP_PACKET_HEADROOM;
use crate::mem_type::MemType;
use crate::memory::MemModel;
use crate::registry::Registry;
use crate::rxq::{RegError, RxqInfo, RxqParams};

/// A queue without a socket.
///
/// [`Closing`](super::Closing) and the two sides show it.
#[derive(Debug)]
pub struct ModelQueue {
    /// The receiving side.
    pub rx: XskRx,
    /// The sending side.
    pub tx: XskTx,
    counters: Arc<QueueCounters>,
}

/// The kernel's ends of its rings. It has them as long as it lives, also after the queue was closed, as a forked child has.
///
/// [`XskTx`] shows it receive and transmit. What it is told is not checked:
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::af_xdp::{Umem, model};
/// use pp_xdp::af_xdp::XdpDesc;
/// # let home = Home::new(Heap::new(4096, 64));
/// # let umem = Umem::new(home.clone())?;
/// # let mut pool = PagePool::builder(home).build()?;
/// let (mut queue, mut kernel) = model::queue(&umem, 16)?;
/// queue.rx.refill(&mut pool)?;
/// let chunk = kernel.take_fill().expect("it was filled");
/// for addr in [chunk + 256, chunk + 256, u64::MAX] {
///     kernel.put_rx(XdpDesc { addr, len: 60, options: 0 }); // once, once more, nowhere
/// }
/// assert_eq!(queue.rx.receive(64).count(), 1);
/// let other = kernel.take_fill().expect("it was filled");
/// kernel.write(other, 0xff); // as a device does, at any time until it gives it back
/// kernel.put_rx(XdpDesc { addr: other, len: 60, options: 0 });
/// for buff in queue.rx.receive(64) {
///     queue.tx.send(buff).map_err(|error| error.reason)?;
/// }
/// queue.tx.flush()?;
/// let sent = kernel.take_tx().expect("it was sent");
/// kernel.put_completion(sent.addr);
/// assert_eq!(queue.tx.complete_into(&mut pool), 1);
///
/// kernel.lead_astray(1_000_000); // its cursors are anywhere now
/// assert_eq!(queue.rx.receive(64).count(), 0);
/// let counters = queue.counters();
/// assert_eq!((counters.not_given.get(), counters.out_of_area.get()), (1, 1));
/// # drop(queue); kernel.quiet();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ModelKernel {
    umem: Umem,
    fill: Consumer<u64>,
    rx: Producer<XdpDesc>,
    tx: Consumer<XdpDesc>,
    completion: Producer<u64>,
    state: Arc<State>,
}

/// What the kernel's side tells whoever closes the queue.
#[derive(Debug)]
struct State {
    /// | state | meaning |
    /// |---|---|
    /// | 0 | the kernel may use its chunks |
    /// | 1 | it never will again |
    quiet: AtomicU8,
}

struct ModelDriver(Arc<State>);

impl Driver for ModelDriver {
    fn wake_tx(&self) -> Result<Woken, WakeError> {
        Ok(Woken::Done)
    }
    fn wake_rx(&self) -> Result<(), WakeError> {
        Ok(())
    }
    fn close(self: Box<Self>) -> Box<dyn Probe> {
        self
    }
}

impl Probe for ModelDriver {
    fn is_quiet(&mut self) -> bool {
        // Acquire: pairs with the Release in `ModelKernel::quiet`; its last write to a chunk happened before.
        self.0.quiet.load(Ordering::Acquire) != 0
    }
}

/// A queue of `umem` with rings of `entries`, a power of two, for packets of any number of chunks; and its kernel: [`ModelKernel`] shows
/// them.
///
/// # Errors
///
/// [`RegError`] where no memory can be registered any more.
pub fn queue(umem: &Umem, entries: u32) -> Result<(ModelQueue, ModelKernel), RegError> {
    let (fill, fill_end) = ring::in_memory(entries);
    let (rx_end, rx) = ring::in_memory(entries);
    let (tx, tx_end) = ring::in_memory(entries);
    let (completion_end, completion) = ring::in_memory(entries);
    let mut rxq = RxqInfo::new();
    rxq.reg(RxqParams::new(1, 0))?;
    rxq.reg_mem_model(&Registry::new(), MemModel::without_allocator(MemType::XskBuffPool))?;
    let state = Arc::new(State { quiet: AtomicU8::new(0) });
    // Two billion queues into one test's UMEM are not made.
    let tag = umem.places().tag().map_err(|_| RegError::NoMemory)?;
    let binding = Arc::new(Binding::new(umem.clone(), tag, Box::new(ModelDriver(state.clone()))));
    let counters = Arc::new(QueueCounters::default());
    let queue = ModelQueue {
        rx: XskRx::new(rx, fill, rxq, counters.clone(), binding.clone()),
        tx: XskTx::new(tx, completion, (Buffers::Several, Wakeups::Always), counters.clone(), binding),
        counters,
    };
    let kernel =
        ModelKernel { umem: umem.clone(), fill: fill_end, rx: rx_end, tx: tx_end, completion: completion_end, state };
    Ok((queue, kernel))
}

impl ModelQueue {
    /// What it did so far. See [`ModelKernel`].
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    /// Gives it up; see [`Closing`].
    pub fn close(self) -> Closing {
        close_sides(self.rx, self.tx)
    }
}

impl ModelKernel {
    /// Receives a packet into chunks of the fill ring, as many as it is long. `false`: there are too few, or the receive ring is full.
    pub fn receive(&mut self, packet: &[u8]) -> bool {
        let headroom = self.umem.headroom() as usize + XDP_PACKET_HEADROOM;
        let mut pieces = packet.chunks(self.umem.packet_bytes() as usize).peekable();
        let chunks = pieces.len() as u32;
        if self.fill.available(chunks).is_ok_and(|available| available < chunks)
            || self.rx.room(chunks).is_ok_and(|room| room < chunks)
        {
            return false;
        }
        while let Some(piece) = pieces.next() {
            let Some(addr) = self.fill.read() else { break };
            self.with_chunk(addr, |bytes| bytes[headroom..headroom + piece.len()].copy_from_slice(piece));
            let options = if pieces.peek().is_some() { XdpDesc::CONTINUED } else { 0 };
            let addr = self.umem.layout().addr(addr, headroom as u64);
            self.rx.write(XdpDesc { addr, len: piece.len() as u32, options });
        }
        self.fill.release();
        self.rx.publish();
        true
    }

    /// Sends the next packet of the transmit ring and completes its chunks: its bytes.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        let mut packet = Vec::new();
        loop {
            let desc = self.take_tx()?;
            if let Some((_, offset)) = self.umem.locate(desc.addr) {
                self.with_chunk(desc.addr, |bytes| {
                    packet.extend_from_slice(&bytes[offset..offset + desc.len as usize]);
                });
            }
            self.put_completion(desc.addr);
            if !desc.is_continued() {
                return Some(packet);
            }
        }
    }

    /// The next address of the fill ring.
    pub fn take_fill(&mut self) -> Option<u64> {
        self.fill.available(1).ok()?;
        let addr = self.fill.read();
        self.fill.release();
        addr
    }

    /// Puts any descriptor into the receive ring. `false`: it is full.
    pub fn put_rx(&mut self, desc: XdpDesc) -> bool {
        if !self.rx.room(1).is_ok_and(|room| room > 0) {
            return false;
        }
        self.rx.write(desc);
        self.rx.publish();
        true
    }

    /// The next descriptor of the transmit ring.
    pub fn take_tx(&mut self) -> Option<XdpDesc> {
        self.tx.available(1).ok()?;
        let desc = self.tx.read();
        self.tx.release();
        desc
    }

    /// Puts any address into the completion ring. `false`: it is full.
    pub fn put_completion(&mut self, addr: u64) -> bool {
        if !self.completion.room(1).is_ok_and(|room| room > 0) {
            return false;
        }
        self.completion.write(addr);
        self.completion.publish();
        true
    }

    /// Writes to a chunk that the kernel holds, as a device does that was given it.
    pub fn write(&mut self, addr: u64, byte: u8) {
        self.with_chunk(addr, |bytes| bytes.fill(byte));
    }

    /// Sets the cursors that the kernel writes so many entries ahead of where they should be.
    pub fn lead_astray(&mut self, entries: u32) {
        self.rx.skew(entries);
        self.completion.skew(entries);
        self.fill.skew(entries);
        self.tx.skew(entries);
    }

    /// Ends: the queue is quiet, once it is closed.
    pub fn quiet(self) {
        // Release: pairs with the Acquire in `is_quiet`.
        self.state.quiet.store(1, Ordering::Release);
    }

    /// The bytes of the chunk that an address lies in, if the kernel holds it.
    fn with_chunk(&mut self, addr: u64, use_bytes: impl FnOnce(&mut [u8])) {
        let Some((index, _)) = self.umem.locate(addr) else { return };
        let held = self.umem.places().held_at(index);
        // SAFETY: the table says that the page was given to the kernel, which is us, and nobody takes it back before we have said so
        // in a ring, or quiet. It is not dropped, so it stays given.
        let page = held.map(|page| ManuallyDrop::new(unsafe { Page::<Host>::from_raw(page) }));
        if let Some(mut page) = page {
            use_bytes(&mut page);
        }
    }
}
