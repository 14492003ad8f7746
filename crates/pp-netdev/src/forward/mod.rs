//! Everything together: a receiving NIC, a poll loop, a transmitting NIC and the thread that cleans up behind it.
//!
//! | thread | runs | touches |
//! |---|---|---|
//! | `rx0-device` | [`RxDevice`] | the source, the receive rings, the window |
//! | `rxN-napi`, one a queue | [`Napi`](crate::Napi) | its pool (as consumer), its two rings |
//! | `tx0-device` | [`TxDevice`] | the transmit rings, the window, the sink |
//! | `txN-clean`, one a queue | [`TxCleaner`](crate::TxCleaner) | its transmit ring, its pool (returns) |
//! | the caller's | [`Forwarder::run`] | nothing: it sleeps, calls the observer and watches the clock |
//!
//! Queue N is a receive and a transmit queue with a poll loop between, as drivers pair them in a channel: so packets that came
//! in by one queue go out in their order, and queues share nothing but the devices.
//!
//! An end of a ring that is dropped tells its peers, so whichever thread ends first, by its work's end, an error or a
//! panic, the others follow, and no page is left behind.

mod config;
mod error;
mod phases;
mod queue;
mod report;
pub(crate) mod watch;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use pp_core::{Host, PagePool};

use crate::bell::Bell;
use crate::control::QueueControl;
use crate::counters::Live;
use crate::frame::{FrameSink, FrameSource};
use crate::napi::NapiError;
use crate::nic::{QueuesError, RxDevice, TxDevice};
use crate::program::Program;
use crate::steer::SteeringTable;
use crate::window::DmaWindow;

pub use config::ForwardConfig;
pub use error::ForwardError;
pub use phases::Phase;
use queue::Queue;
pub use report::{PoolReport, Progress, Report, Traffic};
use watch::{StopOnExit, Watch};

/// Forwards frames from a source to a sink through two software NICs, with a pool a queue.
///
/// The pools must be built with `.dma(window.clone(), DmaDirection::Bidirectional)` on the window given here: one DMA
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
    queues: Vec<Queue<P>>,
    steering: SteeringTable,
    window: Arc<DmaWindow>,
    config: ForwardConfig,
}

impl<P: Program> Forwarder<P> {
    /// A forwarder of one queue that does nothing yet.
    pub fn new(pool: PagePool<Host>, window: Arc<DmaWindow>, program: P, config: ForwardConfig) -> Self {
        let (queues, steering) = (vec![Queue::new(pool, program)], SteeringTable::new(NonZeroU16::MIN));
        Forwarder { queues, steering, window, config }
    }

    /// A forwarder of as many queues as `steering` knows, each with a pool and a program of its own.
    ///
    /// Packets that came in by one queue go out in their order; two of different queues may change places. See
    /// [`QueueControl`].
    ///
    /// # Errors
    ///
    /// [`QueuesError::Count`] if there are more or fewer pools than queues.
    pub fn with_queues(
        pools: impl IntoIterator<Item = (PagePool<Host>, P)>,
        steering: SteeringTable,
        window: Arc<DmaWindow>,
        config: ForwardConfig,
    ) -> Result<Self, QueuesError> {
        let queues: Vec<_> = pools.into_iter().map(|(pool, program)| Queue::new(pool, program)).collect();
        if queues.len() != usize::from(steering.queues().get()) {
            return Err(QueuesError::Count { rings: queues.len(), steered: steering.queues() });
        }
        Ok(Forwarder { queues, steering, window, config })
    }

    /// The counters of the run to come, those of each queue, for a thread that wants to watch them by itself. See
    /// [`Live`].
    pub fn lives(&self) -> Vec<Arc<Live>> {
        self.queues.iter().map(|queue| Arc::clone(&queue.live)).collect()
    }

    /// The queues of the run to come, for threads that want to restart them while it goes on; see [`QueueControl`].
    pub fn controls(&self) -> Vec<QueueControl> {
        self.queues.iter().map(|queue| queue.control.clone()).collect()
    }

    /// Runs until the source is at its end, the limit or the time is reached or the stop flag is set, and everything
    /// that came in went out. `observer` is called on this thread as often as the configuration says.
    ///
    /// A run that is stopped while there is no page to receive into, and none comes back for a while, ends with the
    /// frame that waits for one counted as missed.
    ///
    /// A source that blocks for ever in [`next_frame`](FrameSource::next_frame) cannot be interrupted; one that is meant
    /// to be stopped looks at the flag that [`stop_by`](FrameSource::stop_by) tells it.
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
        let (lives, controls) = (self.lives(), self.controls());
        let Forwarder { queues, steering, window, config } = self;
        let device_bells = [(); 2].map(|()| Arc::new(Bell::new()));
        let (mut rx_rings, mut tx_rings, mut drivers) = (Vec::new(), Vec::new(), Vec::new());
        for queue in queues {
            let (device, driver) = queue.rings(&config, &device_bells);
            rx_rings.push((device.rx, Arc::clone(&queue.live)));
            tx_rings.push((device.tx, Arc::clone(&queue.live)));
            drivers.push((queue, driver));
        }
        let (rx_device, gates) = RxDevice::new(rx_rings, steering, Arc::clone(&window), config.on_no_buffer)?;
        let tx_device = TxDevice::new(tx_rings, Arc::clone(&window))?;

        let watch = Watch::new(&config);
        // A flag of its own, so that the caller can tell its stop from ours.
        let stop = &config.stop.child();
        source.stop_by(stop);
        sink.stop_by(stop);
        let start = Instant::now();
        thread::scope(|scope| {
            // Also when the observer panics, or a thread cannot be started: those that run must end.
            let _stop = StopOnExit(stop);
            let limit = config.limit;
            let rx_thread = watch.spawn(scope, "rx0-device", move || rx_device.run(source, limit, stop))?;
            let tx_thread = watch.spawn(scope, "tx0-device", move || tx_device.run(sink))?;
            let (mut napi_threads, mut clean_threads) = (Vec::new(), Vec::new());
            for (at, ((queue, ends), gate)) in drivers.into_iter().zip(gates).enumerate() {
                let (napi, cleaner) = queue.into_driver(at, ends, gate, &config);
                clean_threads.push(watch.spawn(scope, &format!("tx{at}-clean"), move || cleaner.run())?);
                let (watch, config, lives) = (&watch, &config, &*lives);
                let run = move || napi.run(stop, watch, config, lives);
                napi_threads.push(watch.spawn(scope, &format!("rx{at}-napi"), run)?);
            }

            watch.until_all_ended(&config, stop, start, || {
                observer(&Progress {
                    elapsed: start.elapsed(),
                    traffic: Traffic::read(&lives),
                    pools: controls.iter().map(QueueControl::stats).collect(),
                });
            });
            let seconds = start.elapsed().as_secs_f64();
            // All of them before any `?`: a panic explains more than the error it caused elsewhere.
            let received = join(rx_thread);
            let sent = join(tx_thread);
            let cleaned: Vec<_> = clean_threads.into_iter().map(join).collect();
            let polled: Vec<_> = napi_threads.into_iter().map(join).collect();
            let (received, sent) = (received?, sent?);
            let mut polled = polled.into_iter().collect::<Result<Vec<_>, _>>()?;
            cleaned.into_iter().collect::<Result<(), _>>()?;
            let traffic = Traffic::read(&lives);
            received.map_err(|error| ForwardError::Source { frames: traffic.packets_in, error })?;
            sent.map_err(|error| ForwardError::Sink { frames: traffic.packets_out, error })?;
            let failed = polled.iter_mut().filter_map(|outcome| std::mem::replace(&mut outcome.result, Ok(())).err());
            // One that is a cause, if there is one: other queues lost their device by it.
            if let Some(error) = failed.min_by_key(NapiError::is_consequence) {
                return Err(error.into());
            }

            let phases = phases::add_up(polled.iter().map(|outcome| &*outcome.phases));
            let pools = polled.into_iter().map(queue::Outcome::into_report).collect();
            Ok(Report { traffic, seconds, phases, pools, faults: window.faults() })
        })
    }
}

/// What a thread returned, or the panic it ended with.
fn join<T>(handle: ScopedJoinHandle<'_, T>) -> Result<T, ForwardError> {
    let thread = handle.thread().name().unwrap_or_default().to_owned();
    handle.join().map_err(|payload| ForwardError::panicked(thread, &*payload))
}
