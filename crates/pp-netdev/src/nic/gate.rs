//! How a driver has one queue of a running device stopped, and started again with another ring.
//!
//! Devices have a register for it: the driver writes what it wants and waits until the device has done it. Here that is a word
//! under a lock, which the device looks at only when a counter says that somebody asked: what a frame pays is one load.
//!
//! # Ordering
//!
//! The counter moves inside the lock. Who sees it moved and then takes the lock finds what was asked: had it taken the lock
//! before the driver, its look at the counter would have happened before the move.

use std::time::Duration;

use thiserror::Error;

use crate::bell::Bell;
use crate::ring::DeviceEnd;
use crate::sync::{Arc, AtomicUsize, Clock, Mutex, MutexGuard, Ordering, broken, lock};

/// What the queues of one device ask it with.
#[derive(Debug)]
pub(super) struct Attention {
    /// | state | meaning |
    /// |---|---|
    /// | n | n requests so far; only goes up, inside the lock of the gate that is meant |
    asked: AtomicUsize,
    clock: Clock,
    /// The device's.
    bell: std::sync::Arc<Bell>,
}

/// What a device does with one of its queues. Whoever changes it holds the lock.
#[derive(Debug)]
enum State {
    /// Works on its ring.
    Running,
    /// The driver wants it to stop; the device moves on to `Stopped`, or the driver, out of patience, back to `Running`.
    Stopping,
    /// Touches no descriptor. The driver moves on to `Starting`, or back to `Running` with the ring it had.
    Stopped,
    /// The driver wants it to start with this ring. The device moves on to `Running`, or refuses with `Stopped`.
    Starting(DeviceEnd),
}

/// What is under the lock.
#[derive(Debug)]
struct Register {
    state: State,
    /// The device left. Beside the state, because a device may leave right after it did what it was asked for.
    gone: bool,
}

/// One queue's register.
#[derive(Debug)]
struct Gate {
    register: Mutex<Register>,
    attention: Arc<Attention>,
    driver: std::sync::Arc<Bell>,
}

/// The driver's side of a queue's register: what [`RxQueue::restart`](crate::RxQueue::restart) needs. A
/// [`Forwarder`](crate::Forwarder) has one a queue.
#[derive(Debug)]
pub struct QueueGate(Arc<Gate>);

/// The device's side. The device is gone when this is dropped.
#[derive(Debug)]
pub(super) struct DeviceGate {
    gate: Arc<Gate>,
    stopped: bool,
}

/// Why a device did not do what its driver asked. See [`QueueControl`](crate::QueueControl).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GateError {
    /// It did not answer in time: it may be waiting for a port that says nothing.
    #[error("the device did not answer in time; try again when frames come, or give it longer")]
    TimedOut,
    /// It cannot reach the pages of the ring that it was to start with.
    #[error(
        "the device cannot reach the new pool's pages; build the pool with .dma(window, direction) on the device's window"
    )]
    Unreachable,
    /// It left.
    #[error("the device left; there is no queue to restart any more")]
    Gone,
}

// === impl Attention ===

impl Attention {
    pub(super) fn new(bell: std::sync::Arc<Bell>) -> Arc<Self> {
        Arc::new(Attention { asked: AtomicUsize::new(0), clock: Clock::new(), bell })
    }

    /// How often somebody asked for something.
    #[inline]
    pub(super) fn asked(&self) -> usize {
        self.clock.tick();
        // Relaxed: the lock that is taken next orders it; see the module's documentation.
        self.asked.load(Ordering::Relaxed)
    }

    /// Sleeps until `ready`, or until somebody asks who had not when `asked` was `seen`.
    pub(super) fn wait(&self, seen: usize, mut ready: impl FnMut() -> bool) {
        self.bell.wait(|| ready() || self.asked() != seen);
    }

    fn ask(&self) {
        self.clock.tick();
        // Relaxed: as in `asked`.
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Gate ===

impl Gate {
    fn register(&self) -> MutexGuard<'_, Register> {
        lock(&self.register)
    }

    /// Writes what the device is to do, and wakes it.
    fn ask(&self, from: fn(&State) -> bool, to: State) -> Result<(), GateError> {
        if broken("a request that is counted before it is made") {
            self.attention.ask();
        }
        let mut register = self.register();
        if register.gone || !from(&register.state) {
            return Err(GateError::Gone);
        }
        register.state = to;
        if !broken("a request that is counted before it is made") && !broken("a request that is not counted") {
            self.attention.ask();
        }
        drop(register);
        self.attention.bell.ring();
        Ok(())
    }

    /// Waits until the device has answered, which `open` says of the state that it has not. Where it did not, goes back to
    /// `before`.
    fn answer(
        &self,
        within: Duration,
        open: fn(&State) -> bool,
        before: State,
    ) -> Result<MutexGuard<'_, Register>, GateError> {
        let answered = || {
            let register = self.register();
            register.gone || !open(&register.state)
        };
        self.driver.wait_within(answered, within);
        let mut register = self.register();
        if open(&register.state) {
            register.state = before;
            return Err(if register.gone { GateError::Gone } else { GateError::TimedOut });
        }
        Ok(register)
    }
}

// === impl QueueGate ===

impl QueueGate {
    /// Has the device take its hands off the ring; it keeps it.
    ///
    /// # Errors
    ///
    /// [`GateError`]; the queue runs as before, unless the device is gone.
    pub(crate) fn stop(&self, within: Duration) -> Result<(), GateError> {
        self.0.ask(|state| matches!(state, State::Running), State::Stopping)?;
        self.0.answer(within, |state| matches!(state, State::Stopping), State::Running).map(drop)
    }

    /// Has a stopped device start with `ring`, and leave the one that it had.
    ///
    /// # Errors
    ///
    /// [`GateError`]; the queue is still stopped then, unless the device is gone, and `ring` was dropped.
    pub(crate) fn start(&self, ring: DeviceEnd, within: Duration) -> Result<(), GateError> {
        self.0.ask(|state| matches!(state, State::Stopped), State::Starting(ring))?;
        if broken("a start that does not wait") {
            return Ok(());
        }
        let register = self.0.answer(within, |state| matches!(state, State::Starting(_)), State::Stopped)?;
        match register.state {
            State::Running => Ok(()),
            _ => Err(GateError::Unreachable),
        }
    }

    /// Has a stopped device go on with the ring that it had.
    pub(crate) fn resume(&self) {
        // Where the device is gone, its end of the ring says so as well.
        let _ = self.0.ask(|state| matches!(state, State::Stopped), State::Running);
    }
}

// === impl DeviceGate ===

impl DeviceGate {
    /// A register for a queue on `ring`, and its driver's side.
    pub(super) fn new(ring: &DeviceEnd, attention: &Arc<Attention>) -> (Self, QueueGate) {
        let gate = Arc::new(Gate {
            register: Mutex::new(Register { state: State::Running, gone: false }),
            attention: attention.clone(),
            driver: ring.bells().poster.clone(),
        });
        (DeviceGate { gate: gate.clone(), stopped: false }, QueueGate(gate))
    }

    /// Whether the driver stopped the queue.
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Does what the driver asked for, if it did: stops, or puts its own ring in the place of `ring` once `can_use` says that
    /// it may.
    pub(super) fn answer(&mut self, ring: &mut DeviceEnd, can_use: impl FnOnce(&DeviceEnd) -> bool) {
        let mut register = self.gate.register();
        register.state = match std::mem::replace(&mut register.state, State::Running) {
            State::Stopping => {
                self.stopped = true;
                State::Stopped
            }
            State::Starting(new) if can_use(&new) => {
                // What was left in the old one is its driver's from here on.
                *ring = new;
                self.stopped = false;
                State::Running
            }
            State::Starting(_) | State::Stopped => State::Stopped,
            // Or it was stopped, and goes on with what it had.
            State::Running => {
                self.stopped = false;
                State::Running
            }
        };
        drop(register);
        self.gate.driver.ring();
    }
}

impl Drop for DeviceGate {
    fn drop(&mut self) {
        self.gate.register().gone = true;
        self.gate.driver.ring();
    }
}
