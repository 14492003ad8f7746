//! The transmitting half of the NIC.

use std::io;
use std::sync::Arc;

use crate::counters::Live;
use crate::frame::{Frame, FrameSink};
use crate::ring::{Completion, DeviceEnd, Left, Work};
use crate::window::DmaWindow;

/// Completions before the driver is interrupted, if there is that much to do: its bell costs a fence.
const COALESCE: u32 = 32;

/// Reads posted buffers and sends them over the wire, in the order in which they were posted.
///
/// [`Napi`](crate::Napi) has an example.
#[derive(Debug)]
pub struct TxDevice {
    ring: DeviceEnd,
    window: Arc<DmaWindow>,
    live: Arc<Live>,
    /// The device's own memory, between the buffer and the wire: grows to the largest frame, which is no larger than its
    /// buffer ([`PostError::TooLong`](crate::ring::PostError::TooLong)).
    fifo: Vec<u8>,
}

impl TxDevice {
    /// A device on `ring` and `window`.
    pub fn new(ring: DeviceEnd, window: Arc<DmaWindow>, live: Arc<Live>) -> Self {
        TxDevice { ring, window, live, fifo: Vec::new() }
    }

    /// Transmits until the driver has left and everything it posted is out. If it left
    /// [complete](Left::Complete), the sink is finished then; otherwise the output is not whole and stays unfinished.
    ///
    /// # Errors
    ///
    /// What the sink said. The driver then sees the device as [`Left::Abandoned`] and takes back what is posted.
    pub fn run<S: FrameSink + ?Sized>(mut self, sink: &mut S) -> io::Result<()> {
        let mut unannounced = 0;
        loop {
            while let Some(work) = self.ring.work() {
                self.transmit(work, sink)?;
                unannounced += 1;
                if unannounced == COALESCE {
                    self.ring.interrupt();
                    unannounced = 0;
                }
            }
            self.ring.interrupt();
            unannounced = 0;
            // In this order: what was posted before the driver left is there once we see that it has left.
            let left = self.ring.poster_left();
            if self.ring.work().is_some() {
                continue;
            }
            match left {
                None => self.ring.wait(),
                Some(Left::Abandoned) => return Ok(()),
                Some(Left::Complete) => break,
            }
        }
        sink.finish()?;
        self.ring.finish();
        Ok(())
    }

    fn transmit<S: FrameSink + ?Sized>(&mut self, work: Work, sink: &mut S) -> io::Result<()> {
        let len = work.len as usize;
        if self.fifo.len() < len {
            self.fifo.resize(len, 0);
        }
        let bytes = &mut self.fifo[..len];
        // SAFETY: (1) as in `RxDevice::receive`: at a posted buffer's address this window reaches its page's unit,
        // which is out and valid, or nothing (obligations 2 and 6 of `MemoryProvider`); (2) the descriptor is ours, so
        // its buffer, which is no shorter than `len`, was consumed by `Poster::post` and is given back by `complete`; in
        // between nobody writes its bytes.
        if unsafe { self.window.read(work.addr, 0, bytes) }.is_err() {
            // The window has counted what was wrong; here it is one more frame that did not go out.
            self.live.tx.faults.add(1);
            self.ring.complete(Completion::Failed, 0, work.mark);
            return Ok(());
        }
        sink.send_frame(Frame { bytes, mark: work.mark })?;
        self.live.tx.frames.add(1);
        self.live.tx.bytes.add(len);
        self.ring.complete(Completion::Done, work.len, work.mark);
        Ok(())
    }
}
