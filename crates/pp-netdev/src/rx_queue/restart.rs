//! Another pool, on another provider perhaps, under a queue that runs.
//!
//! The order is the kernel's (`netdev_rx_queue_restart`, Linux 7.3, `net/core/netdev_rx_queue.c`), so that what can fail fails
//! while there is a way back:
//!
//! | step | what | if it fails |
//! |---|---|---|
//! | alloc | a ring for the new pool, filled | the queue has not noticed |
//! | stop | the device takes its hands off the old ring | the queue goes on |
//! | start | the device takes the new ring, if it can reach its pages | the device goes on with the old ring |
//! | free | the old ring is emptied, the old pool closed | cannot fail |
//!
//! Pages of the old pool may be anywhere meanwhile: received and not yet handled, on their way out of another device, in a
//! stack's hands. Received ones are handled first, in their order. The old pool is closed when all of them are back, or once none came
//! back for [`GRACE`]: closing it takes pages that are on their way out from their device. What comes back
//! later goes home by itself, from whatever thread: a page says whose it is (kernel dd64b232deb8 had to say it of the thread).

use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use pp_core::{Host, PagePool, PoolHandle};
use thiserror::Error;

use super::memory::QueueMemory;
use super::{Received, RefillError, RxQueue};
use crate::nic::{GateError, QueueGate};
use crate::ring::Cleaner;
use crate::sync::broken;

/// How long a pool that was replaced waits for its next page before it is closed without them (the kernel looks again after a
/// second, too: `DEFER_TIME`). See [`QueueControl`](crate::QueueControl).
pub const GRACE: Duration = Duration::from_secs(1);

/// The ring that a queue had before, until what was received in it is handled.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) cleaner: Cleaner,
    pub(super) posted: u32,
}

/// A pool that was replaced and waits for its pages.
#[derive(Debug)]
pub(super) struct Retired {
    pool: PagePool<Host>,
    /// Pages that were out when it was looked at last.
    in_use: usize,
    /// When the last of them came home.
    since: Instant,
}

/// Why a queue was not restarted. See [`QueueControl`](crate::QueueControl).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestartError {
    /// The queue has no gate to ask its device through.
    #[error("the queue was made without its device's gate; give it with RxQueue::with_gate")]
    NoGate,
    /// It was restarted a moment ago.
    #[error("packets received before the last restart wait to be handled; poll first")]
    Draining,
    /// Step 1: the new pool could not fill a ring.
    #[error("the new pool cannot serve the queue: {0}")]
    Alloc(RefillError),
    /// Step 2: the device did not stop.
    #[error("the queue was not stopped: {0}")]
    Stop(GateError),
    /// Step 3: the device did not start with the new ring. It went on with the old one.
    #[error("the queue was not started on the new pool and runs on the old one: {0}")]
    Start(GateError),
    /// The queue was shut, or its poll loop ended before it came to it, or there is none.
    #[error("the queue was shut, or no poll loop runs that could restart it; ask while a run goes on")]
    Ended,
}

/// A restart that did not happen: the queue runs as it did, on the pool that it had. See
/// [`QueueControl`](crate::QueueControl).
pub struct RestartFailed {
    /// The new pool, with all its pages. `None` only if the poll loop panicked while it had it.
    pub pool: Option<PagePool<Host>>,
    /// Why.
    pub error: RestartError,
}

impl RxQueue {
    /// Makes the queue one that can be restarted: `gate` is the one that its device has for its ring. A
    /// [`Forwarder`](crate::Forwarder) does it.
    #[must_use]
    pub fn with_gate(mut self, gate: QueueGate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Puts `pool` in the place of the queue's own, in a ring of its own, while other queues run. Waits for the device, at most
    /// `within` for each step that it has a part in.
    ///
    /// Packets that were received before come out first. Those that a transmitting device then keeps for longer than [`GRACE`]
    /// without sending one are lost to it. To be called on the thread that waits on the ring's bell. Returns a handle of the old
    /// pool, to see its pages come home. Other
    /// threads ask for it by a [`QueueControl`](crate::QueueControl).
    ///
    /// # Errors
    ///
    /// [`RestartFailed`]: the queue goes on with the pool that it had, nothing of it is lost, and the new pool comes back.
    pub fn restart(&mut self, pool: PagePool<Host>, within: Duration) -> Result<PoolHandle<Host>, RestartFailed> {
        let failed = |pool, error| Err(RestartFailed { pool: Some(pool), error });
        let Some(gate) = &self.gate else {
            return failed(pool, RestartError::NoGate);
        };
        let Some((poster, descriptors)) = self.memory.poster.as_ref().zip(NonZeroU32::new(self.descriptors)) else {
            return failed(pool, RestartError::Ended);
        };
        if self.draining.is_some() {
            return failed(pool, RestartError::Draining);
        }
        // 1. Alloc, while the old one runs.
        let (memory, device) = match QueueMemory::alloc(pool, descriptors, poster.bells().clone(), self.buffers) {
            Ok(new) => new,
            Err((pool, error)) => return failed(pool, RestartError::Alloc(error)),
        };
        // 2. Stop.
        if let Err(error) = gate.stop(within) {
            drop(device);
            return failed(memory.close(), RestartError::Stop(error));
        }
        // 3. Start, or go back.
        if let Err(error) = gate.start(device, within) {
            if !broken("a failed start that does not go back") {
                gate.resume();
            }
            return failed(memory.close(), RestartError::Start(error));
        }
        // 4. Free, as soon as what was received is handled and what is on its way is back.
        Ok(self.replace(memory))
    }

    fn replace(&mut self, memory: QueueMemory) -> PoolHandle<Host> {
        let QueueMemory { poster, cleaner, cache, pool, posted } = std::mem::replace(&mut self.memory, memory);
        drop((poster, cache));
        let handle = pool.handle();
        self.draining = Some(Draining { cleaner, posted });
        self.retired.push(Retired { in_use: pool.stats().in_use(), since: Instant::now(), pool });
        if !self.has_received() {
            self.drained();
        }
        self.free_idle();
        handle
    }

    /// The next packet of the old ring. `None`: there are no more, and the buffers that never saw one are given back.
    #[cold]
    pub(super) fn receive_from_old(&mut self) -> Option<Received> {
        while let Some(Draining { cleaner, posted }) = &mut self.draining {
            match cleaner.take() {
                Some(completed) => {
                    *posted -= 1;
                    // Its pool is not the queue's any more, but the one that was retired last; if that was closed early, its
                    // pages are unmapped, and the new pool sees that there is nothing to sync.
                    let pool = self.retired.last().map_or(&self.memory.pool, |retired| &retired.pool);
                    match Received::new(pool, completed) {
                        Ok(received) => return Some(received),
                        Err(failed) => drop(failed),
                    }
                }
                None => self.drained(),
            }
        }
        None
    }

    /// Lets go of the old ring, which gives back what it still has: its other two ends went with the restart.
    fn drained(&mut self) {
        self.draining = None;
        if let Some(last) = self.retired.last_mut() {
            last.since = Instant::now();
        }
    }

    /// Closes the pools that were replaced and have their pages back, or waited long enough for the next one.
    pub(super) fn free_idle(&mut self) {
        // What was received and not yet handled needs its pool, the last one, to get to the next device.
        let draining = usize::from(self.draining.is_some());
        let mut before_it = self.retired.len().saturating_sub(draining);
        self.retired.retain_mut(|retired| {
            if before_it == 0 {
                return true;
            }
            before_it -= 1;
            retired.is_waited_for()
        });
    }

    /// Closes the pools that were replaced, now: pages of theirs that are out stay valid, but no device reaches them any
    /// more. What `page_pool_destroy` does; by itself the queue does it when they are idle, or after [`GRACE`]. See
    /// [`QueueControl`](crate::QueueControl).
    pub fn free_retired(&mut self) {
        if broken("a replaced pool that is never closed") {
            self.retired.drain(..).for_each(std::mem::forget);
        }
        self.retired.clear();
    }

    /// Pools that were replaced and wait for their pages. See [`QueueControl`](crate::QueueControl).
    pub fn retired(&self) -> usize {
        self.retired.len()
    }
}

impl Retired {
    fn is_waited_for(&mut self) -> bool {
        let in_use = self.pool.stats().in_use();
        if in_use < self.in_use {
            (self.in_use, self.since) = (in_use, Instant::now());
        }
        in_use > 0 && self.since.elapsed() < GRACE
    }
}

impl fmt::Debug for RestartFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestartFailed").field("error", &self.error).finish_non_exhaustive()
    }
}

impl fmt::Display for RestartFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for RestartFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
