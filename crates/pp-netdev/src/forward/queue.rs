//! One queue of a run: a pool, its rings, its poll loop and the thread that cleans up behind it.

use std::sync::Arc;

use pp_core::{Host, PagePool};

use super::config::ForwardConfig;
use super::phases::{Phase, Phases};
use super::report::PoolReport;
use super::watch::{Milestone, StopOnPanic, Watch};
use crate::bell::Bell;
use crate::control::{Inbox, QueueControl};
use crate::counters::Live;
use crate::napi::{Napi, NapiError};
use crate::nic::QueueGate;
use crate::program::Program;
use crate::ring::{Bells, Cleaner, DeviceEnd, Poster, ring};
use crate::rx_queue::RxQueue;
use crate::stop::StopFlag;
use crate::tx_queue::{TxCleaner, TxQueue};

/// A receive queue, the transmit queue that its packets leave through, and what is done with them in between.
#[derive(Debug)]
pub(super) struct Queue<P> {
    pool: PagePool<Host>,
    program: P,
    bell: Arc<Bell>,
    pub(super) live: Arc<Live>,
    pub(super) control: QueueControl,
    /// Here from the start, so that requests are answered even if the run never begins.
    inbox: Inbox,
}

/// The devices' ends of its rings.
pub(super) struct DeviceEnds {
    pub(super) rx: DeviceEnd,
    pub(super) tx: DeviceEnd,
}

/// The driver's ends of its rings.
pub(super) struct DriverEnds {
    rx: (Poster, Cleaner),
    tx: Poster,
    cleaner: Cleaner,
}

/// The poll loop, ready to run.
pub(super) struct Loop<P> {
    napi: Napi<P>,
    bell: Arc<Bell>,
    at: usize,
}

/// What the poll loop's thread hands back.
pub(super) struct Outcome {
    rx: RxQueue,
    pub(super) result: Result<(), NapiError>,
    pub(super) phases: Vec<Phase>,
    provider_allocs_at_10_percent: Option<usize>,
}

impl<P: Program> Queue<P> {
    pub(super) fn new(pool: PagePool<Host>, program: P) -> Self {
        let bell = Arc::new(Bell::new());
        let control = QueueControl::new(pool.handle(), Arc::clone(&bell));
        let inbox = control.inbox();
        Queue { pool, program, bell, live: Arc::new(Live::default()), control, inbox }
    }

    /// The queue's rings. `device_bells` are the receiving and the transmitting device's.
    pub(super) fn rings(&self, config: &ForwardConfig, device_bells: &[Arc<Bell>; 2]) -> (DeviceEnds, DriverEnds) {
        let (napi, clean) = (&self.bell, Arc::new(Bell::new()));
        let [rx_device, tx_device] = device_bells.each_ref().map(Arc::clone);
        let rx_bells = Bells { poster: Arc::clone(napi), device: rx_device, cleaner: Arc::clone(napi) };
        let tx_bells = Bells { poster: Arc::clone(napi), device: tx_device, cleaner: clean };
        let (rx_poster, rx, rx_cleaner) = ring(config.rx_ring, rx_bells);
        let (tx_poster, tx, cleaner) = ring(config.tx_ring, tx_bells);
        (DeviceEnds { rx, tx }, DriverEnds { rx: (rx_poster, rx_cleaner), tx: tx_poster, cleaner })
    }

    /// Puts the driver's side together: the poll loop, and the thread that cleans. `at` is the queue's place.
    pub(super) fn into_driver(
        self,
        at: usize,
        ends: DriverEnds,
        gate: QueueGate,
        config: &ForwardConfig,
    ) -> (Loop<P>, TxCleaner) {
        let Queue { pool, program, bell, live, control: _, inbox } = self;
        let cleaner = TxCleaner::new(ends.cleaner, &pool.handle(), Arc::clone(&live));
        let (poster, rx_cleaner) = ends.rx;
        let mut rx = RxQueue::new(pool, poster, rx_cleaner).with_gate(gate);
        rx.set_buffers(config.buffers);
        let napi = Napi::new(rx, TxQueue::new(ends.tx), program, live).with_inbox(inbox);
        (Loop { napi, bell, at }, cleaner)
    }
}

impl<P: Program> Loop<P> {
    /// Polls until the run is over.
    pub(super) fn run(self, stop: &StopFlag, watch: &Watch, config: &ForwardConfig, lives: &[Arc<Live>]) -> Outcome {
        let Loop { napi, bell, at } = self;
        let _stop = StopOnPanic(stop);
        let mut tenth = Tenth { milestone: watch.tenth(), allocs: None };
        let mut phases = Phases::new(config.change_to);
        let (mut rx, result) = napi.run(&bell, stop, |rx, live| {
            tenth.look(rx, lives);
            phases.after_poll(rx, live, || watch.half().is_passed(lives));
        });
        // A queue that had nothing to do since then has the pages that it had then.
        tenth.look(&mut rx, lives);
        let phases = phases.finish(&mut rx, &lives[at]);
        Outcome { rx, result, phases, provider_allocs_at_10_percent: tenth.allocs }
    }
}

/// Notes how many pages the pool had from its provider when a tenth of the run was over.
struct Tenth<'a> {
    milestone: &'a Milestone,
    allocs: Option<usize>,
}

impl Tenth<'_> {
    fn look(&mut self, rx: &mut RxQueue, lives: &[Arc<Live>]) {
        if self.allocs.is_none() && self.milestone.is_passed(lives) {
            self.allocs = Some(rx.pool().stats().hold);
        }
    }
}

impl Outcome {
    /// The pool's figures, before and after the receive ring gave back what was posted.
    pub(super) fn into_report(mut self) -> PoolReport {
        let pool = self.rx.pool();
        let (handle, stats, provider) = (pool.handle(), pool.stats(), pool.provider());
        let posted = self.rx.posted() as usize;
        PoolReport {
            id: handle.id(),
            name: handle.name().to_owned(),
            stats,
            provider,
            posted,
            in_use: stats.in_use(),
            kernel_held: 0,
            lost: self.rx.close().stats().in_use(),
            provider_allocs_at_10_percent: self.provider_allocs_at_10_percent,
        }
    }
}
