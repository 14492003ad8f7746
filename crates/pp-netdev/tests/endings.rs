//! How a run ends: each way it can, everything is home afterwards and no thread is left, because `run` joins them.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Checker, Collector, Counted, Generator, PAGE, heap_pool, rings_of};
use pp_core::doc::Heap;
use pp_core::{AllocError, Descriptor, Dma, DmaDirection, DmaError, Home, NodeId, PagePool};
use pp_netdev::{
    Action, DmaWindow, ForwardError, Forwarder, Frame, FrameSink, FrameSource, NapiError, RefillError, StopFlag,
    Verdict,
};
use pp_provider_passthrough::PassThrough;

const UNITS: usize = 128;

/// The stream without an end.
fn endless() -> Generator {
    Generator::new(u64::MAX)
}

/// Runs `source` into `sink` on fresh pages and checks that they are home afterwards, whatever came of it.
fn run<S: FrameSource, K: FrameSink>(source: &mut S, sink: &mut K) -> Result<(), ForwardError> {
    let (provider, pool, window) = heap_pool(UNITS);
    let forwarder = Forwarder::new(pool, window.clone(), Action::Forward, rings_of(16));
    let result = forwarder.run(source, sink, |_| {});
    assert_eq!((provider.free_units(), window.mapped()), (UNITS, 0), "a page is not home");
    result.map(|report| assert_eq!(report.pools[0].in_use, report.pools[0].posted))
}

/// A source or sink that does something at its `at`th frame.
struct Breaks<T, F> {
    inner: T,
    left: u64,
    how: F,
}

impl<S: FrameSource, F: FnMut() -> io::Result<()> + Send> FrameSource for Breaks<S, F> {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.left == 0 {
            (self.how)()?;
        }
        self.left = self.left.saturating_sub(1);
        self.inner.next_frame()
    }
}

impl<K: FrameSink, F: FnMut() -> io::Result<()> + Send> FrameSink for Breaks<K, F> {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        if self.left == 0 {
            (self.how)()?;
        }
        self.left = self.left.saturating_sub(1);
        self.inner.send_frame(frame)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inner.finish()
    }
}

fn fail() -> io::Result<()> {
    Err(io::Error::other("the cable was pulled"))
}

#[test]
fn a_source_error_is_reported_and_the_output_left_unfinished() {
    for left in [0, 1, 1000] {
        let mut sink = Checker::default();
        let result = run(&mut Breaks { inner: endless(), left, how: fail }, &mut sink);
        let Err(ForwardError::Source { frames, error }) = result else { panic!("{result:?}") };
        assert_eq!((frames, error.to_string().as_str()), (left, "the cable was pulled"));
        assert!(!sink.finished, "an incomplete output was published");
    }
}

#[test]
fn a_sink_error_ends_an_endless_source() {
    for left in [0, 1, 1000] {
        let mut sink = Breaks { inner: Checker::default(), left, how: fail };
        let result = run(&mut endless(), &mut sink);
        let Err(ForwardError::Sink { frames, error }) = result else { panic!("{result:?}") };
        assert_eq!((frames, error.to_string().as_str()), (left, "the cable was pulled"));
        assert!(!sink.inner.finished);
    }
}

#[test]
fn an_error_of_finish_is_reported() {
    struct Unfinished(Checker);
    impl FrameSink for Unfinished {
        fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
            self.0.send_frame(frame)
        }
        fn finish(&mut self) -> io::Result<()> {
            fail()
        }
    }
    let result = run(&mut Generator::new(100), &mut Unfinished(Checker::default()));
    assert!(matches!(result, Err(ForwardError::Sink { frames: 100, .. })), "{result:?}");
}

#[test]
fn a_panic_in_a_port_is_an_error() {
    let panics = || panic!("port bug");
    let result = run(&mut Breaks { inner: endless(), left: 100, how: panics }, &mut Checker::default());
    let Err(ForwardError::Panicked { thread, message }) = result else { panic!("{result:?}") };
    assert_eq!((thread.as_str(), message.as_str()), ("rx0-device", "port bug"));

    let result = run(&mut endless(), &mut Breaks { inner: Checker::default(), left: 100, how: panics });
    let Err(ForwardError::Panicked { thread, message }) = result else { panic!("{result:?}") };
    assert_eq!((thread.as_str(), message.as_str()), ("tx0-device", "port bug"));
}

#[test]
fn a_panic_in_the_program_is_an_error() {
    let (provider, pool, window) = heap_pool(UNITS);
    let mut packets = 0;
    let program = move |_: &mut [u8]| {
        packets += 1;
        assert!(packets < 100, "program bug {packets}");
        Verdict::Forward
    };
    let mut sink = Checker::default();
    let result = Forwarder::new(pool, window, program, rings_of(16)).run(&mut endless(), &mut sink, |_| {});
    let Err(ForwardError::Panicked { thread, message }) = result else { panic!("{result:?}") };
    assert_eq!((thread.as_str(), message.as_str()), ("rx0-napi", "program bug 100"));
    assert!(!sink.finished);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn a_panic_in_the_observer_ends_the_threads() {
    let (provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(16);
    config.observe_every = Duration::from_millis(1);
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let run = || forwarder.run(&mut endless(), &mut Checker::default(), |_| panic!("observer bug"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn a_stop_in_the_middle_of_traffic_lets_everything_out_that_came_in() {
    let (provider, pool, window) = heap_pool(UNITS);
    let config = rings_of(16);
    let (stop, mut sink) = (config.stop.clone(), Counted::default());
    let frames = sink.frames.clone();
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while frames.load(Ordering::Relaxed) < 500 {
                std::thread::yield_now();
            }
            stop.set();
        });
        forwarder.run(&mut endless(), &mut sink, |_| {}).unwrap()
    });
    assert!(report.traffic.packets_in >= 500);
    assert_eq!((report.traffic.packets_out, report.traffic.dropped), (report.traffic.packets_in, 0));
    assert_eq!((sink.inner.frames, sink.inner.finished), (report.traffic.packets_in, true));
    assert_eq!(report.pools[0].in_use, report.pools[0].posted);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn a_stop_before_the_start_forwards_nothing_and_finishes() {
    let (_provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(16);
    config.stop = StopFlag::from_shared(AtomicBool::new(true).into());
    let mut sink = Checker::default();
    let report = Forwarder::new(pool, window, Action::Forward, config).run(&mut endless(), &mut sink, |_| {}).unwrap();
    assert_eq!((report.traffic.packets_in, sink.frames, sink.finished), (0, 0, true));
}

/// Every page goes home after its frame, and somebody else takes its place in the window and keeps it.
#[test]
fn a_stop_ends_a_run_that_has_no_page_left() {
    const PLACES: usize = 4;
    let window = Arc::new(DmaWindow::new(PLACES, PAGE).unwrap());
    let provider = PassThrough::with_sizes(PAGE, 0).unwrap();
    let pool = PagePool::builder(provider).dma(window.clone(), DmaDirection::Bidirectional).build().unwrap();
    let config = rings_of(4);
    let stop = config.stop.clone();
    let forwarder = Forwarder::new(pool, window.clone(), Action::Forward, config);
    let live = forwarder.lives().remove(0);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let mut sink = Checker::default();
        let report = forwarder.run(&mut endless(), &mut sink, |_| {});
        ended.send((report, sink)).unwrap();
    });

    while live.tx.frames.get() == 0 {
        std::thread::yield_now();
    }
    let memory = vec![0u8; PAGE];
    let unit = Descriptor::new(memory.as_ptr().cast_mut(), PAGE as u32, NodeId(0));
    let mut held = 0;
    while held < PLACES {
        held += usize::from(window.map(&unit, DmaDirection::FromDevice).is_ok());
        std::thread::yield_now();
    }
    // No page is mapped, so nothing is on its way: the frame that came in last has none and gets none.
    while live.rx.frames.get() != live.tx.frames.get() + 1 {
        std::thread::yield_now();
    }
    assert!(end.recv_timeout(Duration::from_millis(50)).is_err(), "nobody said stop");
    stop.set();
    let (report, sink) = end.recv_timeout(Duration::from_secs(60)).expect("the run goes on");
    let traffic = report.unwrap().traffic;
    assert_eq!((traffic.packets_out, traffic.rx_missed), (traffic.packets_in - 1, 1));
    assert_eq!((sink.frames, sink.finished), (traffic.packets_out, true));
    assert_eq!(window.mapped(), PLACES);
}

#[test]
fn a_limit_is_exact() {
    let (_provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(16);
    config.limit = 777.try_into().ok();
    let stop = config.stop.clone();
    let mut sink = Checker::default();
    let report = Forwarder::new(pool, window, Action::Forward, config).run(&mut endless(), &mut sink, |_| {}).unwrap();
    assert_eq!((report.traffic.packets_in, sink.frames), (777, 777));
    assert!(!stop.is_set(), "the caller's flag is the caller's");
}

#[test]
fn a_duration_ends_an_endless_run_and_has_a_tenth() {
    let (_provider, pool, window) = heap_pool(UNITS);
    let mut config = rings_of(16);
    config.duration = Some(Duration::from_millis(50));
    config.observe_every = Duration::from_millis(5);
    let (mut sink, mut observed) = (Checker::default(), Vec::new());
    let forwarder = Forwarder::new(pool, window, Action::Forward, config);
    let report = forwarder.run(&mut endless(), &mut sink, |progress| observed.push(progress.traffic)).unwrap();
    assert_eq!(report.traffic.packets_out, sink.frames);
    assert!(report.pools[0].provider_allocs_at_10_percent.is_some());
    assert!(!observed.is_empty() && observed.is_sorted_by_key(|traffic| traffic.packets_in));
}

#[test]
fn an_empty_source_gives_an_empty_output() {
    let mut sink = Collector::default();
    run(&mut Generator::new(0), &mut sink).unwrap();
    assert!(sink.finished && sink.frames.is_empty());
}

/// The last frames are posted while the devices look whether the driver is still there.
#[test]
fn short_runs_lose_none_of_their_last_frames() {
    for round in 0..if cfg!(miri) { 3 } else { 600 } {
        let mut sink = Checker::default();
        run(&mut Generator::new(1 + round % 7), &mut sink).unwrap();
        assert_eq!((sink.frames, sink.finished), (1 + round % 7, true));
    }
}

/// Every frame is mapped anew, and the window's units are as large as can be, so that its life is short.
#[test]
#[cfg_attr(miri, ignore = "thirty thousand frames")]
fn a_window_that_is_used_up_ends_the_run() {
    let largest = |bits: u32| DmaWindow::new(8, 1usize.checked_shl(bits)?).ok();
    let window = Arc::new((12..usize::BITS).rev().find_map(largest).unwrap());
    let provider = PassThrough::with_sizes(PAGE, 0).unwrap();
    let pool = PagePool::builder(provider).dma(window.clone(), DmaDirection::Bidirectional).limit(8).build().unwrap();
    let mut config = rings_of(4);
    config.duration = Some(Duration::from_secs(60));
    let result =
        Forwarder::new(pool, window, Action::Forward, config).run(&mut endless(), &mut Checker::default(), |_| {});
    let Err(ForwardError::Driver(NapiError::Refill(RefillError::Alloc(AllocError::Dma(error))))) = result else {
        panic!("{result:?}")
    };
    assert_eq!(error, DmaError::Exhausted);
}

#[test]
fn a_pool_on_no_window_and_one_without_pages_are_errors_that_end_the_source() {
    let window = Arc::new(DmaWindow::new(UNITS, PAGE).unwrap());
    let unmapped = PagePool::builder(Home::new(Heap::new(PAGE, UNITS))).build().unwrap();
    let forwarder = Forwarder::new(unmapped, window.clone(), Action::Forward, rings_of(16));
    let result = forwarder.run(&mut endless(), &mut Checker::default(), |_| {});
    assert!(matches!(result, Err(ForwardError::Driver(NapiError::Refill(RefillError::NotMapped)))), "{result:?}");

    let provider = Home::new(Heap::new(PAGE, 1));
    let build =
        || PagePool::builder(provider.clone()).dma(window.clone(), DmaDirection::Bidirectional).build().unwrap();
    let mut holder = build();
    let held = holder.alloc().unwrap();
    let forwarder = Forwarder::new(build(), window.clone(), Action::Forward, rings_of(16));
    let result = forwarder.run(&mut endless(), &mut Checker::default(), |_| {});
    assert!(matches!(result, Err(ForwardError::Driver(NapiError::Refill(RefillError::Alloc(_))))), "{result:?}");
    drop(held);
}
