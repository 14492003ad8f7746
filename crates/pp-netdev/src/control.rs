//! What other threads ask of a queue that runs: its poll loop does it between two polls, where nothing else touches the queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use pp_core::{Host, PagePool, PoolHandle, Stats};

use crate::bell::Bell;
use crate::rx_queue::{RestartError, RestartFailed, RxQueue};

/// A running queue, for any thread.
#[derive(Clone, Debug)]
pub struct QueueControl(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// | state | meaning |
    /// |---|---|
    /// | 0 | nothing is asked for |
    /// | n | n requests wait; changes inside the lock of `requests` only |
    waiting: AtomicUsize,
    requests: Mutex<Requests>,
    /// The pool under the queue.
    pool: Mutex<PoolHandle<Host>>,
    bell: Arc<Bell>,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: Vec<Restart>,
    /// Nobody serves them any more.
    closed: bool,
}

/// A request, and where its answer goes.
#[derive(Debug)]
struct Restart {
    pool: PagePool<Host>,
    within: Duration,
    answer: mpsc::SyncSender<Result<PoolHandle<Host>, RestartFailed>>,
}

/// The poll loop's end. Who waits for an answer when it is dropped gets one.
#[derive(Debug)]
pub(crate) struct Inbox(Option<Arc<Shared>>);

impl QueueControl {
    /// For a queue on `pool` whose poll loop sleeps on `bell`; see [`Napi::with_control`](crate::Napi::with_control).
    pub fn new(pool: PoolHandle<Host>, bell: Arc<Bell>) -> Self {
        let (waiting, requests) = (AtomicUsize::new(0), Mutex::default());
        QueueControl(Arc::new(Shared { waiting, requests, pool: Mutex::new(pool), bell }))
    }

    /// Has the queue put `pool` in the place of its own; see [`RxQueue::restart`]. Waits until that is done.
    ///
    /// # Errors
    ///
    /// [`RestartFailed`], with the new pool; the queue goes on as it was.
    pub fn restart(&self, pool: PagePool<Host>, within: Duration) -> Result<PoolHandle<Host>, RestartFailed> {
        let (answer, answered) = mpsc::sync_channel(1);
        let handle = pool.handle();
        {
            let mut requests = lock(&self.0.requests);
            if requests.closed {
                return Err(RestartFailed { pool: Some(pool), error: RestartError::Ended });
            }
            requests.waiting.push(Restart { pool, within, answer });
            // Relaxed: a hint to take the lock; the bell makes sure that it is seen.
            self.0.waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.0.bell.ring();
        // Each request is answered, by `serve` or by `close`, unless the poll loop panics while it has it.
        let result = answered.recv().unwrap_or(Err(RestartFailed { pool: None, error: RestartError::Ended }));
        if result.is_ok() {
            *lock(&self.0.pool) = handle;
        }
        result
    }

    /// The statistics of the pool under the queue.
    pub fn stats(&self) -> Stats {
        lock(&self.0.pool).stats()
    }

    pub(crate) fn inbox(&self) -> Inbox {
        Inbox(Some(Arc::clone(&self.0)))
    }
}

impl Inbox {
    /// One that nothing comes into.
    pub(crate) fn closed() -> Self {
        Inbox(None)
    }

    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        // Relaxed: as in `restart`.
        self.0.as_ref().is_some_and(|shared| shared.waiting.load(Ordering::Relaxed) > 0)
    }

    /// Does what was asked for.
    #[cold]
    pub(crate) fn serve(&self, rx: &mut RxQueue) {
        let Some(shared) = &self.0 else { return };
        for Restart { pool, within, answer } in shared.take() {
            // Who asked may have ended since.
            let _ = answer.send(rx.restart(pool, within));
        }
    }

    /// Serves nobody any more.
    pub(crate) fn close(&mut self) {
        let Some(shared) = self.0.take() else { return };
        lock(&shared.requests).closed = true;
        for Restart { pool, answer, .. } in shared.take() {
            let _ = answer.send(Err(RestartFailed { pool: Some(pool), error: RestartError::Ended }));
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn take(&self) -> Vec<Restart> {
        let mut requests = lock(&self.requests);
        self.waiting.store(0, Ordering::Relaxed);
        std::mem::take(&mut requests.waiting)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
