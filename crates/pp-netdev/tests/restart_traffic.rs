//! Queues are restarted while a run forwards: what it costs the other queues, and that it costs nobody a packet.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::flows::{Flows, Ordered};
use common::{PAGE, rings_of};
use pp_core::doc::Heap;
use pp_core::{Backing, DmaDirection, Home, Host, MemoryProvider, PagePool, PoolState};
use pp_netdev::steer::SteeringTable;
use pp_netdev::{
    Action, Buffers, DmaWindow, Forwarder, GateError, Live, OnNoBuffer, QueueControl, Report, RestartError, StopFlag,
};
use pp_provider_buddy::Buddy;
use pp_provider_passthrough::PassThrough;

const QUEUES: u16 = 3;
const UNITS: usize = 256;
const LONG: Duration = Duration::from_secs(60);

fn pool_on<P: Backing<Access = Host>>(home: &Home<P>, name: &str, window: &Arc<DmaWindow>) -> PagePool {
    let builder = PagePool::builder(home.clone()).name(name).returners(1, 64);
    builder.dma(Arc::clone(window), DmaDirection::Bidirectional).build().unwrap()
}

/// A run of three queues that goes on until `meanwhile` is done with it.
struct Running {
    controls: Vec<QueueControl>,
    lives: Vec<Arc<Live>>,
    window: Arc<DmaWindow>,
}

impl Running {
    fn with(on_no_buffer: OnNoBuffer, buffers: Buffers, meanwhile: impl FnOnce(&Running) + Send) -> (Report, Ordered) {
        let window = Arc::new(DmaWindow::new(16 * UNITS, PAGE).unwrap());
        let heap = Home::new(Heap::new(PAGE, UNITS * usize::from(QUEUES)));
        let pools: Vec<_> =
            (0..QUEUES).map(|at| (pool_on(&heap, &format!("rx{at}"), &window), Action::Forward)).collect();
        let mut config = rings_of(32);
        (config.on_no_buffer, config.buffers, config.stop) = (on_no_buffer, buffers, StopFlag::new());
        let stop = config.stop.clone();
        let table = SteeringTable::new(NonZeroU16::new(QUEUES).unwrap());
        let forwarder = Forwarder::with_queues(pools, table, Arc::clone(&window), config).unwrap();
        let running = Running { controls: forwarder.controls(), lives: forwarder.lives(), window: Arc::clone(&window) };
        let mut sink = Ordered::default();
        let report = thread::scope(|scope| {
            scope.spawn(|| {
                // Also by a panic, or the run would go on for ever.
                struct Stop(StopFlag);
                impl Drop for Stop {
                    fn drop(&mut self) {
                        self.0.set();
                    }
                }
                let _stop = Stop(stop);
                running.all_progress();
                meanwhile(&running);
                running.all_progress();
            });
            forwarder.run(&mut Flows::new(u64::MAX, 48), &mut sink, |_| {}).unwrap()
        });
        assert_eq!(report.traffic.packets_in, report.traffic.packets_out + report.traffic.dropped);
        assert_eq!((sink.frames, sink.flows()), (report.traffic.packets_out, 48));
        assert!(report.pools.iter().all(|pool| pool.lost == 0), "{report:?}");
        assert_eq!(window.mapped(), 0);
        assert_eq!(heap.free_units(), UNITS * usize::from(QUEUES));
        (report, sink)
    }

    fn received(&self, queue: usize) -> usize {
        self.lives[queue].napi.received.get()
    }

    /// Returns once each queue has received a hundred packets more.
    fn all_progress(&self) {
        for queue in 0..usize::from(QUEUES) {
            let (before, begun) = (self.received(queue), Instant::now());
            while self.received(queue) < before + 100 {
                assert!(begun.elapsed() < LONG, "queue {queue} stands still");
                thread::yield_now();
            }
        }
    }
}

#[test]
fn queues_change_providers_under_traffic_and_nothing_is_lost() {
    for buffers in [Buffers::Pages, Buffers::Split(2048.try_into().unwrap())] {
        let buddy: Home<_> = Buddy::anonymous(8 << 20).unwrap().into();
        let passthrough: Home<_> = PassThrough::with_sizes(PAGE, 0).unwrap().into();
        let rounds = if cfg!(miri) { 1 } else { 10 };
        let mut old = Vec::new();
        let (report, _) = Running::with(OnNoBuffer::Wait, buffers, |running| {
            for round in 0..rounds {
                for queue in 1..usize::from(QUEUES) {
                    let name = format!("rx{queue} the {round}.");
                    let pool = match (round + queue) % 2 {
                        0 => pool_on(&buddy, &name, &running.window),
                        _ => pool_on(&passthrough, &name, &running.window),
                    };
                    old.push(running.controls[queue].restart(pool, LONG).unwrap());
                    running.all_progress();
                }
            }
        });
        assert_eq!(report.traffic.dropped, 0, "{:?}", report.traffic);
        assert_eq!(report.faults.total(), 0, "no page was taken from a device");
        let names: Vec<_> = report.pools.iter().map(|pool| pool.name.clone()).collect();
        assert_eq!(names, ["rx0".to_owned(), format!("rx1 the {}.", rounds - 1), format!("rx2 the {}.", rounds - 1)]);
        for handle in &old {
            assert_eq!((handle.state(), handle.inflight()), (PoolState::Closed, 0), "{}", handle.name());
            let stats = handle.stats();
            assert_eq!((stats.allocations(), stats.hold), (stats.puts(), stats.released), "{}", handle.name());
        }
        assert_eq!(passthrough.describe().free_units, passthrough.describe().total_units);
        assert_eq!(buddy.describe().free_units, buddy.describe().total_units);
    }
}

/// The slow step, with a provider that takes its time: the device is not stopped meanwhile, so the others do not wait.
#[test]
fn the_other_queues_run_while_the_new_pool_gets_its_pages() {
    Running::with(OnNoBuffer::Drop, Buffers::Pages, |running| {
        let heap = Home::new(Heap::new(PAGE, UNITS));
        let pages = AtomicUsize::new(0);
        let others = [Arc::clone(&running.lives[0]), Arc::clone(&running.lives[2])];
        let builder = PagePool::builder(heap.clone()).dma(Arc::clone(&running.window), DmaDirection::Bidirectional);
        let pool = builder
            .page_in(move |_| {
                // The pages of the first ring, not those that come later: the traffic may be over by then.
                if pages.fetch_add(1, Ordering::Relaxed) >= 16 {
                    return;
                }
                let before = others.each_ref().map(|live| live.napi.received.get());
                let begun = Instant::now();
                while others.iter().zip(before).any(|(live, before)| live.napi.received.get() < before + 50) {
                    assert!(begun.elapsed() < LONG, "the others stand still");
                    thread::yield_now();
                }
            })
            .cache(8)
            .refill(8)
            .build()
            .unwrap();
        running.controls[1].restart(pool, LONG).unwrap();
    });
}

#[test]
fn restarts_that_fail_are_not_noticed_by_the_traffic() {
    let (report, _) = Running::with(OnNoBuffer::Wait, Buffers::Pages, |running| {
        let before = running.controls[1].stats();
        for _ in 0..5 {
            let heap = Home::new(Heap::new(PAGE, UNITS));
            let elsewhere = Arc::new(DmaWindow::new(UNITS, PAGE).unwrap());
            let failed = running.controls[1].restart(pool_on(&heap, "elsewhere", &elsewhere), LONG).unwrap_err();
            assert!(matches!(failed.error, RestartError::Start(GateError::Unreachable)), "{failed}");
            assert_eq!(failed.pool.unwrap().stats().in_use(), 0);
            let unmapped = PagePool::builder(heap.clone()).build().unwrap();
            let failed = running.controls[1].restart(unmapped, LONG).unwrap_err();
            assert!(matches!(failed.error, RestartError::Alloc(_)), "{failed}");
            drop(failed);
            assert_eq!((heap.free_units(), elsewhere.mapped()), (UNITS, 0));
            running.all_progress();
        }
        assert!(running.controls[1].stats().allocations() > before.allocations(), "the old pool goes on");
    });
    assert_eq!((report.traffic.dropped, report.faults.total()), (0, 0), "{:?}", report.traffic);
    assert_eq!(report.pools[1].name, "rx1");
}

#[test]
fn a_run_that_is_over_restarts_nothing() {
    let mut control = None;
    let mut window = None;
    Running::with(OnNoBuffer::Wait, Buffers::Pages, |running| {
        (control, window) = (Some(running.controls[0].clone()), Some(Arc::clone(&running.window)));
    });
    let heap = Home::new(Heap::new(PAGE, UNITS));
    let failed = control.unwrap().restart(pool_on(&heap, "late", &window.unwrap()), LONG).unwrap_err();
    assert!(matches!(failed.error, RestartError::Ended) && failed.pool.is_some(), "{failed}");
}
