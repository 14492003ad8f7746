//! What other threads ask of a queue that runs: its poll loop does it between two polls, where nothing else touches the queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use pp_core::{Host, PagePool, PoolHandle, Stats};

use crate::bell::Bell;
use crate::rx_queue::{RestartError, RestartFailed, RxQueue};
use crate::sync::lock_std;

/// A running queue, for any thread.
///
/// # Examples
///
/// ```
/// use std::{num::NonZeroU16, sync::Arc, thread, time::Duration};
/// use pp_core::{DmaDirection, Home, PagePool, doc::Heap};
/// use pp_netdev::port::{FrameSize, Generator, Null};
/// use pp_netdev::{Action, DmaWindow, ForwardConfig, Forwarder, steer::SteeringTable};
///
/// let queues = NonZeroU16::new(2).expect("not 0");
/// let (window, home) = (Arc::new(DmaWindow::new(512, 4096)?), Home::new(Heap::new(4096, 512)));
/// let pool = |name: &str| {
///     let builder = PagePool::builder(home.clone()).name(name).returners(1, 64);
///     builder.dma(Arc::clone(&window), DmaDirection::Bidirectional).build()
/// };
/// let pools = [(pool("rx0")?, Action::Forward), (pool("rx1")?, Action::Forward)];
/// let mut config = ForwardConfig::default();
/// config.rx_ring = 32.try_into()?;
/// let stop = config.stop.clone();
/// let forwarder = Forwarder::with_queues(pools, SteeringTable::new(queues), Arc::clone(&window), config)?;
///
/// let controls = forwarder.controls(); // before the run, which takes the forwarder
/// let run = thread::spawn(move || {
///     let mut source = Generator::of_flows(FrameSize::MIN, queues);
///     forwarder.run(&mut source, &mut Null::default(), |_| {})
/// });
/// let old = controls[1].restart(pool("rx1 again")?, Duration::from_secs(10))?; // queue 0 goes on meanwhile
/// assert_eq!(old.name(), "rx1");
/// assert!(controls[1].stats().in_use() > 0, "posted to the device");
/// stop.set();
/// let report = run.join().expect("it does not panic")?;
/// assert_eq!(report.pools[1].name, "rx1 again");
/// assert_eq!(old.inflight(), 0); // all pages of the old pool are home
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

#[derive(Debug)]
struct Requests {
    waiting: Vec<Restart>,
    /// Nobody serves them yet, or any more.
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
        let requests = Mutex::new(Requests { waiting: Vec::new(), closed: true });
        let waiting = AtomicUsize::new(0);
        QueueControl(Arc::new(Shared { waiting, requests, pool: Mutex::new(pool), bell }))
    }

    /// Has the queue put `pool` in the place of its own; see [`RxQueue::restart`]. Waits until that is done.
    ///
    /// For any thread but the queue's own, which would wait for itself.
    ///
    /// # Errors
    ///
    /// [`RestartFailed`], with the new pool; the queue goes on as it was.
    pub fn restart(&self, pool: PagePool<Host>, within: Duration) -> Result<PoolHandle<Host>, RestartFailed> {
        let (answer, answered) = mpsc::sync_channel(1);
        {
            let mut requests = lock_std(&self.0.requests);
            if requests.closed {
                return Err(RestartFailed { pool: Some(pool), error: RestartError::Ended });
            }
            requests.waiting.push(Restart { pool, within, answer });
            // Relaxed: a hint to take the lock; the bell makes sure that it is seen.
            self.0.waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.0.bell.ring();
        // Each request that was taken is answered, by `serve` or when the `Inbox` is dropped, unless the poll loop panics while
        // it has it.
        answered.recv().unwrap_or(Err(RestartFailed { pool: None, error: RestartError::Ended }))
    }

    /// The statistics of the pool under the queue.
    pub fn stats(&self) -> Stats {
        lock_std(&self.0.pool).stats()
    }

    /// From now until the poll loop's end is dropped, requests are taken.
    pub(crate) fn inbox(&self) -> Inbox {
        lock_std(&self.0.requests).closed = false;
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
            let handle = pool.handle();
            let result = rx.restart(pool, within);
            if result.is_ok() {
                *lock_std(&shared.pool) = handle;
            }
            // Who asked may have ended since.
            let _ = answer.send(result);
        }
    }

    /// Serves nobody any more.
    pub(crate) fn close(&mut self) {
        let Some(shared) = self.0.take() else { return };
        lock_std(&shared.requests).closed = true;
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
        let mut requests = lock_std(&self.requests);
        self.waiting.store(0, Ordering::Relaxed);
        std::mem::take(&mut requests.waiting)
    }
}
