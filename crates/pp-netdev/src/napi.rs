//! The poll loop: packets from a receive queue through a program into a transmit queue.
//!
//! It owns the receive queue and with it the pool's consumer, so everything it does with pages is on the direct path:
//! no lock, no atomic read-modify-write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::bell::Bell;
use crate::control::{Inbox, QueueControl};
use crate::counters::Live;
use crate::program::{Program, Verdict};
use crate::ring::Left;
use crate::rx_queue::{GRACE, Received, RefillError, RxQueue};
use crate::stop::StopFlag;
use crate::tx_queue::TxQueue;

/// The most packets one poll takes, so that a busy queue lets other work have its turn: completions are announced, empty
/// descriptors refilled. `NAPI_POLL_WEIGHT` in the kernel, and what the pool's refill size is made for. See [`Napi`].
pub const NAPI_BUDGET: usize = 64;

/// How long to sleep at most when the pool has no page: they may come back in ways no bell is rung for, from another
/// pool on the same provider for instance.
const STARVED: Duration = Duration::from_millis(1);

/// How long to go without a page once the run was told to stop: enough for pages that are on their way back, unless it
/// is the wire they wait for.
const PATIENCE: Duration = Duration::from_millis(10);

/// Why a poll ended. See [`Napi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No packet is left.
    Empty,
    /// The budget is used up; there may be more.
    Budget,
    /// The transmit ring is full. The next packet stays where it is.
    TxFull,
}

/// What a poll did. See [`Napi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polled {
    /// Packets taken, at most the budget.
    pub work: usize,
    /// Why there were no more.
    pub ended: Ended,
}

/// Why the poll loop gave up. See [`Napi`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NapiError {
    /// The device cannot be given pages.
    #[error(transparent)]
    Refill(#[from] RefillError),
    /// Nobody takes packets any more.
    #[error("the transmitting device stopped; its own error says why")]
    TransmitterLeft,
    /// The receiving device went without having said that it is at its end.
    #[error("the receiving device stopped; its own error says why")]
    ReceiverLeft,
}

impl NapiError {
    /// Whether something else went wrong before.
    pub(crate) fn is_consequence(&self) -> bool {
        matches!(self, NapiError::TransmitterLeft | NapiError::ReceiverLeft)
    }
}

/// One poll loop: a receive queue, what is done with its packets, and where they go.
///
/// Kernel counterpart: `struct napi_struct` and a driver's poll function (Linux 7.3, `include/linux/netdevice.h`).
///
/// # Examples
///
/// A generator through both NICs into nothing, wired by hand; [`Forwarder`](crate::Forwarder) does just this:
///
/// ```
/// use std::sync::Arc;
/// # use pp_core::{DmaDirection, Home, PagePool, doc::Heap};
/// use pp_netdev::port::{FrameSize, Generator, Null};
/// use pp_netdev::ring::{Bells, ring};
/// use pp_netdev::steer::SteeringTable;
/// use pp_netdev::{Action, Bell, DmaWindow, Live, NAPI_BUDGET, Napi, OnNoBuffer, RxDevice, RxQueue, StopFlag};
/// use pp_netdev::{Ended, TxCleaner, TxDevice, TxQueue};
///
/// # let window = Arc::new(DmaWindow::new(64, 4096)?);
/// # let pool = PagePool::builder(Home::new(Heap::new(4096, 64)));
/// # let pool = pool.dma(window.clone(), DmaDirection::Bidirectional).returners(1, 64).build()?;
/// let (handle, live, stop) = (pool.handle(), Arc::new(Live::default()), StopFlag::new());
/// let [napi_bell, rx_bell, tx_bell, clean_bell] = [(); 4].map(|()| Arc::new(Bell::new()));
/// let rx_bells = Bells { poster: napi_bell.clone(), device: rx_bell, cleaner: napi_bell.clone() };
/// let tx_bells = Bells { poster: napi_bell.clone(), device: tx_bell, cleaner: clean_bell };
/// let (rx_poster, rx_end, rx_cleaner) = ring(16.try_into()?, rx_bells);
/// let (tx_poster, tx_end, tx_cleaner) = ring(16.try_into()?, tx_bells);
///
/// let one_queue = SteeringTable::new(1.try_into()?);
/// let (rx_device, _) = RxDevice::new(vec![(rx_end, live.clone())], one_queue, window.clone(), OnNoBuffer::Wait)?;
/// let tx_device = TxDevice::new(vec![(tx_end, live.clone())], window.clone())?;
/// let cleaner = TxCleaner::new(tx_cleaner, &handle, live.clone());
/// let queues = (RxQueue::new(pool, rx_poster, rx_cleaner), TxQueue::new(tx_poster));
/// let mut napi = Napi::new(queues.0, queues.1, Action::SwapMac, live.clone());
/// napi.open()?; // pages for the device; `run` would do it too
/// assert_eq!((napi.rx().posted(), napi.poll(NAPI_BUDGET)?.ended), (16, Ended::Empty));
///
/// let mut sink = Null::default();
/// let rx = std::thread::scope(|scope| {
///     scope.spawn(|| rx_device.run(&mut Generator::new(FrameSize::MIN), Some(1000.try_into().unwrap()), &stop));
///     scope.spawn(|| tx_device.run(&mut sink));
///     scope.spawn(|| cleaner.run());
///     let (rx, result) = napi.run(&napi_bell, &stop, |_, _| ());
///     result.map(|()| rx)
/// })?;
/// let pool = rx.close(); // what was posted is back in it
/// assert_eq!((sink.frames(), live.cleaned.buffers.get(), pool.stats().in_use()), (1000, 1000, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Napi<P> {
    rx: RxQueue,
    tx: TxQueue,
    program: P,
    live: Arc<Live>,
    starved: bool,
    inbox: Inbox,
}

impl<P: Program> Napi<P> {
    /// A loop that has not run yet.
    pub fn new(rx: RxQueue, tx: TxQueue, program: P, live: Arc<Live>) -> Self {
        Napi { rx, tx, program, live, starved: false, inbox: Inbox::closed() }
    }

    /// Lets other threads ask for things through `control`, which are done between two polls; see [`QueueControl`].
    #[must_use]
    pub fn with_control(self, control: &QueueControl) -> Self {
        self.with_inbox(control.inbox())
    }

    pub(crate) fn with_inbox(mut self, inbox: Inbox) -> Self {
        self.inbox = inbox;
        self
    }

    /// The receive queue.
    pub fn rx(&mut self) -> &mut RxQueue {
        &mut self.rx
    }

    /// Handles up to `budget` packets, announces what it sent and refills the receive ring. Never blocks.
    ///
    /// # Errors
    ///
    /// [`RefillError`] if pages can never be posted. Having none just now is no error.
    pub fn poll(&mut self, budget: usize) -> Result<Polled, RefillError> {
        let polled = self.handle(budget);
        if polled.work > 0 {
            self.tx.kick();
        }
        let counters = &self.live.napi;
        counters.polls.add(1);
        counters.received.add(polled.work);
        counters.largest_poll.set(counters.largest_poll.get().max(polled.work));
        counters.tx_full.add(usize::from(polled.ended == Ended::TxFull));
        self.refill()?;
        Ok(polled)
    }

    fn handle(&mut self, budget: usize) -> Polled {
        let mut work = 0;
        let mut dropped = 0;
        let ended = loop {
            if work == budget {
                break Ended::Budget;
            }
            // Before a packet is taken, because there is no way to put one back.
            if !self.tx.has_room() {
                break Ended::TxFull;
            }
            let Some(Received { mut buffer, len, mark }) = self.rx.receive() else { break Ended::Empty };
            work += 1;
            let packet = buffer.bytes_mut().get_mut(..len as usize).unwrap_or_default();
            match self.program.run(packet) {
                Verdict::Forward => {
                    if let Err(unsent) = self.tx.send(buffer, len, mark) {
                        // There was room, and the buffer came through a ring: its pool was closed meanwhile, by
                        // `RxQueue::free_retired`.
                        self.rx.recycle(unsent.into_buffer());
                        self.live.napi.discarded.add(1);
                    }
                }
                Verdict::Drop => {
                    self.rx.recycle(buffer);
                    dropped += 1;
                }
            }
        };
        self.live.napi.dropped.add(dropped);
        Polled { work, ended }
    }

    /// Refills the ring as far as the pool's pages go.
    fn refill(&mut self) -> Result<(), RefillError> {
        let refilled = self.rx.refill();
        self.live.napi.posted.set(self.rx.posted() as usize);
        self.starved = match refilled {
            Ok(()) => false,
            Err(error) if error.is_passing() => {
                self.live.napi.starved.add(1);
                true
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Fills the receive ring for the first time.
    ///
    /// # Errors
    ///
    /// [`RefillError`] if not even one page could be posted.
    pub fn open(&mut self) -> Result<(), RefillError> {
        let filled = self.rx.refill();
        self.live.napi.posted.set(self.rx.posted() as usize);
        match filled {
            Err(error) if error.is_passing() && self.rx.posted() > 0 => Ok(()),
            other => other,
        }
    }

    /// Polls until the receiving device has left and its last packet is handled, sleeping on `bell` in between; then
    /// ends the transmit queue. `after` runs after each poll.
    ///
    /// If `stop` is set while the pool has no page for the device, and none comes for a while, the receive queue is
    /// shut: else a device that waits for a page would never see that it should stop.
    ///
    /// Gives the receive queue back with its pages still posted.
    ///
    /// # Errors
    ///
    /// [`NapiError`]; `stop` is set then and what the receiving device still delivers is thrown away.
    pub fn run(
        mut self,
        bell: &Bell,
        stop: &StopFlag,
        mut after: impl FnMut(&mut RxQueue, &Live),
    ) -> (RxQueue, Result<(), NapiError>) {
        let result = self.poll_until_end(bell, stop, &mut after);
        self.inbox.close();
        match result {
            Ok(()) => self.tx.finish(),
            Err(_) => {
                // First, so that the other threads end although we go on for a while.
                drop(self.tx);
                stop.set();
                discard(&mut self.rx, bell, &self.live);
            }
        }
        self.live.napi.posted.set(self.rx.posted() as usize);
        (self.rx, result)
    }

    fn poll_until_end(
        &mut self,
        bell: &Bell,
        stop: &StopFlag,
        after: &mut impl FnMut(&mut RxQueue, &Live),
    ) -> Result<(), NapiError> {
        let mut starved_and_stopped_since = None;
        self.open()?;
        loop {
            // In this order: what the device completed before it left is there once we see that it has left.
            let rx_left = self.rx.device_left();
            if self.inbox.has_requests() {
                self.inbox.serve(&mut self.rx);
                continue;
            }
            if self.tx.peer_left().is_some() {
                return Err(NapiError::TransmitterLeft);
            }
            let polled = self.poll(NAPI_BUDGET)?;
            after(&mut self.rx, &self.live);
            if polled.work > 0 || !self.starved {
                starved_and_stopped_since = None;
            }
            match polled.ended {
                Ended::Budget => {}
                Ended::TxFull => {
                    self.sleep(bell, || self.tx.has_room());
                }
                Ended::Empty if polled.work > 0 => {}
                Ended::Empty => match rx_left {
                    Some(Left::Complete) => return Ok(()),
                    Some(Left::Abandoned) => return Err(NapiError::ReceiverLeft),
                    None if self.starved => {
                        if stop.is_set() {
                            let since = starved_and_stopped_since.get_or_insert_with(Instant::now);
                            if since.elapsed() >= PATIENCE {
                                // The device misses the frame it holds, and leaves.
                                self.rx.shut();
                                continue;
                            }
                        }
                        bell.nap(STARVED);
                    }
                    None => self.sleep(bell, || self.rx.has_received() || self.rx.device_left().is_some()),
                },
            }
        }
    }

    /// Sleeps until `ready`, or there is something else to do.
    fn sleep(&self, bell: &Bell, ready: impl Fn() -> bool) {
        let ready = || ready() || self.tx.peer_left().is_some() || self.inbox.has_requests();
        if self.rx.retired() == 0 {
            bell.wait(ready);
        } else {
            // No bell is rung for a replaced pool whose pages are home.
            bell.wait_within(ready, GRACE);
        }
    }
}

/// Takes packets nobody wants until the device has left.
fn discard(rx: &mut RxQueue, bell: &Bell, live: &Live) {
    // Else a device that waits for a page would wait for ever.
    rx.shut();
    loop {
        let left = rx.device_left();
        while let Some(received) = rx.receive() {
            rx.recycle(received.buffer);
            live.napi.discarded.add(1);
        }
        if left.is_some() {
            return;
        }
        bell.wait(|| rx.has_received() || rx.device_left().is_some());
    }
}
