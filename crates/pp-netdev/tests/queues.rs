//! Several queues: a flow stays in its order, each queue has a pool of its own, and what one does is no matter of the others.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::num::NonZeroU16;
use std::sync::Arc;

use common::flows::{Flows, Ordered};
use common::{PAGE, rings_of};
use pp_core::doc::Heap;
use pp_core::{DmaDirection, Home, PagePool};
use pp_netdev::ring::{Bells, ring};
use pp_netdev::steer::{Match, SteeringTable};
use pp_netdev::{
    Action, Bell, Buffers, DmaWindow, ForwardError, Forwarder, NapiError, OnNoBuffer, Program, QueuesError, Report,
    RxDevice, TxDevice, Verdict,
};

const UNITS: usize = 256;
const FRAMES: u64 = if cfg!(miri) { 400 } else { 20_000 };

fn table(queues: u16) -> SteeringTable {
    SteeringTable::new(NonZeroU16::new(queues).unwrap())
}

/// A heap and a pool on it for each queue, one window for all.
fn pools(queues: u16) -> (Vec<Home<Heap>>, Vec<PagePool>, Arc<DmaWindow>) {
    let window = Arc::new(DmaWindow::new(UNITS * usize::from(queues), PAGE).unwrap());
    let heaps: Vec<_> = (0..queues).map(|_| Home::new(Heap::new(PAGE, UNITS))).collect();
    let pool = |(at, heap): (usize, &Home<Heap>)| {
        let builder = PagePool::builder(heap.clone()).name(&format!("rx{at}")).returners(1, 64);
        builder.dma(Arc::clone(&window), DmaDirection::Bidirectional).build().unwrap()
    };
    let pools = heaps.iter().enumerate().map(pool).collect();
    (heaps, pools, window)
}

/// Forwards the frames of so many flows, and checks what every run must keep.
fn run<P: Program + Clone>(table: SteeringTable, flows: u16, program: P, buffers: Buffers) -> (Report, Ordered) {
    let queues = table.queues().get();
    let (heaps, pools, window) = pools(queues);
    let mut config = rings_of(32);
    config.buffers = buffers;
    let pools = pools.into_iter().map(|pool| (pool, program.clone()));
    let forwarder = Forwarder::with_queues(pools, table, window.clone(), config).unwrap();
    let mut sink = Ordered::default();
    let report = forwarder.run(&mut Flows::new(FRAMES, flows), &mut sink, |_| {}).unwrap();
    assert!(sink.finished);
    assert_eq!(report.traffic.packets_in, FRAMES);
    assert_eq!(report.traffic.packets_in, report.traffic.packets_out + report.traffic.dropped);
    assert_eq!(report.traffic.packets_out, sink.frames);
    assert_eq!(report.pools.len(), usize::from(queues));
    for (at, (pool, heap)) in report.pools.iter().zip(&heaps).enumerate() {
        assert_eq!((pool.name.as_str(), pool.lost), (&*format!("rx{at}"), 0));
        assert_eq!(heap.free_units(), UNITS, "each page is home on its own provider");
    }
    assert_eq!(window.mapped(), 0);
    (report, sink)
}

#[test]
fn every_flow_keeps_its_order_and_queues_share_the_work() {
    for queues in [1, 2, 3, 8] {
        for buffers in [Buffers::Pages, Buffers::Split(2048.try_into().unwrap())] {
            let (report, sink) = run(table(queues), 64, Action::Forward, buffers);
            assert_eq!((report.traffic.packets_out, sink.flows()), (FRAMES, 64));
            for pool in &report.pools {
                assert!(pool.stats.allocations() > UNITS, "no queue is idle: {report:?}");
            }
            assert_eq!(report.phases.len(), 1);
            assert_eq!(report.phases[0].packets, FRAMES);
        }
    }
}

#[test]
fn a_single_flow_stays_in_one_queue() {
    let (report, sink) = run(table(4), 1, Action::Forward, Buffers::Pages);
    assert_eq!((sink.frames, sink.flows()), (FRAMES, 1));
    let busy: Vec<_> = report.pools.iter().map(|pool| pool.stats.puts() > 0).collect();
    assert_eq!(busy.iter().filter(|busy| **busy).count(), 1, "{busy:?}");
}

#[test]
fn rules_send_flows_where_they_say() {
    let mut table = table(3);
    table.add_rule(Match { destination_port: Some(Flows::PORT), ..Match::ANY }, 2).unwrap();
    let (report, _) = run(table, 16, Action::Forward, Buffers::Pages);
    let puts: Vec<_> = report.pools.iter().map(|pool| pool.stats.puts() as u64).collect();
    assert_eq!(puts, [0, 0, FRAMES]);
}

#[test]
fn each_queue_runs_its_own_program() {
    let dropped =
        |packet: &mut [u8]| if packet[packet.len() - 1].is_multiple_of(2) { Verdict::Drop } else { Verdict::Forward };
    let (report, sink) = run(table(2), 32, dropped, Buffers::Pages);
    assert!(report.traffic.dropped_by_program > 0);
    assert_eq!(report.traffic.dropped, report.traffic.dropped_by_program);
    assert_eq!(sink.frames, report.traffic.packets_out);
}

/// One queue's buffers are used up for good: on a wire that drops, the others never notice.
#[test]
fn a_queue_without_buffers_misses_frames_and_the_others_go_on() {
    let (heaps, mut pools, window) = pools(2);
    // Eight pages for sixteen descriptors, and none comes back: the program keeps the first queue's loop busy for ever.
    let starved = PagePool::builder(heaps[0].clone())
        .name("rx0")
        .dma(Arc::clone(&window), DmaDirection::Bidirectional)
        .limit(8)
        .build()
        .unwrap();
    pools[0] = starved;
    let mut table = table(2);
    table.add_rule(Match { source_port: Some(Flows::PORT), ..Match::ANY }, 0).unwrap();
    table.add_rule(Match::ANY, 1).unwrap();
    let mut config = rings_of(16);
    config.on_no_buffer = OnNoBuffer::Drop;
    let slow = |first: bool| {
        move |_: &mut [u8]| {
            if first {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            Verdict::Drop
        }
    };
    let programs = [slow(true), slow(false)];
    let forwarder = Forwarder::with_queues(pools.into_iter().zip(programs), table, window, config).unwrap();
    let lives = forwarder.lives();
    let report = forwarder.run(&mut Flows::new(FRAMES / 10, 2), &mut Ordered::default(), |_| {}).unwrap();
    assert!(lives[0].rx.missed.get() > 0, "{:?}", report.traffic);
    assert_eq!(report.traffic.packets_in, report.traffic.dropped);
    assert_eq!(report.pools.iter().map(|pool| pool.lost).sum::<usize>(), 0);
}

#[test]
fn an_error_in_one_queue_ends_the_run_and_loses_nothing() {
    let (heaps, mut pools, window) = pools(2);
    // Not mapped.
    pools[1] = PagePool::builder(heaps[1].clone()).build().unwrap();
    let pools = pools.into_iter().map(|pool| (pool, Action::Forward));
    let forwarder = Forwarder::with_queues(pools, table(2), window.clone(), rings_of(16)).unwrap();
    let error = forwarder.run(&mut Flows::new(FRAMES, 8), &mut Ordered::default(), |_| {}).unwrap_err();
    assert!(matches!(error, ForwardError::Driver(NapiError::Refill(_))), "{error}");
    assert!(heaps.iter().all(|heap| heap.free_units() == UNITS) && window.mapped() == 0);
}

#[test]
fn queues_that_do_not_fit_are_refused() {
    let (_heaps, pools, window) = pools(2);
    let pools = pools.into_iter().map(|pool| (pool, Action::Forward));
    let error = Forwarder::with_queues(pools, table(3), window.clone(), rings_of(16)).unwrap_err();
    assert!(matches!(error, QueuesError::Count { rings: 2, .. }), "{error}");

    let rings = |bells: [&Arc<Bell>; 2]| {
        let ring = |bell: &Arc<Bell>| {
            let bells = Bells { poster: Arc::default(), device: Arc::clone(bell), cleaner: Arc::default() };
            (ring(4.try_into().unwrap(), bells).1, Arc::default())
        };
        bells.map(ring).into()
    };
    let [bell, other] = [(); 2].map(|()| Arc::new(Bell::new()));
    let device = |rings, queues| RxDevice::new(rings, table(queues), window.clone(), OnNoBuffer::Wait);
    assert_eq!(device(rings([&bell, &other]), 2).unwrap_err(), QueuesError::Bells { queue: 1 });
    assert!(matches!(device(rings([&bell, &bell]), 1).unwrap_err(), QueuesError::Count { rings: 2, .. }));
    assert!(matches!(device(Vec::new(), 1).unwrap_err(), QueuesError::Count { rings: 0, .. }));
    assert_eq!(device(rings([&bell, &bell]), 2).unwrap().1.len(), 2);
    assert_eq!(TxDevice::new(rings([&bell, &other]), window.clone()).unwrap_err(), QueuesError::Bells { queue: 1 });
    assert!(TxDevice::new(rings([&bell, &bell]), window.clone()).is_ok());
}
