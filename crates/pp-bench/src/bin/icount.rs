//! `icount CASE N`: one case, N iterations, for a program that counts instructions. `cargo xtask icount` runs it with N
//! and with 2N and compares the difference with `instructions.toml`.
//!
//! | case | an iteration |
//! |---|---|
//! | `single` | one page out and straight back in, of the pool that the default builder returns: the promise |
//! | `single-limit` | the same with a limit and a watermark |
//! | `single-hooks` | the same with page-in and page-out hooks |
//! | `single-dma-sync` | the same with DMA and a sync for the device at every return |
//! | `napi64` | 64 pages out, one call each, then 64 back, one call each |
//! | `bulk64` | 64 pages out in one call, back in one call |
//! | `bulk64-pushed` | the same, and one of them popped and pushed in between, so that each is looked at when it comes back |
//! | `frag` | a fragment of 256 bytes out and straight back, beside the same pool |
//! | `frag-drop` | the same, but dropped; every 16 iterations contain one renewal of the page |
//! | `ring` | one page out, then dropped; every 64 iterations contain one refill from the ring |
//! | `ring-dma-sync` | the same with DMA and a sync for the device at every refill |
//! | `ring64` | 64 pages out in one call, put back in one call by the shared path, and the refill |
//! | `returner` | one page out, then put by a Returner; every 64 iterations contain one refill from its bag |
//! | `returner64` | 64 pages out in one call, put back in one call by a Returner, and the refill |
//! | `returner-all` | the same by `put_all`, which looks at each |
//!
//! Statistics and owner checks are on, as always, and the pool is another crate's, as it is for its users.

use core::hint::black_box;
use core::mem::MaybeUninit;
use std::process::ExitCode;

use pp_core::{Counting, DmaDirection, Home, Identity, Page, PageBatch, PagePool, PoolBuilder, Stats, doc::Heap};
use pp_frag::FragCache;

#[inline(never)]
fn single(pool: &mut PagePool, n: usize) {
    for _ in 0..n {
        if let Ok(page) = pool.alloc() {
            pool.recycle_direct(page);
        }
    }
}

#[inline(never)]
fn napi64(pool: &mut PagePool, n: usize) {
    let mut held = [const { MaybeUninit::<Page>::uninit() }; 64];
    for _ in 0..n {
        let mut count = 0;
        while count < held.len() {
            let Ok(page) = pool.alloc() else { break };
            held[count].write(page);
            count += 1;
        }
        for place in &held[..count] {
            // SAFETY: written above, and not read again before it is written again.
            pool.recycle_direct(unsafe { place.assume_init_read() });
        }
    }
}

#[inline(never)]
fn bulk64(pool: &mut PagePool, n: usize) {
    let mut batch = PageBatch::<64>::new();
    for _ in 0..n {
        pool.alloc_into(&mut batch);
        pool.recycle_batch(&mut batch);
    }
}

#[inline(never)]
fn bulk64_pushed(pool: &mut PagePool, n: usize) {
    let mut batch = PageBatch::<64>::new();
    for _ in 0..n {
        pool.alloc_into(&mut batch);
        push_again(&mut batch);
        pool.recycle_batch(&mut batch);
    }
}

#[inline(always)]
fn push_again(batch: &mut PageBatch<64>) {
    if let Some(page) = batch.pop() {
        let _ = batch.push(page);
    }
}

#[inline(never)]
fn ring(pool: &mut PagePool, n: usize) {
    for _ in 0..n {
        if let Ok(page) = pool.alloc() {
            drop(page);
        }
    }
}

#[inline(never)]
fn ring64(pool: &mut PagePool, n: usize) {
    let handle = pool.handle();
    let mut batch = PageBatch::<64>::new();
    for _ in 0..n {
        pool.alloc_into(&mut batch);
        handle.put_batch(&mut batch);
    }
}

#[inline(never)]
fn returner(pool: &mut PagePool, n: usize) {
    let mut returner = pool.handle().returner().expect("the pool was built with one");
    for _ in 0..n {
        if let Ok(page) = pool.alloc() {
            returner.put(page);
        }
    }
}

#[inline(never)]
fn returner64(pool: &mut PagePool, n: usize) {
    let mut returner = pool.handle().returner().expect("the pool was built with one");
    let mut batch = PageBatch::<64>::new();
    for _ in 0..n {
        pool.alloc_into(&mut batch);
        returner.put_batch(&mut batch);
    }
}

#[inline(never)]
fn returner_all(pool: &mut PagePool, n: usize) {
    let mut returner = pool.handle().returner().expect("the pool was built with one");
    let mut batch = PageBatch::<64>::new();
    for _ in 0..n {
        pool.alloc_into(&mut batch);
        push_again(&mut batch);
        returner.put_all(batch.drain());
    }
}

#[inline(never)]
fn frag(pool: &mut PagePool, n: usize) {
    let mut cache = FragCache::new();
    for _ in 0..n {
        if let Ok(frag) = cache.alloc(pool, 256) {
            cache.recycle(pool, black_box(frag));
        }
    }
}

#[inline(never)]
fn frag_drop(pool: &mut PagePool, n: usize) {
    let mut cache = FragCache::new();
    for _ in 0..n {
        drop(black_box(cache.alloc(pool, 256)));
    }
}

fn plain() -> PoolBuilder {
    PagePool::builder(Home::new(Heap::new(4096, 256)))
}

fn synced() -> PoolBuilder {
    plain().dma(Counting::new(Identity), DmaDirection::FromDevice).dma_sync(0, 4096)
}

type Case = (fn(&mut PagePool, usize), PoolBuilder);

fn case(name: &str) -> Option<Case> {
    Some(match name {
        "single" => (single, plain()),
        "single-limit" => (single, plain().limit(200).watermark(100, |_| {})),
        "single-hooks" => (single, plain().page_in(|_| {}).page_out(|_| {})),
        "single-dma-sync" => (single, synced()),
        "napi64" => (napi64, plain()),
        "bulk64" => (bulk64, plain()),
        "bulk64-pushed" => (bulk64_pushed, plain()),
        "frag" => (frag, plain()),
        "frag-drop" => (frag_drop, plain()),
        "ring" => (ring, plain()),
        "ring-dma-sync" => (ring, synced()),
        "ring64" => (ring64, plain()),
        "returner" => (returner, plain().returners(1, 256)),
        "returner64" => (returner64, plain().returners(1, 256)),
        "returner-all" => (returner_all, plain().returners(1, 256)),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let chosen = args.next().and_then(|name| case(&name));
    let (Some((run, builder)), Some(n)) = (chosen, args.next().and_then(|n| n.parse().ok())) else {
        eprintln!("icount: usage: icount CASE N, with one of the cases that crates/pp-bench/instructions.toml lists");
        return ExitCode::from(2);
    };
    match builder.build() {
        Ok(mut pool) => {
            run(&mut pool, black_box(n));
            // Nothing may be cheap because there was no page.
            let Stats { alloc, provider_failures: 0, limit_hits: 0, .. } = pool.stats() else {
                eprintln!("icount: the pool ran dry: {}", pool.stats());
                return ExitCode::FAILURE;
            };
            if alloc.fast + alloc.slow + alloc.refill == 0 {
                eprintln!("icount: no page came out of the pool: {}", pool.stats());
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("icount: {error}");
            ExitCode::FAILURE
        }
    }
}
