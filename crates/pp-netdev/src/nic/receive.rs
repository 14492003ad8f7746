//! The receiving half of the NIC.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::counters::Live;
use crate::frame::{Frame, FrameSource};
use crate::ring::{Completion, DeviceEnd, Work};
use crate::stop::StopFlag;
use crate::window::DmaWindow;

/// What the device does with a frame when no buffer is posted. See [`Napi`](crate::Napi).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnNoBuffer {
    /// Holds the wire until the driver posts one or leaves: nothing is lost while it is there, as with Ethernet flow
    /// control (IEEE 802.3x pause).
    #[default]
    Wait,
    /// Loses the frame and counts it (`rx_missed_errors` in the kernel): what a NIC on a busy wire does.
    Drop,
}

/// Takes frames off the wire and writes them into posted buffers.
///
/// [`Napi`](crate::Napi) has an example.
#[derive(Debug)]
pub struct RxDevice {
    ring: DeviceEnd,
    window: Arc<DmaWindow>,
    live: Arc<Live>,
    on_no_buffer: OnNoBuffer,
}

impl RxDevice {
    /// A device on `ring` and `window`.
    pub fn new(ring: DeviceEnd, window: Arc<DmaWindow>, live: Arc<Live>, on_no_buffer: OnNoBuffer) -> Self {
        RxDevice { ring, window, live, on_no_buffer }
    }

    /// Receives until the source is at its end, `limit` frames were taken from it, `stop` is set or the driver left.
    ///
    /// A frame that was taken from the source is delivered even if `stop` is set meanwhile, unless the driver leaves
    /// before it has a buffer for it: then it is missed. A device that [waits](OnNoBuffer::Wait) for one does not look
    /// at `stop`; its driver does, and leaves if none comes ([`Napi::run`](crate::Napi::run)).
    ///
    /// # Errors
    ///
    /// What the source said. The driver then sees the device as [`Left::Abandoned`](crate::ring::Left::Abandoned).
    pub fn run<S>(mut self, source: &mut S, limit: Option<NonZeroU64>, stop: &StopFlag) -> io::Result<()>
    where
        S: FrameSource + ?Sized,
    {
        let mut left = limit.map_or(u64::MAX, NonZeroU64::get);
        while left > 0 && !stop.is_set() {
            let Some(frame) = source.next_frame()? else { break };
            left -= 1;
            self.live.rx.frames.add(1);
            self.live.rx.bytes.add(frame.bytes.len());
            let Some(work) = self.buffer() else {
                self.live.rx.missed.add(1);
                if self.ring.poster_left().is_some() {
                    break;
                }
                continue;
            };
            self.receive(frame, work);
        }
        self.ring.finish();
        Ok(())
    }

    /// The next posted buffer, waited for if that is how the device was set up. `None` then means that the driver left.
    fn buffer(&self) -> Option<Work> {
        if let Some(work) = self.ring.work() {
            return Some(work);
        }
        if self.on_no_buffer == OnNoBuffer::Wait {
            self.live.rx.waits.add(1);
            self.ring.wait();
        }
        self.ring.work()
    }

    fn receive(&mut self, frame: Frame<'_>, work: Work) {
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
        let written = unsafe { self.window.write(work.addr, 0, frame.bytes) };
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
