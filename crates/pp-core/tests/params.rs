//! Parameters: what is refused, with which words, and that nothing is left behind.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::Arc;

use common::{Depot, Shape, Window, take};
use pp_core::{
    AllocError, BuildError, DmaDirection, DmaError, Home, MAX_BATCH_BAGS, MAX_CACHE, MAX_RETURNERS, MAX_RING,
    PageBatch, PagePool, PoolBuilder, ProvideError,
};

fn home() -> Home<Depot> {
    Home::new(Depot::new(Shape { max_order: 2, ..Shape::plain(4096, 256) }))
}

/// Builds in vain; nothing may be left of the attempt.
#[track_caller]
fn refused(make: impl FnOnce(PoolBuilder) -> PoolBuilder, expected: BuildError) {
    let (home, window) = (home(), Arc::new(Window::new(true)));
    let held = window.clone();
    let builder = PagePool::builder(home.clone()).name("in vain").page_in(move |_| held.verify());
    let error = make(builder).build().expect_err("these parameters");
    assert_eq!(error, expected);
    sentence(&error);
    assert_eq!((Home::owners(&home), home.out(), Arc::strong_count(&window)), (1, 0, 1), "something was left behind");
}

/// One sentence, which says what to do after a semicolon.
#[track_caller]
fn sentence(error: &dyn core::error::Error) {
    let text = error.to_string();
    let (what, advice) = text.split_once("; ").unwrap_or_else(|| panic!("{text:?} does not say what to do"));
    assert!(!what.is_empty() && advice.len() > 5, "{text:?}");
    assert!(!text.contains(['\n', '.', '!']) && !text.contains("; ;"), "{text:?} is more than one sentence");
    assert!(text.starts_with(|first: char| first.is_lowercase() || first.is_ascii_digit()), "{text:?}");
}

fn window() -> Arc<Window> {
    Arc::new(Window::new(true))
}

#[test]
fn order_is_the_providers_to_bound() {
    refused(|builder| builder.order(3), BuildError::Order { order: 3, max: 2 });
    refused(|builder| builder.order(255), BuildError::Order { order: 255, max: 2 });
    let pool = PagePool::builder(home()).order(2).build().unwrap();
    assert_eq!(pool.page_bytes(), 16384);
}

#[test]
fn pool_size_has_a_default_and_a_clamp() {
    for (asked, got) in [(None, 1024), (Some(0), 1024), (Some(1), 1), (Some(100), 100), (Some(1000), 1000)] {
        let builder = PagePool::builder(home());
        let pool = asked.map_or(builder, |asked| PagePool::builder(home()).pool_size(asked)).build().unwrap();
        assert_eq!(pool.handle().ring_capacity(), got);
    }
    for asked in [MAX_RING, MAX_RING + 1, 1 << 30, usize::MAX] {
        assert_eq!(PagePool::builder(home()).pool_size(asked).build().unwrap().handle().ring_capacity(), 16384);
    }
}

#[test]
fn every_ring_size_holds_that_many_pages() {
    for size in (1..=260).step_by(7).chain([511, 512, 513, 1000]) {
        let home: Home<Depot> = Home::new(Depot::new(Shape::plain(64, size + 8)));
        let mut pool = PagePool::builder(home).pool_size(size).cache(8).refill(8).build().unwrap();
        let pages = take(&mut pool, size + 3);
        pages.into_iter().for_each(drop);
        let stats = pool.stats();
        assert_eq!((stats.in_ring, stats.recycle.ring, stats.recycle.ring_full), (size, size, 3), "{size} slots");
        assert_eq!(take(&mut pool, size).len(), size, "and gives them out again");
    }
}

#[test]
fn cache_and_refill_have_bounds() {
    for capacity in [0, MAX_CACHE + 1, usize::MAX] {
        refused(|builder| builder.cache(capacity), BuildError::Cache { capacity });
    }
    for (refill, capacity) in [(0, 8), (9, 8), (usize::MAX, 128)] {
        refused(|builder| builder.cache(capacity).refill(refill), BuildError::Refill { refill, capacity });
    }
    for (cache, refill) in [(1, 1), (8, 8), (MAX_CACHE, 1), (MAX_CACHE, MAX_CACHE)] {
        let mut pool = PagePool::builder(home()).cache(cache).refill(refill).build().unwrap();
        assert!(pool.alloc().is_ok());
        assert_eq!(pool.stats().hold, refill.min(256));
    }
    for (cache, refill) in [(1, 1), (2, 1), (7, 4), (128, 64), (1000, 64)] {
        let mut pool = PagePool::builder(home()).cache(cache).build().unwrap();
        assert!(pool.alloc().is_ok());
        assert_eq!(pool.stats().hold, refill, "half the cache, up to one NAPI budget");
    }
}

#[test]
fn a_sync_needs_a_device_and_a_range_within_the_page() {
    refused(|builder| builder.dma_sync(0, 4096), BuildError::SyncWithoutDma);
    refused(|builder| builder.dma(window(), DmaDirection::FromDevice).dma_sync(0, 0), BuildError::SyncOfNothing);
    for (offset, max_len) in [(0, 4097), (1, 4096), (4096, 1), (usize::MAX, 1), (1, usize::MAX)] {
        let error = BuildError::SyncRange { offset, max_len, page_bytes: 4096 };
        refused(|builder| builder.dma(window(), DmaDirection::FromDevice).dma_sync(offset, max_len), error);
    }
    for (order, offset, max_len) in [(0, 0, 4096), (0, 4095, 1), (2, 100, 16384 - 100)] {
        let builder = PagePool::builder(home()).order(order).dma_sync(offset, max_len);
        assert!(builder.dma(window(), DmaDirection::Bidirectional).build().is_ok());
    }
}

#[test]
fn a_limit_of_nothing_is_refused() {
    refused(|builder| builder.limit(0), BuildError::Limit);
    let mut pool = PagePool::builder(home()).limit(1).build().unwrap();
    let page = pool.alloc().unwrap();
    assert_eq!(pool.alloc().unwrap_err(), AllocError::LimitReached);
    drop(page);
}

#[test]
fn a_watermark_lies_under_the_limit() {
    for watermark in [5, 6, usize::MAX] {
        let error = BuildError::Watermark { watermark, limit: 5 };
        refused(|builder| builder.limit(5).watermark(watermark, |_| {}), error);
    }
    refused(
        |builder| builder.watermark(usize::MAX, |_| {}),
        BuildError::Watermark { watermark: usize::MAX, limit: usize::MAX },
    );
    assert!(PagePool::builder(home()).limit(5).watermark(4, |_| {}).build().is_ok());
    assert!(PagePool::builder(home()).watermark(4, |_| {}).build().is_ok(), "without a limit");
}

#[test]
fn returners_have_bounds() {
    for (count, capacity) in [(0, 1), (1, 0), (MAX_RETURNERS + 1, 1), (1, MAX_RING + 1), (usize::MAX, usize::MAX)] {
        refused(|builder| builder.returners(count, capacity), BuildError::Returners { count, capacity });
    }
    let pool = PagePool::builder(home()).returners(MAX_RETURNERS, 1).build().unwrap();
    let claimed: Vec<_> = std::iter::from_fn(|| pool.handle().returner()).collect();
    assert_eq!(claimed.len(), MAX_RETURNERS);
    assert!(PagePool::builder(home()).build().unwrap().handle().returner().is_none(), "none unless asked for");
}

#[test]
fn bags_for_batches_have_bounds() {
    for (count, capacity) in [(1, 0), (MAX_BATCH_BAGS + 1, 1), (1, MAX_RING + 1), (usize::MAX, usize::MAX)] {
        refused(|builder| builder.batch_bags(count, capacity), BuildError::BatchBags { count, capacity });
    }
    assert!(PagePool::builder(home()).batch_bags(MAX_BATCH_BAGS, 1).build().is_ok());
    assert!(PagePool::builder(home()).batch_bags(0, 0).build().is_ok(), "none");
}

#[test]
fn a_bag_rounds_its_room_up_to_a_power_of_two() {
    let mut pool = PagePool::builder(home()).pool_size(1).returners(1, 3).build().unwrap();
    let mut batch: PageBatch<6> = pool.alloc_batch();
    pool.handle().returner().unwrap().put_batch(&mut batch);
    let stats = pool.stats();
    assert_eq!((stats.in_ring, stats.recycle.ring_full), (4 + 1, 1));
}

#[test]
fn every_error_is_one_sentence_that_says_what_to_do() {
    sentence(&BuildError::OutOfMemory);
    sentence(&BuildError::TooManyPools);
    for error in [ProvideError::OutOfMemory, ProvideError::DeviceLost] {
        sentence(&error);
        sentence(&AllocError::from(error));
        assert_eq!(AllocError::from(error).to_string(), error.to_string());
    }
    sentence(&AllocError::LimitReached);
    for error in [DmaError::Full, DmaError::DeviceLost, DmaError::Refused, DmaError::AddressTooWide] {
        sentence(&error);
        assert_eq!(AllocError::Dma(error).to_string(), error.to_string());
    }
}

#[test]
fn builders_and_pools_show_what_they_are() {
    let builder = PagePool::builder(home()).name("rx0").order(1).pool_size(77);
    let text = format!("{builder:?}");
    assert!(text.contains("rx0") && text.contains("order: 1") && text.contains("77"), "{text}");
    let mut pool = builder.build().unwrap();
    let page = pool.alloc().unwrap();
    for text in [format!("{pool:?}"), format!("{:?}", pool.handle()), format!("{page:?}")] {
        assert!(text.contains("rx0") || text.contains("host"), "{text}");
    }
}
