//! XDP on page pools: memory types, packets and, with the feature `af-xdp`, the sockets.
//!
//! | to | use |
//! |---|---|
//! | say what memory a queue receives into | [`Memory`] and its types, [`MemModel`], [`MemType`] |
//! | register it, and the queue | [`Registry`], [`RxqInfo`] |
//! | receive a packet and run a program on it | [`RxqInfo::prepare`], [`XdpBuff`], [`Packet`], [`XdpAction`] |
//! | send it on after the poll | [`XdpFrame`] |
//! | give it back | drop it; [`return_frame_rx_napi`], [`return_buff`], [`return_frag`] beside the allocator; [`FrameBulk`] for many |
//!
//! # Memory types
//!
//! | [`MemType`] | allocator | a buffer's way back |
//! |---|---|---|
//! | page-shared | [`SplitPages`] | drops its reference; the driver sees the count and begins the page anew |
//! | page-order0 | [`Order0Pages`] | a free list of its own |
//! | page-pool | [`PagePool`](pp_core::PagePool), [`PoolFrags`] | its pool's ring, or straight into the cache |
//! | xsk-buff-pool | [`XskBuffPool`] | the free list of chunks |
//! | device | `PagePool<Device>` | its pool's ring, or straight into the cache |
//! | user-defined | who implements [`Memory`] and [`UserBuffer`] | [`UserBuffer::give_back`] |
//!
//! All of them draw on a [`MemoryProvider`](pp_core::MemoryProvider) and ask it for nothing any more once as much memory goes
//! round as is needed.
//!
//! The kernel writes the type of memory into each frame and `__xdp_return` looks at it to find the way back; given the
//! wrong frame it takes the wrong one. Here a [`Buffer`] owns its memory, and *dropping it is its way back*, whatever type
//! it is of and wherever that happens. The type is there for people, for registration, and for what must not be mixed.
//!
//! # One queue
//!
//! ```
//! # use pp_core::{Home, PagePool, doc::Heap};
//! use pp_xdp::{Memory, Registry, RxqInfo, RxqParams, XDP_PACKET_HEADROOM, XdpAction, return_buff};
//!
//! let mut pool = PagePool::builder(Home::new(Heap::new(4096, 256))).build()?;        // 1. the pool
//! let registry = Registry::new();
//! let mut rxq = RxqInfo::new();
//! rxq.reg(RxqParams::new(1, 0))?;                                                   // 2. the queue
//! rxq.reg_mem_model(&registry, pool.model())?;                                      // 3. its memory
//!
//! let mut buff = rxq.prepare(pool.alloc()?, XDP_PACKET_HEADROOM, 60).map_err(|error| error.reason)?;
//! buff.adjust_head(-4)?;                                                            // a program pushes a tag
//! let verdict = XdpAction::Redirect;
//! match verdict {
//!     XdpAction::Redirect | XdpAction::Tx => {
//!         let frame = buff.into_frame().map_err(|error| error.reason)?;             // outlives the poll
//!         std::thread::spawn(move || drop(frame)).join().unwrap();                  // home to its pool from anywhere
//!     }
//!     _ => return_buff(buff, &mut pool),                                            // straight into the cache
//! }
//! assert_eq!(pool.stats().in_use(), 0);
//! rxq.unreg()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `no_std` with `alloc`. The heap is used when an allocator or a queue is made, and once for a packet of more than one buffer.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod action;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub mod af_xdp;
mod buff;
mod buffer;
mod bulk;
mod error;
mod frame;
mod give;
mod layout;
mod mem_type;
mod memory;
mod order0;
mod packet;
mod pool;
mod registry;
mod returns;
mod rxq;
mod source;
mod split;
mod sync;
mod user;
mod xsk;

pub use action::{UnknownAction, XdpAction};
pub use buff::XdpBuff;
pub use buffer::Buffer;
pub use bulk::{BULK_FRAMES, FrameBulk};
pub use error::{AdjustError, BuffError, ConvertError, FragError};
pub use frame::XdpFrame;
pub use give::{return_buff, return_frag, return_frame, return_frame_rx_napi};
pub use layout::{ETH_HLEN, META_MAX};
pub use mem_type::{MemId, MemInfo, MemType, UnknownMemType};
pub use memory::{MemModel, Memory, Share};
pub use order0::{Order0Page, Order0Pages};
pub use packet::{Fragment, MAX_FRAGS, Packet};
pub use pool::PoolFrags;
pub use registry::{IdsExhausted, LookupError, MemRef, Registration, Registry};
pub use rxq::{RegError, RxqInfo, RxqParams, RxqState};
pub use split::{SplitError, SplitPages};
pub use user::{UserBuff, UserBuffer};
pub use xsk::{AddrError, Chunk, ChunkAddr, XskBuffPool, XskError};

/// Room in front of a packet that drivers leave for programs to push headers into, as [`XdpFrame`] shows (`XDP_PACKET_HEADROOM`).
pub const XDP_PACKET_HEADROOM: usize = 256;
