//! The frames of a capture.

use std::io;
use std::sync::atomic::Ordering;

use super::records::{Record, Records};
use super::{Capture, Repeat};
use crate::{Frame, FrameSource};

/// The frames of a capture, marked with their place: 0, 1, and on through all repetitions.
#[derive(Debug)]
pub struct CaptureSource {
    capture: Capture,
    records: Records,
    repeat: Repeat,
    passes: u64,
    /// After an error, or where [`Repeat`] says.
    ended: bool,
}

impl CaptureSource {
    pub(super) fn new(capture: &Capture, repeat: Repeat) -> Self {
        capture.shared.ended.store(false, Ordering::Relaxed);
        Self { capture: capture.clone(), records: capture.records(), repeat, passes: 0, ended: false }
    }

    /// At the end of the file: whether it begins again.
    fn again(&mut self) -> bool {
        self.passes += 1;
        let again = match self.repeat {
            Repeat::Times(times) => self.passes < times.get(),
            Repeat::Forever => true,
        };
        // Without packets there is nothing to repeat, however often.
        again && self.records.packets() > 0
    }
}

impl FrameSource for CaptureSource {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        while !self.ended {
            match self.records.next() {
                Ok(Some(Record { frame: None, .. })) => {}
                Ok(Some(Record { frame: Some(frame), .. })) => {
                    let mark = self.records.packets() - 1;
                    return Ok(Some(Frame { bytes: self.records.bytes(frame), mark }));
                }
                Ok(None) if self.again() => self.records.rewind(),
                Ok(None) => {
                    self.ended = true;
                    // Pairs with the load in the sink's `finish`.
                    self.capture.shared.ended.store(true, Ordering::Release);
                }
                Err(error) => {
                    self.ended = true;
                    return Err(error.into());
                }
            }
        }
        Ok(None)
    }
}
