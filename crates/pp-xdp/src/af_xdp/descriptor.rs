//! What travels in the rings.

/// One entry of a receive or transmit ring (`struct xdp_desc`).
///
/// ```
/// use pp_xdp::af_xdp::XdpDesc;
/// let first = XdpDesc { addr: 4096 + 256, len: 3840, options: XdpDesc::CONTINUED };
/// let last = XdpDesc { addr: 8192, len: 60, options: 0 };
/// assert!(first.is_continued() && !last.is_continued()); // one packet of 3900 bytes
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct XdpDesc {
    /// Where in the UMEM the bytes are; see [`ChunkLayout`].
    pub addr: u64,
    /// How many bytes.
    pub len: u32,
    /// [`XdpDesc::CONTINUED`], or 0.
    pub options: u32,
}

const _: () = assert!(size_of::<XdpDesc>() == 16);

impl XdpDesc {
    /// The packet goes on in the next entry (`XDP_PKT_CONTD`).
    pub const CONTINUED: u32 = 1;

    /// Whether the packet goes on in the next entry.
    pub fn is_continued(self) -> bool {
        self.options & Self::CONTINUED != 0
    }
}

/// How chunks lie in a UMEM, and how an address names a byte of one. See [`Umem`](super::Umem).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChunkLayout {
    /// Chunks are powers of two in a row, and an address is an offset in the UMEM.
    #[default]
    Aligned,
    /// Chunks are of any length and may begin anywhere (`XDP_UMEM_UNALIGNED_CHUNK_FLAG`). An address is the chunk's beginning in its
    /// lower 48 bits and the offset in the chunk above them.
    Unaligned,
}

/// Where the offset begins in an unaligned address (`XSK_UNALIGNED_BUF_OFFSET_SHIFT`).
const OFFSET_SHIFT: u32 = 48;

impl ChunkLayout {
    /// The address of the byte at `offset` of the chunk that begins at `chunk`.
    pub(crate) fn addr(self, chunk: u64, offset: u64) -> u64 {
        match self {
            ChunkLayout::Aligned => chunk + offset,
            ChunkLayout::Unaligned => chunk | offset << OFFSET_SHIFT,
        }
    }

    /// The byte that an address means, counted from the UMEM's first; `None` if that is a number no UMEM has.
    pub(crate) fn byte(self, addr: u64) -> Option<u64> {
        match self {
            ChunkLayout::Aligned => Some(addr),
            ChunkLayout::Unaligned => (addr & ((1 << OFFSET_SHIFT) - 1)).checked_add(addr >> OFFSET_SHIFT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_the_byte_it_was_made_of() {
        for layout in [ChunkLayout::Aligned, ChunkLayout::Unaligned] {
            for (chunk, offset) in [(0, 0), (4096, 256), (1 << 40, 3071)] {
                assert_eq!(layout.byte(layout.addr(chunk, offset)), Some(chunk + offset));
            }
            assert!(layout.byte(u64::MAX).is_some_and(|byte| byte > 1 << 40));
        }
    }
}
