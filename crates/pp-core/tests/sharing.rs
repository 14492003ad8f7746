//! Pages with several holders, pages off the books, pages as pointers.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::Arc;
use std::thread;

use common::{Depot, Shape, Window, check, fill, law};
use pp_core::{DmaDirection, Home, Page, PagePool, PoolState, Shared};

fn home() -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, 8)))
}

fn pool(home: &Home<Depot>) -> PagePool {
    PagePool::builder(home.clone()).cache(4).refill(2).build().unwrap()
}

#[test]
fn a_shared_page_is_read_by_all_and_put_by_the_last() {
    let home = home();
    let mut pool = pool(&home);
    let mut page = pool.alloc().unwrap();
    fill(&mut page, 11);
    let shared = page.share();
    assert_eq!((shared.handles(), shared.len()), (1, 4096));
    thread::scope(|scope| {
        for _ in 0..4 {
            let other = shared.clone();
            scope.spawn(move || check(&other, 11));
        }
    });
    assert_eq!((shared.handles(), pool.stats().puts()), (1, 0));
    drop(shared);
    assert_eq!(pool.stats().recycle.ring, 1, "one put, however many held it");
    law(&pool.stats(), 1, 1, 0);
}

#[test]
fn try_unshare_succeeds_for_the_only_handle() {
    let home = home();
    let mut pool = pool(&home);
    let shared = pool.alloc().unwrap().share();
    let other = shared.clone();
    let shared = shared.try_unshare().expect_err("there is another");
    assert_eq!(shared.handles(), 2);
    drop(other);
    let mut page = shared.try_unshare().expect("the only one");
    fill(&mut page, 1);
    pool.recycle_direct(page);
    assert_eq!(pool.stats().recycle.cached, 1, "an ordinary page again");
}

#[test]
fn release_takes_a_shared_page_off_the_books_at_once() {
    let home = home();
    let window = Arc::new(Window::new(false));
    let mut pool =
        PagePool::builder(home.clone()).refill(1).dma(window.clone(), DmaDirection::FromDevice).build().unwrap();
    let mut page = pool.alloc().unwrap();
    fill(&mut page, 4);
    let shared = page.share();
    let others: Vec<Shared> = (0..3).map(|_| shared.clone()).collect();
    shared.release();
    let stats = pool.stats();
    assert_eq!((stats.recycle.released_refcnt, stats.inflight(), stats.strays, stats.outstanding()), (1, 0, 1, 1));
    assert_eq!((window.mapped(), home.out()), (0, 1), "unmapped now, home later");
    law(&stats, 1, 1, 0);
    let mut others = others.into_iter();
    others.next().unwrap().release();
    assert_eq!(pool.stats().recycle.released_refcnt, 1, "once a page");
    drop(pool);
    drop(others.next());
    let last = others.next().unwrap();
    check(&last, 4);
    assert_eq!((home.out(), Home::owners(&home)), (1, 2), "the page owns a share of the region");
    last.release();
    assert_eq!((home.out(), Home::owners(&home)), (0, 1));
}

#[test]
fn release_of_the_only_handle_is_a_put() {
    let home = home();
    let mut pool = pool(&home);
    pool.alloc().unwrap().share().release();
    assert_eq!((pool.stats().recycle.ring, pool.stats().recycle.released_refcnt, pool.stats().strays), (1, 0, 0));
}

#[test]
fn a_released_page_that_is_unshared_goes_home() {
    let home = home();
    let mut pool = pool(&home);
    let shared = pool.alloc().unwrap().share();
    let other = shared.clone();
    shared.release();
    let mut page = other.try_unshare().expect("the only one left");
    fill(&mut page, 8);
    assert!(page.is_detached());
    let before = home.out();
    pool.recycle_direct(page);
    assert_eq!((pool.stats().recycle.cached, pool.stats().in_cache, home.out()), (0, 1, before - 1));
}

#[test]
fn of_several_releases_at_once_one_counts() {
    let home = home();
    let mut pool = pool(&home);
    for round in 1..=200 {
        let shared = pool.alloc().unwrap().share();
        let handles: Vec<Shared> = (0..3).map(|_| shared.clone()).collect();
        thread::scope(|scope| {
            for handle in handles {
                scope.spawn(move || handle.release());
            }
        });
        let stats = pool.stats();
        assert_eq!((stats.recycle.released_refcnt, stats.strays), (round, 1));
        drop(shared);
        assert_eq!(pool.stats().strays, 0);
    }
    assert_eq!(home.out(), pool.stats().in_cache);
}

#[test]
fn a_detached_page_outlives_its_pool() {
    let home = home();
    let window = Arc::new(Window::new(false));
    let mut pool =
        PagePool::builder(home.clone()).refill(1).dma(window.clone(), DmaDirection::Bidirectional).build().unwrap();
    let mut page = pool.alloc().unwrap();
    fill(&mut page, 6);
    assert!(!page.is_detached() && page.dma_addr().is_some());
    let page = page.detach();
    assert!(page.is_detached() && page.dma_addr().is_none());
    assert_eq!((window.mapped(), window.unmaps()), (0, 1));
    let stats = pool.stats();
    assert_eq!((stats.detached, stats.strays, stats.inflight(), stats.released), (1, 1, 0, 1));
    law(&stats, 1, 0, 0);
    let page = page.detach();
    assert_eq!(pool.stats().detached, 1, "a second time changes nothing");
    let handle = pool.handle();
    drop(pool);
    assert_eq!(handle.state(), PoolState::Closed, "nobody waits for it");
    check(&page, 6);
    // The page is now the only owner of the region, but for the test's handle.
    assert_eq!(Home::owners(&home), 2);
    drop(page);
    assert_eq!((Home::owners(&home), home.out(), handle.stats().strays), (1, 0, 0));
}

#[test]
fn the_last_detached_page_frees_the_region_on_its_own_thread() {
    let home = home();
    let mut pool = pool(&home);
    let mut page = pool.alloc().unwrap().detach();
    drop((pool, home));
    fill(&mut page, 3);
    thread::spawn(move || check(&page, 3)).join().unwrap();
}

#[test]
fn a_page_given_away_as_a_pointer_stays_on_the_books() {
    let home = home();
    let mut pool = pool(&home);
    let mut page = pool.alloc().unwrap();
    fill(&mut page, 21);
    let raw = page.into_raw();
    assert_eq!((pool.stats().in_use(), pool.stats().puts()), (1, 0));
    // SAFETY: from `into_raw` just above, taken back once, and nobody wrote it.
    let page: Page = unsafe { Page::from_raw(raw) };
    check(&page, 21);
    drop(page);
    law(&pool.stats(), 1, 1, 0);
    let forgotten = pool.alloc().unwrap().into_raw();
    let shutdown = pool.shutdown();
    assert_eq!((shutdown.outstanding(), shutdown.is_done()), (1, false), "a pointer keeps the pool waiting");
    // SAFETY: as above.
    drop(unsafe { Page::<pp_core::Host>::from_raw(forgotten) });
    assert!(shutdown.is_done());
}
