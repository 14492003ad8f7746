//! What a pool's size costs: `growth` and `growth-ring`, `queue1Ki` to `queue1Mi`, `units`.
//!
//! In the first two, 64 pages go round in pools of 1 Ki, 32 Ki and 1 Mi pages, all of which are on the pool's books: the ones
//! that do not go round are out. That should cost the same whatever the size. Of each size there are five pools, and the middle one of their times
//! counts: one of some fifteen pools, of any size, is slower by 15 to 100 % all its life, by where its memory lies.
//!
//! In the next three, as many pages as the pool has stand in a queue, as they do in a network card's ring: one is
//! allocated and joins at the end, and the one in front goes straight back. Each has to be looked at, and beyond the processor's
//! caches that means memory. How much of the time that is, "memory alone" says: the same queue, and of each page one word is read
//! from a line of its own.

use alloc::collections::VecDeque;
use core::hint::black_box;

use pp_core::{Page, PagePool};
use pp_provider_buddy::Buddy;

use super::Case;
use crate::lineup::{Lineup, Peer, Runner, timed};
use crate::loops::{BATCH, Direct, clobber, empty, napi, single};
use crate::peers::{ByRing, DirectPool};

const KI: usize = 1024;
/// Pools of each size.
const POOLS: usize = 5;
/// The sizes, as ways of the pool.
const SIZES: [(&str, usize); 3] = [("1 Ki pages", KI), ("32 Ki pages", 32 * KI), ("1 Mi pages", KI * KI)];

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, about: &str, enter: fn(&mut Lineup<'_>)| Case::new("sizes", name, about, enter);
    vec![
        case("growth", "64 out, 64 straight back, in pools of very different sizes", |lineup| {
            sized(lineup, DirectPool, napi);
        }),
        case("growth-ring", "one out, back by the shared path, in pools of very different sizes", |lineup| {
            sized(lineup, ByRing, single);
        }),
        case("queue1Ki", "a queue of 1 Ki pages: one joins, the one in front goes back", |lineup| queue(lineup, KI)),
        case("queue32Ki", "the same with 32 Ki pages", |lineup| queue(lineup, 32 * KI)),
        case("queue1Mi", "the same with 1 Mi pages", |lineup| queue(lineup, KI * KI)),
        case("units", "64 out, 64 straight back, pages of 2 to 64 KiB", units),
    ]
}

fn buddy(unit_bytes: usize, units: usize) -> Buddy {
    let builder = Buddy::builder().unit_bytes(unit_bytes).anonymous(units * unit_bytes);
    builder.build().expect("address space for a buddy")
}

fn sized<D: 'static>(lineup: &mut Lineup<'_>, by: fn(PagePool) -> D, run: fn(&mut D, usize)) {
    for (way, size) in SIZES {
        lineup.enter(Peer::Pool, way, || {
            let mut pools: [_; POOLS] = core::array::from_fn(|_| nearly_all_out(size, by, run));
            Box::new(move |pages| {
                let each = (pages / POOLS).next_multiple_of(BATCH);
                let mut times = pools.each_mut().map(|run| run(each));
                times.sort();
                times[POOLS / 2].mul_f64(pages as f64 / each as f64)
            })
        });
    }
}

/// A pool of so many pages, all but 64 of which are out.
fn nearly_all_out<D: 'static>(size: usize, by: fn(PagePool) -> D, run: fn(&mut D, usize)) -> Runner {
    let builder = PagePool::builder(buddy(4096, size)).pool_size(size);
    let mut pool = builder.build().expect("memory for a pool");
    let mut out: Vec<Page> = (0..size).map_while(|_| pool.alloc().ok()).collect();
    assert_eq!(out.len(), size, "all of them");
    out.truncate(size - BATCH);
    let mut by = by(pool);
    timed(move |pages| {
        black_box(&mut out);
        run(&mut by, pages);
    })
}

/// The numbers below `size`, a power of two, in an order that no prefetcher knows.
fn shuffled(size: usize) -> impl Iterator<Item = usize> {
    let mut at = 0usize;
    (0..size).map(move |_| {
        // Visits each once: a full-period generator modulo a power of two, its bits mixed by a bijection.
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) & (size - 1);
        let half = size.trailing_zeros() / 2;
        at ^ (at >> half)
    })
}

fn queue(lineup: &mut Lineup<'_>, size: usize) {
    // Some more than stand in the queue, so that there always is one to join.
    let more = size + 256;
    lineup.enter(Peer::Pool, "", || {
        let mut pool = PagePool::builder(buddy(4096, more)).build().expect("memory for a pool");
        let mut pages: Vec<_> = (0..size).map(|_| pool.alloc().ok()).collect();
        let queue: VecDeque<Page> = shuffled(size).filter_map(|at| pages.get_mut(at)?.take()).collect();
        standing(DirectPool(pool), queue)
    });
    lineup.enter(Peer::Machine, "memory alone", || {
        let lines: &'static [Line] = vec![Line([1; 8]); more].leak();
        let queue: VecDeque<&Line> = shuffled(size).map(|at| &lines[at]).collect();
        standing(Lines(lines[size..].iter().collect()), queue)
    });
}

fn standing<D: Direct + 'static>(mut by: D, mut queue: VecDeque<D::Item>) -> Runner
where
    D::Item: 'static,
{
    timed(move |pages| {
        for _ in 0..pages {
            let Some(joins) = by.get() else { empty() };
            queue.push_back(joins);
            clobber();
            if let Some(leaves) = queue.pop_front() {
                by.put(leaves);
            }
            clobber();
        }
    })
}

/// As large as a page's descriptor.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([usize; 8]);

/// A stack of lines that reads a word of each that comes back.
struct Lines(Vec<&'static Line>);

impl Direct for Lines {
    type Item = &'static Line;
    #[inline(always)]
    fn get(&mut self) -> Option<Self::Item> {
        self.0.pop()
    }
    #[inline(always)]
    fn put(&mut self, line: Self::Item) {
        // Decides on the word, as the pool does.
        if black_box(line.0[0]) == 1 {
            self.0.push(line);
        }
    }
}

fn units(lineup: &mut Lineup<'_>) {
    let sizes = [("2 KiB", 2), ("4 KiB", 4), ("8 KiB", 8), ("16 KiB", 16), ("32 KiB", 32), ("64 KiB", 64)];
    for (way, kib) in sizes {
        lineup.enter(Peer::Pool, way, || {
            let pool = PagePool::builder(buddy(kib << 10, 256)).build().expect("memory for a pool");
            let mut by = DirectPool(pool);
            timed(move |pages| napi(&mut by, pages))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{KI, shuffled};

    #[test]
    fn shuffling_visits_each_once() {
        for size in [64, KI, 32 * KI] {
            let mut seen = vec![false; size];
            shuffled(size).for_each(|at| seen[at] = true);
            assert!(seen.into_iter().all(|seen| seen), "{size}");
        }
    }
}
