//! A network interface as a source of frames.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pp_core::sync::Counter;
use pp_xdp::Packet;

use super::error::{LinkError, PortError};
use super::port::AfxdpPort;
use super::side::BURST;
use super::solo::{Solo, SoloReport};
use super::state::PortState;
use crate::frame::{Frame, FrameSource};
use crate::stop::StopFlag;

/// How long to wait for frames before the flag is looked at again, and the interface.
const IDLE: Duration = Duration::from_millis(50);

/// The frames of a network interface, for whoever copies them: a software NIC, a file.
///
/// It waits for frames, and is at its end when the run's stop flag is set. The mark of a frame is its number.
///
/// # Examples
///
/// ```no_run
/// use pp_netdev::afxdp::{AfxdpPort, AfxdpSource};
/// use pp_netdev::{FrameSource, StopFlag};
///
/// /// A port as `AfxdpPort` shows.
/// fn one_frame(port: AfxdpPort) -> Result<(), Box<dyn std::error::Error>> {
///     let mut source = AfxdpSource::new(port)?;
///     let stop = StopFlag::new();
///     source.stop_by(&stop);
///     while let Some(frame) = source.next_frame()? {
///         println!("{} bytes", frame.bytes.len());
///         stop.set(); // one is enough
///     }
///     let report = source.close();
///     assert_eq!(report.pool.lost, 0);
///     println!("{} packets came in", report.port.total(|counters| counters.packets_in.get()));
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct AfxdpSource {
    solo: Solo,
    stop: StopFlag,
    /// Received, and not asked for yet.
    waiting: VecDeque<Packet>,
    /// The one whose bytes are lent.
    lent: Option<Packet>,
    /// The bytes of a packet in several pages, in a row.
    gathered: Vec<u8>,
    number: u64,
    copied: Counter,
}

// === impl AfxdpSource ===

impl AfxdpSource {
    /// The frames of a port that receives, by its one queue.
    ///
    /// # Errors
    ///
    /// [`PortError::OneQueue`] if it has more.
    pub fn new(port: AfxdpPort) -> Result<Self, PortError> {
        Ok(AfxdpSource {
            solo: Solo::new(port)?,
            stop: StopFlag::new(),
            waiting: VecDeque::with_capacity(BURST),
            lent: None,
            gathered: Vec::new(),
            number: 0,
            copied: Counter::new(0),
        })
    }

    /// How the interface is. See [`AfxdpSource`].
    pub fn state(&self) -> &Arc<PortState> {
        self.solo.state()
    }

    /// Closes it, and says what it did. Each frame that was asked for counts as copied.
    pub fn close(self) -> SoloReport {
        let AfxdpSource { solo, waiting, lent, copied, .. } = self;
        drop((waiting, lent));
        solo.close(copied.get() as u64)
    }

    /// Fetches what has come in; waits a while if that is nothing.
    fn fetch(&mut self) -> Result<(), LinkError> {
        let side = &mut self.solo.side;
        self.waiting.extend(side.queue.rx.receive(BURST).map(Packet::from));
        if !self.waiting.is_empty() || side.is_hungry() {
            // No page just now: they come back when their frames were taken.
            let _ = side.queue.rx.refill(&mut side.pool);
        }
        if !self.waiting.is_empty() {
            return Ok(());
        }
        let state = Arc::clone(&side.state);
        let failed = |error| LinkError::of(error, &state);
        // What does not come in may have its reason in the interface.
        if side.queue.rx.needs_wake() || !side.queue.wait(Some(IDLE)).map_err(failed)? {
            side.probe().map_err(failed)?;
        }
        Ok(())
    }
}

impl FrameSource for AfxdpSource {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.lent = None;
        let packet = loop {
            if let Some(packet) = self.waiting.pop_front() {
                break packet;
            }
            if self.stop.is_set() {
                // The ordinary stack may have what comes from here on.
                self.solo.program = None;
                return Ok(None);
            }
            self.fetch()?;
        };
        let mark = self.number;
        self.number = mark.wrapping_add(1);
        self.copied.add(packet.len());
        let packet = self.lent.insert(packet);
        let bytes = if packet.frags().is_empty() {
            packet.data().unwrap_or_default()
        } else {
            self.gathered.resize(packet.len(), 0);
            packet.load_bytes(0, &mut self.gathered).map_err(io::Error::other)?;
            &self.gathered
        };
        Ok(Some(Frame { bytes, mark }))
    }

    fn stop_by(&mut self, stop: &StopFlag) {
        self.stop = stop.clone();
    }
}
