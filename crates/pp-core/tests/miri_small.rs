//! What pages go through between threads, in sizes that Miri gets through in seconds, over many schedules.
//!
//! Every test writes and reads the bytes of its pages, which is how Miri sees a page that two have at once, and ends
//! with everything home and freed, which is how it sees a leak.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pp_core::doc::Heap;
use pp_core::{
    Counting, DmaDirection, DmaRange, Fragmented, Home, Identity, Page, PageBatch, PagePool, PoolState, Zeroing,
};

const PAGE: usize = 64;
const UNITS: usize = 8;

fn heap() -> Home<Heap> {
    Home::new(Heap::new(PAGE, UNITS))
}

/// A pool that is small in everything, so that its ring, its cache and its bags fill up.
fn small(provider: &Home<Heap>) -> PagePool {
    PagePool::builder(provider.clone()).cache(4).refill(2).pool_size(2).returners(1, 2).build().unwrap()
}

fn sign(page: &mut Page, with: u8) {
    page.fill(with);
}

fn signed(page: &[u8]) -> u8 {
    assert!(page.iter().all(|byte| *byte == page[0]), "a page that somebody else wrote");
    page[0]
}

#[test]
fn the_consumer_alone() {
    let provider = heap();
    let mut pool = small(&provider);
    for round in 0..3 {
        let mut pages: Vec<_> = (0..6).map(|_| pool.alloc().unwrap()).collect();
        pages.iter_mut().for_each(|page| sign(page, round));
        for page in pages {
            assert_eq!(signed(&page), round);
            pool.recycle_direct(page);
        }
    }
    assert_eq!(pool.stats().in_use(), 0);
    assert!(pool.trim(1) > 0);
    drop(pool);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn dropped_on_another_thread() {
    let provider = heap();
    let mut pool = small(&provider);
    let pages: Vec<_> = (0..4).map(|_| pool.alloc().unwrap()).collect();
    let droppers: Vec<_> = (1..)
        .zip(pages)
        .map(|(who, mut page)| {
            thread::spawn(move || {
                sign(&mut page, who);
                drop(page);
            })
        })
        .collect();
    // Some of these were dropped meanwhile, by the ring or, when it is full, by the provider.
    let mut again: Vec<_> = (0..3).map(|_| pool.alloc().unwrap()).collect();
    for page in &mut again {
        signed(page);
        sign(page, 9);
    }
    droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    assert!(again.iter().all(|page| signed(page) == 9));
    drop(again);
    assert_eq!(pool.stats().in_use(), 0);
    drop(pool);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn parts_on_another_thread() {
    let provider = heap();
    let mut pool = small(&provider);
    let mut page = Fragmented::from(pool.alloc().unwrap());
    for round in 0..3 {
        let droppers: Vec<_> = (1..3)
            .map(|who| {
                let mut part = page.cut(PAGE / 4).unwrap();
                thread::spawn(move || {
                    part.fill(who);
                    let rest = part.split_off(5).unwrap();
                    assert_eq!((signed(&part), signed(&rest)), (who, who));
                    drop(part);
                    let shared = rest.share();
                    drop((shared.clone(), shared));
                })
            })
            .collect();
        let mut mine = page.cut(PAGE / 4).unwrap();
        mine.fill(round);
        // Often before the others are through, and then it is another page.
        page = pool.renew(page).unwrap_or_else(|| Fragmented::from(pool.alloc().unwrap()));
        assert_eq!(signed(&mine), round);
        pool.recycle_part(mine);
        droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    }
    drop(page);
    assert_eq!(pool.stats().in_use(), 0);
    drop(pool);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn a_batch_each_way() {
    let provider = heap();
    let mut pool = small(&provider);
    let handle = pool.handle();
    let mut batch = pool.alloc_batch::<4>();
    assert_eq!(batch.len(), 4);
    let putting = thread::spawn(move || {
        let mut back = PageBatch::<4>::new();
        while let Some(mut page) = batch.pop() {
            sign(&mut page, 1);
            back.push(page).unwrap();
        }
        handle.put_batch(&mut back);
    });
    let mut mine = pool.alloc_batch::<3>();
    let mut page = mine.pop().unwrap();
    sign(&mut page, 2);
    pool.recycle_direct(page);
    pool.recycle_batch(&mut mine);
    putting.join().unwrap();
    assert_eq!(pool.stats().in_use(), 0);
    drop(pool);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn a_returner_that_outlives_the_pool() {
    let provider = heap();
    let mut pool = small(&provider);
    let mut returner = pool.handle().returner().unwrap();
    let pages: Vec<_> = (0..4).map(|_| pool.alloc().unwrap()).collect();
    let returning = thread::spawn(move || {
        let mut batch = PageBatch::<4>::new();
        for mut page in pages {
            sign(&mut page, 3);
            match batch.is_empty() {
                true => batch.push(page).unwrap(),
                false => returner.put(page), // the bag has room for two, the ring takes the rest
            }
        }
        returner.put_batch(&mut batch);
        returner
    });
    let page = pool.alloc().unwrap();
    signed(&page);
    drop(pool);
    drop(page);
    drop(returning.join().unwrap());
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn shared_and_got_back() {
    let provider = heap();
    let mut pool = small(&provider);
    let mut page = pool.alloc().unwrap();
    sign(&mut page, 4);
    let shared = page.share();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || signed(&shared))
        })
        .collect();
    match shared.try_unshare() {
        Ok(mut page) => {
            sign(&mut page, 5);
            pool.recycle_direct(page);
        }
        Err(shared) => drop(shared),
    }
    assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 4));
    let mut again = pool.alloc().unwrap();
    sign(&mut again, 6);
    drop(again);
    drop(pool);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn released_while_shared() {
    let provider = heap();
    let mut pool = small(&provider);
    let mut page = pool.alloc().unwrap();
    sign(&mut page, 7);
    let shared = page.share();
    let threads: Vec<_> = (0..3)
        .map(|who| {
            let shared = shared.clone();
            thread::spawn(move || {
                signed(&shared);
                if who < 2 { shared.release() } else { drop(shared) }
            })
        })
        .collect();
    drop(shared);
    drop(pool);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn detached_outlives_pool_and_provider() {
    let provider = heap();
    let mut pool = small(&provider);
    let handle = pool.handle();
    let mut page = pool.alloc().unwrap().detach();
    assert!(page.is_detached());
    drop((pool, provider));
    assert_eq!(handle.state(), PoolState::Closed);
    thread::spawn(move || {
        sign(&mut page, 8);
        assert_eq!(signed(&page), 8);
    })
    .join()
    .unwrap();
}

#[test]
fn the_pool_goes_while_pages_are_out() {
    let provider = heap();
    let mut pool = small(&provider);
    let pages: Vec<_> = (0..3).map(|_| pool.alloc().unwrap()).collect();
    let closed = Arc::new(AtomicBool::new(false));
    let droppers: Vec<_> = pages
        .into_iter()
        .map(|mut page| {
            let closed = closed.clone();
            thread::spawn(move || {
                sign(&mut page, 1);
                // Relaxed: it tells schedules apart, nothing else.
                if closed.load(Ordering::Relaxed) {
                    page.try_put().unwrap_or_else(drop);
                } else {
                    drop(page);
                }
            })
        })
        .collect();
    let shutdown = pool.shutdown();
    closed.store(true, Ordering::Relaxed);
    droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    assert!(shutdown.is_done());
    assert_eq!((shutdown.outstanding(), provider.free_units()), (0, UNITS));
}

#[test]
#[cfg_attr(target_pointer_width = "32", ignore = "narrow words keep no DMA address of a page as small as these")]
fn the_device_goes_while_a_page_is_out() {
    let provider = heap();
    let device = Arc::new(Counting::<Identity>::default());
    let mut pool = PagePool::builder(provider.clone())
        .cache(4)
        .refill(2)
        .pool_size(2)
        .dma(device.clone(), DmaDirection::Bidirectional)
        .dma_sync(0, PAGE)
        .zeroing(Zeroing::OnEntry)
        .build()
        .unwrap();
    let mut pages: Vec<_> = (0..3).map(|_| pool.alloc().unwrap()).collect();
    let page = pages.pop().unwrap();
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: 8 });
    assert_eq!((signed(&page), page.dma_addr().is_some()), (0, true));
    let droppers: Vec<_> = pages
        .into_iter()
        .map(|mut page| {
            thread::spawn(move || {
                sign(&mut page, 1);
                page.put_synced(16);
            })
        })
        .collect();
    // Unmaps all three while two of them are on their way back.
    drop(pool);
    assert_eq!(device.counts().maps, device.counts().unmaps);
    assert_eq!(page.dma_addr(), None);
    drop(page);
    droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
    assert_eq!(device.counts().maps, device.counts().unmaps);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn two_pools_on_one_provider() {
    let provider = heap();
    let consumers: Vec<_> = (1..3)
        .map(|who| {
            let mut pool = small(&provider);
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut pages = pool.alloc_batch::<3>();
                    while let Some(mut page) = pages.pop() {
                        sign(&mut page, who);
                        assert_eq!(signed(&page), who);
                    }
                }
            })
        })
        .collect();
    consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn a_sorted_batch_goes_to_its_pools() {
    let provider = heap();
    let (mut one, mut two) = (small(&provider), small(&provider));
    let mut batch = PageBatch::<4>::new();
    for _ in 0..2 {
        for (pool, with) in [(&mut one, 1), (&mut two, 2)] {
            let mut page = pool.alloc().unwrap();
            sign(&mut page, with);
            batch.push(page).unwrap();
        }
    }
    let returner = thread::spawn(move || {
        assert_eq!(batch.sort_by_pool(), 2);
        drop(batch);
    });
    drop(one);
    returner.join().unwrap();
    for _ in 0..2 {
        assert_eq!(signed(&two.alloc().unwrap().detach()), 2);
    }
    drop(two);
    assert_eq!(provider.free_units(), UNITS);
}

#[test]
fn a_detached_page_is_begun_anew() {
    let provider = heap();
    let mut page = Fragmented::from(small(&provider).alloc().unwrap().detach());
    for round in 0..4 {
        let mut part = page.cut(PAGE).unwrap();
        part.fill(round);
        let other = thread::spawn(move || drop(part));
        while !page.renew_detached() {
            thread::yield_now();
        }
        other.join().unwrap();
    }
    drop(page);
    assert_eq!(provider.free_units(), UNITS);
}
