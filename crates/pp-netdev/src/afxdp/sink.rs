//! A network interface as a sink of frames.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pp_xdp::ETH_HLEN;
use pp_xdp::af_xdp::SendError;

use super::error::{LinkError, PortError};
use super::port::AfxdpPort;
use super::side::{BURST, Side};
use super::solo::{Solo, SoloReport};
use super::state::PortState;
use crate::frame::{Frame, FrameSink};
use crate::stop::StopFlag;

/// How long a full ring is left alone.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a run that is to end waits for what was sent, and for a ring that nothing leaves.
const LAST_SENT: Duration = Duration::from_millis(500);

/// A network interface that frames go out to, each copied into a page.
///
/// Frames go out by bursts, at the latest with [`flush`](FrameSink::flush). Where the ring is full it waits, and for an interface that is down,
/// until the run is stopped. Frames without a whole Ethernet header are dropped and counted. It does not wait for pages that can't
/// come: its pool has to have some.
///
/// # Examples
///
/// ```no_run
/// use pp_netdev::afxdp::{AfxdpPort, AfxdpSink};
/// use pp_netdev::{Frame, FrameSink};
///
/// /// A port as `AfxdpPort` shows, for `Role::Sends`.
/// fn one_broadcast(port: AfxdpPort) -> Result<(), Box<dyn std::error::Error>> {
///     let mut sink = AfxdpSink::new(port)?;
///     sink.send_frame(Frame { bytes: &[0xff; 60], mark: 0 })?;
///     sink.finish()?;
///     assert_eq!(sink.close().copied_bytes, 60);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct AfxdpSink {
    solo: Solo,
    stop: StopFlag,
    /// Frames in the ring that the kernel has not been shown.
    kept: usize,
    too_short: u64,
}

// === impl AfxdpSink ===

impl AfxdpSink {
    /// Frames go out by the one queue of a port.
    ///
    /// # Errors
    ///
    /// [`PortError::OneQueue`] if it has more.
    pub fn new(port: AfxdpPort) -> Result<Self, PortError> {
        Ok(AfxdpSink { solo: Solo::new(port)?, stop: StopFlag::new(), kept: 0, too_short: 0 })
    }

    /// How the interface is. See [`AfxdpSink`].
    pub fn state(&self) -> &Arc<PortState> {
        self.solo.state()
    }

    /// Closes it, and says what it did.
    pub fn close(self) -> SoloReport {
        let copied = self.solo.side.queue.counters().copied_bytes.get();
        SoloReport { too_short: self.too_short, ..self.solo.close(copied as u64) }
    }

    /// Shows the kernel what there is, and takes back what is done.
    fn settle(&mut self) -> Result<(), LinkError> {
        self.kept = 0;
        let side = &mut self.solo.side;
        side.flush().map_err(|error| LinkError::of(error, &side.state))?;
        let Side { queue, pool, .. } = side;
        queue.tx.complete_into(pool);
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let mut stalled: Option<Instant> = None;
        loop {
            let Side { queue, pool, .. } = &mut self.solo.side;
            let Err(source) = queue.tx.send_bytes(bytes, pool) else { break };
            let before = self.solo.side.outstanding();
            match source {
                SendError::Full => {}
                // Pages come back with what is completed.
                SendError::Alloc(_) if before > 0 => {}
                _ => {
                    let interface = self.solo.side.state.interface().to_owned();
                    return Err(LinkError::Packet { interface, bytes: bytes.len(), source });
                }
            }
            self.settle()?;
            if self.solo.side.outstanding() < before {
                stalled = None;
                continue;
            }
            let since = *stalled.get_or_insert_with(Instant::now);
            if self.stop.is_set() {
                if self.solo.side.is_down() {
                    return Err(self.down());
                }
                if since.elapsed() > LAST_SENT {
                    return Err(self.stuck());
                }
            }
            thread::sleep(PAUSE);
        }
        self.kept += 1;
        if self.kept == BURST { self.settle() } else { Ok(()) }
    }

    /// Waits until all that was sent is done.
    fn last_sent(&mut self) -> Result<(), LinkError> {
        let end = Instant::now() + LAST_SENT;
        loop {
            self.settle()?;
            let side = &self.solo.side;
            match side.outstanding() {
                0 => return Ok(()),
                _ if side.is_down() && self.stop.is_set() => return Err(self.down()),
                // What a driver does not complete for so long it may have sent all the same.
                _ if !side.is_down() && Instant::now() > end => return Ok(()),
                _ => thread::sleep(PAUSE),
            }
        }
    }

    fn down(&self) -> LinkError {
        let side = &self.solo.side;
        LinkError::Down { interface: side.state.interface().to_owned(), unsent: side.outstanding() }
    }

    fn stuck(&self) -> LinkError {
        let side = &self.solo.side;
        LinkError::Stuck { interface: side.state.interface().to_owned(), unsent: side.outstanding() }
    }
}

impl FrameSink for AfxdpSink {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        // The kernel takes none of these, which a capture may have.
        if frame.bytes.len() < ETH_HLEN {
            self.too_short += 1;
            return Ok(());
        }
        Ok(self.send(frame.bytes)?)
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(self.last_sent()?)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.solo.side.outstanding() > 0 { Ok(self.settle()?) } else { Ok(()) }
    }

    fn stop_by(&mut self, stop: &StopFlag) {
        self.stop = stop.clone();
    }
}
