//! The transmitting half of the NIC.

use std::io;
use std::sync::Arc;

use super::queues::{QueuesError, check_bells};
use crate::counters::Live;
use crate::frame::{Frame, FrameSink};
use crate::ring::{Completion, DeviceEnd, Left, Work};
use crate::window::DmaWindow;

/// Frames of one queue in a row, if there are that many, before the next queue has its turn; and completions before the driver
/// is interrupted: its bell costs a fence.
const BURST: u32 = 32;

/// Reads posted buffers and sends them over the wire: those of a queue in the order in which they were posted, the queues in
/// turns.
///
/// [`Napi`](crate::Napi) has an example.
#[derive(Debug)]
pub struct TxDevice {
    /// Each with its counters. They share the device's bell.
    queues: Vec<(DeviceEnd, Arc<Live>)>,
    window: Arc<DmaWindow>,
    /// The device's own memory, between the buffer and the wire: grows to the largest frame, which is no larger than its
    /// buffer ([`PostError::TooLong`](crate::ring::PostError::TooLong)).
    fifo: Vec<u8>,
}

impl TxDevice {
    /// A device on `window` with a queue on each of these rings, which share the device's bell, and the counters of each.
    ///
    /// # Errors
    ///
    /// [`QueuesError::Bells`].
    pub fn new(queues: Vec<(DeviceEnd, Arc<Live>)>, window: Arc<DmaWindow>) -> Result<Self, QueuesError> {
        check_bells(queues.iter().map(|(ring, _)| ring))?;
        Ok(TxDevice { queues, window, fifo: Vec::new() })
    }

    /// Transmits until all drivers have left [complete](Left::Complete) and everything they posted is out, and finishes the sink.
    /// If one of them left otherwise, transmits what is posted and leaves the output unfinished.
    ///
    /// # Errors
    ///
    /// What the sink said. The drivers then see the device as [`Left::Abandoned`] and take back what is posted.
    pub fn run<S: FrameSink + ?Sized>(mut self, sink: &mut S) -> io::Result<()> {
        loop {
            // In this order: what was posted before a driver left is there once we see that it has left.
            let (mut complete, mut abandoned) = (0, false);
            for (ring, _) in &self.queues {
                match ring.poster_left() {
                    None => {}
                    Some(Left::Complete) => complete += 1,
                    Some(Left::Abandoned) => abandoned = true,
                }
            }
            let mut sent = 0;
            for at in 0..self.queues.len() {
                sent += self.burst(at, sink)?;
            }
            if sent > 0 {
                continue;
            }
            sink.flush()?;
            if abandoned {
                return Ok(());
            }
            if complete == self.queues.len() {
                break;
            }
            self.wait(complete);
        }
        sink.finish()?;
        self.queues.into_iter().for_each(|(ring, _)| ring.finish());
        Ok(())
    }

    /// Sleeps until there is work, or more queues have been left than `left`.
    fn wait(&self, left: usize) {
        let Some((first, _)) = self.queues.first() else { return };
        let ready = |(ring, _): &(DeviceEnd, Arc<Live>)| ring.work().is_some();
        let gone = |(ring, _): &&(DeviceEnd, Arc<Live>)| ring.poster_left().is_some();
        first.bells().device.wait(|| self.queues.iter().any(ready) || self.queues.iter().filter(gone).count() > left);
    }

    /// Sends what one queue has, up to its turn's length. Returns how many frames that were.
    fn burst<S: FrameSink + ?Sized>(&mut self, at: usize, sink: &mut S) -> io::Result<u32> {
        let TxDevice { queues, window, fifo } = self;
        let (ring, live) = &mut queues[at];
        let mut sent = 0;
        while sent < BURST {
            let Some(work) = ring.work() else { break };
            transmit(ring, work, live, window, fifo, sink)?;
            sent += 1;
        }
        if sent > 0 {
            ring.interrupt();
        }
        Ok(sent)
    }
}

#[inline]
fn transmit<S: FrameSink + ?Sized>(
    ring: &mut DeviceEnd,
    work: Work,
    live: &Live,
    window: &DmaWindow,
    fifo: &mut Vec<u8>,
    sink: &mut S,
) -> io::Result<()> {
    let len = work.len as usize;
    if fifo.len() < len {
        fifo.resize(len, 0);
    }
    let bytes = &mut fifo[..len];
    // SAFETY: (1) as in `nic::receive`: at a posted buffer's address this window reaches its page's unit,
    // which is out and valid, or nothing (obligations 2 and 6 of `MemoryProvider`); (2) the descriptor is ours, so
    // its buffer, which is no shorter than `len`, was consumed by `Poster::post` and is given back by `complete`; in
    // between nobody writes its bytes.
    if unsafe { window.read(work.addr, 0, bytes) }.is_err() {
        // The window has counted what was wrong; here it is one more frame that did not go out.
        live.tx.faults.add(1);
        ring.complete(Completion::Failed, 0, work.mark);
        return Ok(());
    }
    sink.send_frame(Frame { bytes, mark: work.mark })?;
    live.tx.frames.add(1);
    live.tx.bytes.add(len);
    ring.complete(Completion::Done, work.len, work.mark);
    Ok(())
}
