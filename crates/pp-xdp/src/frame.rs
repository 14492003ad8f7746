//! A packet on its way.

use core::ops::Deref;

use crate::packet::Packet;

/// A packet that outlives the poll it was received in (`struct xdp_frame`). Made by [`XdpBuff::into_frame`](crate::XdpBuff::into_frame).
///
/// It owns all of its memory and [says](Packet::mem) what that is, because the queue's entry goes with its poll. Dropping it, on
/// any thread, returns it.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::{Memory, Registry, RxqInfo, RxqParams, XDP_PACKET_HEADROOM};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;
/// # let mut rxq = RxqInfo::new();
/// # rxq.reg(RxqParams::new(1, 0))?;
/// # rxq.reg_mem_model(&Registry::new(), pool.model())?;
/// let buff = rxq.prepare(pool.alloc()?, XDP_PACKET_HEADROOM, 60).map_err(|error| error.reason)?;
/// let frame = buff.into_frame().map_err(|error| error.reason)?;
/// rxq.unreg()?;
/// drop(pool);
/// assert_eq!(frame.len(), 60); // neither queue nor pool is needed any more
/// let mut packet = frame.into_packet();
/// packet.adjust_tail(-20)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a frame that is not kept goes back to its allocator"]
pub struct XdpFrame {
    packet: Packet,
}

impl XdpFrame {
    pub(crate) fn new(packet: Packet) -> Self {
        XdpFrame { packet }
    }

    /// The packet, to be changed or passed up.
    pub fn into_packet(self) -> Packet {
        self.packet
    }
}

impl From<XdpFrame> for Packet {
    fn from(frame: XdpFrame) -> Self {
        frame.packet
    }
}

impl Deref for XdpFrame {
    type Target = Packet;

    #[inline]
    fn deref(&self) -> &Packet {
        &self.packet
    }
}
