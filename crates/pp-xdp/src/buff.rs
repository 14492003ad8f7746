//! A packet that is being received.

use core::ops::{Deref, DerefMut};

use pp_core::GivenBack;

use crate::buffer::Buffer;
use crate::error::ConvertError;
use crate::frame::XdpFrame;
use crate::order0::Order0Pages;
use crate::packet::Packet;
use crate::rxq::RxqInfo;

/// A packet in the poll that received it: what a program sees and changes (`struct xdp_buff`).
///
/// It borrows its queue's entry, so it cannot outlive the poll; what must outlive it becomes an [`XdpFrame`]. Dropping it is
/// right and never wrong; [`return_buff`](crate::return_buff) is shorter where the allocator is at hand.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// use pp_xdp::{AdjustError, Memory, Registry, RxqInfo, RxqParams};
/// let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;
/// let mut rxq = RxqInfo::new();
/// rxq.reg(RxqParams::new(1, 0))?;
/// rxq.reg_mem_model(&Registry::new(), pool.model())?;
/// let mut page = pool.alloc()?;
/// page[256..260].copy_from_slice(b"ping");
/// let mut buff = rxq.prepare(page, 256, 64).map_err(|error| error.reason)?;
/// buff.adjust_meta(-8)?;
/// buff.meta_mut().expect("host memory").copy_from_slice(b"a marker");
/// buff.adjust_head(-4)?;                                               // the metadata moves along
/// assert_eq!((buff.meta(), buff.len(), buff.headroom()), (Some(&b"a marker"[..]), 68, 244));
/// assert!(matches!(buff.adjust_head(i32::MIN), Err(AdjustError::NoHeadroom { .. })));
/// buff.data_mut().expect("host memory")[..4].copy_from_slice(b"tag ");
/// buff.adjust_tail(100)?;                                              // by zeroes
/// assert_eq!(&buff.data().expect("host memory")[..8], b"tag ping");
///
/// // Several pages a packet.
/// buff.add_frag(pool.alloc()?, 0, 4096).map_err(|error| error.reason)?;
/// assert_eq!((buff.len(), buff.truesize(), buff.frags().len()), (168 + 4096, 8192, 1));
/// let up = buff.into_packet();                                         // for the network stack
/// assert_eq!(up.len(), 168 + 4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The queue's memory stays registered as long as a packet of it is in hand:
///
/// ```compile_fail,E0502
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::{Memory, Registry, RxqInfo, RxqParams};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build().unwrap();
/// # let mut rxq = RxqInfo::new();
/// # rxq.reg(RxqParams::new(1, 0)).unwrap();
/// # rxq.reg_mem_model(&Registry::new(), pool.model()).unwrap();
/// let buff = rxq.prepare(pool.alloc().unwrap(), 256, 64).unwrap();
/// rxq.unreg().unwrap();
/// println!("{}", buff.len());
/// ```
#[derive(Debug)]
#[must_use = "a packet that is not kept goes back to its allocator"]
pub struct XdpBuff<'q> {
    rxq: &'q RxqInfo,
    packet: Packet,
}

impl<'q> XdpBuff<'q> {
    pub(crate) fn new(rxq: &'q RxqInfo, packet: Packet) -> Self {
        XdpBuff { rxq, packet }
    }

    /// The queue it came in on.
    pub fn rxq(&self) -> &'q RxqInfo {
        self.rxq
    }

    /// Makes it a frame, in place (`xdp_convert_buff_to_frame`). A frame lies beside its packet and not in its headroom, so there is
    /// none it could not have for want of room.
    ///
    /// # Errors
    ///
    /// The packet, with [`ConvertError::NeedsCopy`], if it is in a chunk: those must be back in the fill ring before long. See
    /// [`copy_into_frame`](XdpBuff::copy_into_frame).
    pub fn into_frame(self) -> Result<XdpFrame, GivenBack<Self, ConvertError>> {
        if matches!(self.head(), Buffer::Chunk(_)) {
            return Err(GivenBack { buffer: self, reason: ConvertError::NeedsCopy });
        }
        Ok(XdpFrame::new(self.packet))
    }

    /// Makes it a frame by copying packet and metadata into a page (`xdp_convert_zc_to_xdp_frame`). Only then its own memory
    /// goes back. Fragments are copied as well, so nothing of the packet is lost.
    ///
    /// # Errors
    ///
    /// The packet, and [`ConvertError`]: it does not fit, the CPU cannot reach it, or there is no page.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pp_core::{Home, doc::Heap};
    /// use pp_xdp::{MemType, Memory, Order0Pages, Registry, RxqInfo, RxqParams, XskBuffPool};
    /// let home = Home::new(Heap::new(4096, 64));
    /// let mut xsk = XskBuffPool::new(home.clone(), 2048, 16)?;
    /// let mut pages = Order0Pages::new(home, 16)?;
    /// let mut rxq = RxqInfo::new();
    /// rxq.reg(RxqParams::new(1, 0))?;
    /// rxq.reg_mem_model(&Registry::new(), xsk.model())?;
    /// let buff = rxq.prepare(xsk.alloc()?, xsk.headroom(), 60).map_err(|error| error.reason)?;
    /// let buff = buff.into_frame().expect_err("a chunk").buffer;
    /// let frame = buff.copy_into_frame(&mut pages).map_err(|error| error.reason)?;
    /// assert_eq!((frame.mem().mem_type, frame.len()), (MemType::PageOrder0, 60));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_into_frame(self, pages: &mut Order0Pages) -> Result<XdpFrame, GivenBack<Self, ConvertError>> {
        match self.copy(pages) {
            Ok(frame) => Ok(frame),
            Err(reason) => Err(GivenBack { buffer: self, reason }),
        }
    }

    fn copy(&self, pages: &mut Order0Pages) -> Result<XdpFrame, ConvertError> {
        let (meta_len, len, page_bytes) = (self.meta_len(), self.len(), pages.page_bytes());
        let too_long = ConvertError::TooLong { bytes: meta_len.saturating_add(len), page_bytes };
        let end = meta_len.checked_add(len).filter(|end| *end <= page_bytes).ok_or(too_long)?;
        let meta = self.meta().filter(|_| self.is_readable()).ok_or(ConvertError::Unreadable)?;
        let mut page = pages.page().map_err(ConvertError::Alloc)?;
        let bytes = page.bytes_mut().get_mut(..end).ok_or(too_long)?;
        // Shorter only if a user's buffer has shrunk.
        let (meta_to, data_to) = bytes.split_at_mut(meta_len);
        meta_to.get_mut(..meta.len()).unwrap_or_default().copy_from_slice(meta);
        self.load_bytes(0, data_to).map_err(|_| ConvertError::Unreadable)?;
        let mut packet = Packet::new(Buffer::Order0(page), None, meta_len, len).map_err(|_| too_long)?;
        // As long as it was in the buffer, so it fits in front of the packet.
        packet.adjust_meta(-(meta_len as i32)).map_err(|_| too_long)?;
        Ok(XdpFrame::new(packet))
    }

    /// The packet without its queue: what is passed up.
    pub fn into_packet(self) -> Packet {
        self.packet
    }
}

impl From<XdpBuff<'_>> for Packet {
    fn from(buff: XdpBuff<'_>) -> Self {
        buff.packet
    }
}

impl Deref for XdpBuff<'_> {
    type Target = Packet;

    #[inline]
    fn deref(&self) -> &Packet {
        &self.packet
    }
}

impl DerefMut for XdpBuff<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Packet {
        &mut self.packet
    }
}
