//! What pp-xdp's tests share.
//!
//! | part | what it is |
//! |---|---|
//! | [`Store`] | a provider that counts what it is asked |
//! | [`Hoard`] | an allocator of the user-defined type |
//! | [`queue`] | a receive queue, ready |
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

mod hoard;
mod store;

pub(crate) use hoard::Hoard;
pub(crate) use store::Store;

use pp_core::{Home, PagePool};
use pp_xdp::{Buffer, Memory, Registry, RxqInfo, RxqParams, XdpFrame};

/// A queue of device 1 that receives into `memory`.
pub(crate) fn queue(registry: &Registry, memory: &impl Memory) -> RxqInfo {
    let mut rxq = RxqInfo::new();
    rxq.reg(RxqParams::new(1, 0)).expect("a new queue");
    rxq.reg_mem_model(registry, memory.model()).expect("its memory");
    rxq
}

/// A provider of pages of 4 KiB with a pool on it, whose ring holds them all.
pub(crate) fn pool(pages: usize) -> (Home<Store>, PagePool) {
    let home = Home::new(Store::host(4096, pages));
    let pool = PagePool::builder(home.clone()).build().expect("a pool");
    (home, pool)
}

/// A frame of `len` bytes, each `byte`, in the next buffer of `memory`.
pub(crate) fn frame(rxq: &RxqInfo, memory: &mut impl Memory, len: usize, byte: u8) -> XdpFrame {
    let buffer = memory.alloc().expect("a buffer");
    let mut buff = rxq.prepare(buffer, 256, len).expect("within the buffer");
    buff.data_mut().into_iter().for_each(|data| data.fill(byte));
    buff.into_frame().expect("not a chunk")
}
