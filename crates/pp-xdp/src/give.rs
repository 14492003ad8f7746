//! The ways back of one packet.
//!
//! | verb | who | what it costs more than the next |
//! |---|---|---|
//! | drop, [`return_frame`] | any thread | the shared way: a pool's ring, a free list's lock |
//! | [`return_frame_rx_napi`], [`return_buff`], [`return_frag`] | who holds the allocator | nothing: straight to where it allocates from |
//!
//! Given somebody else's memory the second kind takes the first's way, so no verb is ever the wrong one. In the kernel whether
//! direct recycling is allowed is a flag of the call, and wrong where the poll runs elsewhere (`xdp_set_return_frame_no_direct`);
//! here it is having the `&mut`.

use crate::buff::XdpBuff;
use crate::buffer::Buffer;
use crate::frame::XdpFrame;
use crate::memory::Memory;
use crate::packet::Packet;

/// Returns a frame from any thread: fragments first, the head last. The same as dropping it (`xdp_return_frame`).
///
/// # Examples
///
/// See [`XdpFrame`].
pub fn return_frame(frame: XdpFrame) {
    drop(frame);
}

/// Returns a frame beside the allocator that it is from, or perhaps is (`xdp_return_frame_rx_napi`): what a driver does that
/// cleans its transmit queue in the poll of its receive queue.
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::{Memory, Registry, RxqInfo, RxqParams, return_frame_rx_napi};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;
/// # let mut rxq = RxqInfo::new();
/// # rxq.reg(RxqParams::new(1, 0))?;
/// # rxq.reg_mem_model(&Registry::new(), pool.model())?;
/// let buff = rxq.prepare(pool.alloc()?, 256, 60).map_err(|error| error.reason)?;
/// let frame = buff.into_frame().map_err(|error| error.reason)?;
/// return_frame_rx_napi(frame, &mut pool);
/// assert_eq!(pool.stats().recycle.cached, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn return_frame_rx_napi(frame: XdpFrame, memory: &mut (impl Memory + ?Sized)) {
    return_packet(frame.into_packet(), memory);
}

/// Returns a packet that goes no further, beside the allocator: the verdict drop (`xdp_return_buff`).
///
/// # Examples
///
/// See the [crate](crate).
pub fn return_buff(buff: XdpBuff<'_>, memory: &mut (impl Memory + ?Sized)) {
    return_packet(buff.into_packet(), memory);
}

/// Returns one buffer of a packet, beside the allocator: of a packet whose reception failed half way (`xdp_return_frag`).
///
/// # Examples
///
/// ```
/// # use pp_core::{Home, PagePool, doc::Heap};
/// # use pp_xdp::{Memory, Registry, RxqInfo, RxqParams, return_frag};
/// # let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;
/// # let mut rxq = RxqInfo::new();
/// # rxq.reg(RxqParams::new(1, 0))?;
/// # rxq.reg_mem_model(&Registry::new(), pool.model())?;
/// let mut buff = rxq.prepare(pool.alloc()?, 256, 60).map_err(|error| error.reason)?;
/// if let Err(refused) = buff.add_frag(pool.alloc()?, 0, 5000) { // longer than a page
///     return_frag(refused.buffer, &mut pool);
/// }
/// assert_eq!(pool.stats().recycle.cached, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn return_frag(buffer: Buffer, memory: &mut (impl Memory + ?Sized)) {
    memory.recycle(buffer);
}

fn return_packet(packet: Packet, memory: &mut (impl Memory + ?Sized)) {
    packet.into_buffers().for_each(|buffer| memory.recycle(buffer));
}
