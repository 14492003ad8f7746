//! One queue of a port, as the thread that runs it has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pp_core::{GivenBack, Host, PagePool};
use pp_xdp::af_xdp::{SendError, WakeError, XskQueue};
use pp_xdp::{Packet, return_buff};

use super::state::PortState;
use crate::forward::PoolReport;
use crate::program::{Program, Verdict};

/// Packets taken at a time, as in the kernel's polls: one look at each ring and at most one call for all of them.
pub(super) const BURST: usize = 64;

/// How long an interface that is down is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// A queue and its pool.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) queue: XskQueue,
    pub(super) pool: PagePool<Host>,
    pub(super) state: Arc<PortState>,
    /// Not to be woken before: its interface is down.
    not_before: Option<Instant>,
}

/// What one burst did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Burst {
    pub(super) frames: usize,
    pub(super) bytes: usize,
    pub(super) sent: usize,
    pub(super) sent_bytes: usize,
    /// By the program.
    pub(super) dropped: usize,
    /// Because the other side had no room, or no page for a copy.
    pub(super) unsent: usize,
}

/// Which of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    From,
    To,
}

/// Whose pages the two sides of a lane receive into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Pages of one memory, which move.
    Shared,
    /// Two memories, between which bytes are copied.
    Separate,
}

/// Whether a burst has had the kernel look at a full ring. It does so once: what the kernel can't send for one packet it can't for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Not yet.
    Due,
    /// It has.
    Done,
    /// It has, which made no room, and nothing was sent since.
    InVain,
}

// === impl Side ===

impl Side {
    pub(super) fn new(queue: XskQueue, pool: PagePool<Host>, state: Arc<PortState>) -> Self {
        Side { queue, pool, state, not_before: None }
    }

    /// Chunks that were sent and have not come back.
    pub(super) fn outstanding(&self) -> usize {
        self.queue.counters().outstanding()
    }

    /// Chunks that lie in the fill ring, or are with packets in the receive ring.
    pub(super) fn posted(&self) -> usize {
        self.queue.counters().posted()
    }

    /// Has the kernel look at what was sent; not too often where the interface is down.
    ///
    /// # Errors
    ///
    /// What does not pass.
    pub(super) fn flush(&mut self) -> Result<(), WakeError> {
        if self.not_before.is_some_and(|then| Instant::now() < then) {
            return Ok(());
        }
        let flushed = self.queue.tx.flush();
        self.note(flushed)
    }

    /// Asks the kernel how the queue is: where nothing comes in and nothing goes out, nobody is told otherwise.
    ///
    /// # Errors
    ///
    /// What does not pass.
    pub(super) fn probe(&mut self) -> Result<(), WakeError> {
        let woken = self.queue.rx.wake();
        self.note(woken)
    }

    /// Whether its interface was down when it was used last.
    pub(super) fn is_down(&self) -> bool {
        self.not_before.is_some()
    }

    fn note(&mut self, result: Result<(), WakeError>) -> Result<(), WakeError> {
        match result {
            Ok(()) if self.not_before.is_none() => Ok(()),
            Ok(()) => {
                self.not_before = None;
                self.state.set_up();
                Ok(())
            }
            Err(WakeError::Down) => {
                self.not_before = Some(Instant::now() + PAUSE);
                self.state.set_down();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The pool's figures while nobody uses it; those of the kernel and of afterwards are added by whoever knows them.
    pub(super) fn report(&self, provider_allocs_at_10_percent: Option<usize>) -> PoolReport {
        let (handle, stats) = (self.pool.handle(), self.pool.stats());
        PoolReport {
            id: handle.id(),
            name: handle.name().to_owned(),
            stats,
            provider: self.pool.provider(),
            posted: self.posted(),
            in_use: stats.in_use(),
            kernel_held: 0,
            lost: 0,
            provider_allocs_at_10_percent,
        }
    }

    /// Whether hardly anything is posted: the pool had no pages when it was asked last.
    pub(super) fn is_hungry(&self) -> bool {
        self.posted() < BURST
    }
}

/// Takes up to `budget` packets in, and sends those on that the program lets pass: their pages move, or if `to` is in other
/// memory their bytes are copied.
///
/// # Errors
///
/// The side that failed, with what does not pass.
pub(super) fn forward<P: Program>(
    from: &mut Side,
    to: &mut Side,
    memory: Memory,
    program: &mut P,
    budget: usize,
) -> Result<Burst, (Which, WakeError)> {
    let (mut burst, mut look) = (Burst::default(), Look::Due);
    for mut buff in from.queue.rx.receive(budget) {
        burst.frames += 1;
        let len = buff.len();
        burst.bytes += len;
        // What the program sees of a packet in several pages is the first, as in the kernel.
        match program.run(buff.data_mut().unwrap_or_default()) {
            Verdict::Drop => {
                burst.dropped += 1;
                return_buff(buff, &mut from.pool);
            }
            Verdict::Forward => {
                let sent = send(buff.into_packet(), to, memory, &mut from.pool, &mut look);
                if sent.map_err(|error| (Which::To, error))? {
                    burst.sent += 1;
                    burst.sent_bytes += len;
                } else {
                    burst.unsent += 1;
                }
            }
        }
    }
    if look != Look::InVain {
        settle(to, memory, &mut from.pool).map_err(|error| (Which::To, error))?;
    }
    if burst.frames > 0 || from.is_hungry() {
        // No page just now: they come back with what is completed.
        let _ = from.queue.rx.refill(&mut from.pool);
    }
    if from.queue.rx.needs_wake() {
        from.probe().map_err(|error| (Which::From, error))?;
    }
    Ok(burst)
}

/// Has the kernel look at what was sent, and takes back what is done, in bulk: into the pool that it is from.
///
/// # Errors
///
/// What does not pass.
pub(super) fn settle(to: &mut Side, memory: Memory, from: &mut PagePool<Host>) -> Result<(), WakeError> {
    if to.outstanding() == 0 {
        return Ok(());
    }
    to.flush()?;
    let Side { queue, pool, .. } = to;
    queue.tx.complete_into(match memory {
        Memory::Shared => from,
        Memory::Separate => pool,
    });
    Ok(())
}

/// Sends one packet, or drops it where there is no room. Says whether it was sent.
#[inline]
fn send(
    packet: Packet,
    to: &mut Side,
    memory: Memory,
    from: &mut PagePool<Host>,
    look: &mut Look,
) -> Result<bool, WakeError> {
    let mut sent = to.queue.tx.send_copy(packet, &mut to.pool);
    if *look == Look::Due {
        sent = match sent {
            Err(GivenBack { buffer, reason: SendError::Full }) => {
                settle(to, memory, from)?;
                *look = Look::InVain;
                to.queue.tx.send_copy(buffer, &mut to.pool)
            }
            other => other,
        };
    }
    if sent.is_ok() && *look == Look::InVain {
        *look = Look::Done;
    }
    // Dropped here, a packet that was given back goes home.
    Ok(sent.is_ok())
}
