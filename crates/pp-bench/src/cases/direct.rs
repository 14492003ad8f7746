//! One thread: `single`, `napi64`, `bulk64`, `ring`.
//!
//! *Included*: everything that the call does, so for the pool the statistics, the owner check and its share of the
//! refills from the ring; where a batch or an array of 64 holds pages, its filling and emptying. *Excluded*: the
//! provider, whose pages all entered during the warm-up, and the pages' bytes, which nobody touches.

use std::alloc::System;

use mimalloc::MiMalloc;

use super::Case;
use crate::lineup::{Absent, Lineup, Peer, Runner, timed};
use crate::loops::{BATCH, Direct, bulk, napi, single};
use crate::peers::{
    ArrayStack, BiasSplit, BulkByRing, ByRing, DirectPool, Jemalloc, Loop, Malloc, Mapping, Mempool, PageRing, Pushed,
    array_queue, heap_pool, locked_ring, opool, seg_queue,
};

/// Pages there are; the default provider of a small pool.
const PAGES: usize = 256;
/// Objects and caches of the mempools: as DPDK's own programs have them.
const OBJECTS: usize = 2047;
const CACHE: usize = 256;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, about: &str, enter: fn(&mut Lineup<'_>)| Case::new("direct", name, about, enter);
    vec![
        case("single", "one out, straight back", one_by_one::<Single>),
        case("napi64", "64 out, 64 straight back, one call each", one_by_one::<Napi>),
        case("bulk64", "64 out, 64 straight back, one call for all", bulk64),
        case("ring", "one out, back by the shared path, which a later refill empties", ring),
    ]
}

/// A loop that everybody can go through.
trait Pass {
    /// Its twin in C.
    const IN_C: Loop;
    fn pass<D: Direct>(by: &mut D, pages: usize);
}

struct Single;
impl Pass for Single {
    const IN_C: Loop = Loop::Single;
    fn pass<D: Direct>(by: &mut D, pages: usize) {
        single(by, pages);
    }
}

struct Napi;
impl Pass for Napi {
    const IN_C: Loop = Loop::Napi64;
    fn pass<D: Direct>(by: &mut D, pages: usize) {
        napi(by, pages);
    }
}

fn one_by_one<P: Pass>(lineup: &mut Lineup<'_>) {
    lineup.enter(Peer::Pool, "", || run(DirectPool(heap_pool(PAGES)), P::pass));
    lineup.enter(Peer::ArrayStack, "", || run(ArrayStack::<128>::new(1..=BATCH), P::pass));
    lineup.enter_if(Peer::Mempool, "", || dpdk(CACHE, P::IN_C));
    lineup.enter_if(Peer::MempoolUncached, "", || dpdk(0, P::IN_C));
    lineup.enter(Peer::ArrayQueue, "", || run(array_queue(2 * BATCH, 1..=BATCH), P::pass));
    lineup.enter(Peer::SegQueue, "", || run(seg_queue(1..=BATCH), P::pass));
    lineup.enter(Peer::Opool, "", || run(opool(BATCH), P::pass));
    lineup.enter(Peer::PageRing, "", || run(PageRing::new(PAGES), P::pass));
    lineup.enter(Peer::BiasSplit, "", || run(BiasSplit::new(PAGES), P::pass));
    lineup.enter(Peer::Malloc, "", || run(Malloc::pages(System, 4096), P::pass));
    lineup.enter(Peer::Mimalloc, "", || run(Malloc::pages(MiMalloc, 4096), P::pass));
    lineup.enter_if(Peer::Jemalloc, "", || Ok(run(Malloc::pages(Jemalloc::load()?, 4096), P::pass)));
    lineup.enter(Peer::Mmap, "", || run(Malloc::pages(Mapping, 4096), P::pass));
}

fn bulk64(lineup: &mut Lineup<'_>) {
    lineup.enter(Peer::Pool, "", || run(DirectPool(heap_pool(PAGES)), bulk));
    lineup.enter(Peer::Pool, "one pushed in", || run(Pushed(heap_pool(PAGES)), bulk));
    lineup.enter(Peer::ArrayStack, "", || run(ArrayStack::<128>::new(1..=BATCH), bulk));
    lineup.enter_if(Peer::Mempool, "", || dpdk(CACHE, Loop::Bulk64));
    lineup.enter_if(Peer::Mempool, "16 at a time", || dpdk(CACHE, Loop::Bulk16));
    lineup.enter_if(Peer::MempoolUncached, "", || dpdk(0, Loop::Bulk64));
    lineup.enter_if(Peer::MempoolUncached, "16 at a time", || dpdk(0, Loop::Bulk16));
}

fn ring(lineup: &mut Lineup<'_>) {
    lineup.enter(Peer::Pool, "drop", || run(ByRing(heap_pool(PAGES)), single));
    lineup.enter(Peer::Pool, "batch of 64", || {
        let pool = heap_pool(PAGES);
        let handle = pool.handle();
        run(BulkByRing(pool, handle), bulk)
    });
    lineup.enter(Peer::LockedRing, "", || run(locked_ring(2 * BATCH, 1..=BATCH), single));
    lineup.enter(Peer::ArrayQueue, "", || run(array_queue(2 * BATCH, 1..=BATCH), single));
    lineup.enter(Peer::SegQueue, "", || run(seg_queue(1..=BATCH), single));
    lineup.enter(Peer::Opool, "", || run(opool(BATCH), single));
    lineup.enter_if(Peer::MempoolUncached, "", || dpdk(0, Loop::Single));
    lineup.enter_if(Peer::MempoolUncached, "64 at a time", || dpdk(0, Loop::Bulk64));
}

fn run<T: 'static>(mut by: T, pass: fn(&mut T, usize)) -> Runner {
    timed(move |pages| pass(&mut by, pages))
}

fn dpdk(cache: usize, by: Loop) -> Result<Runner, Absent> {
    let pool = Mempool::new(OBJECTS, 64, cache)?;
    Ok(timed(move |objects| pool.run(by, objects)))
}
