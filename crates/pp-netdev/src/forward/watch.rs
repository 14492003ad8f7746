//! The caller's thread while a run goes on: it sleeps, and wakes for the clock, the observer and the end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};

use super::config::{ForwardConfig, Tenth};
use super::error::ForwardError;
use crate::counters::Live;
use crate::stop::StopFlag;

/// Sets the flag when it goes out of scope, also by a panic.
pub(super) struct StopOnExit<'a>(pub(super) &'a StopFlag);

impl Drop for StopOnExit<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// What the threads of a run and the thread that waits for them share.
pub(super) struct Watch {
    /// | state | meaning |
    /// |---|---|
    /// | n > 0 | n threads have not ended |
    /// | 0 | all have; their work happened before |
    running: AtomicUsize,
    /// | state | meaning |
    /// |---|---|
    /// | false | a tenth of the time is not over, or a tenth is not a matter of time |
    /// | true | it is over |
    tenth_of_time: AtomicBool,
    tenth: Tenth,
    waiter: Thread,
}

/// Says that a thread has ended, however it did.
struct Ending<'a>(&'a Watch);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `until_all_ended`.
        self.0.running.fetch_sub(1, Ordering::Release);
        self.0.waiter.unpark();
    }
}

/// Says whether a tenth of the run is over.
#[derive(Clone, Copy)]
pub(super) struct TenthOfRun<'a>(&'a Watch);

impl TenthOfRun<'_> {
    pub(super) fn is_over(&self, live: &Live) -> bool {
        match self.0.tenth {
            Tenth::Packets(packets) => live.napi.received.get() as u64 >= packets,
            // Relaxed: a hint that it is time to look at a clock's figure; nothing is handed over.
            Tenth::Time(_) => self.0.tenth_of_time.load(Ordering::Relaxed),
            Tenth::Unknown => false,
        }
    }
}

impl Watch {
    /// A watch kept by the current thread.
    pub(super) fn new(tenth: Tenth) -> Self {
        Watch { running: AtomicUsize::new(0), tenth_of_time: AtomicBool::new(false), tenth, waiter: thread::current() }
    }

    pub(super) fn tenth(&self) -> TenthOfRun<'_> {
        TenthOfRun(self)
    }

    /// Starts a thread that is watched.
    pub(super) fn spawn<'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: &'static str,
        body: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, T>, ForwardError> {
        // Relaxed: this thread is the one that waits for the count, and it counts up itself.
        self.running.fetch_add(1, Ordering::Relaxed);
        let ending = Ending(self);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, move || {
                let _ending = ending;
                body()
            })
            .map_err(|error| ForwardError::Spawn { thread: name, error })
    }

    /// Sleeps until every thread has ended; meanwhile calls `observe` now and then and sets the stop flag in time.
    pub(super) fn until_all_ended(
        &self,
        config: &ForwardConfig,
        stop: &StopFlag,
        start: Instant,
        mut observe: impl FnMut(),
    ) {
        let every = config.observe_every.max(Duration::from_millis(1));
        let mut next_observation = every;
        // Acquire: pairs with the Release in `Ending::drop`.
        while self.running.load(Ordering::Acquire) > 0 {
            let now = start.elapsed();
            let mut wake = next_observation;
            if let Tenth::Time(tenth) = self.tenth
                && !self.tenth_of_time.load(Ordering::Relaxed)
            {
                if now >= tenth {
                    self.tenth_of_time.store(true, Ordering::Relaxed);
                } else {
                    wake = wake.min(tenth);
                }
            }
            if let Some(end) = config.duration.filter(|_| !stop.is_set()) {
                if now >= end {
                    stop.set();
                } else {
                    wake = wake.min(end);
                }
            }
            if now >= next_observation {
                observe();
                next_observation = start.elapsed().saturating_add(every);
                continue;
            }
            thread::park_timeout(wake.saturating_sub(now).max(Duration::from_micros(1)));
        }
    }
}
