//! The poll loop by itself: the test plays both devices, step by step, on one thread.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a crate of threads has std")]

mod common;

use std::sync::Arc;

use common::{PAGE, heap_pool};
use pp_core::doc::Heap;
use pp_core::{Counting, DmaDirection, Home, PagePool};
use pp_netdev::ring::{Bells, Cleaner, Completion, DeviceEnd, ring};
use pp_netdev::{
    Action, Bell, DmaWindow, Ended, FaultKind, Live, NAPI_BUDGET, Napi, Polled, Program, RefillError, RxQueue, TxQueue,
    Verdict,
};

/// A poll loop, and the far ends of its rings.
struct Bench<P> {
    napi: Napi<P>,
    rx: DeviceEnd,
    tx: DeviceEnd,
    sent: Cleaner,
    live: Arc<Live>,
    window: Arc<DmaWindow>,
}

impl<P: Program> Bench<P> {
    fn new(pool: PagePool, window: Arc<DmaWindow>, program: P, rx_ring: u32, tx_ring: u32) -> Self {
        let bell = Arc::new(Bell::new());
        let bells = Bells { poster: bell.clone(), device: bell.clone(), cleaner: bell };
        let (rx_poster, rx, rx_cleaner) = ring(rx_ring.try_into().unwrap(), bells.clone());
        let (tx_poster, tx, sent) = ring(tx_ring.try_into().unwrap(), bells);
        let live = Arc::new(Live::default());
        let queue = RxQueue::new(pool, rx_poster, rx_cleaner);
        let napi = Napi::new(queue, TxQueue::new(tx_poster), program, live.clone());
        Bench { napi, rx, tx, sent, live, window }
    }

    /// The device receives `bytes`.
    fn receive(&mut self, bytes: &[u8], mark: u64) {
        let work = self.rx.work().expect("a posted page");
        // SAFETY: the descriptor is the device's, so nobody looks at the page.
        unsafe { self.window.write(work.addr, 0, bytes) }.unwrap();
        self.rx.complete(Completion::Done, bytes.len() as u32, mark);
    }

    /// The device transmits what is posted; returns the marks.
    fn transmit(&mut self) -> Vec<u64> {
        let mut marks = Vec::new();
        while let Some(work) = self.tx.work() {
            marks.push(work.mark);
            self.tx.complete(Completion::Done, work.len, work.mark);
        }
        marks
    }

    /// The driver takes back what was transmitted.
    fn clean(&mut self) -> usize {
        std::iter::from_fn(|| self.sent.take()).count()
    }
}

#[test]
fn a_poll_takes_no_more_than_its_budget() {
    let (_provider, pool, window) = heap_pool(512);
    let mut bench = Bench::new(pool, window, Action::Forward, 256, 256);
    bench.napi.open().unwrap();
    for mark in 0..200 {
        bench.receive(&[1; 60], mark);
    }
    let taken: Vec<_> = (0..5).map(|_| bench.napi.poll(NAPI_BUDGET).unwrap()).collect();
    let budget = Polled { work: 64, ended: Ended::Budget };
    let empty = |work| Polled { work, ended: Ended::Empty };
    assert_eq!(taken, [budget, budget, budget, empty(8), empty(0)]);
    assert_eq!(bench.transmit(), (0..200).collect::<Vec<_>>());
    assert_eq!(bench.live.napi.largest_poll.get(), NAPI_BUDGET);
    assert_eq!(bench.napi.poll(0).unwrap(), Polled { work: 0, ended: Ended::Budget });
}

#[test]
fn a_full_transmit_ring_leaves_packets_where_they_are() {
    let (_provider, pool, window) = heap_pool(64);
    let mut bench = Bench::new(pool, window, Action::Forward, 16, 4);
    bench.napi.open().unwrap();
    for mark in 0..10 {
        bench.receive(&[1; 60], mark);
    }
    let full = |work| Polled { work, ended: Ended::TxFull };
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap(), full(4));
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap(), full(0));
    assert_eq!(bench.transmit(), [0, 1, 2, 3]);
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap(), full(0), "sent is not cleaned");
    assert_eq!(bench.clean(), 4);
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap(), full(4));
    assert_eq!((bench.transmit(), bench.clean()), (vec![4, 5, 6, 7], 4));
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap(), Polled { work: 2, ended: Ended::Empty });
    assert_eq!(bench.transmit(), [8, 9]);
    assert_eq!(bench.live.napi.dropped.get(), 0);
}

#[test]
fn dropped_pages_go_straight_back_and_forwarded_ones_move() {
    let (_provider, pool, window) = heap_pool(64);
    let program = |packet: &mut [u8]| if packet[0] == 1 { Verdict::Forward } else { Verdict::Drop };
    let mut bench = Bench::new(pool, window, program, 8, 8);
    bench.napi.open().unwrap();
    let page = bench.rx.work().unwrap().addr;
    bench.receive(&[1], 0);
    for mark in 1..4 {
        bench.receive(&[0], mark);
    }
    bench.napi.poll(NAPI_BUDGET).unwrap();
    assert_eq!(bench.tx.work().unwrap().addr, page, "the page itself is sent, not a copy");
    assert_eq!(bench.transmit(), [0]);
    assert_eq!(bench.live.napi.dropped.get(), 3);
    let stats = bench.napi.rx().pool().stats();
    assert_eq!(stats.recycle.cached, 3);
    assert_eq!(stats.in_use(), bench.napi.rx().posted() as usize + 1);
    assert_eq!(bench.clean(), 1);
}

#[test]
fn exactly_the_received_bytes_are_synced_and_shown_to_the_program() {
    let window = Arc::new(DmaWindow::new(32, PAGE).unwrap());
    let counting = Arc::new(Counting::new(window.clone()));
    let pool = PagePool::builder(Home::new(Heap::new(PAGE, 32)))
        .dma(counting.clone(), DmaDirection::Bidirectional)
        .dma_sync(0, PAGE)
        .build()
        .unwrap();
    let mut lengths = Vec::new();
    let mut seen = |packet: &mut [u8]| {
        lengths.push(packet.len());
        Verdict::Forward
    };
    let mut bench = Bench::new(pool, window, &mut seen, 8, 8);
    bench.napi.open().unwrap();
    let before = counting.counts();
    for (mark, len) in [60, 0, 1, PAGE].into_iter().enumerate() {
        bench.receive(&vec![9; len], mark as u64);
    }
    bench.napi.poll(NAPI_BUDGET).unwrap();
    let after = counting.counts();
    let for_device = after.syncs_for_device - before.syncs_for_device;
    assert_eq!(after.syncs_for_cpu, 3, "nothing to sync of an empty packet");
    assert_eq!(after.synced_bytes - before.synced_bytes - for_device * PAGE, 60 + 1 + PAGE);
    drop(bench);
    assert_eq!(lengths, [60, 0, 1, PAGE]);
}

#[test]
fn a_page_the_device_failed_on_is_recycled_and_not_shown() {
    let (_provider, pool, window) = heap_pool(64);
    let mut bench = Bench::new(pool, window, |_: &mut [u8]| Verdict::Forward, 8, 8);
    bench.napi.open().unwrap();
    bench.rx.complete(Completion::Failed, 0, 0);
    bench.receive(&[1; 60], 1);
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap().work, 1);
    assert_eq!(bench.transmit(), [1]);
    assert_eq!(bench.napi.rx().pool().stats().recycle.cached, 1);
}

#[test]
fn a_pool_without_a_window_is_refused_at_once() {
    let pool = PagePool::builder(Home::new(Heap::new(PAGE, 8))).build().unwrap();
    let window = Arc::new(DmaWindow::new(8, PAGE).unwrap());
    let mut bench = Bench::new(pool, window, Action::Forward, 8, 8);
    assert!(matches!(bench.napi.open(), Err(RefillError::NotMapped)));
    assert_eq!(bench.napi.rx().pool().stats().in_use(), 0);
}

#[test]
fn an_exhausted_pool_is_no_error_and_the_ring_fills_later() {
    let (_provider, pool, window) = heap_pool(12);
    let mut bench = Bench::new(pool, window, Action::Forward, 8, 8);
    bench.napi.open().unwrap();
    for mark in 0..8 {
        bench.receive(&[1; 60], mark);
    }
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap().work, 8);
    assert_eq!((bench.napi.rx().posted(), bench.live.napi.starved.get()), (4, 1));
    assert_eq!((bench.transmit().len(), bench.clean()), (8, 8));
    assert_eq!(bench.napi.poll(NAPI_BUDGET).unwrap().work, 0);
    assert_eq!(bench.napi.rx().posted(), 8);
}

#[test]
fn a_device_that_outlives_its_driver_faults_and_holds_its_pages_only_until_it_leaves() {
    let (provider, pool, window) = heap_pool(8);
    let mut bench = Bench::new(pool, window, Action::Forward, 4, 4);
    bench.napi.open().unwrap();
    let Bench { napi, rx, window, .. } = bench;
    let work = rx.work().unwrap();
    drop(napi);
    // SAFETY: the descriptor is the device's; besides, nothing is written.
    let fault = unsafe { window.write(work.addr, 0, &[1]) }.unwrap_err();
    assert_eq!((fault.kind, window.mapped()), (FaultKind::Unmapped, 0));
    assert_eq!(provider.free_units(), 4, "the device still has four");
    drop(rx);
    assert_eq!(provider.free_units(), 8);
}
