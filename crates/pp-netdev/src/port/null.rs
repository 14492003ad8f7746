//! The port that nothing comes back from.

use std::io;

use crate::{Frame, FrameSink};

/// Swallows frames and counts them.
///
/// # Examples
///
/// ```
/// use pp_netdev::port::Null;
/// use pp_netdev::{Frame, FrameSink};
/// let mut null = Null::default();
/// null.send_frame(Frame { bytes: &[0; 60], mark: 0 })?;
/// assert_eq!((null.frames(), null.bytes()), (1, 60));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Null {
    frames: u64,
    bytes: u64,
}

impl Null {
    /// Frames swallowed so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes of those frames.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl FrameSink for Null {
    fn send_frame(&mut self, frame: Frame<'_>) -> io::Result<()> {
        self.frames += 1;
        self.bytes += frame.bytes.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
