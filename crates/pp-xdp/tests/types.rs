//! Each type of memory is an allocator: it gives, takes back from anywhere, draws on a provider, and goes cleanly.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::thread;

use common::{Hoard, Store, pool};
use pp_core::{AllocError, BuildError, Home, PagePool, PoolState};
use pp_xdp::{
    AddrError, Buffer, Chunk, MemType, Memory, Order0Page, Order0Pages, Packet, PoolFrags, SplitError, SplitPages,
    UserBuff, XdpAction, XdpBuff, XdpFrame, XskBuffPool, XskError,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_impl_all!(Buffer: Send);
assert_impl_all!(XdpFrame: Send);
assert_not_impl_any!(Buffer: Clone);
assert_not_impl_any!(XdpBuff<'static>: Clone);
assert_not_impl_any!(XdpFrame: Clone);
assert_not_impl_any!(Packet: Clone);
assert_not_impl_any!(Chunk: Clone);
assert_not_impl_any!(Order0Page: Clone);
assert_not_impl_any!(UserBuff: Clone);

/// Takes and gives back `out` buffers at a time, on both sides, until nothing more than that can be needed; then asks the
/// provider for nothing.
fn goes_round(memory: &mut dyn Memory, mem_type: MemType, out: usize, calls: &dyn Fn() -> usize) {
    assert_eq!(memory.model().mem_type(), mem_type);
    let mut before = 0;
    for round in 0..8 {
        if round == 4 {
            before = calls();
        }
        let mut buffers: Vec<Buffer> = (0..out).map(|_| memory.alloc().expect("a buffer")).collect();
        for (tag, buffer) in buffers.iter_mut().enumerate() {
            assert_eq!(buffer.mem_type(), mem_type);
            buffer.bytes_mut().into_iter().for_each(|bytes| bytes.fill(tag as u8));
        }
        for (tag, buffer) in buffers.iter().enumerate() {
            assert!(buffer.bytes().is_none_or(|bytes| bytes.iter().all(|byte| *byte == tag as u8)), "two have it");
        }
        let elsewhere = buffers.split_off(out / 2);
        buffers.into_iter().for_each(|buffer| memory.recycle(buffer));
        thread::spawn(move || drop(elsewhere)).join().unwrap();
    }
    assert_eq!(calls(), before, "{mem_type} asks its provider in the steady state");
}

#[test]
fn every_type_goes_round_without_its_provider() {
    let home = Home::new(Store::host(4096, 256));
    let calls = || home.calls();
    goes_round(&mut SplitPages::new(home.clone(), 1000, 40).unwrap(), MemType::PageShared, 30, &calls);
    goes_round(&mut Order0Pages::new(home.clone(), 32).unwrap(), MemType::PageOrder0, 30, &calls);
    goes_round(&mut PagePool::builder(home.clone()).build().unwrap(), MemType::PagePool, 30, &calls);
    let pool = PagePool::builder(home.clone()).build().unwrap();
    goes_round(&mut PoolFrags::new(pool, 1000).unwrap(), MemType::PagePool, 30, &calls);
    goes_round(&mut XskBuffPool::new(home.clone(), 2048, 30).unwrap(), MemType::XskBuffPool, 30, &calls);
    goes_round(&mut Hoard::new(home.clone()), MemType::User, 30, &calls);
    assert_eq!(home.out(), 0, "each went with all it had");

    let far = Home::new(Store::device(4096, 64));
    let mut device = PagePool::builder(far.clone()).build().unwrap();
    goes_round(&mut device, MemType::Device, 30, &|| far.calls());
    drop(device);
    assert_eq!(far.out(), 0);
}

#[test]
fn buffers_outlive_their_allocator_and_go_home() {
    let home = Home::new(Store::host(4096, 256));
    let mut buffers = Vec::new();
    let mut take = |memory: &mut dyn Memory| {
        let pair = [memory.alloc().unwrap(), memory.alloc().unwrap()];
        drop(memory.alloc().unwrap());
        buffers.extend(pair);
    };
    take(&mut SplitPages::new(home.clone(), 2048, 4).unwrap());
    take(&mut Order0Pages::new(home.clone(), 4).unwrap());
    take(&mut PagePool::builder(home.clone()).build().unwrap());
    take(&mut PoolFrags::new(PagePool::builder(home.clone()).build().unwrap(), 2048).unwrap());
    take(&mut XskBuffPool::new(home.clone(), 2048, 16).unwrap());
    take(&mut Hoard::new(home.clone()));
    // Shared and fragments two to a page; chunks in both halves of one.
    assert_eq!(home.out(), 1 + 2 + 2 + 1 + 1 + 2);
    for buffer in &mut buffers {
        buffer.bytes_mut().unwrap().fill(1);
    }
    thread::spawn(move || drop(buffers)).join().unwrap();
    assert_eq!(home.out(), 0);
}

#[test]
fn given_to_the_wrong_allocator_a_buffer_goes_its_own_way() {
    let home = Home::new(Store::host(4096, 256));
    let two = || (PagePool::builder(home.clone()).build().unwrap(), Order0Pages::new(home.clone(), 8).unwrap());
    let (mut pool, mut order0) = two();
    let (mut other_pool, mut other_order0) = two();
    let mut xsk = XskBuffPool::new(home.clone(), 2048, 4).unwrap();
    let mut other_xsk = XskBuffPool::new(home.clone(), 2048, 4).unwrap();
    let mut hoard = Hoard::new(home.clone());
    let mut split = SplitPages::new(home.clone(), 2048, 4).unwrap();
    let mut frags = PoolFrags::new(PagePool::builder(home.clone()).build().unwrap(), 2048).unwrap();
    let all: [&mut dyn Memory; 9] = [
        &mut pool,
        &mut order0,
        &mut other_pool,
        &mut other_order0,
        &mut xsk,
        &mut other_xsk,
        &mut hoard,
        &mut split,
        &mut frags,
    ];
    for from in 0..all.len() {
        for to in 0..all.len() {
            let buffer = all[from].alloc().unwrap();
            all[to].recycle(buffer);
        }
    }
    assert_eq!((pool.stats().in_use(), other_pool.stats().in_use()), (0, 0));
    assert_eq!(hoard.shelved(), 1);
    let chunks: Vec<_> = core::iter::from_fn(|| xsk.chunk().ok()).collect();
    assert_eq!((chunks.len(), xsk.chunk().unwrap_err()), (4, AllocError::OutOfMemory));
    let others: Vec<_> = core::iter::from_fn(|| other_xsk.chunk().ok()).collect();
    assert_eq!(others.len(), 4);
}

#[test]
fn what_more_than_order0_keeps_goes_home() {
    let home = Home::new(Store::host(4096, 64));
    let mut pages = Order0Pages::new(home.clone(), 2).unwrap();
    let taken: Vec<_> = (0..16).map(|_| pages.page().unwrap()).collect();
    assert_eq!(home.out(), 16);
    drop(taken);
    assert_eq!(home.out(), 2);
    for _ in 0..4 {
        let page = pages.alloc().unwrap();
        pages.recycle(page);
    }
    let none = Order0Pages::new(home.clone(), 0).unwrap().alloc().unwrap();
    drop(none);
    drop(pages);
    assert_eq!(home.out(), 0);
}

#[test]
fn split_pages_are_begun_anew_when_their_buffers_are_back_and_not_before() {
    let home = Home::new(Store::host(4096, 64));
    let mut pages = SplitPages::new(home.clone(), 2048, 2).unwrap();
    let mut held: Vec<_> = (0..4).map(|_| pages.alloc().unwrap()).collect();
    assert_eq!(pages.alloc().unwrap_err(), AllocError::LimitReached, "two pages, all of both out");
    drop(held.pop());
    assert_eq!(pages.alloc().unwrap_err(), AllocError::LimitReached, "half a page is not one");
    drop(held.pop());
    held.extend([pages.alloc().unwrap(), pages.alloc().unwrap()]);
    assert_eq!((pages.pages(), held.len()), (2, 4));
    // What the driver gives back itself is there at once.
    pages.recycle(held.pop().unwrap());
    held.push(pages.alloc().unwrap());
}

#[test]
fn sizes_that_are_none_are_refused() {
    let home = Home::new(Store::host(4096, 64));
    for bytes in [0, 4097, usize::MAX] {
        let wrong = SplitError::BufferSize { bytes, page_bytes: 4096 };
        assert_eq!(SplitPages::new(home.clone(), bytes, 4).unwrap_err(), wrong);
        assert_eq!(PoolFrags::new(PagePool::builder(home.clone()).build().unwrap(), bytes).unwrap_err(), wrong);
    }
    for chunk_bytes in [0, 1024, 3000, 8192, usize::MAX] {
        let error = XskBuffPool::new(home.clone(), chunk_bytes, 4).unwrap_err();
        assert_eq!(error, XskError::ChunkSize { chunk_bytes, page_bytes: 4096 });
    }
    for chunks in [0, 1 << 32, usize::MAX] {
        assert_eq!(XskBuffPool::new(home.clone(), 2048, chunks).unwrap_err(), XskError::Chunks { chunks });
    }
    let error = XskBuffPool::new(home.clone(), 2048, 129).unwrap_err();
    assert_eq!((error, home.out()), (XskError::Alloc(AllocError::OutOfMemory), 0), "all 64 pages are home again");
    for text in [error.to_string(), SplitError::Build(BuildError::OutOfMemory).to_string()] {
        assert!(text.contains("pages") || text.contains("memory"), "{text}");
    }
}

#[test]
fn counts_that_no_memory_can_list_are_refused() {
    let home = Home::new(Store::host(4096, 64));
    for most in [usize::MAX, usize::MAX / 16] {
        let error = SplitPages::new(home.clone(), 2048, most).unwrap_err();
        assert_eq!(error, SplitError::Build(BuildError::OutOfMemory));
        assert_eq!(Order0Pages::new(home.clone(), most).unwrap_err(), BuildError::OutOfMemory);
    }
    // A machine that promises more than it has lets the lists be made; then the provider has not as many pages.
    #[cfg(not(miri))]
    {
        let error = XskBuffPool::new(home.clone(), 2048, u32::MAX as usize).unwrap_err();
        assert!(
            matches!(error, XskError::Build(BuildError::OutOfMemory) | XskError::Alloc(AllocError::OutOfMemory)),
            "{error:?}"
        );
    }
    assert_eq!(home.out(), 0);
}

#[test]
fn chunks_and_addresses_turn_into_each_other() {
    let home = Home::new(Store::host(8192, 4));
    let mut pool = XskBuffPool::new(home.clone(), 2048, 10).unwrap();
    assert_eq!((pool.chunks(), pool.chunk_bytes(), home.out()), (10, 2048, 3));
    let mut addresses = Vec::new();
    for tag in 0..10 {
        let mut chunk = pool.chunk().unwrap();
        chunk.bytes_mut().fill(tag);
        addresses.push(pool.post(chunk).unwrap());
    }
    let mut sorted: Vec<_> = addresses.iter().map(|addr| addr.get()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..10).map(|index| index * 2048).collect::<Vec<_>>());
    assert_eq!((pool.posted(), pool.chunk().unwrap_err()), (10, AllocError::OutOfMemory));
    for (tag, addr) in addresses.iter().enumerate() {
        let (chunk, offset) = pool.take(addr.get() + 300 + tag as u64).unwrap();
        assert_eq!((chunk.addr(), offset), (*addr, 300 + tag));
        assert!(chunk.bytes().iter().all(|byte| *byte == tag as u8));
        pool.recycle(chunk.into());
    }
    assert_eq!(pool.posted(), 0);
}

#[test]
fn hostile_addresses_take_nothing() {
    let home = Home::new(Store::host(4096, 8));
    let mut pool = XskBuffPool::new(home.clone(), 4096, 4).unwrap();
    let mut other = XskBuffPool::new(home.clone(), 4096, 4).unwrap();
    let addr = pool.chunk().map(|chunk| pool.post(chunk).unwrap()).unwrap().get();
    for wild in [4 * 4096, 1 << 44, u64::MAX - 4095, u64::MAX] {
        assert_eq!(pool.take(wild).unwrap_err(), AddrError::OutOfArea { addr: wild, area_bytes: 4 * 4096 });
    }
    let beside = addr ^ 4096;
    assert_eq!(pool.take(beside).unwrap_err(), AddrError::NotPosted { addr: beside });
    let (chunk, _) = pool.take(addr).unwrap();
    assert_eq!(pool.take(addr).unwrap_err(), AddrError::NotPosted { addr }, "the same receipt twice");
    let refused = other.post(chunk).unwrap_err();
    assert_eq!((refused.reason, refused.buffer.addr().get()), (AddrError::Foreign, addr));
    // It is given back: its own pool has it again.
    assert_eq!(pool.post(refused.buffer).unwrap().get(), addr);
}

#[test]
fn an_allocator_that_has_gone_is_known_to_be() {
    let (home, pool) = pool(8);
    let registry = pp_xdp::Registry::new();
    let all: [Box<dyn Memory>; 5] = [
        Box::new(pool),
        Box::new(SplitPages::new(home.clone(), 2048, 1).unwrap()),
        Box::new(Order0Pages::new(home.clone(), 1).unwrap()),
        Box::new(XskBuffPool::new(home.clone(), 2048, 1).unwrap()),
        Box::new(Hoard::new(home.clone())),
    ];
    for memory in all {
        let registration = registry.register(memory.model()).unwrap();
        let found = registration.mem_ref().unwrap();
        assert_eq!(found.state(), PoolState::Open);
        drop(memory);
        assert_eq!(found.state(), PoolState::Closed);
    }
}

#[test]
fn with_memory_out_closed_says_of_pools_alone_that_it_is_home() {
    type Make = fn(Home<Store>) -> Box<dyn Memory>;
    fn build(home: Home<Store>) -> PagePool {
        PagePool::builder(home).build().unwrap()
    }
    let all: [(Make, PoolState); 5] = [
        (|home| Box::new(build(home)), PoolState::Closing),
        (|home| Box::new(PoolFrags::new(build(home), 2048).unwrap()), PoolState::Closing),
        (|home| Box::new(SplitPages::new(home, 2048, 1).unwrap()), PoolState::Closed),
        (|home| Box::new(Order0Pages::new(home, 1).unwrap()), PoolState::Closed),
        (|home| Box::new(XskBuffPool::new(home, 2048, 1).unwrap()), PoolState::Closed),
    ];
    for (make, while_out) in all {
        let home = Home::new(Store::host(4096, 64));
        let mut memory = make(home.clone());
        let registration = pp_xdp::Registry::new().register(memory.model()).unwrap();
        let found = registration.mem_ref().unwrap();
        let buffer = memory.alloc().unwrap();
        assert_eq!(found.state(), PoolState::Open);
        drop(memory);
        assert_eq!((found.state(), home.out()), (while_out, 1), "{}", found.info().mem_type);
        drop(buffer);
        assert_eq!((found.state(), home.out()), (PoolState::Closed, 0), "{}", found.info().mem_type);
    }
}

#[test]
fn verdicts_are_the_kernels_numbers() {
    let all = [XdpAction::Aborted, XdpAction::Drop, XdpAction::Pass, XdpAction::Tx, XdpAction::Redirect];
    for (number, action) in all.into_iter().enumerate() {
        assert_eq!((XdpAction::try_from(number as u32), action as usize), (Ok(action), number));
    }
    for number in [5, u32::MAX] {
        assert!(XdpAction::try_from(number).unwrap_err().to_string().starts_with(&number.to_string()));
    }
    for (number, mem_type) in MemType::ALL.into_iter().enumerate() {
        assert_eq!((MemType::try_from(number as u32), mem_type as usize), (Ok(mem_type), number));
    }
    for number in [6, u32::MAX] {
        assert!(MemType::try_from(number).unwrap_err().to_string().starts_with(&number.to_string()));
    }
}
