//! A queue is given another pool on another provider: every step can fail, and then the queue is what it was.
//!
//! The test is the driver of two queues and holds the wire: a device stands still in its port until a frame is put there, so each
//! step is met at a known moment.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::io;
use std::num::NonZeroU16;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::PAGE;
use pp_core::doc::Heap;
use pp_core::{DmaDirection, Home, PagePool, PoolState};
use pp_netdev::ring::{Bells, Left, ring};
use pp_netdev::steer::{Match, SteeringTable};
use pp_netdev::{
    Bell, Buffers, DmaWindow, Frame, FrameSource, GRACE, GateError, Live, OnNoBuffer, Received, RefillError,
    RestartError, RestartFailed, RxDevice, RxQueue, StopFlag,
};

const UNITS: usize = 64;
const DESCRIPTORS: u32 = 8;
/// Long enough for anything that answers at all.
const LONG: Duration = Duration::from_secs(60);
/// For a device that does not.
const SHORT: Duration = Duration::from_millis(20);

/// A wire that the test puts frames on.
struct Wire {
    frames: mpsc::Receiver<Vec<u8>>,
    last: Vec<u8>,
    mark: u64,
}

impl FrameSource for Wire {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Ok(frame) = self.frames.recv() else { return Ok(None) };
        self.last = frame;
        self.mark += 1;
        Ok(Some(Frame { bytes: &self.last, mark: self.mark - 1 }))
    }
}

/// A device of two queues on a wire, and the driver's side of both.
struct Bench {
    wire: Option<mpsc::Sender<Vec<u8>>>,
    device: JoinHandle<io::Result<()>>,
    queues: [RxQueue; 2],
    lives: [Arc<Live>; 2],
    heaps: [Home<Heap>; 2],
    window: Arc<DmaWindow>,
}

/// A pool on a heap of its own, as a queue's first one and as the one that is to take its place.
fn pool(name: &str, window: &Arc<DmaWindow>) -> (Home<Heap>, PagePool) {
    let heap = Home::new(Heap::new(PAGE, UNITS));
    let builder = PagePool::builder(heap.clone()).name(name).dma(Arc::clone(window), DmaDirection::Bidirectional);
    (heap, builder.build().unwrap())
}

/// A frame for one of the two queues.
fn frame(queue: u16, content: u8) -> Vec<u8> {
    let mut frame = vec![content; 60];
    frame[12..14].copy_from_slice(&(0x9000 + queue).to_be_bytes());
    frame
}

impl Bench {
    fn new() -> Self {
        let mut table = SteeringTable::new(NonZeroU16::new(2).unwrap());
        table.add_rule(Match { ethertype: Some(0x9001), ..Match::ANY }, 1).unwrap();
        table.add_rule(Match::ANY, 0).unwrap();
        let window = Arc::new(DmaWindow::new(4 * UNITS, PAGE).unwrap());
        let (device_bell, driver_bell) = (Arc::new(Bell::new()), Arc::new(Bell::new()));
        let bells = Bells { poster: driver_bell.clone(), device: device_bell, cleaner: driver_bell };
        let lives = [(); 2].map(|()| Arc::new(Live::default()));
        let (mut rings, mut queues, mut heaps) = (Vec::new(), Vec::new(), Vec::new());
        for (name, live) in ["old0", "old1"].iter().zip(&lives) {
            let (heap, pool) = pool(name, &window);
            let (poster, device, cleaner) = ring(DESCRIPTORS.try_into().unwrap(), bells.clone());
            rings.push((device, live.clone()));
            queues.push(RxQueue::new(pool, poster, cleaner));
            heaps.push(heap);
        }
        let (device, gates) = RxDevice::new(rings, table, window.clone(), OnNoBuffer::Wait).unwrap();
        let queues = queues.into_iter().zip(gates).map(|(queue, gate)| {
            let mut queue = queue.with_gate(gate);
            queue.refill().unwrap();
            queue
        });
        let queues = queues.collect::<Vec<_>>().try_into().unwrap();
        let (wire, frames) = mpsc::channel();
        let mut source = Wire { frames, last: Vec::new(), mark: 0 };
        let device = thread::spawn(move || device.run(&mut source, None, &StopFlag::new()));
        Bench { wire: Some(wire), device, queues, lives, heaps: heaps.try_into().unwrap(), window }
    }

    fn send(&self, queue: u16, content: u8) {
        self.wire.as_ref().unwrap().send(frame(queue, content)).unwrap();
    }

    /// The next packet of a queue, which must come.
    fn receive(&mut self, queue: usize) -> Received {
        let begun = Instant::now();
        loop {
            if let Some(received) = self.queues[queue].receive() {
                return received;
            }
            assert!(begun.elapsed() < LONG, "no packet comes");
            thread::yield_now();
        }
    }

    /// Restarts queue 1 as a driver does that is awake, with a frame put on the wire for queue 0 as often as `frames` says: each
    /// brings the device out of its port once.
    fn restart(
        &mut self,
        pool: PagePool,
        frames: usize,
        within: Duration,
    ) -> Result<pp_core::PoolHandle, RestartFailed> {
        let wire = self.wire.clone().unwrap();
        let sending = thread::spawn(move || {
            for _ in 0..frames {
                thread::sleep(SHORT);
                let _ = wire.send(frame(0, 0));
            }
        });
        let result = self.queues[1].restart(pool, within);
        sending.join().unwrap();
        result
    }

    /// Both queues still carry packets, those of queue 1 in pages of the pool called `name`.
    fn check_both(&mut self, name: &str) {
        assert_eq!(self.queues[1].pool().handle().name(), name);
        while let Some(received) = self.queues[0].receive() {
            self.queues[0].recycle(received.buffer);
        }
        for content in 1..=3 * DESCRIPTORS as u8 {
            for queue in [0, 1] {
                self.send(queue, content);
                let mut received = self.receive(usize::from(queue));
                // What was put on the wire to wake the device may come first.
                while received.buffer.bytes_mut()[0] == 0 {
                    self.queues[usize::from(queue)].recycle(received.buffer);
                    received = self.receive(usize::from(queue));
                }
                assert_eq!((received.len, received.buffer.bytes_mut()[0]), (60, content));
                self.queues[usize::from(queue)].recycle(received.buffer);
                self.queues[usize::from(queue)].refill().unwrap();
            }
        }
        assert_eq!(self.lives.each_ref().map(|live| live.rx.missed.get()), [0, 0], "nothing was missed");
    }

    /// Ends the device and closes the queues: every page is home.
    fn end(self) {
        drop(self.wire);
        self.device.join().unwrap().unwrap();
        for (queue, heap) in self.queues.into_iter().zip(self.heaps) {
            let pool = queue.close();
            assert_eq!(pool.stats().in_use(), 0);
            drop(pool);
            assert_eq!(heap.free_units(), UNITS);
        }
        assert_eq!(self.window.mapped(), 0);
    }
}

/// The new pool came back with all its pages and took no harm: it could serve another queue.
fn check_returned(failed: RestartFailed, heap: &Home<Heap>, posted: usize) -> RestartError {
    let RestartFailed { pool, error } = failed;
    let mut pool = pool.expect("the pool comes back");
    let stats = pool.stats();
    assert_eq!((stats.in_use(), stats.allocations(), stats.puts()), (0, posted, posted), "{error}");
    if !matches!(error, RestartError::Alloc(_)) {
        drop(pool.alloc().unwrap());
    }
    drop(pool);
    assert_eq!(heap.free_units(), UNITS);
    error
}

#[test]
fn a_queue_is_given_another_provider_while_its_pages_are_out() {
    let mut bench = Bench::new();
    for content in 1..=3 {
        bench.send(1, content);
    }
    let kept = bench.receive(1);
    let (heap, new) = pool("new", &bench.window);
    let old = bench.restart(new, 2, LONG).unwrap();
    // What was received before comes first, in pages of the old pool.
    let before: Vec<_> = (0..2).map(|_| bench.receive(1)).collect();
    bench.send(1, 4);
    let mut after = bench.receive(1);
    assert_eq!((old.name(), before.len(), after.buffer.bytes_mut()[0]), ("old1", 2, 4));
    assert_eq!((bench.queues[1].retired(), old.state(), old.stats().in_use()), (1, PoolState::Open, 3));
    assert_eq!(bench.heaps[1].free_units() + old.inflight(), UNITS);
    assert!(heap.free_units() < UNITS);
    // The last one that comes back is what the old pool waits for.
    for received in before {
        bench.queues[1].recycle(received.buffer);
    }
    bench.queues[1].refill().unwrap();
    assert_eq!(old.state(), PoolState::Open);
    thread::spawn(move || drop(kept)).join().unwrap();
    bench.queues[1].refill().unwrap();
    assert_eq!((bench.queues[1].retired(), old.state(), old.inflight()), (0, PoolState::Closed, 0));
    assert_eq!(old.stats().allocations(), old.stats().puts());
    assert_eq!(bench.heaps[1].free_units(), UNITS);
    bench.queues[1].recycle(after.buffer);
    bench.check_both("new");
    bench.heaps[1] = heap;
    bench.end();
}

/// A thread recycled into the old pool for years, and goes on with the new one: what it gives back now must not end in the cache
/// of a pool that was closed (kernel dd64b232deb8, 56ef27e3abe6).
#[test]
fn late_returns_from_the_same_thread_bring_the_old_pool_to_nothing() {
    for buffers in [Buffers::Pages, Buffers::Split(1024.try_into().unwrap())] {
        let mut bench = Bench::new();
        // The first ring was filled with pages; make room for the other kind.
        bench.queues[1].set_buffers(buffers);
        for round in 0..4 * DESCRIPTORS as u8 {
            bench.send(1, round);
            let received = bench.receive(1);
            bench.queues[1].recycle(received.buffer);
            bench.queues[1].refill().unwrap();
        }
        let mut kept = Vec::new();
        for content in 0..6 {
            bench.send(1, content);
            kept.push(bench.receive(1).buffer);
        }
        let pages = if buffers == Buffers::Pages { 6 } else { 2 };
        let (heap, new) = pool("new", &bench.window);
        let old = bench.restart(new, 2, LONG).unwrap();
        // As page_pool_destroy does it: at once, with pages out.
        bench.queues[1].free_retired();
        assert_eq!((old.state(), old.inflight() >= pages), (PoolState::Closing, true), "{buffers:?}");
        assert!(kept.iter().all(|buffer| buffer.dma_addr().is_none()), "no device reaches them any more");
        let cached = bench.queues[1].pool().stats().recycle.cached;
        let before = bench.queues[1].pool().stats().inflight();
        for buffer in kept {
            bench.queues[1].recycle(buffer);
        }
        assert_eq!((old.inflight(), old.state()), (0, PoolState::Closed), "{buffers:?}");
        assert_eq!(bench.heaps[1].free_units(), UNITS, "{buffers:?}");
        let stats = bench.queues[1].pool().stats();
        assert_eq!((stats.recycle.cached, stats.inflight()), (cached, before), "none of them is the new pool's");
        bench.check_both("new");
        bench.heaps[1] = heap;
        bench.end();
    }
}

#[test]
fn a_replaced_pool_waits_for_its_pages_no_longer_than_its_grace() {
    let mut bench = Bench::new();
    bench.send(1, 1);
    let kept = bench.receive(1);
    let (heap, new) = pool("new", &bench.window);
    let old = bench.restart(new, 2, LONG).unwrap();
    bench.queues[1].refill().unwrap();
    assert_eq!((bench.queues[1].retired(), old.state()), (1, PoolState::Open));
    thread::sleep(GRACE);
    bench.queues[1].refill().unwrap();
    assert_eq!((bench.queues[1].retired(), old.state(), old.inflight()), (0, PoolState::Closing, 1));
    bench.queues[1].recycle(kept.buffer);
    assert_eq!((old.state(), bench.heaps[1].free_units()), (PoolState::Closed, UNITS));
    bench.check_both("new");
    bench.heaps[1] = heap;
    bench.end();
}

/// The grace begins once what was received is handled, and anew with each page that comes back.
#[test]
fn the_grace_is_for_pages_on_their_way_and_not_for_those_still_to_be_handled() {
    let mut bench = Bench::new();
    // All that was posted, so that nothing but packets keeps the old pool.
    for content in 1..=DESCRIPTORS as u8 {
        bench.send(1, content);
    }
    let first = bench.receive(1);
    let (heap, new) = pool("new", &bench.window);
    let old = bench.restart(new, 2, LONG).unwrap();
    thread::sleep(GRACE);
    bench.queues[1].refill().unwrap();
    assert_eq!((bench.queues[1].retired(), old.state()), (1, PoolState::Open), "packets wait to be handled");
    let mut rest: Vec<_> = (1..DESCRIPTORS).map(|_| bench.receive(1)).collect();
    assert!(bench.queues[1].receive().is_none());
    bench.queues[1].refill().unwrap();
    assert_eq!((bench.queues[1].retired(), old.state()), (1, PoolState::Open), "they were handled just now");
    for received in rest.drain(..2) {
        thread::sleep(GRACE * 6 / 10);
        bench.queues[1].recycle(received.buffer);
        bench.queues[1].refill().unwrap();
        assert_eq!((bench.queues[1].retired(), old.state()), (1, PoolState::Open), "one has come back just now");
    }
    for received in rest.into_iter().chain([first]) {
        bench.queues[1].recycle(received.buffer);
    }
    bench.queues[1].refill().unwrap();
    assert_eq!((bench.queues[1].retired(), old.state()), (0, PoolState::Closed));
    bench.check_both("new");
    bench.heaps[1] = heap;
    bench.end();
}

#[test]
fn a_pool_that_cannot_fill_a_ring_is_found_out_before_anything_stops() {
    let mut bench = Bench::new();
    let before = bench.queues[1].pool().stats();
    // Its provider has no page left.
    let (heap, mut greedy) = pool("greedy", &bench.window);
    let all: Vec<_> = std::iter::from_fn(|| greedy.alloc().ok()).collect();
    let builder = PagePool::builder(heap.clone()).dma(Arc::clone(&bench.window), DmaDirection::Bidirectional);
    let failed = bench.restart(builder.build().unwrap(), 0, LONG).unwrap_err();
    assert_eq!(failed.to_string().split(':').next(), Some("the new pool cannot serve the queue"));
    drop((all, greedy));
    assert!(matches!(check_returned(failed, &heap, 0), RestartError::Alloc(RefillError::Alloc(_))));
    // Its pages are not mapped.
    let unmapped = PagePool::builder(heap.clone()).build().unwrap();
    let failed = bench.restart(unmapped, 0, LONG).unwrap_err();
    assert!(matches!(check_returned(failed, &heap, 1), RestartError::Alloc(RefillError::NotMapped)));
    assert_eq!(bench.queues[1].pool().stats(), before, "the old pool has not noticed");
    bench.check_both("old1");
    bench.end();
}

#[test]
fn a_device_that_does_not_stop_in_time_goes_on() {
    let mut bench = Bench::new();
    bench.send(1, 9);
    let kept = bench.receive(1);
    let before = bench.queues[1].pool().stats();
    let (heap, new) = pool("new", &bench.window);
    let failed = bench.restart(new, 0, SHORT).unwrap_err();
    let error = check_returned(failed, &heap, DESCRIPTORS as usize);
    assert!(matches!(error, RestartError::Stop(GateError::TimedOut)), "{error}");
    assert_eq!(bench.queues[1].pool().stats(), before);
    bench.queues[1].recycle(kept.buffer);
    bench.check_both("old1");
    bench.end();
}

#[test]
fn a_device_that_does_not_start_in_time_goes_back_to_the_old_ring() {
    let mut bench = Bench::new();
    bench.send(1, 9);
    let kept = bench.receive(1);
    let before = bench.queues[1].pool().stats();
    let (heap, new) = pool("new", &bench.window);
    // One frame, for the other queue: the device stops, and is in its port again.
    let failed = bench.restart(new, 1, 5 * SHORT).unwrap_err();
    let error = check_returned(failed, &heap, DESCRIPTORS as usize);
    assert!(matches!(error, RestartError::Start(GateError::TimedOut)), "{error}");
    assert_eq!(bench.queues[1].pool().stats(), before);
    bench.queues[1].recycle(kept.buffer);
    bench.check_both("old1");
    // And another time it does.
    let (heap, new) = pool("new", &bench.window);
    let old = bench.restart(new, 2, LONG).unwrap();
    bench.queues[1].refill().unwrap();
    assert_eq!((old.inflight(), bench.heaps[1].free_units()), (0, UNITS));
    bench.check_both("new");
    bench.heaps[1] = heap;
    bench.end();
}

#[test]
fn a_device_that_cannot_reach_the_new_pages_goes_back_to_the_old_ring() {
    let mut bench = Bench::new();
    bench.send(1, 9);
    let kept = bench.receive(1);
    let before = bench.queues[1].pool().stats();
    let elsewhere = Arc::new(DmaWindow::new(UNITS, PAGE).unwrap());
    let (heap, new) = pool("new", &elsewhere);
    let failed = bench.restart(new, 2, LONG).unwrap_err();
    let error = check_returned(failed, &heap, DESCRIPTORS as usize);
    assert!(matches!(error, RestartError::Start(GateError::Unreachable)), "{error}");
    assert_eq!((bench.queues[1].pool().stats(), elsewhere.mapped()), (before, 0));
    assert_eq!(bench.window.faults(), pp_netdev::Faults::default());
    bench.queues[1].recycle(kept.buffer);
    bench.check_both("old1");
    bench.end();
}

#[test]
fn a_device_that_leaves_at_either_step_is_said_to_be_gone() {
    for frames in [0, 1] {
        let mut bench = Bench::new();
        let (heap, new) = pool("new", &bench.window);
        let wire = bench.wire.take().unwrap();
        let ending = thread::spawn(move || {
            for _ in 0..frames {
                thread::sleep(SHORT);
                wire.send(frame(0, 7)).unwrap();
            }
            thread::sleep(SHORT);
            drop(wire);
        });
        let failed = bench.queues[1].restart(new, LONG).unwrap_err();
        ending.join().unwrap();
        let error = check_returned(failed, &heap, DESCRIPTORS as usize);
        match frames {
            0 => assert!(matches!(error, RestartError::Stop(GateError::Gone)), "{error}"),
            _ => assert!(matches!(error, RestartError::Start(GateError::Gone)), "{error}"),
        }
        assert_eq!(bench.queues[1].device_left(), Some(Left::Complete));
        let (heap, new) = pool("late", &bench.window);
        let failed = bench.queues[1].restart(new, LONG).unwrap_err();
        let error = check_returned(failed, &heap, DESCRIPTORS as usize);
        assert!(matches!(error, RestartError::Stop(GateError::Gone)), "{error}");
        bench.end();
    }
}

#[test]
fn a_queue_is_restarted_once_at_a_time_and_only_with_a_gate() {
    let mut bench = Bench::new();
    bench.send(1, 1);
    while !bench.queues[1].has_received() {
        thread::yield_now();
    }
    let (heap, new) = pool("new", &bench.window);
    bench.restart(new, 2, LONG).unwrap();
    let (other, newer) = pool("newer", &bench.window);
    let failed = bench.queues[1].restart(newer, LONG).unwrap_err();
    assert!(matches!(check_returned(failed, &other, 0), RestartError::Draining));
    let received = bench.receive(1);
    drop(received);
    bench.check_both("new");
    bench.heaps[1] = heap;

    let (heap, pool_) = pool("alone", &bench.window);
    let bell = Arc::new(Bell::new());
    let bells = Bells { poster: bell.clone(), device: bell.clone(), cleaner: bell };
    let (poster, _device, cleaner) = ring(DESCRIPTORS.try_into().unwrap(), bells);
    let mut alone = RxQueue::new(pool_, poster, cleaner);
    let (other, newer) = pool("newer", &bench.window);
    let failed = alone.restart(newer, LONG).unwrap_err();
    assert!(matches!(check_returned(failed, &other, 0), RestartError::NoGate));
    drop(alone.close());
    assert_eq!(heap.free_units(), UNITS);
    bench.end();
}

#[test]
fn a_queue_that_was_shut_posts_nothing_any_more() {
    let mut bench = Bench::new();
    bench.queues[1].shut();
    let (heap, new) = pool("new", &bench.window);
    let failed = bench.restart(new, 0, LONG).unwrap_err();
    let error = check_returned(failed, &heap, 0);
    assert!(matches!(error, RestartError::Ended), "{error}");
    bench.end();
}
