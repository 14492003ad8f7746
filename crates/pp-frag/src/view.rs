//! Which bytes of a part are meant.

use core::ops::Range;

use pp_core::OutOfRange;

/// Some bytes of a part: `start + len` is at most the part's length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The first one, from the part's first.
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl View {
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.len as usize
    }

    #[inline(always)]
    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    /// Where they are in the part.
    #[inline(always)]
    pub(crate) fn range(self) -> Range<usize> {
        self.start()..self.start() + self.len()
    }

    /// `len` of them, from `offset` on.
    #[inline]
    pub(crate) fn slice(self, offset: usize, len: usize) -> Result<Self, OutOfRange> {
        OutOfRange::check(offset, len, self.len())?;
        Ok(View { start: self.start + offset as u32, len: len as u32 })
    }

    /// Without the first `count`.
    #[inline]
    pub(crate) fn trim_front(&mut self, count: usize) -> Result<(), OutOfRange> {
        OutOfRange::check(0, count, self.len())?;
        self.start += count as u32;
        self.len -= count as u32;
        Ok(())
    }

    /// The first `len`, if there are more.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }
}
