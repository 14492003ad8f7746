//! A queue whose kernel is the test: the real queue, rings and table over ordinary memory, without a socket and without rights.
//!
//! For tests of what stands on queues, by threads, random operations or a model checker. The kernel here does what it is told, nonsense
//! too.

#![allow(unsafe_code, reason = "the kernel's part writes chunks that nobody else has")]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;

use pp_core::sync::{AtomicU8, Mutant, Ordering, mutant};
use pp_core::{Host, Page};

use super::binding::{Binding, Driver, WakeError, Woken};
use super::close_sides;
use super::closing::{Closing, Probe};
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
/// [`Closing`] and the two sides show it.
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
/// [`XskTx`] shows it receive and transmit. What it is told to put into rings is not checked; the bytes of a chunk it uses only while it
/// [has](Self::has) it.
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
/// assert!(kernel.has(chunk));
/// kernel.write(chunk, 0xff); // the whole of it, then a packet
/// assert!(kernel.write_packet(chunk + 256, b"ping"));
/// let ping = XdpDesc { addr: chunk + 256, len: 4, options: 0 };
/// assert_eq!(kernel.read(ping).as_deref(), Some(&b"ping"[..]));
/// kernel.put_rx(ping);
/// assert!(!kernel.has(chunk) && !kernel.write_packet(chunk, b"late"));
/// let packet = queue.rx.receive(64).next().expect("a packet").into_packet();
/// assert_eq!(packet.data(), Some(&b"ping"[..]));
///
/// queue.tx.send(packet).map_err(|error| error.reason)?;
/// queue.tx.flush()?;
/// let sent = kernel.take_tx().expect("it was flushed");
/// assert_eq!(kernel.read(sent).as_deref(), Some(&b"ping"[..]));
/// kernel.put_completion(sent.addr);
/// assert_eq!(queue.tx.complete_into(&mut pool), 1);
///
/// // It says what makes no sense, and sets a cursor where none can be.
/// for addr in [chunk, u64::MAX] {
///     kernel.put_rx(XdpDesc { addr, ..ping });
/// }
/// assert_eq!(queue.rx.receive(64).count(), 0);
/// kernel.lead_astray(1000);
/// assert_eq!(queue.rx.receive(64).count(), 0);
/// let counters = queue.counters();
/// assert_eq!((counters.not_given.get(), counters.out_of_area.get(), counters.astray.get()), (1, 1, 1));
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
    /// By chunk: how often it was read out of a ring, less how often it was put into one.
    hand: Vec<i32>,
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
        let order = if mutant(Mutant::Named("quiet is heard relaxed")) { Ordering::Relaxed } else { Ordering::Acquire };
        // Acquire: pairs with the Release in `ModelKernel::quiet`; its last write to a chunk happened before.
        self.0.quiet.load(order) != 0
    }
}

/// A queue of `umem` with rings of `entries`, a power of two, for packets of any number of chunks; and its kernel. [`ModelKernel`] shows both.
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
    let binding = Arc::new(Binding::new(umem.clone(), tag));
    binding.bound(Box::new(ModelDriver(state.clone())));
    let counters = Arc::new(QueueCounters::default());
    let queue = ModelQueue {
        rx: XskRx::new(rx, fill, rxq, counters.clone(), binding.clone()),
        tx: XskTx::new(tx, completion, (Buffers::Several, Wakeups::Always), counters.clone(), binding),
        counters,
    };
    let kernel = ModelKernel {
        umem: umem.clone(),
        fill: fill_end,
        rx: rx_end,
        tx: tx_end,
        completion: completion_end,
        hand: vec![0; umem.chunks() as usize],
        state,
    };
    Ok((queue, kernel))
}

impl ModelQueue {
    /// What it did so far; [`ModelKernel`] shows some.
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
        if !self.fill.available(chunks).is_ok_and(|available| available >= chunks)
            || !self.rx.room(chunks).is_ok_and(|room| room >= chunks)
        {
            return false;
        }
        while let Some(piece) = pieces.next() {
            let Some(addr) = self.fill.read() else { break };
            self.took(addr);
            self.with_chunk(addr, |bytes| bytes[headroom..headroom + piece.len()].copy_from_slice(piece));
            let options = if pieces.peek().is_some() { XdpDesc::CONTINUED } else { 0 };
            let addr = self.umem.layout().addr(addr, headroom as u64);
            self.put(addr);
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
            packet.extend(self.read(desc).unwrap_or_default());
            self.put_completion(desc.addr);
            if !desc.is_continued() {
                return Some(packet);
            }
        }
    }

    /// The next address of the fill ring.
    pub fn take_fill(&mut self) -> Option<u64> {
        self.fill.available(1).ok()?;
        let addr = self.fill.read()?;
        self.fill.release();
        self.took(addr);
        Some(addr)
    }

    /// Puts any descriptor into the receive ring. `false`: it is full.
    pub fn put_rx(&mut self, desc: XdpDesc) -> bool {
        if !self.rx.room(1).is_ok_and(|room| room > 0) {
            return false;
        }
        self.put(desc.addr);
        self.rx.write(desc);
        self.rx.publish();
        true
    }

    /// The next descriptor of the transmit ring.
    pub fn take_tx(&mut self) -> Option<XdpDesc> {
        self.tx.available(1).ok()?;
        let desc = self.tx.read()?;
        self.tx.release();
        self.took(desc.addr);
        Some(desc)
    }

    /// Puts any address into the completion ring. `false`: it is full.
    pub fn put_completion(&mut self, addr: u64) -> bool {
        if !self.completion.room(1).is_ok_and(|room| room > 0) {
            return false;
        }
        self.put(addr);
        self.completion.write(addr);
        self.completion.publish();
        true
    }

    /// Whether it has the chunk of this address: it took it out of a ring and has not put it back. What it put back more often than it had taken
    /// it, it has only after it has taken it as often again.
    pub fn has(&self, addr: u64) -> bool {
        self.umem.locate(addr).is_some_and(|(index, _)| self.hand.get(index as usize).is_some_and(|count| *count > 0))
    }

    /// Writes to a chunk that it [has](Self::has), as a device does that was given it; to another nothing.
    pub fn write(&mut self, addr: u64, byte: u8) {
        self.with_chunk(addr, |bytes| bytes.fill(byte));
    }

    /// Writes a packet, from that address on, into a chunk that it [has](Self::has). `false`: it has not, or the packet is too long for it.
    pub fn write_packet(&mut self, addr: u64, packet: &[u8]) -> bool {
        let Some((_, offset)) = self.umem.locate(addr) else { return false };
        let place = |bytes: &mut [u8]| {
            let place = bytes.get_mut(offset..)?.get_mut(..packet.len())?;
            place.copy_from_slice(packet);
            Some(())
        };
        self.with_chunk(addr, place).flatten().is_some()
    }

    /// The bytes that a descriptor names, as a device reads them that sends them; of a chunk that it [has](Self::has).
    pub fn read(&mut self, desc: XdpDesc) -> Option<Vec<u8>> {
        let (_, offset) = self.umem.locate(desc.addr)?;
        self.with_chunk(desc.addr, |bytes| bytes.get(offset..)?.get(..desc.len as usize).map(<[u8]>::to_vec)).flatten()
    }

    /// Sets the cursors that the kernel writes so many entries beyond the last place where each could be. A ring is usable again once the kernel
    /// has written its cursor anew, with the next entry that it puts there or takes.
    pub fn lead_astray(&mut self, entries: u32) {
        self.rx.skew(entries);
        self.completion.skew(entries);
        self.fill.skew(entries);
        self.tx.skew(entries);
    }

    /// Ends: the queue is quiet, once it is closed.
    pub fn quiet(self) {
        let order = if mutant(Mutant::Named("quiet is said relaxed")) { Ordering::Relaxed } else { Ordering::Release };
        // Release: pairs with the Acquire in `is_quiet`.
        self.state.quiet.store(1, order);
    }

    fn took(&mut self, addr: u64) {
        self.count(addr, 1);
    }

    fn put(&mut self, addr: u64) {
        self.count(addr, -1);
    }

    fn count(&mut self, addr: u64, by: i32) {
        let count = self.umem.locate(addr).and_then(|(index, _)| self.hand.get_mut(index as usize));
        count.into_iter().for_each(|count| *count += by);
    }

    /// The bytes of the chunk that an address lies in, if the kernel has it.
    fn with_chunk<R>(&mut self, addr: u64, use_bytes: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let (index, _) = self.umem.locate(addr).filter(|_| self.has(addr))?;
        let page = self.umem.places().held_at(index)?;
        // SAFETY: the chunk was read out of rings more often than it was put into one. The queue takes it back at most once for each time
        // it was put there, and gives it only when it has it; so it has given it once more than it took it, which is the time that we
        // read last, and takes it back only after we have put it into a ring, or are quiet. The page is not dropped, so it stays given.
        let mut page = ManuallyDrop::new(unsafe { Page::<Host>::from_raw(page) });
        Some(use_bytes(&mut page))
    }
}
