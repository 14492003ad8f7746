//! The cases of two processors: `cross1`, `cross16`, `cross64`.
//!
//! One thread allocates and hands over N pages at a time through a ring of 1024 places; another, on another
//! processor, receives N at a time and gives them back. So every page is received on one processor, used on the other
//! and comes home from there, which is what a pipeline does to a pool.
//!
//! | contender | allocates | gives back |
//! |---|---|---|
//! | pool, drop | N = 1: `alloc`; else `alloc_into` | N = 1: drop; else a dropped batch |
//! | pool, Returner | the same | `Returner::put`, `Returner::put_batch` |
//! | crossbeam ArrayQueue | N times `pop` | N times `push` |
//! | two rings | N from a second ring like the first | N into it |
//!
//! The last one is the bare limit: it works for exactly two threads that are known beforehand.
//!
//! *Included*: the hand-over, the same code for everybody, and waiting for the slower side. *Excluded*: start and
//! end of the threads, the pages' bytes. There are 2048 pages, and places for all of them in every
//! ring and queue, so nobody overflows and nobody runs dry for good.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::time::Instant;

use pp_core::{Home, Page, PageBatch, PagePool, doc::Heap};

use crate::cores::{Patience, pin};
use crate::measure::Contender;
use crate::peers::array_queue;
use crate::spsc::{Receiver, Sender, ring};

/// Places between the two threads.
pub(crate) const BETWEEN: usize = 1024;
/// Pages there are.
const PAGES: usize = 2048;

/// Lets `take` send and `give` receive, each on its own processor, until so many chunks are through, and says how long
/// that took from the moment both were ready.
pub(crate) fn hand_over<T: Send>(
    other: usize,
    chunks: usize,
    (sender, receiver): (&mut Sender<T>, &mut Receiver<T>),
    mut take: impl FnMut(&mut Sender<T>),
    mut give: impl FnMut(&mut Receiver<T>) + Send,
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
    sender.send(&mut batch);
}

#[inline(always)]
fn receive_chunk<const N: usize>(receiver: &mut Receiver<Page>) -> PageBatch<N> {
    let mut batch = PageBatch::<N>::new();
    receiver.receive(N, |page| {
        let _ = batch.push(page);
    });
    batch
}

fn pool() -> PagePool {
    let builder = PagePool::builder(Home::new(Heap::new(4096, PAGES))).pool_size(PAGES).returners(1, PAGES);
    let mut pool = builder.build().expect("memory for a pool");
    // All of them into the ring, so that everybody begins with 2048.
    let mut pages = Vec::new();
    while let Ok(page) = pool.alloc() {
        pages.push(page);
    }
    drop(pages);
    pool
}

fn by_drop<const N: usize>(other: usize) -> Contender {
    let (mut pool, (mut sender, mut receiver)) = (pool(), ring(BETWEEN));
    let name = if N == 1 { "pool, drop" } else { "pool, dropped batch" };
    Contender::new(name, move |pages| {
        let ends = (&mut sender, &mut receiver);
        if N == 1 {
            hand_over(other, pages, ends, |to| take_one(&mut pool, to), |from| from.receive(1, drop))
        } else {
            hand_over(
                other,
                pages / N,
                ends,
                |to| take_chunk::<N>(&mut pool, to),
                |from| drop(receive_chunk::<N>(from)),
            )
        }
    })
}

fn by_returner<const N: usize>(other: usize) -> Contender {
    let (mut pool, (mut sender, mut receiver)) = (pool(), ring(BETWEEN));
    let mut returner = pool.handle().returner().expect("the pool was built with one");
    Contender::new("pool, Returner", move |pages| {
        let ends = (&mut sender, &mut receiver);
        if N == 1 {
            let give = |from: &mut Receiver<Page>| from.receive(1, |page| returner.put(page));
            hand_over(other, pages, ends, |to| take_one(&mut pool, to), give)
        } else {
            let give = |from: &mut Receiver<Page>| returner.put_batch(&mut receive_chunk::<N>(from));
            hand_over(other, pages / N, ends, |to| take_chunk::<N>(&mut pool, to), give)
        }
    })
}

fn by_queue<const N: usize>(other: usize) -> Contender {
    let (queue, (mut sender, mut receiver)) = (Arc::new(array_queue(PAGES, PAGES)), ring(BETWEEN));
    Contender::new("crossbeam ArrayQueue", move |pages| {
        let take = |to: &mut Sender<usize>| {
            let mut chunk = [0; N];
            for item in &mut chunk {
                let mut patience = Patience::default();
                *item = loop {
                    if let Some(item) = queue.pop() {
                        break item;
                    }
                    patience.lose();
                };
            }
            to.send(chunk.into_iter());
        };
        let give = |from: &mut Receiver<usize>| {
            from.receive(N, |item| {
                let _ = queue.push(item);
            });
        };
        hand_over(other, pages / N, (&mut sender, &mut receiver), take, give)
    })
}

fn by_rings<const N: usize>(other: usize) -> Contender {
    let ((mut back, mut free), (mut sender, mut receiver)) = (ring(PAGES), ring(BETWEEN));
    back.send(0..PAGES);
    Contender::new("two rings", move |pages| {
        let take = |to: &mut Sender<usize>| {
            let mut chunk = [0; N];
            let mut places = chunk.iter_mut();
            free.receive(N, |item| {
                if let Some(place) = places.next() {
                    *place = item;
                }
            });
            to.send(chunk.into_iter());
        };
        let give = |from: &mut Receiver<usize>| {
            let mut chunk = [0; N];
            let mut places = chunk.iter_mut();
            from.receive(N, |item| {
                if let Some(place) = places.next() {
                    *place = item;
                }
            });
            back.send(chunk.into_iter());
        };
        hand_over(other, pages / N, (&mut sender, &mut receiver), take, give)
    })
}

fn all<const N: usize>(other: usize) -> Vec<Contender> {
    vec![by_drop::<N>(other), by_returner::<N>(other), by_queue::<N>(other), by_rings::<N>(other)]
}

/// The contenders of `case` with the second thread on processor `other`; none for a case of another module.
pub(crate) fn contenders(case: &str, other: usize) -> Vec<Contender> {
    match case {
        "cross1" => all::<1>(other),
        "cross16" => all::<16>(other),
        "cross64" => all::<64>(other),
        _ => Vec::new(),
    }
}
