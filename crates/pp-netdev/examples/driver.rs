//! The life of a driver, as the kernel's page_pool documentation publishes it, in today's terms: registration, a NAPI poll
//! with its three branches, and unload with pages still out. `cargo run -p pp-netdev --example driver` prints what the pool saw.
//!
//! | the published example | here |
//! |---|---|
//! | `page_pool_create` | `PagePool::builder` |
//! | `xdp_rxq_info_reg`, `xdp_rxq_info_reg_mem_model` | steps 2 and 3 of [`Driver::open`] |
//! | error: `page_pool_recycle_direct` | the same |
//! | `XDP_DROP`: `page_pool_recycle_direct` | the same |
//! | `XDP_PASS`: `page_pool_release_page`, today `skb_mark_for_recycle`, and a new page | the page moves up, its drop recycles it |
//! | unload: `page_pool_put_full_page(pool, page, false)`, `xdp_rxq_info_unreg` | [`Driver::unload`] |
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a program has std")]

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use pp_core::doc::Heap;
use pp_core::{DmaDirection, DmaRange, Home, Host, Page, PagePool, Shutdown, Stats};
use pp_netdev::ring::{Bells, Cleaner, Completed, Completion, DeviceEnd, Left, Poster, ring};
use pp_netdev::steer::SteeringTable;
use pp_netdev::{
    Bell, Buffer, DmaWindow, Frame, FrameSource, NAPI_BUDGET, OnNoBuffer, QueuesError, RxDevice, StopFlag, Verdict,
};
use pp_xdp::{Memory, RegError, Registry, RxqInfo, RxqParams};

/// The device's number.
const IFINDEX: u32 = 1;
/// Descriptors of the receive ring.
const RING: NonZeroU32 = NonZeroU32::new(128).unwrap();
/// Bytes before the payload: two addresses and a type (`ETH_HLEN`).
const ETHERNET: u32 = 14;

/// A packet that was passed up: the page it came in, which goes back to its pool when the stack drops it.
pub(crate) struct Packet {
    pub(crate) page: Page<Host>,
    pub(crate) len: u32,
}

/// One receive queue.
struct Driver {
    pool: PagePool<Host>,
    rxq: RxqInfo,
    poster: Poster,
    cleaner: Cleaner,
    up: mpsc::Sender<Packet>,
    counts: Counts,
}

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) errors: u64,
    pub(crate) dropped: u64,
    pub(crate) passed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (counts, at_unload, stats) = drive(Frames(10_000), 16)?;
    println!("{counts:?}, {at_unload} pages were out when the driver was unloaded\n{stats}");
    Ok(())
}

impl Driver {
    /// Registers the queue: what fails takes back what came before it, in the opposite order.
    fn open(
        registry: &Registry,
        window: &Arc<DmaWindow>,
        bells: Bells,
        up: mpsc::Sender<Packet>,
    ) -> Result<(Self, DeviceEnd), Box<dyn Error>> {
        // 1. page_pool_create: the pool first, because the memory model names it.
        let pool = PagePool::builder(Home::new(Heap::new(4096, 4 * RING.get() as usize)))
            .name("rx0")
            .pool_size(RING.get() as usize)
            .dma(Arc::clone(window), DmaDirection::FromDevice)
            .dma_sync(0, 4096)
            .build()?;

        // 2. xdp_rxq_info_reg: the queue becomes known, under its device and its index.
        let mut rxq = RxqInfo::new();
        rxq.reg(RxqParams::new(IFINDEX, 0))?;
        // 3. xdp_rxq_info_reg_mem_model: its frames are known to be this pool's. If it fails, 2 is taken back by the drop of
        //    `rxq`, and the pool goes with the error, as with any other.
        rxq.reg_mem_model(registry, pool.model())?;

        let (poster, device, cleaner) = ring(RING, bells);
        let mut driver = Driver { pool, rxq, poster, cleaner, up, counts: Counts::default() };
        // The ring is full before the device may begin.
        driver.refill();
        Ok((driver, device))
    }

    /// Posts pages until the ring is full, or the pool has none now.
    fn refill(&mut self) {
        while self.poster.has_room() {
            let Ok(page) = self.pool.alloc() else { break };
            if let Err(refused) = self.poster.post(page, 4096, 0) {
                // There was room, so it cannot be; the page goes home.
                drop(refused.into_buffer());
                break;
            }
        }
        self.poster.kick();
    }

    /// Handles up to `budget` packets. Returns how many.
    fn poll(&mut self, budget: usize) -> usize {
        let mut work = 0;
        while work < budget {
            let Some(Completed { buffer, len, completion, .. }) = self.cleaner.take() else { break };
            work += 1;
            // This driver posts whole pages only.
            let Buffer::Page(mut page) = buffer else { continue };

            // First branch: the device reported an error, or it is no frame.
            if completion == Completion::Failed || len < ETHERNET {
                self.counts.errors += 1;
                self.pool.recycle_direct(page);
                continue;
            }
            self.pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: len as usize });

            // Second branch: the program wants it dropped.
            if verdict(&mut page[..len as usize]) == Verdict::Drop {
                self.counts.dropped += 1;
                self.pool.recycle_direct(page);
                continue;
            }

            // Third branch: up it goes, and with it its page; `refill` posts a new one in its place. Who drops it recycles it, on
            // whatever thread (`skb_mark_for_recycle`).
            self.counts.passed += 1;
            // Without a stack the packet is dropped, which is a put as well.
            let _ = self.up.send(Packet { page, len });
        }
        self.refill();
        work
    }

    /// Unloads the driver, with pages still in the stack's hands. The device has left.
    fn unload(mut self) -> Result<(Counts, Shutdown<Host>), RegError> {
        // What was posted and never used: page_pool_put_full_page(pool, page, false), for each.
        while let Some(completed) = self.cleaner.take().or_else(|| self.cleaner.take_abandoned()) {
            drop(completed.buffer);
        }

        // xdp_rxq_info_unreg, before the pool goes: its memory first, then the queue.
        self.rxq.unreg()?;

        // page_pool_destroy: does not wait for the pages that are out, and they stay good.
        Ok((self.counts, self.pool.shutdown()))
    }
}

/// An XDP program: drops what is not IPv4.
fn verdict(packet: &mut [u8]) -> Verdict {
    if packet[12..14] == [0x08, 0x00] { Verdict::Forward } else { Verdict::Drop }
}

/// Receives all frames of `source`; the stack keeps the last `kept` packets, and gives them back when the driver is gone. Returns
/// what became of the packets, how many pages were out when the driver was unloaded, and what the pool had counted in the end.
pub(crate) fn drive(mut source: impl FrameSource, kept: usize) -> Result<(Counts, usize, Stats), Box<dyn Error>> {
    let window = Arc::new(DmaWindow::new(4 * RING.get() as usize, 4096)?);
    let [napi, device_bell] = [(); 2].map(|()| Arc::new(Bell::new()));
    let bells = Bells { poster: Arc::clone(&napi), device: device_bell, cleaner: Arc::clone(&napi) };
    let (up, packets) = mpsc::channel();
    let registry = Registry::new();
    let (mut driver, device) = Driver::open(&registry, &window, bells, up)?;
    assert_eq!(registry.ids_in_use(), 1, "the pool's");
    thread::scope(|scope| {
        let stack = scope.spawn(move || {
            let mut last = Vec::new();
            for Packet { page, len } in packets {
                assert_eq!(page[len as usize - 1], b'Z', "the payload is what the device wrote");
                last.push(page);
                if last.len() > kept {
                    drop(last.remove(0));
                }
            }
            last
        });
        let device = nic(device, &window)?;
        let receiving = scope.spawn(move || device.run(&mut source, None, &StopFlag::new()));

        // The poll loop, and what makes it run: an interrupt when there is something to do.
        loop {
            // In this order: what the device did before it left is there once we see that it has left.
            let left = driver.cleaner.device_left();
            if driver.poll(NAPI_BUDGET) > 0 {
                continue;
            }
            if left == Some(Left::Complete) {
                break;
            }
            let ready = || driver.cleaner.has_completed() || driver.cleaner.device_left().is_some();
            if driver.poster.has_room() {
                // The pool was empty, and no bell rings when the stack gives a page back.
                napi.wait_within(ready, Duration::from_millis(1));
            } else {
                napi.wait(ready);
            }
        }
        receiving.join().expect("the device does not panic")?;

        let (counts, mut shutdown) = driver.unload()?;
        assert_eq!(registry.ids_in_use(), 0, "the memory id is free, although pages are out");
        // The driver is gone, and its end of the channel with it: the stack comes to its end.
        let last = stack.join().expect("the stack does not panic");
        let at_unload = shutdown.outstanding();
        assert!(!shutdown.wait_for(Duration::from_millis(1)) || last.is_empty());
        drop(last);
        let handle = shutdown.handle().clone();
        shutdown.wait();
        Ok((counts, at_unload, handle.stats()))
    })
}

/// The hardware: a device of one queue.
fn nic(ring: DeviceEnd, window: &Arc<DmaWindow>) -> Result<RxDevice, QueuesError> {
    let rings = vec![(ring, Arc::default())];
    let one = SteeringTable::new(std::num::NonZeroU16::MIN);
    RxDevice::new(rings, one, Arc::clone(window), OnNoBuffer::Wait).map(|(device, _)| device)
}

/// So many frames: of each four one is too short to be one, and one is not IPv4.
pub(crate) struct Frames(pub(crate) u64);

impl FrameSource for Frames {
    fn next_frame(&mut self) -> std::io::Result<Option<Frame<'_>>> {
        let Some(left) = self.0.checked_sub(1) else { return Ok(None) };
        self.0 = left;
        let bytes: &[u8] = match left % 4 {
            0 => b"runt",
            1 => b"destinsource\x86\xddnot IPv4Z",
            _ => b"destinsource\x08\x00an IPv4 packet, sayZ",
        };
        Ok(Some(Frame { bytes, mark: left }))
    }
}
