//! Several threads give back at once: `contended1` to `contended8`.
//!
//! The consumer takes 1536 pages out for each thread and deals them; then it sleeps, and all threads give theirs
//! back at the same time; then it takes them out again. Threads are spread over the processors that there are, so when they
//! are more than those they interrupt each other in the middle of giving back, which is part of the case.
//!
//! What is counted is *processor time*: the time from the first thread's start to the last one's end times the number of
//! processors in use, which is the threads' number or the processors', whichever is smaller; and the consumer's time for
//! taking the pages. So everybody is comparable with `ring`, where one thread does both, and that one's own loop runs in the same
//! turns as "uncontended ring". Of the many times in a round the middle one counts.
//!
//! | contender | gives back |
//! |---|---|
//! | pool, uncontended ring | the case `ring` |
//! | pool, drop | `drop`, one at a time |
//! | pool, Returner | `Returner::put`, one at a time, each thread with its own |
//! | pool, batch | `PoolHandle::put_batch` of 64: the shared path, with a bag for each thread |
//! | pool, batch by the ring | the same in a pool without bags for batches |
//! | pool, Returner batch | `Returner::put_batch` of 64 |
//! | DPDK mempool | `rte_mempool_put` of one, or `rte_mempool_put_bulk` of 64, each thread with a cache |
//! | queues, allocators | one at a time |

use core::alloc::GlobalAlloc;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::alloc::System;
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::Instant;

use mimalloc::MiMalloc;
use pp_core::{Home, Page, PageBatch, PagePool, doc::Heap};

use super::Case;
use crate::cores::{Patience, pin};
use crate::lineup::{Absent, Lineup, Peer, Runner, Stage, timed};
use crate::loops::{BATCH, empty, single};
use crate::peers::{
    Attendance, ByRing, Jemalloc, Malloc, Mempool, array_queue, heap_pool, locked_ring, opool, seg_queue,
};
use crate::spsc::Apart;

/// Pages that each thread gives back at once. With eight threads that is three quarters of the largest ring, so that there is room
/// for them wherever a thread looks.
const EACH: usize = 1536;

pub(crate) fn cases() -> Vec<Case> {
    let case = |threads: usize| {
        let who = if threads == 1 { "one thread gives".to_owned() } else { format!("{threads} threads at once give") };
        let about = format!("{who} back, processor time with the consumer's");
        Case::new("contended", format!("contended{threads}"), about, move |lineup| enter(lineup, threads))
            .keeps_busy(threads)
    };
    [1, 2, 4, 8].into_iter().map(case).collect()
}

fn enter(lineup: &mut Lineup<'_>, threads: usize) {
    let crew = Crew::new(lineup.stage, threads);
    lineup.enter(Peer::Pool, "uncontended ring", || {
        let mut pool = ByRing(heap_pool(256));
        timed(move |pages| single(&mut pool, pages))
    });
    lineup
        .enter(Peer::Pool, "drop", || crew.clone().pool(0, |_| |stock: &mut Vec<Page>| stock.drain(..).for_each(drop)));
    lineup.enter(Peer::Pool, "Returner", || {
        crew.clone().pool(0, |pool| {
            let mut returner = pool.handle().returner().expect("one for each thread");
            move |stock: &mut Vec<Page>| stock.drain(..).for_each(|page| returner.put(page))
        })
    });
    let by_handle = |pool: &PagePool| {
        let handle = pool.handle();
        move |stock: &mut Vec<Page>| batches(stock, |batch| handle.put_batch(batch))
    };
    lineup.enter(Peer::Pool, "batch", || crew.clone().pool(threads, by_handle));
    lineup.enter(Peer::Pool, "batch by the ring", || crew.clone().pool(0, by_handle));
    lineup.enter(Peer::Pool, "Returner batch", || {
        crew.clone().pool(0, |pool| {
            let mut returner = pool.handle().returner().expect("one for each thread");
            move |stock: &mut Vec<Page>| batches(stock, |batch| returner.put_batch(batch))
        })
    });
    lineup.enter_if(Peer::Mempool, "", || crew.clone().mempool(1));
    lineup.enter_if(Peer::Mempool, "64 at a time", || crew.clone().mempool(BATCH));
    lineup.enter(Peer::LockedRing, "", || {
        crew.clone().items(
            locked_ring(crew.pages().next_power_of_two(), 1..=crew.pages()),
            |ring| ring.pop(),
            |ring, item| assert!(ring.push(item), "there is a place for each"),
        )
    });
    lineup.enter(Peer::ArrayQueue, "", || {
        crew.clone().items(
            array_queue(crew.pages(), 0..crew.pages()),
            |queue| queue.pop(),
            |queue, item| {
                let _ = queue.push(item);
            },
        )
    });
    lineup.enter(Peer::SegQueue, "", || {
        crew.clone().items(seg_queue(0..crew.pages()), |queue| queue.pop(), |queue, item| queue.push(item))
    });
    lineup.enter(Peer::Opool, "", || {
        crew.clone().items(opool(crew.pages()), |pool| pool.try_get(), |_, page| drop(page))
    });
    lineup.enter(Peer::Malloc, "", || crew.clone().allocator(System));
    lineup.enter(Peer::Mimalloc, "", || crew.clone().allocator(MiMalloc));
    lineup.enter_if(Peer::Jemalloc, "", || Ok(crew.clone().allocator(Jemalloc::load()?)));
}

/// Gives a stock back 64 at a time.
fn batches(stock: &mut Vec<Page>, mut put: impl FnMut(&mut PageBatch<BATCH>)) {
    let mut batch = PageBatch::new();
    for page in stock.drain(..) {
        let _ = batch.push(page);
        if batch.is_full() {
            put(&mut batch);
        }
    }
    put(&mut batch);
}

/// Who gives back: so many threads on these processors.
#[derive(Clone)]
struct Crew {
    cpus: Vec<usize>,
    threads: usize,
}

impl Crew {
    fn new(stage: &Stage, threads: usize) -> Self {
        Crew { cpus: stage.cpus.clone(), threads }
    }

    /// All that are given back in one go.
    fn pages(&self) -> usize {
        self.threads * EACH
    }

    /// `take` fills a stock, on this thread; `giver` makes what gives one back, on the thread of that number. Returns the
    /// processor time for about so many pages.
    fn round<T: Send, G: FnMut(&mut Vec<T>)>(
        &self,
        pages: usize,
        mut take: impl FnMut(&mut Vec<T>, usize),
        giver: impl Fn(usize) -> G + Sync,
    ) -> Duration {
        let stock = || Apart(Mutex::new((Vec::with_capacity(EACH), None)));
        let stocks: Vec<_> = (0..self.threads).map(|_| stock()).collect();
        let lock = |at: usize| stocks[at].0.lock().unwrap_or_else(PoisonError::into_inner);
        let (go, done) = (Barrier::new(self.threads + 1), Barrier::new(self.threads + 1));
        let mut taken = Vec::with_capacity(self.pages());
        let mut deal = || {
            let start = Instant::now();
            take(&mut taken, self.pages());
            let took = start.elapsed();
            // Apart from the time: how pages get to other threads is not what is measured.
            (0..self.threads).for_each(|at| lock(at).0.extend(taken.drain(taken.len() - EACH..)));
            took
        };
        let awake = AtomicUsize::new(0);
        let rounds = pages.div_ceil(self.pages());
        let parallel = self.threads.min(self.cpus.len()) as u32;
        let mut spent = Vec::with_capacity(rounds);
        std::thread::scope(|scope| {
            for at in 0..self.threads {
                let (lock, giver, go, done, awake) = (&lock, &giver, &go, &done, &awake);
                let cpu = self.cpus[at % self.cpus.len()];
                scope.spawn(move || {
                    pin(cpu);
                    let mut give = giver(at);
                    let mut own = Vec::with_capacity(EACH);
                    for _ in 0..=rounds {
                        go.wait();
                        own.append(&mut lock(at).0);
                        // Waking up takes longer than giving back: nobody begins before all are awake.
                        awake.fetch_add(1, Ordering::Relaxed);
                        while awake.load(Ordering::Relaxed) % self.threads != 0 {
                            // Somebody may be waiting for this very processor.
                            if self.threads > self.cpus.len() { std::thread::yield_now() } else { spin_loop() }
                        }
                        let start = Instant::now();
                        give(&mut own);
                        lock(at).1 = Some((start, Instant::now()));
                        done.wait();
                    }
                });
            }
            deal();
            for _ in 0..rounds {
                go.wait();
                done.wait();
                let times = || (0..self.threads).filter_map(|at| lock(at).1);
                let first = times().map(|(start, _)| start).min();
                let last = times().map(|(_, end)| end).max();
                let giving = first.zip(last).map_or(Duration::ZERO, |(first, last)| (last - first) * parallel);
                spent.push(giving + deal());
            }
            // Back once more, uncounted: as many were dealt before the first time.
            go.wait();
            done.wait();
        });
        // The middle one stands for all: whoever is interrupted by another program in the middle of giving back is so for
        // a hundred times as long as that takes.
        spent.sort();
        spent[rounds / 2].mul_f64(pages as f64 / self.pages() as f64)
    }

    /// The pool with so many bags for batches, given back to by what `make` makes for each thread.
    fn pool<G>(self, bags: usize, make: impl Fn(&PagePool) -> G) -> Runner
    where
        G: FnMut(&mut Vec<Page>) + Send + 'static,
    {
        let builder = PagePool::builder(Home::new(Heap::new(4096, self.pages()))).pool_size(16_384);
        let mut pool = builder.returners(self.threads, EACH).batch_bags(bags, EACH).build().expect("memory for a pool");
        let givers: Vec<_> = (0..self.threads).map(|_| Mutex::new(make(&pool))).collect();
        Box::new(move |pages| {
            let take = |stock: &mut Vec<Page>, count: usize| {
                for _ in 0..count {
                    let Ok(page) = pool.alloc() else { empty() };
                    stock.push(page);
                }
            };
            let giver = |at: usize| {
                let giver = &givers[at];
                move |stock: &mut Vec<Page>| giver.lock().unwrap_or_else(PoisonError::into_inner)(stock)
            };
            self.round(pages, take, giver)
        })
    }

    /// A queue or an allocator that all threads share.
    fn items<S: Send + Sync + 'static, T: Send>(
        self,
        shared: S,
        get: impl Fn(&S) -> Option<T> + 'static,
        put: impl Fn(&S, T) + Sync + 'static,
    ) -> Runner {
        Box::new(move |pages| {
            let take = |stock: &mut Vec<T>, count: usize| {
                stock.extend((0..count).map(|_| get(&shared).unwrap_or_else(|| empty())));
            };
            let giver = |_: usize| |stock: &mut Vec<T>| stock.drain(..).for_each(|item| put(&shared, item));
            self.round(pages, take, giver)
        })
    }

    fn allocator<A: GlobalAlloc + Send + Sync + 'static>(self, allocator: A) -> Runner {
        self.items(Malloc::pages(allocator, 4096), Malloc::allocate, Malloc::free)
    }

    fn mempool(self, chunk: usize) -> Result<Runner, Absent> {
        // More than are dealt, for what stays in the threads' caches.
        let pool = Mempool::new(self.pages() + self.threads * 512, 64, 256)?;
        Ok(Box::new(move |pages| {
            let pool = &pool;
            let take = |stock: &mut Vec<usize>, count: usize| {
                let mut objects = [core::ptr::null_mut::<c_void>(); BATCH];
                for _ in 0..count / chunk {
                    let mut patience = Patience::default();
                    while !pool.get(&mut objects[..chunk]) {
                        patience.lose();
                    }
                    stock.extend(objects[..chunk].iter().map(|object| object.expose_provenance()));
                }
            };
            let giver = |_: usize| {
                let attendance = Attendance::new(pool);
                move |stock: &mut Vec<usize>| {
                    let _ = &attendance;
                    for objects in stock.chunks(chunk) {
                        let mut place = [core::ptr::null_mut::<c_void>(); BATCH];
                        let place = &mut place[..objects.len()];
                        for (place, object) in place.iter_mut().zip(objects) {
                            *place = core::ptr::with_exposed_provenance_mut(*object);
                        }
                        pool.put(place);
                    }
                    stock.clear();
                }
            };
            self.round(pages, take, giver)
        }))
    }
}
