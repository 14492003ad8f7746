//! Pages in parts: ranges that never overlap, references that are counted once, and the last one that puts the page.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use common::{Depot, Shape, Window, is_zero, key, law, seen_at, take};
use pp_core::{
    BIAS_MAX, BiasError, CutError, Device, DmaAddr, DmaDirection, DmaRange, Exposed, Fragmented, GivenBack, Home, Host,
    OutOfRange, Page, PagePart, PagePool, PartError, RawPart, SharedPart, Zeroing, defrag_all,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_impl_all!(PagePart: Send, Sync, core::ops::DerefMut);
assert_not_impl_any!(PagePart: Clone, Copy);
assert_impl_all!(SharedPart: Send, Sync, Clone, core::ops::Deref);
assert_not_impl_any!(SharedPart: core::ops::DerefMut);
assert_impl_all!(Fragmented: Send, Sync);
assert_not_impl_any!(Fragmented: Clone, core::ops::Deref);
assert_not_impl_any!(PagePart<Device>: core::ops::Deref);
assert_not_impl_any!(PagePart<Exposed>: core::ops::Deref);
assert_not_impl_any!(SharedPart<Exposed>: core::ops::Deref);

fn home(units: usize) -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, units)))
}

fn pool(home: &Home<Depot>) -> PagePool {
    PagePool::builder(home.clone()).cache(4).refill(2).build().unwrap()
}

#[test]
fn a_part_is_no_wider_than_it_must_be() {
    assert_eq!(size_of::<Option<PagePart>>(), size_of::<usize>() + 8);
    assert!(size_of::<Option<Fragmented>>() <= 3 * size_of::<usize>() + 8);
}

#[test]
fn the_last_part_puts_the_page_whoever_has_it() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = pool.alloc().unwrap().fragment(4).unwrap();
    let parts = [1000, 96, 3000].map(|bytes| page.cut(bytes).unwrap());
    assert_eq!(parts.each_ref().map(|part| (part.offset(), part.len())), [(0, 1000), (1000, 96), (1096, 3000)]);
    assert_eq!((page.uncut(), page.bias()), (0, 1));
    drop(page);
    for (at, part) in parts.into_iter().enumerate() {
        assert_eq!(pool.stats().puts(), 0, "part {at} is not the last");
        thread::spawn(move || drop(part)).join().unwrap();
    }
    law(&pool.stats(), 1, 1, 0);
}

#[test]
fn a_page_cannot_have_every_bias_and_is_given_back() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = pool.alloc().unwrap();
    for bias in [0, BIAS_MAX + 1, usize::MAX] {
        let GivenBack { buffer, reason } = page.fragment(bias).unwrap_err();
        assert_eq!(reason, BiasError { bias });
        assert!(reason.to_string().contains(&bias.to_string()));
        page = buffer;
    }
    let fragmented = page.fragment(BIAS_MAX).unwrap();
    assert_eq!(fragmented.bias(), BIAS_MAX);
    pool.recycle_direct(fragmented.defrag().expect("no part is out"));
    law(&pool.stats(), 1, 1, 0);
}

#[test]
fn what_cannot_be_cut_leaves_the_page_as_it_was() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = pool.alloc().unwrap().fragment(2).unwrap();
    assert_eq!(page.cut(0).unwrap_err(), CutError::Empty);
    assert_eq!(page.cut(4097).unwrap_err(), CutError::NoRoom { bytes: 4097, uncut: 4096 });
    assert_eq!(page.cut(usize::MAX).unwrap_err(), CutError::NoRoom { bytes: usize::MAX, uncut: 4096 });
    let part = page.cut(96).unwrap();
    assert_eq!(page.cut(1).unwrap_err(), CutError::BiasSpent, "the last reference keeps the page");
    assert_eq!(page.cut(4001).unwrap_err(), CutError::NoRoom { bytes: 4001, uncut: 4000 });
    assert_eq!((page.bias(), page.uncut()), (1, 4000));
    page.rejoin(part).unwrap();
    assert_eq!((page.bias(), page.uncut()), (2, 4096));
}

#[test]
fn a_part_rejoins_its_own_page_only() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut pages = take(&mut pool, 2).into_iter().map(Fragmented::from);
    let (mut one, mut two) = (pages.next().unwrap(), pages.next().unwrap());
    let (first, second, other) = (one.cut(64).unwrap(), one.cut(64).unwrap(), two.cut(64).unwrap());
    let GivenBack { buffer: other, reason } = one.rejoin(other).unwrap_err();
    assert_eq!(reason, PartError::OtherPage);
    one.rejoin(first).unwrap();
    assert_eq!(one.uncut(), 4096 - 128, "it was not the last one cut");
    one.rejoin(second).unwrap();
    assert_eq!((one.uncut(), one.bias()), (4096 - 64, BIAS_MAX));
    drop(one);
    drop((two, other));
    law(&pool.stats(), 2, 2, 0);
}

#[test]
fn parts_split_and_coalesce_and_strangers_do_not() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut one = PagePart::from(pool.alloc().unwrap());
    for (at, byte) in one.iter_mut().enumerate() {
        *byte = at as u8;
    }
    let error = one.split_off(4097).unwrap_err();
    assert_eq!(error, PartError::OutOfRange { at: 4097, len: 4096 });
    let mut two = one.split_off(1000).unwrap();
    let three = two.split_off(500).unwrap();
    assert_eq!((one.len(), two.len(), three.len(), three.offset()), (1000, 500, 2596, 1500));

    // Two gaps: of place, and of page.
    let GivenBack { buffer: three, reason } = one.coalesce(three).unwrap_err();
    assert_eq!(reason, PartError::NotNeighbours);
    let stranger = PagePart::from(pool.alloc().unwrap());
    let GivenBack { buffer: stranger, .. } = one.coalesce(stranger).unwrap_err();
    // Backwards is no neighbour either.
    let GivenBack { buffer: one, .. } = two.coalesce(one).unwrap_err();
    let mut one = one;
    one.coalesce(two).unwrap();
    one.coalesce(three).unwrap();
    assert_eq!((one.len(), one.offset()), (4096, 0));
    assert!(one.iter().enumerate().all(|(at, byte)| *byte == at as u8), "the bytes stayed where they were");
    pool.recycle_direct(one.defrag().expect("all references are one again"));
    drop(stranger);
    law(&pool.stats(), 2, 2, 0);
}

#[test]
fn splitting_at_the_ends_leaves_empty_parts() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut part = PagePart::from(pool.alloc().unwrap());
    let end = part.split_off(4096).unwrap();
    assert!(end.is_empty() && end.iter().next().is_none());
    let rest = part.split_off(0).unwrap();
    assert!(part.is_empty() && rest.len() == 4096);
    drop((part, rest));
    assert_eq!(pool.stats().in_use(), 1, "an empty part is a reference all the same");
    drop(end);
    law(&pool.stats(), 1, 1, 0);
}

#[test]
fn many_parts_are_dropped_together_and_whole_pages_are_told() {
    let home = home(8);
    let mut pool = PagePool::builder(home).cache(8).refill(8).build().unwrap();
    let mut pages: Vec<Fragmented> = take(&mut pool, 3).into_iter().map(Fragmented::from).collect();
    let mut parts: Vec<PagePart> = Vec::new();
    for page in &mut pages {
        parts.extend((0..4).map(|_| page.cut(1024).unwrap()));
    }
    let last = parts.pop().unwrap();
    drop(pages);
    let mut whole: Vec<Page> = Vec::new();
    // In a mixed order, so that runs are of all lengths.
    parts.swap(1, 5);
    defrag_all(parts, |page| whole.push(page));
    assert_eq!(whole.len(), 2);
    pool.recycle_parts([last]);
    assert_eq!(pool.stats().recycle.cached, 1);
    drop(whole);
    law(&pool.stats(), 3, 3, 0);
}

#[test]
fn a_panic_over_one_page_loses_no_reference() {
    let home = home(8);
    let mut pool = PagePool::builder(home.clone()).cache(8).refill(8).build().unwrap();
    let parts: Vec<PagePart> = take(&mut pool, 4).into_iter().map(PagePart::from).collect();
    let mut seen = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        defrag_all(parts, |page| {
            seen += 1;
            assert!(seen < 2, "the second page is refused");
            drop(page);
        })
    }));
    assert!(outcome.is_err());
    law(&pool.stats(), 4, 4, 0);
}

#[test]
fn a_page_is_renewed_in_place_and_counted_as_put_and_taken() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = pool.alloc().unwrap().fragment(3).unwrap();
    let unit = key(page.descriptor());
    let parts = [page.cut(2048).unwrap(), page.cut(2048).unwrap()];
    thread::spawn(move || drop(parts)).join().unwrap();
    let page = pool.renew(page).expect("whole again");
    assert_eq!((key(page.descriptor()), page.uncut(), page.bias()), (unit, 4096, BIAS_MAX));
    assert_eq!((pool.stats().alloc.fast, pool.stats().recycle.cached), (1, 1));
    law(&pool.stats(), 2, 1, 1);
    drop(page);
    law(&pool.stats(), 2, 2, 0);
}

#[test]
fn a_page_with_a_part_out_is_let_go() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let part = page.cut(100).unwrap();
    assert!(pool.renew(page).is_none());
    law(&pool.stats(), 1, 0, 1);
    pool.recycle_part(part);
    assert_eq!(pool.stats().recycle.cached, 1);
    law(&pool.stats(), 1, 1, 0);
}

#[test]
fn a_page_that_must_be_looked_at_goes_through_the_pool() {
    // Wanted back by its provider.
    let reserve = Home::new(Depot::<Host>::new(Shape { reserve: 4, ..Shape::plain(4096, 4) }));
    let mut pool = PagePool::builder(reserve.clone()).cache(4).refill(1).build().unwrap();
    let page = Fragmented::from(pool.alloc().unwrap());
    assert!(pool.renew(page).is_none());
    assert_eq!((pool.stats().recycle.released_refcnt, reserve.out()), (1, 0));

    // Another pool's.
    let (home, other) = (home(4), home(4));
    let (mut pool, mut stranger) = (self::pool(&home), self::pool(&other));
    let page = Fragmented::from(stranger.alloc().unwrap());
    assert!(pool.renew(page).is_none());
    assert_eq!((pool.stats().puts(), stranger.stats().recycle.ring), (0, 1));

    // Off the books.
    let page = Fragmented::from(pool.alloc().unwrap().detach());
    assert!(pool.renew(page).is_none());
    assert_eq!((pool.stats().strays, pool.stats().puts()), (0, 0));

    // Synced whenever it enters the cache.
    let window = Arc::new(Window::new(true));
    let builder = PagePool::builder(home.clone()).cache(4).refill(1);
    let mut pool = builder.dma(window.clone(), DmaDirection::FromDevice).dma_sync(0, 4096).build().unwrap();
    let page = Fragmented::from(pool.alloc().unwrap());
    window.drain_for_device();
    assert!(pool.renew(page).is_none());
    assert_eq!((window.drain_for_device().len(), pool.stats().recycle.cached), (1, 1));
}

#[test]
fn a_detached_page_is_begun_anew_without_its_pool() {
    let home = home(2);
    let mut pool = pool(&home);
    let mut page = Fragmented::from(pool.alloc().unwrap().detach());
    let (one, two) = (page.cut(2048).unwrap(), page.cut(2048).unwrap());
    drop(pool);
    drop(one);
    assert!(!page.renew_detached(), "a part is out");
    assert_eq!(page.uncut(), 0);
    drop(two);
    assert!(page.renew_detached());
    assert_eq!((page.uncut(), page.bias()), (4096, BIAS_MAX));
    assert_eq!(home.out(), 1);
    drop(page);
    assert_eq!(home.out(), 0);
}

#[test]
fn a_page_on_the_books_is_not_begun_anew_without_its_pool() {
    let home = home(1);
    let mut page = Fragmented::from(pool(&home).alloc().unwrap());
    assert!(!page.renew_detached(), "its pool may have to clear it first");
    assert_eq!(page.bias(), BIAS_MAX);
}

#[test]
fn bytes_of_one_owner_are_not_seen_by_the_next_where_the_pool_clears() {
    let home = home(1);
    let mut pool = PagePool::builder(home).cache(2).refill(1).zeroing(Zeroing::OnCrossOwner).build().unwrap();
    for way in 0..4 {
        let mut page = Fragmented::from(pool.alloc().unwrap());
        let mut part = page.cut(4096).unwrap();
        part.fill(0xff);
        match way {
            0 => {
                thread::spawn(move || drop(part)).join().unwrap();
                assert!(pool.renew(page).is_none(), "others have written it");
            }
            1 => {
                drop(page);
                pool.recycle_part(part);
            }
            2 => {
                thread::spawn(move || drop(part)).join().unwrap();
                pool.recycle_fragmented(page);
            }
            _ => {
                drop(page);
                pool.recycle_parts([part]);
            }
        }
        let page = pool.alloc().expect("the only page");
        assert!(is_zero(&page), "way {way}");
    }
}

#[test]
fn shared_parts_are_read_by_all_and_put_by_the_last() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let mut part = page.cut(5).unwrap();
    part.copy_from_slice(b"hello");
    drop(page);
    let shared = part.share();
    thread::scope(|scope| {
        for _ in 0..4 {
            let other = shared.clone();
            scope.spawn(move || assert_eq!(&*other, b"hello"));
        }
    });
    assert_eq!((shared.len(), shared.offset(), shared.is_empty(), pool.stats().puts()), (5, 0, false, 0));
    drop(shared);
    law(&pool.stats(), 1, 1, 0);
}

#[test]
fn a_part_goes_through_a_ring_as_three_numbers() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let _front = page.cut(64).unwrap();
    let raw = page.cut(128).unwrap().into_raw();
    assert_eq!((raw.offset, raw.len), (64, 128));
    // SAFETY: given away above, once, and nobody writes it.
    let part: PagePart = unsafe { PagePart::from_raw(RawPart { ..raw }) };
    assert_eq!((part.offset(), part.len()), (64, 128));
}

#[test]
fn parts_know_where_the_device_finds_them() {
    let home: Home<Depot<Device>> = Home::new(Depot::new(Shape::plain(65536, 4)));
    home.premap(true);
    let mut pool = PagePool::builder(home.clone()).cache(4).refill(2).build().unwrap();
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let first = page.cut(1000).unwrap();
    let second = page.cut(1000).unwrap();
    let at = seen_at(key(page.descriptor()));
    assert_eq!((first.dma_addr(), second.dma_addr()), (Some(DmaAddr(at)), Some(DmaAddr(at + 1000))));
    assert_eq!((second.addr(), second.share().clone().dma_addr()), (None, Some(DmaAddr(at + 1000))));
    drop((page, first));
    drop(pool);
    assert_eq!(home.out(), 0);
}

#[test]
fn exposed_parts_are_copied_in_and_out_within_their_bytes() {
    let home: Home<Depot<Exposed>> = Home::new(Depot::new(Shape::plain(4096, 2)));
    let mut pool = PagePool::builder(home).build().unwrap();
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let (mut one, mut two) = (page.cut(8).unwrap(), page.cut(8).unwrap());
    one.copy_from(0, b"onefirst").unwrap();
    two.copy_from(2, b"second").unwrap();
    let error = OutOfRange { offset: 3, len: 6, available: 8 };
    assert_eq!(one.copy_from(3, b"beyond"), Err(error));
    assert_eq!(one.copy_to(3, &mut [0; 6]), Err(error));
    let mut out = [0; 6];
    two.copy_to(2, &mut out).unwrap();
    assert_eq!(&out, b"second");
    let shared = two.share();
    assert_eq!(shared.copy_to(usize::MAX, &mut out).unwrap_err().available, 8);
    shared.copy_to(2, &mut out).unwrap();
    assert_eq!(&out, b"second");
}

#[test]
fn a_part_is_synced_for_the_cpu_where_it_lies() {
    let home = home(4);
    let window = Arc::new(Window::new(true));
    let builder = PagePool::builder(home).cache(4).refill(1);
    let mut pool = builder.dma(window.clone(), DmaDirection::FromDevice).dma_sync(64, 2048).build().unwrap();
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let _front = page.cut(1000).unwrap();
    let part = page.cut(500).unwrap();
    for (offset, len) in [(0, 100), (400, 1000), (500, 1), (usize::MAX, usize::MAX)] {
        pool.dma_sync_part_for_cpu(&part, DmaRange { offset, len });
    }
    let unit = key(page.descriptor());
    assert_eq!(
        window.drain_for_cpu(),
        [(unit, 1000, 100), (unit, 1400, 100)],
        "the pool's own offset is a whole page's"
    );
}

#[test]
fn bytes_are_given_back_to_the_device_before_they_are_cut_again() {
    let home = home(4);
    let window = Arc::new(Window::new(true));
    let builder = PagePool::builder(home).cache(4).refill(1);
    let mut pool = builder.dma(window.clone(), DmaDirection::FromDevice).dma_sync(0, 4096).build().unwrap();
    let mut page = Fragmented::from(pool.alloc().unwrap());
    let first = page.cut(1000).unwrap();
    page.rejoin(first).unwrap();
    assert_eq!((page.uncut(), page.bias()), (3096, BIAS_MAX), "the reference is back, the bytes are not");
    window.drain_for_device();
    assert!(pool.renew(page).is_none());
    let page = Fragmented::from(pool.alloc().unwrap());
    assert_eq!((window.drain_for_device().len(), page.uncut()), (1, 4096));
}

#[test]
fn parts_of_pages_off_the_books_go_home_with_the_last() {
    let home = home(4);
    let mut pool = pool(&home);
    let mut page = Fragmented::from(pool.alloc().unwrap().detach());
    let part = page.cut(1).unwrap();
    drop(page);
    drop(pool);
    assert_eq!(home.out(), 1);
    drop(part);
    assert_eq!(home.out(), 0);
}
