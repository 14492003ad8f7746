//! The receiving half of the NIC.

use std::io;
use std::num::NonZeroU64;

use super::gate::{Attention, DeviceGate, QueueGate};
use super::queues::{QueuesError, check_bells};
use crate::counters::Live;
use crate::frame::{Frame, FrameSource};
use crate::ring::{Completion, DeviceEnd, Work};
use crate::steer::SteeringTable;
use crate::stop::StopFlag;
use crate::sync;
use crate::window::DmaWindow;

/// What the device does with a frame when no buffer is posted in the queue that it is for. See
/// [`Napi`](crate::Napi).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoBuffer {
    /// Holds the wire until the driver posts one or leaves: nothing is lost while it is there, as with Ethernet flow
    /// control (IEEE 802.3x pause). The other queues wait as well.
    #[default]
    Wait,
    /// Loses the frame and counts it (`rx_missed_errors` in the kernel): what a NIC on a busy wire does.
    Drop,
}

/// Takes frames off the wire and writes them into buffers posted in the queue that the steering table names.
///
/// [`Napi`](crate::Napi) has an example.
#[derive(Debug)]
pub struct RxDevice {
    queues: Vec<Queue>,
    steering: SteeringTable,
    window: std::sync::Arc<DmaWindow>,
    on_no_buffer: OnNoBuffer,
    attention: sync::Arc<Attention>,
    /// Requests of drivers that were looked at.
    seen: usize,
}

/// One queue as the device sees it.
#[derive(Debug)]
struct Queue {
    ring: DeviceEnd,
    gate: DeviceGate,
    live: std::sync::Arc<Live>,
}

impl RxDevice {
    /// A device on `window` with a queue on each of these rings, which share the device's bell, and the counters of each. Also
    /// the registers of the queues, in their order, for drivers that want to [restart](crate::RxQueue::restart) them.
    ///
    /// # Errors
    ///
    /// [`QueuesError`].
    pub fn new(
        rings: Vec<(DeviceEnd, std::sync::Arc<Live>)>,
        steering: SteeringTable,
        window: std::sync::Arc<DmaWindow>,
        on_no_buffer: OnNoBuffer,
    ) -> Result<(Self, Vec<QueueGate>), QueuesError> {
        let Some((first, _)) = rings.first().filter(|_| rings.len() == usize::from(steering.queues().get())) else {
            return Err(QueuesError::Count { rings: rings.len(), steered: steering.queues() });
        };
        let bell = std::sync::Arc::clone(&first.bells().device);
        check_bells(rings.iter().map(|(ring, _)| ring))?;
        let attention = Attention::new(bell);
        let (queues, gates) = rings
            .into_iter()
            .map(|(ring, live)| {
                let (gate, driver) = DeviceGate::new(&ring, &attention);
                (Queue { ring, gate, live }, driver)
            })
            .unzip();
        Ok((RxDevice { queues, steering, window, on_no_buffer, attention, seen: 0 }, gates))
    }

    /// Receives until the source is at its end, `limit` frames were taken from it, `stop` is set or a driver left.
    ///
    /// A frame that was taken from the source is delivered even if `stop` is set meanwhile, unless the driver leaves
    /// before it has a buffer for it: then it is missed. A device that [waits](OnNoBuffer::Wait) for one does not look
    /// at `stop`; its driver does, and leaves if none comes ([`Napi::run`](crate::Napi::run)).
    ///
    /// What drivers ask for is done between two frames.
    ///
    /// # Errors
    ///
    /// What the source said. The drivers then see the device as [`Left::Abandoned`](crate::ring::Left::Abandoned).
    pub fn run<S>(mut self, source: &mut S, limit: Option<NonZeroU64>, stop: &StopFlag) -> io::Result<()>
    where
        S: FrameSource + ?Sized,
    {
        let mut left = limit.map_or(u64::MAX, NonZeroU64::get);
        while left > 0 && !stop.is_set() {
            let Some(frame) = source.next_frame()? else { break };
            left -= 1;
            self.attend();
            // Below the number of queues, which `new` has compared.
            let at = usize::from(self.steering.queue_of(frame.bytes));
            let rx = &self.queues[at].live.rx;
            rx.frames.add(1);
            rx.bytes.add(frame.bytes.len());
            let Some(work) = self.buffer(at) else {
                self.queues[at].live.rx.missed.add(1);
                if self.queues[at].ring.poster_left().is_some() {
                    break;
                }
                continue;
            };
            self.queues[at].receive(frame, work, &self.window);
        }
        self.queues.into_iter().for_each(|queue| queue.ring.finish());
        Ok(())
    }

    /// Does what drivers asked for.
    #[inline]
    fn attend(&mut self) {
        let asked = self.attention.asked();
        if asked != self.seen {
            self.seen = asked;
            self.answer();
        }
    }

    #[cold]
    fn answer(&mut self) {
        let window = &self.window;
        let can_use = |ring: &DeviceEnd| {
            let Some(work) = ring.work() else { return true };
            window.reaches(work.addr, work.len as usize)
        };
        for queue in &mut self.queues {
            queue.gate.answer(&mut queue.ring, can_use);
        }
    }

    /// The queue's next posted buffer, waited for if that is how the device was set up. `None` then means that the driver
    /// left.
    #[inline]
    fn buffer(&mut self, at: usize) -> Option<Work> {
        let queue = &self.queues[at];
        match queue.ring.work() {
            Some(work) if !queue.gate.is_stopped() => Some(work),
            _ => self.wait_for_buffer(at),
        }
    }

    #[cold]
    fn wait_for_buffer(&mut self, at: usize) -> Option<Work> {
        let wait = self.on_no_buffer == OnNoBuffer::Wait;
        self.queues[at].live.rx.waits.add(usize::from(wait));
        loop {
            let Queue { ring, gate, .. } = &self.queues[at];
            // In this order: what was posted before the driver left is there once we see that it has left.
            let left = ring.poster_left().is_some();
            let work = if gate.is_stopped() { None } else { ring.work() };
            if work.is_some() || left || !wait {
                return work;
            }
            self.attention
                .wait(self.seen, || ring.poster_left().is_some() || (!gate.is_stopped() && ring.work().is_some()));
            self.attend();
        }
    }
}

impl Queue {
    #[inline]
    fn receive(&mut self, frame: Frame<'_>, work: Work, window: &DmaWindow) {
        if frame.bytes.len() > work.len as usize {
            // As hardware does with a frame beyond its limit: counted, and the descriptor completed with an error. It must not
            // stay: larger buffers may be posted behind it.
            self.live.rx.length_errors.add(1);
            self.ring.complete(Completion::Failed, 0, frame.mark);
            self.ring.interrupt();
            return;
        }
        // SAFETY: (1) the address is that of a buffer that was posted: the pool mapped its page's unit and unmaps it
        // before the unit goes home, or the provider did (obligation 6 of `MemoryProvider`). At it this window therefore
        // reaches that unit or nothing, and the unit's memory is valid while it is out (obligation 2); (2) the
        // descriptor is ours, so its buffer was consumed by `Poster::post` and is given back by `complete` below; the
        // frame is no longer than the room that was posted, which is the buffer's; in between nobody has a reference
        // to the buffer's bytes, and no other device has their address.
        let written = unsafe { window.write(work.addr, 0, frame.bytes) };
        let (completion, len) = match written {
            Ok(()) => (Completion::Done, frame.bytes.len() as u32),
            Err(_) => {
                // The window has counted what was wrong; here it is one more frame that did not arrive.
                self.live.rx.faults.add(1);
                (Completion::Failed, 0)
            }
        };
        self.ring.complete(completion, len, frame.mark);
        // Each frame, because the source may keep us waiting for the next one for as long as it likes.
        self.ring.interrupt();
    }
}
