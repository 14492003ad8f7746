//! Hooks and clearing: what happens to a page once a stay, and what the next holder may see.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Depot, Shape, Window, check, fill, is_zero, key, law, take};
use pp_core::{Counting, DmaDirection, Home, Identity, NodeId, PageBatch, PagePool, PageView, Zeroing};

fn home(units: usize) -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, units)))
}

/// A hook that counts its calls.
fn counter() -> (Arc<AtomicUsize>, impl Fn(PageView<'_, pp_core::Host>) + Send + Sync + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let inner = count.clone();
    (count, move |_| drop_count(&inner))
}

fn drop_count(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn constructors_run_once_a_stay_whatever_happens_inside() {
    let home = home(16);
    let ((ins, page_in), (outs, page_out)) = (counter(), counter());
    let builder = PagePool::builder(home.clone()).cache(8).refill(8).pool_size(16).returners(1, 8);
    let mut pool = builder.page_in(page_in).page_out(page_out).build().unwrap();
    let mut returner = pool.handle().returner().unwrap();
    let rounds = 1_000_000 / 16;
    for round in 0..rounds {
        let mut batch: PageBatch<16> = pool.alloc_batch();
        match round % 4 {
            0 => pool.recycle_batch(&mut batch),
            1 => drop(batch),
            2 => returner.put_batch(&mut batch),
            _ => batch.for_each(|page| pool.recycle_direct(page)),
        }
    }
    let stats = pool.stats();
    assert_eq!(stats.puts(), rounds * 16, "a million recycles");
    assert_eq!((ins.load(Ordering::Relaxed), stats.hold, outs.load(Ordering::Relaxed)), (16, 16, 0));
    pool.trim(5);
    assert_eq!((ins.load(Ordering::Relaxed), outs.load(Ordering::Relaxed)), (16, 11));
    drop(pool.alloc_batch::<16>());
    drop(pool);
    let entered = ins.load(Ordering::Relaxed);
    assert_eq!(outs.load(Ordering::Relaxed), entered, "in and out as often");
}

#[test]
fn a_hook_sees_the_page_and_its_mapping() {
    let home = home(4);
    let device = Arc::new(Counting::new(Identity));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (writer, reader) = (seen.clone(), seen.clone());
    let builder = PagePool::builder(home.clone()).refill(1).dma(device.clone(), DmaDirection::FromDevice);
    let builder = builder.page_in(move |mut page| {
        assert_eq!((page.len(), page.node()), (4096, NodeId(0)));
        assert_eq!(page.dma_addr().map(|addr| addr.0), Some(page.as_mut_ptr().addr() as u64), "mapped before");
        // SAFETY: host memory of that length, and this view is its only user.
        let bytes = unsafe { std::slice::from_raw_parts_mut(page.as_mut_ptr(), page.len()) };
        fill(bytes, 1234);
        writer.lock().unwrap().push(("in", page.as_mut_ptr().addr()));
    });
    let builder = builder.page_out(move |mut page| {
        assert!(page.dma_addr().is_some(), "unmapped after");
        reader.lock().unwrap().push(("out", page.as_mut_ptr().addr()));
    });
    let mut pool = builder.build().unwrap();
    let page = pool.alloc().unwrap();
    check(&page, 1234);
    let at = page.as_ptr().addr();
    drop(page);
    drop(pool);
    assert_eq!(*seen.lock().unwrap(), [("in", at), ("out", at)]);
}

#[test]
fn page_out_runs_wherever_a_page_leaves() {
    let home = home(16);
    let (outs, page_out) = counter();
    let mut pool = PagePool::builder(home.clone()).pool_size(1).refill(8).page_out(page_out).build().unwrap();
    let outs = || outs.load(Ordering::Relaxed);
    let mut pages = take(&mut pool, 8);
    drop(pages.pop());
    assert_eq!(outs(), 0, "the ring is not out");
    drop(pages.pop());
    assert_eq!(outs(), 1, "the ring is full");
    let detached = pages.pop().unwrap().detach();
    assert_eq!(outs(), 2);
    let shared = pages.pop().unwrap().share();
    let other = shared.clone();
    shared.release();
    assert_eq!(outs(), 3);
    drop((detached, other));
    assert_eq!(outs(), 3, "not a second time");
    pool.trim(0);
    assert_eq!(outs(), 4);
    drop(pool);
    drop(pages);
    assert_eq!(outs(), 8);
}

#[test]
fn a_page_in_hook_that_panics_leaves_the_page_at_home() {
    for order in [0, 1] {
        let home: Home<Depot> = Home::new(Depot::new(Shape { max_order: 1, ..Shape::plain(4096, 16) }));
        let window = Arc::new(Window::new(false));
        let calls = AtomicUsize::new(0);
        let builder = PagePool::builder(home.clone()).order(order).cache(8).refill(8);
        let builder = builder.dma(window.clone(), DmaDirection::FromDevice);
        let mut pool = builder
            .page_in(move |_| assert_ne!(calls.fetch_add(1, Ordering::Relaxed), 2, "a constructor that panics"))
            .build()
            .unwrap();
        let mut held = Vec::new();
        let mut panics = 0;
        while held.len() < 8 {
            match catch_unwind(AssertUnwindSafe(|| pool.alloc())) {
                Ok(page) => held.push(page.unwrap()),
                Err(_) => panics += 1,
            }
        }
        let stats = pool.stats();
        assert_eq!((panics, stats.in_use()), (1, 8));
        assert_eq!((stats.inflight() << order, stats.inflight()), (home.out(), window.mapped()));
        drop(pool);
        drop(held);
        assert_eq!((home.out(), window.mapped()), (0, 0));
        window.verify();
    }
}

#[test]
fn zero_on_entry_hides_what_another_pool_left() {
    let home = home(4);
    let mut theirs = PagePool::builder(home.clone()).refill(4).build().unwrap();
    let mut ours = PagePool::builder(home.clone()).refill(4).zeroing(Zeroing::OnEntry).build().unwrap();
    let mut secrets = take(&mut theirs, 4);
    secrets.iter_mut().for_each(|page| page.fill(0xa5));
    drop(secrets);
    theirs.trim(0);
    let mut pages = take(&mut ours, 4);
    assert!(pages.iter().all(|page| is_zero(page)), "another pool's bytes");
    fill(&mut pages[0], 7);
    let unit = key(pages[0].descriptor());
    drop(pages);
    let again = take(&mut ours, 4);
    check(again.iter().find(|page| key(page.descriptor()) == unit).unwrap(), 7);
}

#[test]
fn zero_on_cross_owner_hides_what_any_other_holder_left() {
    let home = home(8);
    let builder = PagePool::builder(home.clone()).cache(8).refill(4).returners(1, 8);
    let mut pool = builder.zeroing(Zeroing::OnCrossOwner).build().unwrap();
    let handle = pool.handle();
    let mut returner = handle.returner().unwrap();
    for way in 0..5 {
        let mut pages = take(&mut pool, 8);
        assert!(pages.iter().all(|page| is_zero(page)), "the previous owner's bytes, returned by way {way}");
        pages.iter_mut().for_each(|page| page.fill(0xa5));
        let mut batch = PageBatch::<8>::new();
        pages.into_iter().for_each(|page| batch.push(page).unwrap());
        match way {
            0 => drop(batch),
            1 => returner.put_batch(&mut batch),
            2 => drop(thread::scope(|scope| scope.spawn(|| handle.put_batch(&mut batch)).join())),
            3 => batch.for_each(|page| page.try_put().unwrap()),
            _ => batch.for_each(|page| drop(page.share())),
        }
    }
    let mut page = pool.alloc().unwrap();
    page.fill(0xa5);
    pool.recycle_direct(page);
    assert_eq!(pool.alloc().unwrap()[0], 0xa5, "what the consumer puts into its own cache it finds again");
    drop(pool);
    let mut theirs = PagePool::builder(home.clone()).zeroing(Zeroing::OnCrossOwner).build().unwrap();
    assert!(take(&mut theirs, 8).iter().all(|page| is_zero(page)), "on entry as well");
}

#[test]
fn a_hook_may_return_pages_of_its_own_pool() {
    let home = home(8);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let hoard = kept.clone();
    let builder = PagePool::builder(home.clone()).cache(4).refill(1);
    let release = move |_: PageView<'_, pp_core::Host>| {
        let pages = std::mem::take(&mut *hoard.lock().unwrap());
        drop(pages);
    };
    let mut pool = builder.page_out(release).build().unwrap();
    kept.lock().unwrap().extend(take(&mut pool, 3));
    drop(pool.alloc().unwrap().detach());
    assert_eq!(pool.stats().in_ring, 3);
    law(&pool.stats(), 4, 3, 0);
    kept.lock().unwrap().extend(take(&mut pool, 3));
    let handle = pool.handle();
    drop(pool);
    // Nothing left while those three were out, so the hook did not run; the first of them runs it on the others.
    let first = kept.lock().unwrap().pop();
    drop(first);
    assert_eq!((handle.inflight(), home.out()), (0, 0));
}
