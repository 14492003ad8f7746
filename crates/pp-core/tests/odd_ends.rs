//! What is forgotten, threads that end, and panics in what users bring: the "Odd ends" of ARCHITECTURE.md, one by one. Forks
//! are in `fork.rs`.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::cell::RefCell;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};
use std::thread;
use std::time::Duration;

use common::{Depot, Shape, Window, check, fill, law, take};
use pp_core::{
    AllocError, DmaDirection, Home, NodeId, NodePolicy, PageBatch, PagePool, PoolState, Reaper, Remains, Returner,
};

fn home() -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, 16)))
}

fn pool(home: &Home<Depot>) -> PagePool {
    PagePool::builder(home.clone()).cache(8).refill(4).pool_size(8).returners(1, 4).build().unwrap()
}

fn panics(step: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(step)).is_err()
}

#[test]
fn a_forgotten_page_is_counted_for_ever_and_keeps_its_memory() {
    let home = home();
    let window = Arc::new(Window::new(false));
    let builder = PagePool::builder(home.clone()).refill(1).limit(3).dma(window.clone(), DmaDirection::FromDevice);
    let mut pool = builder.build().unwrap();
    let mut page = pool.alloc().unwrap();
    fill(&mut page, 77);
    let bytes: *const [u8] = &raw const page[..];
    forget(page);
    let others = take(&mut pool, 2);
    assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached, "it counts against the limit");
    assert_eq!((pool.stats().in_use(), home.out()), (3, 3));
    drop(others);

    let mut shutdown = pool.shutdown();
    assert!(!shutdown.wait_for(Duration::from_millis(5)), "who waits for it waits for ever");
    let handle = shutdown.handle().clone();
    assert_eq!((handle.state(), handle.inflight(), Home::owners(&home)), (PoolState::Closing, 1, 2));
    assert_eq!((window.mapped(), home.out()), (0, 1), "the device is out of it all the same");
    // SAFETY: the page is on the books, so its memory is there, and nobody else has it.
    check(unsafe { &*bytes }, 77);
    forget(home); // whose own test is that nothing is out when it is dropped
}

#[test]
fn a_forgotten_page_off_the_books_keeps_the_provider_and_no_pool() {
    let home = home();
    let mut pool = pool(&home);
    forget(pool.alloc().unwrap().detach());
    let shared = pool.alloc().unwrap().share();
    forget(shared.clone());
    let shared = shared.try_unshare().expect_err("a forgotten handle is still one");
    shared.release();
    let shutdown = pool.shutdown();
    assert!(shutdown.is_done(), "neither is waited for");
    assert_eq!((shutdown.handle().stats().strays, Home::owners(&home), home.out()), (2, 3, 2));
    forget(home);
}

#[test]
fn a_forgotten_batch_is_its_pages() {
    let home = home();
    let mut pool = pool(&home);
    forget(pool.alloc_batch::<3>());
    law(&pool.stats(), 3, 0, 3);
    forget(home);
}

#[test]
fn a_forgotten_returner_keeps_its_bag_and_nothing_in_it() {
    let home = home();
    let mut pool = pool(&home);
    let handle = pool.handle();
    let mut returner = handle.returner().unwrap();
    take(&mut pool, 3).into_iter().for_each(|page| returner.put(page));
    forget(returner);
    assert!(handle.returner().is_none(), "the place is gone");
    assert_eq!((pool.stats().in_ring, take(&mut pool, 16).len()), (3, 16), "the pages are not");
    drop(pool);
    assert_eq!((handle.state(), home.out()), (PoolState::Closed, 0), "and it holds no pool up");
}

#[test]
fn a_forgotten_pool_sends_home_what_its_ring_has_no_room_for() {
    let home = home();
    let mut pool = pool(&home);
    let (mut pages, handle) = (take(&mut pool, 14), pool.handle());
    let mut returner = handle.returner().unwrap();
    forget(pool);
    for _ in 0..4 {
        returner.put(pages.pop().unwrap());
    }
    drop(pages);
    let stats = handle.stats();
    assert_eq!((handle.state(), stats.in_ring, stats.recycle.ring_full), (PoolState::Open, 8 + 4, 2));
    assert_eq!((home.out(), stats.in_cache, Home::owners(&home)), (14, 2, 2));
    forget(home);
}

#[test]
fn a_thread_that_ends_leaves_its_bag_to_the_consumer_and_its_place_to_the_next() {
    thread_local! { static RETURNER: RefCell<Option<Returner>> = const { RefCell::new(None) }; }
    let home = home();
    let mut pool = pool(&home);
    let handle = pool.handle();
    for way in 0..3 {
        let mut returner = handle.returner().expect("the last thread's place");
        let mut pages: PageBatch<3> = pool.alloc_batch();
        let held = pool.alloc().unwrap();
        let thread = thread::spawn(move || {
            returner.put_batch(&mut pages);
            match way {
                0 => drop(held),                   // returns
                1 => RETURNER.set(Some(returner)), // ends with it in a thread-local
                _ => {
                    let _both = (returner, held);
                    panic!("a thread that ends by a panic");
                }
            }
        });
        assert_eq!(thread.join().is_err(), way == 2);
        let stats = pool.stats();
        assert_eq!((stats.in_use(), stats.in_ring), (0, 4), "way {way}: bag and ring have them");
        drop(take(&mut pool, 4));
    }
    drop(pool);
    assert_eq!((handle.state(), home.out()), (PoolState::Closed, 0));
}

#[test]
fn a_panic_in_the_choice_of_a_node_changes_nothing() {
    thread_local! { static PANICS: std::cell::Cell<bool> = const { std::cell::Cell::new(true) }; }
    fn local() -> NodeId {
        assert!(!PANICS.get(), "a node policy that panics");
        NodeId(0)
    }
    let home = home();
    let mut pool = PagePool::builder(home.clone()).refill(4).node(NodePolicy::Local(local)).build().unwrap();
    assert!(panics(|| drop(pool.alloc())));
    assert_eq!((pool.stats().hold, home.out()), (0, 0));
    PANICS.set(false);
    drop(pool.alloc().expect("the pool goes on"));
}

#[test]
fn a_panic_in_a_reaper_comes_out_where_the_last_page_was_dropped_and_all_is_freed() {
    let captured = Arc::new(());
    let reaper = || Reaper::new(|_: Remains| panic!("a reaper that panics"));
    let home: Home<Depot> = Home::with_reaper(Depot::new(Shape::plain(4096, 16)), reaper());
    let kept = captured.clone();
    let builder = PagePool::builder(home).reaper(reaper()).page_in(move |_| _ = &kept);
    let mut pool = builder.build().unwrap();
    let shared = pool.alloc().unwrap().share();
    let stray = shared.clone();
    let mut shutdown = pool.shutdown();
    // Off the books, which ends the pool. The other handle keeps the provider, whose reaper would be a second panic.
    assert!(panics(|| shared.release()), "the pool's reaper");
    assert!(shutdown.wait_for(Duration::ZERO), "whoever waits hears of it all the same");
    assert_eq!(Arc::strong_count(&captured), 1, "and what the reaper was given is freed by its unwinding");
    assert!(panics(|| drop(stray)), "the provider's reaper, with the last page");
}

#[test]
fn a_panic_in_a_waker_comes_out_where_the_last_page_was_dropped() {
    struct Alarm(AtomicBool);
    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
            panic!("a waker that panics");
        }
    }
    let home = home();
    let mut pool = pool(&home);
    let page = pool.alloc().unwrap();
    let mut shutdown = pool.shutdown();
    let alarm = Arc::new(Alarm(AtomicBool::new(false)));
    assert!(Pin::new(&mut shutdown).poll(&mut Context::from_waker(&alarm.clone().into())).is_pending());
    assert!(panics(|| drop(page)) && alarm.0.load(Ordering::Relaxed));
    assert!(shutdown.is_done());
    drop(shutdown);
    assert_eq!((home.out(), Home::owners(&home), Arc::strong_count(&alarm)), (0, 1, 1));
}
