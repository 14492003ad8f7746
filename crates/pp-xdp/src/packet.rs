//! A packet's memory, and where in it the packet is.

use alloc::vec::Vec;

use pp_core::{DmaAddr, GivenBack, OutOfRange};

use crate::buffer::Buffer;
use crate::error::{AdjustError, BuffError, FragError};
use crate::layout::{ETH_HLEN, Layout};
use crate::mem_type::{MemId, MemInfo, MemType};

/// Fragments behind the first buffer of a [`Packet`], at most (`MAX_SKB_FRAGS`).
pub const MAX_FRAGS: usize = 17;

/// What an [`XdpBuff`](crate::XdpBuff) and an [`XdpFrame`](crate::XdpFrame) are around: a buffer with a packet in it, and as many further
/// ones as the packet is long.
///
/// Both deref to it. Dropping it returns the fragments first and the buffer with the head last (`xdp_return_frame`).
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::{Memory, Registry, RxqInfo, RxqParams};
/// use pp_xdp::{MemType, return_frag};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;
/// # let mut rxq = RxqInfo::new();
/// # rxq.reg(RxqParams::new(1, 0))?;
/// # rxq.reg_mem_model(&Registry::new(), pool.model())?;
/// let mut packet = rxq.prepare(pool.alloc()?, 256, 64).map_err(|error| error.reason)?.into_packet();
/// packet.add_frag(pool.alloc()?, 100, 1000).map_err(|error| error.reason)?;
/// assert_eq!((packet.len(), packet.frags_len(), packet.is_empty(), packet.truesize()), (1064, 1000, false, 8192));
/// assert_eq!((packet.headroom(), packet.meta_len(), packet.tailroom()), (256, 0, 2996));
/// assert_eq!((packet.mem().mem_type, packet.mem_type(), packet.head().len()), (MemType::PagePool, MemType::PagePool, 4096));
/// assert!(packet.is_readable() && !packet.is_pfmemalloc() && packet.dma_addr().is_none());
///
/// packet.frags_mut()[0].data_mut().expect("host memory").fill(7);
/// let mut bytes = [0; 3];
/// packet.load_bytes(63, &mut bytes)?;                     // the head's last byte and the fragment's first two
/// assert_eq!(bytes[1..], [7, 7]);
/// assert_eq!(packet.frags()[0].data().map(|data| data[999]), Some(7));
///
/// let frag = packet.pop_frag().expect("the only one");
/// assert_eq!((frag.len(), frag.is_empty(), frag.tailroom(), frag.dma_addr()), (1000, false, 2996, None));
/// return_frag(frag.into_buffer(), &mut pool);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`XdpBuff`](crate::XdpBuff) has one of moving its ends.
#[derive(Debug)]
pub struct Packet {
    /// Before the head: fields are dropped in this order. Allocated with the first fragment.
    frags: Vec<Fragment>,
    head: Buffer,
    layout: Layout,
    /// Of the allocator that its queue had registered.
    id: Option<MemId>,
}

/// A further buffer of a packet, and which of its bytes are the packet's (`skb_frag_t`). [`Packet`] shows one.
#[derive(Debug)]
pub struct Fragment {
    buffer: Buffer,
    /// `offset + len` is at most the buffer's length.
    offset: usize,
    len: usize,
}

impl Fragment {
    /// How many bytes of the packet it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none: never, in a packet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that it takes from its allocator.
    pub fn truesize(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes behind it that it could grow by.
    pub fn tailroom(&self) -> usize {
        self.buffer.len().saturating_sub(self.offset + self.len)
    }

    /// Its bytes of the packet; `None` where the CPU cannot reach them.
    pub fn data(&self) -> Option<&[u8]> {
        // Always there, unless a user's buffer has shrunk.
        self.buffer.bytes().map(|bytes| bytes.get(self.offset..self.offset + self.len).unwrap_or_default())
    }

    /// The same for writing.
    pub fn data_mut(&mut self) -> Option<&mut [u8]> {
        let range = self.offset..self.offset + self.len;
        self.buffer.bytes_mut().map(|bytes| bytes.get_mut(range).unwrap_or_default())
    }

    /// Where a device finds its first byte of the packet.
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        further(self.buffer.dma_addr()?, self.offset)
    }

    /// Forgets which bytes are the packet's.
    pub fn into_buffer(self) -> Buffer {
        self.buffer
    }
}

impl Packet {
    /// `len` bytes in `buffer`, behind `headroom`.
    pub(crate) fn new(
        buffer: Buffer,
        id: Option<MemId>,
        headroom: usize,
        len: usize,
    ) -> Result<Self, GivenBack<Buffer, BuffError>> {
        let buffer_bytes = buffer.len();
        match Layout::new(buffer_bytes, headroom, len) {
            Some(layout) => Ok(Packet { frags: Vec::new(), head: buffer, layout, id }),
            None => Err(GivenBack { buffer, reason: BuffError::OutOfRange { headroom, len, buffer_bytes } }),
        }
    }

    /// What memory it is in, and which allocator's that was when it was received.
    pub fn mem(&self) -> MemInfo {
        MemInfo { mem_type: self.mem_type(), id: self.id }
    }

    /// The type of its memory, fragments included.
    pub fn mem_type(&self) -> MemType {
        self.head.mem_type()
    }

    /// Bytes in the packet, fragments included (`xdp_get_buff_len`).
    pub fn len(&self) -> usize {
        self.layout.len().saturating_add(self.frags_len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the packet in the fragments (`xdp_frags_size`).
    pub fn frags_len(&self) -> usize {
        // Saturating, as below: a user's buffers may overlap, and be more than there is memory.
        self.frags.iter().map(Fragment::len).fold(0, usize::saturating_add)
    }

    /// Bytes that it takes from its allocator, room included (`frame_sz`, `xdp_frags_truesize`).
    pub fn truesize(&self) -> usize {
        self.frags.iter().map(Fragment::truesize).fold(self.head.len(), usize::saturating_add)
    }

    /// Bytes in front of packet and metadata.
    pub fn headroom(&self) -> usize {
        self.layout.headroom()
    }

    /// Bytes behind the packet's end: in the last fragment, or in the buffer with the head if there is none.
    pub fn tailroom(&self) -> usize {
        self.frags.last().map_or(self.layout.tailroom(), Fragment::tailroom)
    }

    /// Bytes of metadata.
    pub fn meta_len(&self) -> usize {
        self.layout.meta().len()
    }

    /// Whether the CPU can reach the bytes of all of it.
    pub fn is_readable(&self) -> bool {
        self.head.is_readable() && self.frags.iter().all(|frag| frag.buffer.is_readable())
    }

    /// Whether any of it is of an emergency reserve (`xdp_buff_is_frag_pfmemalloc`).
    pub fn is_pfmemalloc(&self) -> bool {
        self.head.is_pfmemalloc() || self.frags.iter().any(|frag| frag.buffer.is_pfmemalloc())
    }

    /// The packet's bytes in the first buffer; `None` where the CPU cannot reach them.
    pub fn data(&self) -> Option<&[u8]> {
        // Always there, unless a user's buffer has shrunk; the same below.
        self.head.bytes().map(|bytes| bytes.get(self.layout.data()).unwrap_or_default())
    }

    /// The same for writing.
    pub fn data_mut(&mut self) -> Option<&mut [u8]> {
        let range = self.layout.data();
        self.head.bytes_mut().map(|bytes| bytes.get_mut(range).unwrap_or_default())
    }

    /// The metadata, which ends where the packet begins; `None` where the CPU cannot reach it.
    pub fn meta(&self) -> Option<&[u8]> {
        self.head.bytes().map(|bytes| bytes.get(self.layout.meta()).unwrap_or_default())
    }

    /// The same for writing.
    pub fn meta_mut(&mut self) -> Option<&mut [u8]> {
        let range = self.layout.meta();
        self.head.bytes_mut().map(|bytes| bytes.get_mut(range).unwrap_or_default())
    }

    /// Where a device finds the packet's first byte.
    pub fn dma_addr(&self) -> Option<DmaAddr> {
        further(self.head.dma_addr()?, self.layout.data().start)
    }

    /// The buffer with the head.
    pub fn head(&self) -> &Buffer {
        &self.head
    }

    /// What is behind it, in order.
    pub fn frags(&self) -> &[Fragment] {
        &self.frags
    }

    /// The same for writing.
    pub fn frags_mut(&mut self) -> &mut [Fragment] {
        &mut self.frags
    }

    /// Copies bytes out, from `offset` in the packet on, wherever they lie (`bpf_xdp_load_bytes`).
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the packet has not as many, or the CPU cannot reach them; nothing useful is in `out` then.
    pub fn load_bytes(&self, offset: usize, out: &mut [u8]) -> Result<(), OutOfRange> {
        let refused = OutOfRange { offset, len: out.len(), available: self.len() };
        OutOfRange::check(offset, out.len(), self.len())?;
        let (mut skip, mut out) = (offset, out);
        for piece in core::iter::once(self.data()).chain(self.frags.iter().map(Fragment::data)) {
            let piece = piece.ok_or(refused)?;
            let from = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            let (now, later) = out.split_at_mut(from.len().min(out.len()));
            now.copy_from_slice(&from[..now.len()]);
            out = later;
        }
        if out.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// Adds `len` bytes at `offset` of `buffer` as the next fragment. If they lie directly behind the last one's in the same page, the
    /// two become one, with one reference (`xdp_buff_add_frag`).
    ///
    /// # Errors
    ///
    /// The buffer, and [`FragError`]; the packet is as it was.
    pub fn add_frag(
        &mut self,
        buffer: impl Into<Buffer>,
        offset: usize,
        len: usize,
    ) -> Result<(), GivenBack<Buffer, FragError>> {
        let mut buffer = buffer.into();
        let (packet, buffer_bytes) = (self.mem_type(), buffer.len());
        if buffer.mem_type() != packet {
            let reason = FragError::WrongType { packet, buffer: buffer.mem_type() };
            return Err(GivenBack { buffer, reason });
        }
        if len == 0 || OutOfRange::check(offset, len, buffer_bytes).is_err() {
            return Err(GivenBack { buffer, reason: FragError::OutOfRange { offset, len, buffer_bytes } });
        }
        if offset == 0
            && let Some(last) = self.frags.last_mut()
            && last.tailroom() == 0
        {
            match last.buffer.coalesce(buffer) {
                Ok(()) => {
                    last.len += len;
                    return Ok(());
                }
                Err(apart) => buffer = apart,
            }
        }
        if self.frags.len() == MAX_FRAGS {
            return Err(GivenBack { buffer, reason: FragError::TooMany });
        }
        // Once for all that there may be.
        if self.frags.capacity() == 0 && self.frags.try_reserve_exact(MAX_FRAGS).is_err() {
            return Err(GivenBack { buffer, reason: FragError::NoMemory });
        }
        self.frags.push(Fragment { buffer, offset, len });
        Ok(())
    }

    /// Takes the last fragment off.
    pub fn pop_frag(&mut self) -> Option<Fragment> {
        self.frags.pop()
    }

    /// Moves the packet's beginning by `delta` bytes, metadata along with it: forward to drop a header, back to push one
    /// (`bpf_xdp_adjust_head`).
    ///
    /// # Errors
    ///
    /// [`AdjustError`]; everything is where it was.
    pub fn adjust_head(&mut self, delta: i32) -> Result<(), AdjustError> {
        let to = self.layout.adjust_head(delta)?;
        let from = self.layout.meta();
        if !from.is_empty() && delta != 0 {
            let bytes = self.head.bytes_mut().ok_or(AdjustError::Unreadable)?;
            // Within the buffer, unless a user's has shrunk.
            if bytes.len() < from.end.max(to.meta().end) {
                return Err(AdjustError::Unreadable);
            }
            bytes.copy_within(from, to.meta().start);
        }
        self.layout = to;
        Ok(())
    }

    /// Moves the packet's end by `delta` bytes: back to cut it, over as many fragments as that takes, which are returned; forward to
    /// grow the last fragment, or the head if there is none, by zeroes (`bpf_xdp_adjust_tail`).
    ///
    /// # Errors
    ///
    /// [`AdjustError`]; everything is where it was.
    pub fn adjust_tail(&mut self, delta: i32) -> Result<(), AdjustError> {
        if self.frags.is_empty() {
            let to = self.layout.adjust_tail(delta)?;
            clear(&mut self.head, self.layout.data().end..to.data().end)?;
            self.layout = to;
            return Ok(());
        }
        if delta < 0 { self.shrink(delta) } else { self.grow_last(delta) }
    }

    fn shrink(&mut self, delta: i32) -> Result<(), AdjustError> {
        let (len, mut bytes) = (self.len(), delta.unsigned_abs() as usize);
        if len.checked_sub(bytes).is_none_or(|left| left < ETH_HLEN) {
            return Err(AdjustError::TooShort { delta, len });
        }
        // Looked at first, so that nothing is half done. Between `delta` and 0 if it is negative.
        let of_head = i64::from(delta).saturating_add_unsigned(self.frags_len() as u64).min(0);
        let layout = if of_head < 0 { self.layout.adjust_tail(of_head as i32)? } else { self.layout };
        while let Some(last) = self.frags.last_mut() {
            let of_last = bytes.min(last.len);
            last.len -= of_last;
            bytes -= of_last;
            if last.len > 0 {
                break;
            }
            drop(self.frags.pop());
        }
        self.layout = layout;
        Ok(())
    }

    fn grow_last(&mut self, delta: i32) -> Result<(), AdjustError> {
        let (tailroom, bytes) = (self.tailroom(), delta.unsigned_abs() as usize);
        let Some(last) = self.frags.last_mut() else { return Ok(()) };
        if bytes > tailroom {
            return Err(AdjustError::NoTailroom { delta, tailroom });
        }
        let end = last.offset + last.len;
        clear(&mut last.buffer, end..end + bytes)?;
        last.len += bytes;
        Ok(())
    }

    /// Moves the beginning of the metadata by `delta` bytes; it begins where the packet does at first, and it is a multiple of 4
    /// bytes long, at most 255 (`bpf_xdp_adjust_meta`).
    ///
    /// # Errors
    ///
    /// [`AdjustError`]; everything is where it was.
    pub fn adjust_meta(&mut self, delta: i32) -> Result<(), AdjustError> {
        if !self.head.is_readable() {
            return Err(AdjustError::Unreadable);
        }
        self.layout = self.layout.adjust_meta(delta)?;
        Ok(())
    }

    /// All buffers in the order of their bytes, each with which of its bytes are the packet's.
    #[cfg(all(feature = "af-xdp", target_os = "linux"))]
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (&Buffer, core::ops::Range<usize>)> {
        let frags = self.frags.iter().map(|frag| (&frag.buffer, frag.offset..frag.offset + frag.len));
        core::iter::once((&self.head, self.layout.data())).chain(frags)
    }

    /// The same, given away.
    #[cfg(all(feature = "af-xdp", target_os = "linux"))]
    pub(crate) fn into_pieces(self) -> impl Iterator<Item = (Buffer, core::ops::Range<usize>)> {
        let frags = self.frags.into_iter().map(|frag| (frag.buffer, frag.offset..frag.offset + frag.len));
        core::iter::once((self.head, self.layout.data())).chain(frags)
    }

    /// All buffers, fragments first and the one with the head last.
    pub(crate) fn into_buffers(self) -> impl Iterator<Item = Buffer> {
        self.frags.into_iter().map(Fragment::into_buffer).chain(core::iter::once(self.head))
    }
}

/// The address so many bytes further on, if there is one: a user's buffer may say anything.
fn further(first: DmaAddr, bytes: usize) -> Option<DmaAddr> {
    first.0.checked_add(bytes as u64).map(DmaAddr)
}

/// Clears bytes that a packet grows by, so that nobody reads what somebody else left there.
fn clear(buffer: &mut Buffer, range: core::ops::Range<usize>) -> Result<(), AdjustError> {
    if range.start >= range.end {
        return Ok(());
    }
    let bytes = buffer.bytes_mut().and_then(|bytes| bytes.get_mut(range));
    bytes.ok_or(AdjustError::Unreadable)?.fill(0);
    Ok(())
}
