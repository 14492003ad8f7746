//! The frames of a capture.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use super::error::CaptureError;
use super::records::{Record, Records};
use super::{Capture, Repeat};
use crate::{Frame, FrameSource};

/// The frames of a capture, marked with their place: 0, 1, and on through all repetitions.
/// See [`Capture`](super::Capture).
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
        // Relaxed: no frame of this source is on its way yet, and the frames are what hands this over.
        capture.shared.ended.store(false, Ordering::Relaxed);
        capture.shared.passes.store(0, Ordering::Relaxed);
        Self { capture: capture.clone(), records: capture.records(), repeat, passes: 0, ended: false }
    }

    /// At the end of the file: whether it begins again.
    ///
    /// # Errors
    ///
    /// The pass found something else than the first one.
    fn again(&mut self) -> Result<bool, CaptureError> {
        let shared = &self.capture.shared;
        shared.compare(self.records.pass())?;
        self.passes += 1;
        // Release: pairs with the Acquire in the sink's `seek`, which relies on what `compare` has set.
        shared.passes.store(self.passes, Ordering::Release);
        let again = match self.repeat {
            Repeat::Times(times) => self.passes < times.get(),
            Repeat::Forever => true,
        };
        // Without packets there is nothing to repeat, however often.
        Ok(again && self.records.packets() > 0)
    }

    /// The place of the next frame; `None` at the end.
    fn next_place(&mut self) -> Result<Option<Range<usize>>, CaptureError> {
        loop {
            match self.records.next()? {
                Some(Record { frame: None, .. }) => {}
                Some(Record { frame, .. }) => return Ok(frame),
                None if self.again()? => self.records.rewind(),
                None => return Ok(None),
            }
        }
    }
}

impl FrameSource for CaptureSource {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        if self.ended {
            return Ok(None);
        }
        match self.next_place() {
            Ok(Some(frame)) => {
                let mark = self.records.packets() - 1;
                Ok(Some(Frame { bytes: self.records.bytes(frame), mark }))
            }
            Ok(None) => {
                self.ended = true;
                // Release: pairs with the Acquire in the sink's `finish`.
                self.capture.shared.ended.store(true, Ordering::Release);
                Ok(None)
            }
            Err(error) => {
                self.ended = true;
                Err(self.capture.shared.explain(error).into())
            }
        }
    }
}
