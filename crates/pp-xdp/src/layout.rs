//! Where a packet lies in its buffer: numbers only.
//!
//! ```text
//!   0         meta     data            end            room
//!   | headroom | metadata | the packet  | tailroom      |
//! ```
//!
//! `meta <= data <= end <= room`, always. Programs move the three marks by signed amounts that they may have from a packet, so each
//! new mark is computed in 64 bits, where 32-bit marks and amounts cannot overflow, and compared before it is taken. The kernel's
//! frame header and shared info, which take the first and last bytes of the buffer there, are no part of a buffer here: they are fields
//! of [`XdpFrame`](crate::XdpFrame), where no program writes.

use crate::error::AdjustError;

/// The least that moving a packet's beginning or end must leave of it: an Ethernet header. See
/// [`XdpBuff`](crate::XdpBuff).
pub const ETH_HLEN: usize = 14;
/// The most metadata a packet has, in bytes (`xdp_metalen_invalid`); it comes in units of 4, so 252 is the most there is.
/// See [`XdpBuff`](crate::XdpBuff).
pub const META_MAX: usize = 255;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    meta: u32,
    data: u32,
    end: u32,
    room: u32,
}

impl Layout {
    /// `len` bytes behind `headroom` in a buffer of `room`, without metadata; `None` if that is not within it.
    pub(crate) fn new(room: usize, headroom: usize, len: usize) -> Option<Self> {
        let end = headroom.checked_add(len).filter(|end| *end <= room)?;
        let [data, end, room] = [headroom, end, room].map(u32::try_from);
        let (data, end) = (data.ok()?, end.ok()?);
        // What is further than a mark can point stays unused.
        Some(Layout { meta: data, data, end, room: room.unwrap_or(u32::MAX) })
    }

    pub(crate) fn headroom(&self) -> usize {
        self.meta as usize
    }

    pub(crate) fn tailroom(&self) -> usize {
        (self.room - self.end) as usize
    }

    pub(crate) fn len(&self) -> usize {
        (self.end - self.data) as usize
    }

    pub(crate) fn data(&self) -> core::ops::Range<usize> {
        self.data as usize..self.end as usize
    }

    pub(crate) fn meta(&self) -> core::ops::Range<usize> {
        self.meta as usize..self.data as usize
    }

    /// Moves the beginning by `delta`, metadata along with it.
    pub(crate) fn adjust_head(self, delta: i32) -> Result<Self, AdjustError> {
        let no_room = AdjustError::NoHeadroom { delta, headroom: self.headroom() };
        let too_short = AdjustError::TooShort { delta, len: self.len() };
        let meta = mark(self.meta, delta).ok_or(if delta < 0 { no_room } else { too_short })?;
        let data = mark(self.data, delta).filter(|data| leaves_header(*data, self.end)).ok_or(too_short)?;
        Ok(Layout { meta, data, ..self })
    }

    /// Moves the end by `delta`.
    pub(crate) fn adjust_tail(self, delta: i32) -> Result<Self, AdjustError> {
        let no_room = AdjustError::NoTailroom { delta, tailroom: self.tailroom() };
        let too_short = AdjustError::TooShort { delta, len: self.len() };
        let end = mark(self.end, delta).ok_or(if delta < 0 { too_short } else { no_room })?;
        if end > self.room {
            return Err(no_room);
        }
        if !leaves_header(self.data, end) {
            return Err(too_short);
        }
        Ok(Layout { end, ..self })
    }

    /// Moves the beginning of the metadata by `delta`: it begins where the packet does at first.
    pub(crate) fn adjust_meta(self, delta: i32) -> Result<Self, AdjustError> {
        let out_of_range =
            AdjustError::MetaOutOfRange { delta, headroom: self.headroom(), meta_len: self.meta().len() };
        let meta = mark(self.meta, delta).filter(|meta| *meta <= self.data).ok_or(out_of_range)?;
        let len = (self.data - meta) as usize;
        if !len.is_multiple_of(4) || len > META_MAX {
            return Err(AdjustError::MetaLength { len });
        }
        Ok(Layout { meta, ..self })
    }
}

/// Where a mark comes to lie, if that is anywhere.
fn mark(at: u32, delta: i32) -> Option<u32> {
    u32::try_from(i64::from(at) + i64::from(delta)).ok()
}

fn leaves_header(data: u32, end: u32) -> bool {
    i64::from(end) - i64::from(data) >= ETH_HLEN as i64
}
