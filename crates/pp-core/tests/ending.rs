//! The end of a pool: it never blocks, and somebody always hears of the last page.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use common::{Depot, Shape, Window, law, take};
use pp_core::{DmaDirection, Home, PagePool, PoolState, Reaper};

fn home() -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, 16)))
}

fn pool(home: &Home<Depot>) -> PagePool {
    PagePool::builder(home.clone()).name("rx7").cache(8).refill(4).pool_size(16).returners(1, 8).build().unwrap()
}

#[test]
fn a_handle_outlives_the_pool_and_keeps_nothing_alive() {
    let home = home();
    let mut pool = pool(&home);
    let handle = pool.handle();
    assert_eq!((handle.name(), handle.provider_name(), handle.page_bytes()), ("rx7", "depot", 4096));
    assert_eq!((handle.ring_capacity(), handle.state(), handle.inflight()), (16, PoolState::Open, 0));
    assert_ne!(handle.id(), self::pool(&home).handle().id(), "no number twice");
    assert_eq!(pool.provider().total_units, 16);
    let page = pool.alloc().unwrap();
    drop(pool);
    assert_eq!((handle.state(), handle.inflight(), Home::owners(&home)), (PoolState::Closing, 1, 2));
    let other = handle.clone();
    drop(page);
    assert_eq!((other.state(), other.inflight(), Home::owners(&home)), (PoolState::Closed, 0, 1));
    assert!(other.returner().is_some(), "of no use, and harmless");
    law(&handle.stats(), 1, 1, 0);
}

#[test]
fn idle_pages_leave_with_the_pool_wherever_they_lie() {
    let home = home();
    let mut pool = pool(&home);
    let mut returner = pool.handle().returner().unwrap();
    let mut pages = take(&mut pool, 10);
    returner.put(pages.pop().unwrap());
    drop(pages.pop());
    pool.recycle_direct(pages.pop().unwrap());
    assert_eq!((pool.stats().in_ring, pool.stats().in_cache, home.out()), (2, 3, 12));
    let handle = pool.handle();
    drop(pool);
    assert_eq!((handle.inflight(), home.out()), (7, 7));
    returner.put(pages.pop().unwrap());
    handle.put(pages.pop().unwrap());
    assert_eq!((handle.stats().recycle.released_closed, home.out()), (2, 5));
    drop(pages);
    drop(returner);
    assert_eq!((handle.state(), home.out()), (PoolState::Closed, 0));
}

#[test]
fn a_consumer_that_moves_to_another_thread_goes_on() {
    let home = home();
    let mut pool = pool(&home);
    let page = pool.alloc().unwrap();
    let mut pool = thread::spawn(move || {
        pool.recycle_direct(page);
        pool
    })
    .join()
    .unwrap();
    assert_eq!((pool.alloc().unwrap().len(), pool.stats().recycle.cached), (4096, 1));
}

#[test]
fn a_forgotten_pool_takes_pages_until_its_ring_is_full() {
    let home = home();
    let mut pool = pool(&home);
    let (pages, handle) = (take(&mut pool, 16), pool.handle());
    std::mem::forget(pool);
    drop(pages);
    assert_eq!((handle.state(), handle.stats().in_ring, home.out()), (PoolState::Open, 16, 16));
    std::mem::forget(home);
}

#[test]
fn wait_returns_when_the_last_page_is_home() {
    let home = home();
    let mut pool = pool(&home);
    let pages = take(&mut pool, 3);
    let mut shutdown = pool.shutdown();
    assert_eq!((shutdown.outstanding(), shutdown.is_done(), shutdown.handle().name()), (3, false, "rx7"));
    let before = Instant::now();
    assert!(!shutdown.wait_for(Duration::from_millis(20)), "pages are out");
    assert!(before.elapsed() >= Duration::from_millis(20));
    let thread = thread::spawn(move || {
        for page in pages {
            thread::sleep(Duration::from_millis(5));
            drop(page);
        }
    });
    shutdown.wait();
    assert_eq!((home.out(), Home::owners(&home)), (0, 1), "provider and all are let go before the waiter hears of it");
    thread.join().unwrap();
    let mut idle = self::pool(&home).shutdown();
    assert!(idle.wait_for(Duration::ZERO) && idle.is_done(), "nothing was out");
    idle.wait();
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_shutdown_is_a_future_that_wakes_its_latest_waker_once() {
    let home = home();
    let mut pool = pool(&home);
    let page = pool.alloc().unwrap();
    let mut shutdown = pool.shutdown();
    let wakers = [Arc::new(Count(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0)))];
    for count in &wakers {
        let waker = Waker::from(count.clone());
        assert_eq!(Pin::new(&mut shutdown).poll(&mut Context::from_waker(&waker)), Poll::Pending);
    }
    drop(page);
    assert_eq!(wakers.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(Pin::new(&mut shutdown).poll(&mut context), Poll::Ready(()));
    assert_eq!(Pin::new(&mut shutdown).poll(&mut context), Poll::Ready(()), "and stays so");
}

#[test]
fn a_shutdown_nobody_looks_at_changes_nothing() {
    let home = home();
    let mut pool = pool(&home);
    let page = pool.alloc().unwrap();
    let mut shutdown = pool.shutdown();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let _ = Pin::new(&mut shutdown).poll(&mut Context::from_waker(&count.clone().into()));
    drop(shutdown);
    drop(page);
    assert_eq!((home.out(), Arc::strong_count(&count)), (0, 1), "the waker is not kept");
}

/// Notes the thread it is dropped on.
struct Mark(Arc<Mutex<Vec<ThreadId>>>);

impl Mark {
    fn seen(&self) {}
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn what_is_left_of_a_pool_is_freed_on_the_reapers_thread() {
    let (to_reaper, remains) = mpsc::channel();
    let reaper = Reaper::new(move |dead| to_reaper.send(dead).expect("the reaper lives"));
    let thread = thread::spawn(move || remains.into_iter().map(drop).count());
    let (home, dropped) = (home(), Arc::new(Mutex::new(Vec::new())));
    let (mark, window) = (Mark(dropped.clone()), Arc::new(Window::new(false)));
    let builder = PagePool::builder(home.clone()).reaper(reaper).dma(window.clone(), DmaDirection::FromDevice);
    let mut pool = builder.page_in(move |_| mark.seen()).build().unwrap();
    let page = pool.alloc().unwrap();
    let shutdown = pool.shutdown();
    drop(page);
    assert!(shutdown.is_done());
    let reaper = thread.thread().id();
    assert_eq!(thread.join().unwrap(), 1);
    assert_eq!(*dropped.lock().unwrap(), [reaper], "the hook went there");
    assert_eq!((Arc::strong_count(&window), Home::owners(&home)), (1, 1), "and device and provider share too");
}

#[test]
fn a_region_is_freed_on_its_reapers_thread() {
    let (to_reaper, remains) = mpsc::channel();
    let reaper = Reaper::new(move |dead| to_reaper.send(dead).expect("the reaper lives"));
    let home = Home::with_reaper(Depot::new(Shape::plain(4096, 16)), reaper);
    let mut pool = pool_on(&home);
    let page = pool.alloc().unwrap().detach();
    drop((pool, home));
    assert!(remains.try_recv().is_err(), "a page is left");
    drop(page);
    let dead = remains.try_recv().expect("the region");
    drop(dead);
    assert!(remains.try_recv().is_err());
}

fn pool_on(home: &Home<Depot>) -> PagePool {
    pool(home)
}

#[test]
fn many_pools_end_while_pages_come_back_from_everywhere() {
    let home = home();
    for round in 0..300 {
        let mut pool = pool(&home);
        let mut returner = pool.handle().returner().unwrap();
        let mut pages = take(&mut pool, 12);
        let rest = pages.split_off(6);
        let shutdown = thread::scope(|scope| {
            scope.spawn(move || pages.into_iter().for_each(drop));
            scope.spawn(move || rest.into_iter().for_each(|page| returner.put(page)));
            if round % 2 == 0 {
                thread::yield_now();
            }
            pool.shutdown()
        });
        assert!(shutdown.is_done());
        law(&shutdown.handle().stats(), 12, 12, 0);
        assert_eq!(home.out(), 0);
    }
}

#[test]
fn a_teardown_that_panics_still_wakes_whoever_waits() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("what a hook captured");
        }
    }
    let home = home();
    let bomb = Bomb;
    let mut pool = PagePool::builder(home.clone()).page_in(move |_| _ = &bomb).build().unwrap();
    let page = pool.alloc().unwrap();
    let mut shutdown = pool.shutdown();
    let last = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(page)));
    assert!(last.is_err(), "the panic comes out where the last page was dropped");
    assert!(shutdown.wait_for(Duration::from_secs(10)), "nobody was woken");
    drop(shutdown);
    assert_eq!(Home::owners(&home), 1);
}
