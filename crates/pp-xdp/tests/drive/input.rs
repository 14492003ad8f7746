//! Choices out of bytes.

/// Bytes that say what happens next; zeroes once they are used up.
pub(crate) struct Input<'b> {
    bytes: &'b [u8],
}

impl<'b> Input<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Input { bytes }
    }

    /// The next operation's bytes as an input of their own; `None` at the end. Of one length, so that one that is left out leaves the others as
    /// they are.
    pub(crate) fn step(&mut self, len: usize) -> Option<Input<'b>> {
        let (step, rest) = self.bytes.split_at_checked(len.min(self.bytes.len()))?;
        self.bytes = rest;
        (!step.is_empty()).then_some(Input { bytes: step })
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *byte
    }

    /// One of `0..n`; 0 if there is none.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()).checked_rem(n).unwrap_or(0)
    }

    /// Any number at all, with those about powers of two more often than others.
    pub(crate) fn number(&mut self) -> u64 {
        let (shift, near) = (self.byte(), self.byte());
        let power = 1u64.rotate_left(u32::from(shift));
        power.wrapping_add(u64::from(near)).wrapping_sub(128)
    }
}
