//! The kernel's own benchmark, `bench_page_pool_simple`: a pool of 1024 whose ring 64 pages lie in, and three ways of one
//! page. The machine's own costs stand beside them, as they do there, so that numbers of other machines can be read.

use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use pp_core::PagePool;

use super::Case;
use crate::lineup::{Lineup, Peer, Runner, timed};
use crate::loops::{clobber, empty};
use crate::peers::heap_pool;

pub(crate) fn cases() -> Vec<Case> {
    let about =
        "the kernel's benchmark: fast path, ring, and slow, where an outside reference keeps the page from going round";
    vec![Case::new("kernels", "kernel", about, enter)]
}

fn pool() -> PagePool {
    let mut pool = heap_pool(1024);
    let pages: Vec<_> = (0..64).map_while(|_| pool.alloc().ok()).collect();
    drop(pages);
    pool
}

fn enter(lineup: &mut Lineup<'_>) {
    lineup.enter(Peer::Pool, "fast", || looped(fast));
    lineup.enter(Peer::Pool, "ring", || looped(ring));
    lineup.enter(Peer::Pool, "slow", || looped(slow));
    lineup.enter(Peer::Machine, "empty loop", || {
        timed(|pages| {
            for page in 0..pages {
                black_box(page);
            }
        })
    });
    lineup.enter(Peer::Machine, "atomic increment", || {
        let count = AtomicUsize::new(0);
        timed(move |pages| {
            for _ in 0..pages {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    lineup.enter(Peer::Machine, "lock and unlock", || {
        let count = Mutex::new(0);
        timed(move |pages| {
            for _ in 0..pages {
                if let Ok(mut count) = count.lock() {
                    *black_box(&mut *count) += 1;
                }
            }
        })
    });
}

/// A loop of its own for each way, which is a type of its own.
fn looped(each: impl Fn(&mut PagePool) + 'static) -> Runner {
    let mut pool = pool();
    timed(move |pages| {
        for _ in 0..pages {
            each(&mut pool);
            clobber();
        }
    })
}

#[inline(always)]
fn fast(pool: &mut PagePool) {
    let Ok(page) = pool.alloc() else { empty() };
    clobber();
    pool.recycle_direct(page);
}

#[inline(always)]
fn ring(pool: &mut PagePool) {
    let Ok(page) = pool.alloc() else { empty() };
    clobber();
    drop(page);
}

/// Somebody else holds the page when the driver puts it, and lets go after that.
#[inline(always)]
fn slow(pool: &mut PagePool) {
    let Ok(page) = pool.alloc() else { empty() };
    let page = page.share();
    let outside = page.clone();
    clobber();
    page.release();
    clobber();
    drop(outside);
}
