//! No chunk is ever lost, doubled or in two places, whatever is done with them and whatever addresses rings come up with.
//!
//! The kernel's XSK code has lost chunks in lists of fragments and in transmit descriptors that were not valid (CVE-2026-74558).
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::collections::BTreeSet;
use std::thread;

use common::{Store, queue};
use pp_core::Home;
use pp_xdp::{AddrError, Chunk, Memory, Order0Pages, Registry, XskBuffPool};
use proptest::prelude::*;

const CHUNKS: usize = 12;
const BYTES: u64 = 2048;

#[derive(Clone, Debug)]
enum Op {
    Alloc,
    Drop(usize),
    DropElsewhere(usize),
    Recycle(usize),
    Post(usize),
    /// A posted chunk's address, the number of which among the posted and an offset are given.
    Take(usize, u64),
    TakeWild(u64),
    /// A packet of that many chunks, which becomes a frame by copy if it is not too long.
    Packet(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let which = 0..CHUNKS;
    prop_oneof![
        4 => Just(Op::Alloc),
        1 => which.clone().prop_map(Op::Drop),
        1 => which.clone().prop_map(Op::DropElsewhere),
        1 => which.clone().prop_map(Op::Recycle),
        3 => which.clone().prop_map(Op::Post),
        3 => (which, 0..BYTES).prop_map(|(which, offset)| Op::Take(which, offset)),
        1 => prop_oneof![0..BYTES * CHUNKS as u64 * 2, any::<u64>()].prop_map(Op::TakeWild),
        1 => (1..5usize).prop_map(Op::Packet),
    ]
}

fn run(ops: &[Op]) {
    let home = Home::new(Store::host(4096, 64));
    let mut pool = XskBuffPool::new(home.clone(), BYTES as usize, CHUNKS).unwrap();
    let mut pages = Order0Pages::new(Home::new(Store::host(4096, 4)), 4).unwrap();
    let rxq = queue(&Registry::new(), &pool);
    let drawn = home.calls();
    let mut held: Vec<Chunk> = Vec::new();
    let mut posted: BTreeSet<u64> = BTreeSet::new();
    for op in ops {
        let out = held.len() + posted.len();
        match *op {
            Op::Alloc => match pool.chunk() {
                Ok(chunk) => held.push(chunk),
                Err(_) => assert_eq!(out, CHUNKS, "there is one left"),
            },
            Op::Drop(which) if which < held.len() => drop(held.swap_remove(which)),
            Op::DropElsewhere(which) if which < held.len() => {
                let chunk = held.swap_remove(which);
                thread::spawn(move || drop(chunk)).join().unwrap();
            }
            Op::Recycle(which) if which < held.len() => pool.recycle(held.swap_remove(which).into()),
            Op::Post(which) if which < held.len() => {
                let addr = pool.post(held.swap_remove(which)).unwrap().get();
                assert!(posted.insert(addr), "posted twice");
            }
            Op::Take(which, offset) if which < posted.len() => {
                let addr = *posted.iter().nth(which).unwrap();
                posted.remove(&addr);
                let (chunk, at) = pool.take(addr + offset).unwrap();
                assert_eq!((chunk.addr().get(), at as u64), (addr, offset));
                held.push(chunk);
            }
            Op::TakeWild(addr) => match pool.take(addr) {
                Ok((chunk, _)) => {
                    assert!(posted.remove(&chunk.addr().get()), "it was in no ring");
                    held.push(chunk);
                }
                Err(AddrError::OutOfArea { .. }) => assert!(addr >= BYTES * CHUNKS as u64),
                Err(_) => assert!(!posted.contains(&(addr / BYTES * BYTES))),
            },
            Op::Packet(chunks) if held.len() >= chunks => {
                let mut buff = rxq.prepare(held.pop().unwrap(), 0, 1500).unwrap();
                for _ in 1..chunks {
                    buff.add_frag(held.pop().unwrap(), 0, 1500).unwrap();
                }
                match buff.copy_into_frame(&mut pages) {
                    Ok(frame) => assert!(frame.len() == chunks * 1500 && chunks <= 2),
                    Err(refused) => assert!(refused.buffer.frags().len() == chunks - 1 && chunks > 2),
                }
            }
            _ => {}
        }
        let numbers: BTreeSet<_> = held.iter().map(|chunk| chunk.addr().get()).chain(posted.iter().copied()).collect();
        assert_eq!(numbers.len(), held.len() + posted.len(), "a chunk is in two places");
        assert_eq!(pool.posted(), posted.len());
    }
    let free: Vec<_> = core::iter::from_fn(|| pool.chunk().ok()).collect();
    assert_eq!(free.len() + held.len() + posted.len(), CHUNKS, "a chunk was lost");
    assert_eq!(home.calls(), drawn, "drawn once and for all");
    drop((free, held, rxq, pool));
    assert_eq!(home.out(), 0);
}

proptest! {
    #[test]
    fn chunks_are_conserved(ops in prop::collection::vec(op(), 0..200)) {
        run(&ops);
    }
}
