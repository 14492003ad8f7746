//! Restarts of queues whose packets go out slowly, whose wire is quiet, or whose run never begins.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{PAGE, frame, rings_of};
use pp_core::doc::Heap;
use pp_core::{DmaDirection, Home, PagePool, PoolState};
use pp_netdev::steer::{Match, SteeringTable};
use pp_netdev::{
    Action, DmaWindow, Forwarder, Frame, FrameSink, FrameSource, OnNoBuffer, Program, RestartError, Verdict,
};

const UNITS: usize = 512;
const LONG: Duration = Duration::from_secs(60);

/// Frames; then one now and then until `restarted`, because a device that waits for its port does not look up; then nothing.
struct Wire<'a> {
    frames: u64,
    sent: u64,
    bytes: Vec<u8>,
    restarted: &'a AtomicBool,
    end: &'a AtomicBool,
}

impl FrameSource for Wire<'_> {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.sent >= self.frames {
            thread::sleep(Duration::from_millis(5));
            if self.restarted.load(Ordering::Relaxed) {
                while !self.end.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                }
                return Ok(None);
            }
        }
        frame(self.sent, &mut self.bytes);
        self.sent += 1;
        Ok(Some(Frame { bytes: &self.bytes, mark: self.sent - 1 }))
    }
}

/// Takes its time for each frame, and wants them all in their order.
struct Slow {
    each: Duration,
    next: u64,
}

impl FrameSink for Slow {
    fn send_frame(&mut self, sent: Frame<'_>) -> io::Result<()> {
        thread::sleep(self.each);
        assert_eq!(sent.mark, self.next);
        self.next += 1;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn window() -> Arc<DmaWindow> {
    Arc::new(DmaWindow::new(2 * UNITS, PAGE).unwrap())
}

fn pool(name: &str, window: &Arc<DmaWindow>) -> PagePool {
    let builder = PagePool::builder(Home::new(Heap::new(PAGE, UNITS))).name(name).returners(1, 64);
    builder.dma(Arc::clone(window), DmaDirection::Bidirectional).build().unwrap()
}

fn forwarder(window: &Arc<DmaWindow>, rx_ring: u32, tx_ring: u32) -> Forwarder<Action> {
    let mut config = rings_of(rx_ring);
    config.tx_ring = tx_ring.try_into().unwrap();
    config.on_no_buffer = OnNoBuffer::Wait;
    let pools = [(pool("old", window), Action::Forward)];
    Forwarder::with_queues(pools, SteeringTable::new(NonZeroU16::MIN), Arc::clone(window), config).unwrap()
}

/// What is received and posted when the queue is restarted takes longer to go out than a replaced pool waits for one page.
#[test]
fn what_goes_out_slowly_goes_out_whole() {
    let (window, at_once) = (window(), AtomicBool::new(true));
    let forwarder = forwarder(&window, 64, 16);
    let (controls, lives) = (forwarder.controls(), forwarder.lives());
    let mut sink = Slow { each: Duration::from_millis(20), next: 0 };
    thread::scope(|scope| {
        scope.spawn(|| {
            while lives[0].tx.frames.get() < 20 {
                thread::yield_now();
            }
            controls[0].restart(pool("new", &window), LONG).unwrap();
        });
        let mut source = Wire { frames: 140, sent: 0, bytes: Vec::new(), restarted: &at_once, end: &at_once };
        let report = forwarder.run(&mut source, &mut sink, |_| {}).unwrap();
        assert_eq!((report.traffic.packets_out, report.traffic.dropped), (140, 0), "{:?}", report.traffic);
        assert_eq!((report.faults.total(), report.pools[0].name.as_str()), (0, "new"));
    });
    assert_eq!((sink.next, window.mapped()), (140, 0));
}

/// The poll loop has nothing to do any more when the last of the old pool's pages come back from the transmitting device.
#[test]
fn a_replaced_pool_is_closed_although_the_wire_is_quiet() {
    let (window, restarted, end) = (window(), AtomicBool::new(false), AtomicBool::new(false));
    let forwarder = forwarder(&window, 16, 128);
    let (controls, lives) = (forwarder.controls(), forwarder.lives());
    let mut sink = Slow { each: Duration::from_millis(5), next: 0 };
    thread::scope(|scope| {
        scope.spawn(|| {
            while lives[0].napi.received.get() < 100 {
                thread::yield_now();
            }
            let old = controls[0].restart(pool("new", &window), LONG).unwrap();
            restarted.store(true, Ordering::Relaxed);
            let begun = Instant::now();
            while old.state() != PoolState::Closed && begun.elapsed() < Duration::from_secs(10) {
                thread::sleep(Duration::from_millis(10));
            }
            let state = old.state();
            end.store(true, Ordering::Relaxed);
            assert_eq!(state, PoolState::Closed);
        });
        let mut source = Wire { frames: 100, sent: 0, bytes: Vec::new(), restarted: &restarted, end: &end };
        let report = forwarder.run(&mut source, &mut sink, |_| {}).unwrap();
        assert_eq!((report.traffic.packets_in, report.traffic.dropped), (sink.next, 0), "{:?}", report.traffic);
    });
}

#[test]
fn a_run_that_never_begins_restarts_nothing() {
    let window = window();
    let forwarder = forwarder(&window, 64, 16);
    let control = forwarder.controls().remove(0);
    let asked = thread::spawn({
        let (control, pool) = (control.clone(), pool("early", &window));
        move || control.restart(pool, LONG).unwrap_err()
    });
    thread::sleep(Duration::from_millis(20));
    drop(forwarder);
    let late = control.restart(pool("late", &window), LONG).unwrap_err();
    for failed in [asked.join().unwrap(), late] {
        assert!(matches!(failed.error, RestartError::Ended) && failed.pool.is_some(), "{failed}");
    }
}

/// One queue's program panics; the other has frames for a slow port as long as anybody wants them.
#[test]
fn a_panic_in_one_queue_ends_the_others_soon() {
    struct Second {
        queue: u16,
        seen: u32,
    }
    impl Program for Second {
        fn run(&mut self, _: &mut [u8]) -> Verdict {
            self.seen += 1;
            assert!(self.queue == 0 || self.seen < 20, "as this test wants it");
            Verdict::Forward
        }
    }
    /// The first frames in turns, all others for queue 0.
    struct Turns(u64);
    impl FrameSource for Turns {
        fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
            self.0 += 1;
            let bytes: &[u8] = if self.0 < 40 && self.0 % 2 == 1 { &[0x91; 60] } else { &[0x90; 60] };
            Ok((self.0 < 100_000).then_some(Frame { bytes, mark: self.0 }))
        }
    }
    struct Counts(u64);
    impl FrameSink for Counts {
        fn send_frame(&mut self, _: Frame<'_>) -> io::Result<()> {
            thread::sleep(Duration::from_micros(200));
            self.0 += 1;
            Ok(())
        }
        fn finish(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // Not told, because telling it with a backtrace may take seconds, in which the other queue rightly goes on.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|text| text.contains("as this test wants it")) {
            tell(info);
        }
    }));
    let window = window();
    let mut table = SteeringTable::new(NonZeroU16::new(2).unwrap());
    table.add_rule(Match { ethertype: Some(0x9191), ..Match::ANY }, 1).unwrap();
    table.add_rule(Match::ANY, 0).unwrap();
    let pools = [0, 1].map(|queue| (pool("of two", &window), Second { queue, seen: 0 }));
    let mut config = rings_of(128);
    // So long that the transmitting device is never idle.
    config.tx_ring = 256.try_into().unwrap();
    config.on_no_buffer = OnNoBuffer::Wait;
    let forwarder = Forwarder::with_queues(pools, table, Arc::clone(&window), config).unwrap();
    let mut sink = Counts(0);
    let error = forwarder.run(&mut Turns(0), &mut sink, |_| {}).unwrap_err();
    assert!(error.to_string().contains("as this test wants it"), "{error}");
    assert!(sink.0 < 2000, "{} frames went out after it", sink.0);
    assert_eq!(window.mapped(), 0);
}
