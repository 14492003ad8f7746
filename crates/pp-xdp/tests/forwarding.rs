//! Two drivers that forward into each other, in every pair of memory types.
//!
//! ```text
//!   wire -> A receives into its memory -> frame -> B sends it -> wire -> B receives into its own -> frame -> A sends it -> ...
//!               ^                                  |
//!               +--------- A's frame returns ------+
//! ```
//!
//! What is on the wire is known for every packet and turn, so each byte is looked at each time it is sent. Memory that the
//! processor cannot reach is written and read by address, as the hardware would.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use common::{Hoard, Store};
use pp_core::{Home, PagePool};
use pp_xdp::{
    FrameBulk, MemType, Memory, Order0Pages, Packet, PoolFrags, Registry, RxqInfo, RxqParams, SplitPages,
    XDP_PACKET_HEADROOM, XdpAction, XdpFrame, XskBuffPool, return_buff, return_frame, return_frame_rx_napi,
};

const PACKETS: usize = 40;
const TURNS: usize = 24;
/// By then as much memory goes round as is ever needed.
const WARM: usize = 8;

/// Memory that only devices reach, by address: what the hardware of a real one would hold.
type DeviceMemory = HashMap<u64, Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Split,
    Order0,
    Pool,
    PoolFrags,
    Xsk,
    Device,
    User,
}

const KINDS: [Kind; 7] = [Kind::Split, Kind::Order0, Kind::Pool, Kind::PoolFrags, Kind::Xsk, Kind::Device, Kind::User];

/// The provider behind a driver's memory.
#[derive(Clone)]
enum Behind {
    Host(Home<Store>),
    Device(Home<Store<pp_core::Device>>),
}

impl Behind {
    fn calls(&self) -> usize {
        match self {
            Behind::Host(home) => home.calls(),
            Behind::Device(home) => home.calls(),
        }
    }
    fn out(&self) -> usize {
        match self {
            Behind::Host(home) => home.out(),
            Behind::Device(home) => home.out(),
        }
    }
}

fn memory(kind: Kind) -> (Behind, Box<dyn Memory>) {
    if kind == Kind::Device {
        let home = Home::new(Store::device(4096, 256));
        let pool = PagePool::builder(home.clone()).build().unwrap();
        return (Behind::Device(home), Box::new(pool));
    }
    let home = Home::new(Store::host(4096, 512));
    let pool = || PagePool::builder(home.clone()).build().unwrap();
    let memory: Box<dyn Memory> = match kind {
        Kind::Split => Box::new(SplitPages::new(home.clone(), 2048, 200).unwrap()),
        Kind::Order0 => Box::new(Order0Pages::new(home.clone(), 200).unwrap()),
        Kind::Pool => Box::new(pool()),
        Kind::PoolFrags => Box::new(PoolFrags::new(pool(), 2048).unwrap()),
        Kind::Xsk => Box::new(XskBuffPool::new(home.clone(), 2048, 200).unwrap()),
        Kind::User => Box::new(Hoard::new(home.clone())),
        Kind::Device => unreachable!("above"),
    };
    (Behind::Host(home), memory)
}

/// What packet `number` is at `turn`.
fn expected(number: usize, turn: usize) -> Vec<u8> {
    let len = 60 + (number * 131 + turn * 17) % 1400;
    (0..len).map(|at| (at * 7 + number * 31 + turn) as u8).collect()
}

/// The program: drops one in five.
fn program(number: usize, turn: usize) -> XdpAction {
    if (number + turn).is_multiple_of(5) { XdpAction::Drop } else { XdpAction::Redirect }
}

struct Driver {
    rxq: RxqInfo,
    memory: Box<dyn Memory>,
    /// For packets in memory that may not leave its poll.
    pages: Order0Pages,
    behind: Behind,
    behind_pages: Home<Store>,
    device_memory: DeviceMemory,
}

impl Driver {
    fn new(registry: &Registry, kind: Kind) -> Self {
        let (behind, memory) = memory(kind);
        let mut rxq = RxqInfo::new();
        rxq.reg(RxqParams::new(1, 0)).unwrap();
        rxq.reg_mem_model(registry, memory.model()).unwrap();
        let behind_pages = Home::new(Store::host(4096, 128));
        let pages = Order0Pages::new(behind_pages.clone(), 64).unwrap();
        Driver { rxq, memory, pages, behind, behind_pages, device_memory: DeviceMemory::new() }
    }

    fn calls(&self) -> usize {
        self.behind.calls() + self.behind_pages.calls()
    }

    /// A packet comes in from the wire; the frame is what the program sends on.
    fn receive(&mut self, bytes: &[u8], verdict: XdpAction) -> Option<XdpFrame> {
        let buffer = self.memory.alloc().expect("there is enough");
        let mut buff = self.rxq.prepare(buffer, XDP_PACKET_HEADROOM, bytes.len()).expect("within the buffer");
        match buff.data_mut() {
            Some(data) => data.copy_from_slice(bytes),
            None => {
                let addr = buff.dma_addr().expect("device memory is mapped").0;
                self.device_memory.insert(addr, bytes.to_vec());
            }
        }
        if verdict != XdpAction::Redirect {
            return_buff(buff, &mut *self.memory);
            return None;
        }
        Some(match buff.into_frame() {
            Ok(frame) => frame,
            Err(chunk) => chunk.buffer.copy_into_frame(&mut self.pages).expect("it fits"),
        })
    }

    /// What the wire carries of a frame in this driver's memory.
    fn wire(&self, packet: &Packet) -> Vec<u8> {
        match packet.data() {
            Some(data) => data.to_vec(),
            None => self.device_memory[&packet.dma_addr().expect("device memory is mapped").0].clone(),
        }
    }
}

/// One turn: `driver` receives all packets, its peer sends the frames, and they return in every way there is. Says how many were
/// sent.
fn turn(registry: &Registry, driver: &mut Driver, bulk: &mut FrameBulk, turn: usize) -> usize {
    let frames: Vec<_> = (0..PACKETS)
        .filter_map(|number| Some((number, driver.receive(&expected(number, turn), program(number, turn))?)))
        .collect();
    let sent = frames.len();
    let mut elsewhere = Vec::new();
    for (number, frame) in frames {
        assert_eq!(driver.wire(&frame), expected(number, turn), "packet {number} at turn {turn}");
        match number % 5 {
            0 => bulk.push(frame),
            1 => elsewhere.push(frame),
            2 => registry.return_frame(frame).expect("registered"),
            3 => return_frame_rx_napi(frame, &mut *driver.memory),
            _ => drop(frame),
        }
    }
    thread::spawn(move || elsewhere.into_iter().for_each(return_frame)).join().unwrap();
    sent
}

fn forward(first: Kind, second: Kind) {
    let registry = Registry::new();
    let mut drivers = [Driver::new(&registry, first), Driver::new(&registry, second)];
    let mut bulk = FrameBulk::new();
    let (mut sent, mut warm) = (0, 0);
    for number in 0..TURNS {
        if number == WARM {
            warm = drivers.iter().map(Driver::calls).sum();
        }
        sent += turn(&registry, &mut drivers[number % 2], &mut bulk, number);
    }
    assert_eq!(sent, TURNS * PACKETS * 4 / 5);
    let calls: usize = drivers.iter().map(Driver::calls).sum();
    assert_eq!(calls, warm, "{first:?} and {second:?} ask their providers in the steady state");
    drop(bulk);
    for Driver { mut rxq, memory, pages, behind, behind_pages, .. } in drivers {
        rxq.unreg().unwrap();
        drop((memory, pages));
        assert_eq!((behind.out(), behind_pages.out()), (0, 0), "{first:?} and {second:?}: something is not home");
    }
    assert_eq!(registry.ids_in_use(), 0);
}

#[test]
fn every_pair_of_types_forwards_into_each_other() {
    let types: Vec<_> = KINDS.iter().map(|kind| memory(*kind).1.model().mem_type()).collect();
    assert!(MemType::ALL.iter().all(|mem_type| types.contains(mem_type)), "every type is among them");
    for first in KINDS {
        for second in KINDS {
            forward(first, second);
        }
    }
}

/// The same on two threads: each receives, and sends and returns what the other received, at its own pace.
#[test]
fn two_threads_forward_into_each_other() {
    for (first, second) in
        [(Kind::Pool, Kind::Split), (Kind::PoolFrags, Kind::Order0), (Kind::Xsk, Kind::User), (Kind::Pool, Kind::Pool)]
    {
        let registry = Registry::new();
        let ((to_second, from_first), (to_first, from_second)) = (sync_channel(PACKETS), sync_channel(PACKETS));
        thread::scope(|scope| {
            for (kind, to, from) in [(first, to_second, from_second), (second, to_first, from_first)] {
                let registry = &registry;
                scope.spawn(move || work(registry, kind, &to, &from));
            }
        });
        assert_eq!(registry.ids_in_use(), 0);
    }
}

fn work(registry: &Registry, kind: Kind, to: &SyncSender<(usize, XdpFrame)>, from: &Receiver<(usize, XdpFrame)>) {
    let mut driver = Driver::new(registry, kind);
    let mut bulk = FrameBulk::new();
    for number in 0..4000 {
        let frame = driver.receive(&expected(number, 0), XdpAction::Redirect).expect("redirected");
        to.send((number, frame)).expect("the other is there");
        let (number, frame) = from.recv().expect("the other sends as many");
        assert_eq!(frame.data().expect("host memory"), expected(number, 0));
        match number % 3 {
            0 => bulk.push(frame),
            1 => return_frame_rx_napi(frame, &mut *driver.memory),
            _ => return_frame(frame),
        }
    }
    // Unloading while the other still has frames of ours, in hand and in its bulk.
    let Driver { mut rxq, memory, pages, behind, behind_pages, .. } = driver;
    rxq.unreg().unwrap();
    drop((memory, pages, bulk));
    let deadline = Instant::now() + Duration::from_secs(20);
    while behind.out() + behind_pages.out() > 0 {
        assert!(Instant::now() < deadline, "{kind:?}: something is not home");
        thread::yield_now();
    }
}
