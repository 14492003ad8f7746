//! Everything together: a receiving NIC, a poll loop, a transmitting NIC and the thread that cleans up behind it.
//!
//! | thread | runs | touches |
//! |---|---|---|
//! | `rx0-device` | [`RxDevice`] | the source, the receive ring, the window |
//! | `rx0-napi` | [`Napi`] | the pool (its consumer), both rings |
//! | `tx0-device` | [`TxDevice`] | the transmit ring, the window, the sink |
//! | `tx0-clean` | [`TxCleaner`] | the transmit ring, the pool (returns) |
//! | the caller's | [`Forwarder::run`] | nothing: it sleeps, calls the observer and watches the clock |
//!
//! An end of a ring that is dropped tells its peers, so whichever thread ends first, by its work's end, an error or a
//! panic, the others follow, and no page is left behind.

mod config;
mod error;
mod phases;
mod report;
mod watch;

use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use pp_core::{Host, PagePool};

use crate::bell::Bell;
use crate::counters::Live;
use crate::frame::{FrameSink, FrameSource};
use crate::napi::{Napi, NapiError};
use crate::nic::{RxDevice, TxDevice};
use crate::program::Program;
use crate::ring::{Bells, ring};
use crate::rx_queue::RxQueue;
use crate::tx_queue::{TxCleaner, TxQueue};
use crate::window::DmaWindow;

pub use config::ForwardConfig;
pub use error::ForwardError;
pub use phases::Phase;
use phases::Phases;
pub use report::{PoolReport, Progress, Report, Traffic};
use watch::Watch;

/// Forwards frames from a source to a sink through two software NICs on one pool.
///
/// The pool must be built with `.dma(window.clone(), DmaDirection::Bidirectional)` on the window given here: one DMA
/// domain for both NICs, so that a page can be sent without being mapped again. With `.returners(1, ..)` the thread that
/// cleans the transmit ring returns pages through a bag of its own.
///
/// # Examples
///
/// ```
/// use std::io;
/// use std::sync::Arc;
///
/// use pp_core::{DmaDirection, Home, PagePool};
/// use pp_netdev::{Action, DmaWindow, ForwardConfig, Forwarder, Frame, FrameSink, FrameSource};
///
/// struct Countdown(u64);
/// impl FrameSource for Countdown {
///     fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
///         self.0 = self.0.saturating_sub(1);
///         Ok((self.0 > 0).then_some(Frame { bytes: b"destinsource\x08\x00payload", mark: self.0 }))
///     }
/// }
///
/// struct Marks(Vec<u64>);
/// impl FrameSink for Marks {
///     fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
///         self.0.push(frame.mark);
///         Ok(())
///     }
///     fn finish(&mut self) -> io::Result<()> {
///         Ok(())
///     }
/// }
///
/// let window = Arc::new(DmaWindow::new(64, 4096)?);
/// let pool = PagePool::builder(Home::new(pp_core::doc::Heap::new(4096, 64)))
///     .dma(Arc::clone(&window), DmaDirection::Bidirectional)
///     .returners(1, 64)
///     .build()?;
/// let mut config = ForwardConfig::default();
/// config.rx_ring = 16.try_into()?;
///
/// let mut marks = Marks(Vec::new());
/// let forwarder = Forwarder::new(pool, window, Action::SwapMac, config);
/// let report = forwarder.run(&mut Countdown(4), &mut marks, |progress| println!("{:?}", progress.traffic))?;
/// assert_eq!(marks.0, [3, 2, 1]);
/// assert_eq!(report.pools[0].in_use, report.pools[0].posted);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Forwarder<P> {
    pool: PagePool<Host>,
    window: Arc<DmaWindow>,
    program: P,
    config: ForwardConfig,
    live: Arc<Live>,
}

/// What the poll loop's thread hands back.
struct Outcome {
    rx: RxQueue,
    result: Result<(), NapiError>,
    phases: Vec<Phase>,
    provider_allocs_at_10_percent: Option<usize>,
}

impl<P: Program> Forwarder<P> {
    /// A forwarder that does nothing yet.
    pub fn new(pool: PagePool<Host>, window: Arc<DmaWindow>, program: P, config: ForwardConfig) -> Self {
        Forwarder { pool, window, program, config, live: Arc::new(Live::default()) }
    }

    /// The counters of the run to come, for a thread that wants to watch them by itself. See [`Live`].
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Runs until the source is at its end, the limit or the time is reached or the stop flag is set, and everything
    /// that came in went out. `observer` is called on this thread as often as the configuration says.
    ///
    /// A run that is stopped while there is no page to receive into, and none comes back for a while, ends with the
    /// frame that waits for one counted as missed.
    ///
    /// A source that blocks for ever in [`next_frame`](FrameSource::next_frame) cannot be interrupted; one that is meant
    /// to be stopped should return an end now and then look at the flag itself.
    ///
    /// # Errors
    ///
    /// [`ForwardError`]: the first thing that went wrong. The sink is not finished then, unless finishing it failed.
    pub fn run<S, K>(
        self,
        source: &mut S,
        sink: &mut K,
        mut observer: impl FnMut(&Progress),
    ) -> Result<Report, ForwardError>
    where
        S: FrameSource + ?Sized,
        K: FrameSink + ?Sized,
    {
        let Forwarder { pool, window, program, config, live } = self;
        let handle = pool.handle();
        let [napi_bell, rx_bell, tx_bell, clean_bell] = [(); 4].map(|()| Arc::new(Bell::new()));
        let rx_bells = Bells { poster: Arc::clone(&napi_bell), device: rx_bell, cleaner: Arc::clone(&napi_bell) };
        let tx_bells = Bells { poster: Arc::clone(&napi_bell), device: tx_bell, cleaner: clean_bell };
        let (rx_poster, rx_end, rx_cleaner) = ring(config.rx_ring, rx_bells);
        let (tx_poster, tx_end, tx_cleaner) = ring(config.tx_ring, tx_bells);

        let rx_device = RxDevice::new(rx_end, Arc::clone(&window), Arc::clone(&live), config.on_no_buffer);
        let tx_device = TxDevice::new(tx_end, Arc::clone(&window), Arc::clone(&live));
        let cleaner = TxCleaner::new(tx_cleaner, &handle, Arc::clone(&live));
        let mut rx_queue = RxQueue::new(pool, rx_poster, rx_cleaner);
        rx_queue.set_buffers(config.buffers);
        let napi = Napi::new(rx_queue, TxQueue::new(tx_poster), program, Arc::clone(&live));

        let watch = Watch::new(&config);
        // A flag of its own, so that the caller can tell its stop from ours.
        let stop = &config.stop.child();
        let start = Instant::now();
        thread::scope(|scope| {
            // If we unwind or return early in here, the ends that no thread has taken yet are dropped, and a set stop
            // flag ends the source; so the scope's own wait for its threads comes to an end.
            let _stop = watch::StopOnExit(stop);
            let limit = config.limit;
            let rx_thread = watch.spawn(scope, "rx0-device", move || rx_device.run(source, limit, stop))?;
            let tx_thread = watch.spawn(scope, "tx0-device", move || tx_device.run(sink))?;
            let clean_thread = watch.spawn(scope, "tx0-clean", move || cleaner.run())?;
            let (tenth, half, change_to, counters) = (watch.tenth(), watch.half(), config.change_to, &*live);
            let napi_thread = watch.spawn(scope, "rx0-napi", move || {
                let mut provider_allocs_at_10_percent = None;
                let mut phases = Phases::new(change_to);
                let (mut rx, result) = napi.run(&napi_bell, stop, |rx, live| {
                    if provider_allocs_at_10_percent.is_none() && tenth.is_passed(live) {
                        provider_allocs_at_10_percent = Some(rx.pool().stats().hold);
                    }
                    phases.after_poll(rx, live, || half.is_passed(live));
                });
                let phases = phases.finish(&mut rx, counters);
                Outcome { rx, result, phases, provider_allocs_at_10_percent }
            })?;

            watch.until_all_ended(&config, stop, start, || {
                observer(&Progress {
                    elapsed: start.elapsed(),
                    traffic: Traffic::read(&live),
                    pools: vec![handle.stats()],
                });
            });
            let seconds = start.elapsed().as_secs_f64();
            // All of them before any `?`: a panic explains more than the error it caused elsewhere.
            let received = join("rx0-device", rx_thread);
            let sent = join("tx0-device", tx_thread);
            let cleaned = join("tx0-clean", clean_thread);
            let polled = join("rx0-napi", napi_thread);
            let (received, sent, mut polled) = (received?, sent?, polled?);
            cleaned?;
            let traffic = Traffic::read(&live);
            received.map_err(|error| ForwardError::Source { frames: traffic.packets_in, error })?;
            sent.map_err(|error| ForwardError::Sink { frames: traffic.packets_out, error })?;
            polled.result?;

            let stats = polled.rx.pool().stats();
            let (provider, posted) = (polled.rx.pool().provider(), polled.rx.posted() as usize);
            let report = PoolReport {
                name: handle.name().to_owned(),
                stats,
                provider,
                posted,
                in_use: stats.in_use(),
                lost: polled.rx.close().stats().in_use(),
                provider_allocs_at_10_percent: polled.provider_allocs_at_10_percent,
            };
            Ok(Report { traffic, seconds, phases: polled.phases, pools: vec![report], faults: window.faults() })
        })
    }
}

/// What a thread returned, or the panic it ended with.
fn join<T>(thread: &'static str, handle: ScopedJoinHandle<'_, T>) -> Result<T, ForwardError> {
    handle.join().map_err(|payload| ForwardError::panicked(thread, &*payload))
}
