//! A source that ends after a number of frames.

use std::io;

use crate::{Frame, FrameSource};

/// The first `n` frames of another source.
#[derive(Clone, Debug)]
pub struct Limit<S> {
    source: S,
    left: u64,
}

impl<S> Limit<S> {
    /// Ends `source` after `frames` frames, or where it ends itself.
    #[must_use]
    pub fn new(source: S, frames: u64) -> Self {
        Self { source, left: frames }
    }
}

impl<S: FrameSource> FrameSource for Limit<S> {
    fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.source.next_frame()
    }
}
