//! Two processors: `cross1`, `cross16`, `cross64`.
//!
//! One thread allocates and hands over N pages at a time through a ring of 1024 places; another, on another
//! processor, receives N at a time and gives them back. So every page is received on one processor, used on the other
//! and comes home from there, which is what a pipeline does to a pool.
//!
//! | contender | allocates | gives back |
//! |---|---|---|
//! | pool, drop | N = 1: `alloc`; else `alloc_into` | N = 1: drop; else a dropped batch |
//! | pool, Returner | the same | `Returner::put`, `Returner::put_all` |
//! | DPDK mempool | `rte_mempool_get_bulk` of N, each thread with a cache | `rte_mempool_put_bulk` of N |
//! | queues, allocators | N times one | N times one |
//! | two rings | N from a second ring like the first | N into it |
//!
//! The last one is the bare limit: it works for exactly two threads that are known beforehand.
//!
//! *Included*: the hand-over, the same code for everybody, and waiting for the slower side. *Excluded*: start and
//! end of the threads, the pages' bytes. There are 2048 pages, and places for all of them in every
//! ring and queue, so nobody overflows and nobody runs dry for good. Pool and mempool have caches of 256 each.

use alloc::sync::Arc;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::alloc::System;
use std::time::Instant;

use mimalloc::MiMalloc;
use pp_core::{Home, Page, PageBatch, PagePool, doc::Heap};

use super::Case;
use crate::cores::{Patience, pin};
use crate::lineup::{Absent, Lineup, Peer, Runner};
use crate::loops::Direct;
use crate::peers::{Attendance, CHUNK, Jemalloc, Malloc, Mempool, array_queue, locked_ring, opool, seg_queue};
use crate::spsc::{Receiver, Sender, ring};

/// Places between the two threads.
pub(crate) const BETWEEN: usize = 1024;
/// Pages there are.
const PAGES: usize = 2048;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, many: &str, enter: fn(&mut Lineup<'_>)| {
        let about = format!("got on one processor, given back on another, {many}");
        Case::new("cross", name, about, enter).on_processors(2)
    };
    vec![
        case("cross1", "one at a time", all::<1>),
        case("cross16", "16 at a time", all::<16>),
        case("cross64", "64 at a time", all::<64>),
    ]
}

fn all<const N: usize>(lineup: &mut Lineup<'_>) {
    let other = lineup.stage.other();
    lineup.enter(Peer::Pool, "Returner", || by_returner::<N>(other));
    lineup.enter(Peer::Pool, if N == 1 { "drop" } else { "dropped batch" }, || by_drop::<N>(other));
    lineup.enter_if(Peer::Mempool, "", || by_mempool::<N>(other, 256));
    lineup.enter_if(Peer::MempoolUncached, "", || by_mempool::<N>(other, 0));
    lineup.enter(Peer::Rings, "", || by_rings::<N>(other));
    lineup.enter(Peer::LockedRing, "", || {
        let ring = locked_ring(PAGES, 1..=PAGES);
        one_by_one::<N, _>(other, ring.clone(), ring)
    });
    lineup.enter(Peer::ArrayQueue, "", || {
        let queue = array_queue(PAGES, 0..PAGES);
        one_by_one::<N, _>(other, queue.clone(), queue)
    });
    lineup.enter(Peer::SegQueue, "", || {
        let queue = seg_queue(0..PAGES);
        one_by_one::<N, _>(other, queue.clone(), queue)
    });
    lineup.enter(Peer::Opool, "", || {
        let pool = opool(PAGES);
        one_by_one::<N, _>(other, pool, pool)
    });
    let malloc = || Malloc::pages(System, 4096);
    lineup.enter(Peer::Malloc, "", || one_by_one::<N, _>(other, malloc(), malloc()));
    let mimalloc = || Malloc::pages(MiMalloc, 4096);
    lineup.enter(Peer::Mimalloc, "", || one_by_one::<N, _>(other, mimalloc(), mimalloc()));
    lineup.enter_if(Peer::Jemalloc, "", || {
        let jemalloc = Jemalloc::load()?;
        Ok(one_by_one::<N, _>(other, Malloc::pages(jemalloc, 4096), Malloc::pages(jemalloc, 4096)))
    });
}

/// Lets `take` send and `give` receive, each on its own processor, until so many chunks are through, and says how long
/// that took from the moment both were ready. `give` is made on the thread that it runs on.
pub(crate) fn hand_over<T: Send, G: FnMut(&mut Receiver<T>)>(
    other: usize,
    chunks: usize,
    (sender, receiver): (&mut Sender<T>, &mut Receiver<T>),
    mut take: impl FnMut(&mut Sender<T>),
    give: impl FnOnce() -> G + Send,
) -> Duration {
    let (ready, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let wait_for = |flag: &AtomicBool| {
        let mut patience = Patience::default();
        while !flag.load(Ordering::Acquire) {
            patience.lose();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(other);
            let mut give = give();
            ready.store(true, Ordering::Release);
            for _ in 0..chunks {
                give(receiver);
            }
            done.store(true, Ordering::Release);
        });
        wait_for(&ready);
        let start = Instant::now();
        for _ in 0..chunks {
            take(sender);
        }
        wait_for(&done);
        start.elapsed()
    })
}

/// Allocates one page; waits when all are on their way home.
#[inline(always)]
fn take_one(pool: &mut PagePool, sender: &mut Sender<Page>) {
    let mut patience = Patience::default();
    loop {
        if let Ok(page) = pool.alloc() {
            return sender.send(core::iter::once(page));
        }
        patience.lose();
    }
}

/// The same for a chunk.
#[inline(always)]
fn take_chunk<const N: usize>(pool: &mut PagePool, sender: &mut Sender<Page>) {
    let mut batch = PageBatch::<N>::new();
    let mut patience = Patience::default();
    while pool.alloc_into(&mut batch) < N && !batch.is_full() {
        patience.lose();
    }
    sender.send(batch.drain());
}

#[inline(always)]
fn receive_chunk<const N: usize>(receiver: &mut Receiver<Page>) -> PageBatch<N> {
    PageBatch::from(receiver.receive_chunk::<N>())
}

/// With a cache as large as the mempool's.
fn pool() -> PagePool {
    let builder = PagePool::builder(Home::new(Heap::new(4096, PAGES)))
        .pool_size(PAGES)
        .returners(1, PAGES)
        .cache(256)
        .refill(128);
    let mut pool = builder.build().expect("memory for a pool");
    // All of them into the ring, so that everybody begins with 2048.
    let mut pages = Vec::new();
    while let Ok(page) = pool.alloc() {
        pages.push(page);
    }
    drop(pages);
    pool
}

fn by_drop<const N: usize>(other: usize) -> Runner {
    let (mut pool, (mut sender, mut receiver)) = (pool(), ring(BETWEEN));
    Box::new(move |pages| {
        let ends = (&mut sender, &mut receiver);
        if N == 1 {
            let give = || |from: &mut Receiver<Page>| from.receive(1).for_each(drop);
            hand_over(other, pages, ends, |to| take_one(&mut pool, to), give)
        } else {
            let give = || |from: &mut Receiver<Page>| drop(receive_chunk::<N>(from));
            hand_over(other, pages / N, ends, |to| take_chunk::<N>(&mut pool, to), give)
        }
    })
}

fn by_returner<const N: usize>(other: usize) -> Runner {
    let (mut pool, (mut sender, mut receiver)) = (pool(), ring(BETWEEN));
    let mut returner = pool.handle().returner().expect("the pool was built with one");
    Box::new(move |pages| {
        let ends = (&mut sender, &mut receiver);
        let returner = &mut returner;
        if N == 1 {
            let give = move || move |from: &mut Receiver<Page>| from.receive(1).for_each(|page| returner.put(page));
            hand_over(other, pages, ends, |to| take_one(&mut pool, to), give)
        } else {
            let give = move || move |from: &mut Receiver<Page>| returner.put_all(from.receive(N));
            hand_over(other, pages / N, ends, |to| take_chunk::<N>(&mut pool, to), give)
        }
    })
}

/// Two views of one allocator or queue, one for each thread.
fn one_by_one<const N: usize, D>(other: usize, mut taker: D, mut giver: D) -> Runner
where
    D: Direct<Item: Send> + Send + 'static,
{
    let (mut sender, mut receiver) = ring(BETWEEN);
    Box::new(move |pages| {
        let take = |to: &mut Sender<D::Item>| {
            let chunk: [_; N] = core::array::from_fn(|_| {
                let mut patience = Patience::default();
                loop {
                    if let Some(item) = taker.get() {
                        break item;
                    }
                    patience.lose();
                }
            });
            to.send(chunk.into_iter());
        };
        let giver = &mut giver;
        let give = move || move |from: &mut Receiver<D::Item>| from.receive(N).for_each(|item| giver.put(item));
        hand_over(other, pages / N, (&mut sender, &mut receiver), take, give)
    })
}

fn by_mempool<const N: usize>(other: usize, cache: usize) -> Result<Runner, Absent> {
    const { assert!(N <= CHUNK) };
    let pool = Arc::new(Mempool::new(PAGES, 64, cache)?);
    let (mut sender, mut receiver) = ring(BETWEEN);
    Ok(Box::new(move |pages| {
        let take = |to: &mut Sender<usize>| {
            let mut chunk = [core::ptr::null_mut::<c_void>(); N];
            let mut patience = Patience::default();
            while !pool.get(&mut chunk) {
                patience.lose();
            }
            to.send(chunk.map(|object| object.expose_provenance()).into_iter());
        };
        let pool = &*pool;
        let give = || {
            let attendance = Attendance::new(pool);
            move |from: &mut Receiver<usize>| {
                let _ = &attendance;
                pool.put(&mut from.receive_chunk::<N>().map(core::ptr::with_exposed_provenance_mut));
            }
        };
        hand_over(other, pages / N, (&mut sender, &mut receiver), take, give)
    }))
}

fn by_rings<const N: usize>(other: usize) -> Runner {
    let ((mut back, mut free), (mut sender, mut receiver)) = (ring(PAGES), ring(BETWEEN));
    back.send(0..PAGES);
    Box::new(move |pages| {
        let take = |to: &mut Sender<usize>| to.send(free.receive_chunk::<N>().into_iter());
        let back = &mut back;
        let give = move || move |from: &mut Receiver<usize>| back.send(from.receive_chunk::<N>().into_iter());
        hand_over(other, pages / N, (&mut sender, &mut receiver), take, give)
    })
}
