//! Somebody is slow: `held`. Pages go round as in `napi64`, but one in 64 stays out until 1024 more were allocated.
//!
//! It is what a ring of pages that looks at its head alone is blocked by: each of the few that are held makes it allocate a new page,
//! again and again, although all the others are free.

use alloc::collections::VecDeque;
use std::alloc::System;

use mimalloc::MiMalloc;

use super::Case;
use crate::lineup::{Lineup, Peer, Runner, timed};
use crate::loops::{BATCH, Direct, empty};
use crate::peers::{
    ArrayStack, BiasSplit, ByRing, DirectPool, Jemalloc, Malloc, Mempool, PageRing, array_queue, heap_pool,
};

/// Pages that are held at a time.
const HELD: usize = 16;
const PAGES: usize = 256;

pub(crate) fn cases() -> Vec<Case> {
    let about = "64 out, 64 straight back, but one of them only 1024 pages later";
    vec![Case::new("hold", "held", about, enter)]
}

fn enter(lineup: &mut Lineup<'_>) {
    lineup.enter(Peer::Pool, "direct", || run(DirectPool(heap_pool(PAGES))));
    lineup.enter(Peer::Pool, "drop", || run(ByRing(heap_pool(PAGES))));
    lineup.enter(Peer::PageRing, "", || run(PageRing::new(PAGES)));
    lineup.enter(Peer::BiasSplit, "", || run(BiasSplit::new(PAGES)));
    lineup.enter(Peer::ArrayStack, "", || run(ArrayStack::<128>::new(1..=2 * BATCH)));
    lineup.enter_if(Peer::Mempool, "", || Ok(run(Mempool::new(2047, 64, 256)?)));
    lineup.enter(Peer::ArrayQueue, "", || run(array_queue(PAGES, 0..PAGES)));
    lineup.enter(Peer::Malloc, "", || run(Malloc::pages(System, 4096)));
    lineup.enter(Peer::Mimalloc, "", || run(Malloc::pages(MiMalloc, 4096)));
    lineup.enter_if(Peer::Jemalloc, "", || Ok(run(Malloc::pages(Jemalloc::load()?, 4096))));
}

fn run<D: Direct + 'static>(mut by: D) -> Runner
where
    D::Item: 'static,
{
    let mut held = VecDeque::with_capacity(HELD + 1);
    let mut batch = Vec::with_capacity(BATCH);
    timed(move |pages| {
        for _ in 0..pages / BATCH {
            batch.extend((0..BATCH).map(|_| by.get().unwrap_or_else(|| empty())));
            held.extend(batch.pop());
            if held.len() > HELD {
                batch.extend(held.pop_front());
            }
            by.put_all(batch.drain(..));
        }
    })
}
