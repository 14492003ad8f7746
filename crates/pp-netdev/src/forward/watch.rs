//! The caller's thread while a run goes on: it sleeps, and wakes for the clock, the observer and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};

use super::config::{ForwardConfig, Mark};
use super::error::ForwardError;
use crate::counters::Live;
use crate::stop::StopFlag;

/// Sets the flag when it goes out of scope, also by a panic.
pub(crate) struct StopOnExit<'a>(pub(crate) &'a StopFlag);

impl Drop for StopOnExit<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Sets the flag where a thread panics: devices notice that a driver is gone only once they need something of it.
pub(super) struct StopOnPanic<'a>(pub(super) &'a StopFlag);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.set();
        }
    }
}

/// What the threads of a run and the thread that waits for them share.
pub(crate) struct Watch {
    /// | state | meaning |
    /// |---|---|
    /// | n > 0 | n threads have not ended |
    /// | 0 | all have; their work happened before |
    running: AtomicUsize,
    tenth: Milestone,
    half: Milestone,
    waiter: Thread,
}

/// A point on the way through a run, and whether it is passed.
pub(crate) struct Milestone {
    mark: Mark,
    /// | state | meaning |
    /// |---|---|
    /// | false | its time is not over, or it is not a matter of time |
    /// | true | its time is over |
    time_over: AtomicBool,
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

impl Milestone {
    fn new(mark: Mark) -> Self {
        Milestone { mark, time_over: AtomicBool::new(false) }
    }

    /// Whether all queues together are past it.
    pub(crate) fn is_passed(&self, lives: &[Arc<Live>]) -> bool {
        let came_in = |frames| lives.iter().map(|live| live.rx.frames.get() as u64).sum::<u64>() >= frames;
        // Relaxed: a hint that it is time to look at a clock's figure; nothing is handed over.
        self.mark.frames.is_some_and(came_in) || self.time_over.load(Ordering::Relaxed)
    }

    /// Notes that the time is over, if it is at `now`; else says when to look again.
    fn note(&self, now: Duration) -> Option<Duration> {
        let time = self.mark.time?;
        if now >= time {
            self.time_over.store(true, Ordering::Relaxed);
        }
        (now < time).then_some(time)
    }
}

impl Watch {
    /// A watch kept by the current thread.
    pub(crate) fn new(config: &ForwardConfig) -> Self {
        let [tenth, half] = [10, 2].map(|parts| Milestone::new(config.after_one_of(parts)));
        Watch { running: AtomicUsize::new(0), tenth, half, waiter: thread::current() }
    }

    /// A tenth of the run.
    pub(crate) fn tenth(&self) -> &Milestone {
        &self.tenth
    }

    /// Half of the run.
    pub(super) fn half(&self) -> &Milestone {
        &self.half
    }

    /// Starts a thread that is watched.
    pub(crate) fn spawn<'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: &str,
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
            .map_err(|error| ForwardError::Spawn { thread: name.to_owned(), error })
    }

    /// Sleeps until every thread has ended; meanwhile calls `observe` now and then and sets the stop flag in time.
    pub(crate) fn until_all_ended(
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
            for milestone in [&self.tenth, &self.half] {
                wake = wake.min(milestone.note(now).unwrap_or(wake));
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
