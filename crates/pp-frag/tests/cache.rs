//! Fragments with the count hidden: sizes, places, true sizes, reuse, and what bad input gets.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::thread;

use common::{Far, nothing_is_out};
use pp_core::doc::Heap;
use pp_core::{AllocError, Device, DmaAddr, Exposed, GivenBack, Home, OutOfRange, PagePool, PartError, Zeroing};
use pp_frag::{FRAG_ALIGN, Frag, FragCache, FragError, SharedFrag, drop_all};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_impl_all!(Frag: Send, Sync, core::ops::DerefMut);
assert_not_impl_any!(Frag: Clone, Copy);
assert_impl_all!(SharedFrag: Send, Sync, Clone, core::ops::Deref);
assert_not_impl_any!(SharedFrag: core::ops::DerefMut);
assert_not_impl_any!(Frag<Device>: core::ops::Deref);
assert_not_impl_any!(Frag<Exposed>: core::ops::Deref);
assert_impl_all!(FragCache: Send);
assert_not_impl_any!(FragCache: Clone);

fn pool(unit_bytes: usize, units: usize) -> PagePool {
    PagePool::builder(Home::new(Heap::new(unit_bytes, units))).cache(8).refill(4).build().unwrap()
}

fn unit(frag: &Frag) -> *const pp_core::Descriptor {
    frag.part().descriptor()
}

#[test]
fn every_size_has_an_aligned_place_and_an_honest_true_size() {
    // Miri gets through the small ones.
    for &unit_bytes in if cfg!(miri) { &[64, 128, 512][..] } else { &[64, 128, 512, 2048, 4096, 16384] } {
        let (mut pool, mut cache) = (pool(unit_bytes, 8), FragCache::new());
        for size in 1..=unit_bytes {
            let frag = cache.alloc(&mut pool, size).unwrap();
            assert_eq!((frag.len(), frag.offset() % FRAG_ALIGN), (size, 0), "{size} of {unit_bytes}");
            assert_eq!(frag.addr().unwrap().as_ptr().addr() % FRAG_ALIGN, 0);
            let whole = 2 * size.next_multiple_of(FRAG_ALIGN) > unit_bytes;
            assert_eq!(frag.truesize() == unit_bytes, whole, "{size} of {unit_bytes}: two do not fit, or they do");
            assert!((size..=unit_bytes).contains(&frag.truesize()));
            cache.recycle(&mut pool, frag);
        }
        drop(cache);
        nothing_is_out(&pool);
    }
}

#[test]
fn the_true_sizes_of_a_page_add_up_to_the_page() {
    for &unit_bytes in if cfg!(miri) { &[128, 2048][..] } else { &[128, 2048, 4096, 65536, 1 << 21] } {
        for size in [1, 60, 64, 65, 100, 256, 700, 1000, 1500, 1536, 2048, 9000, unit_bytes / 3, unit_bytes / 2] {
            if size > unit_bytes {
                continue;
            }
            let (mut pool, mut cache) = (pool(unit_bytes, 4), FragCache::new());
            let mut frags = vec![cache.alloc(&mut pool, size).unwrap()];
            let (page, mut sum) = (unit(&frags[0]), frags[0].truesize());
            loop {
                let frag = cache.alloc(&mut pool, size).unwrap();
                if unit(&frag) != page {
                    break;
                }
                assert_eq!(frag.offset(), sum, "right behind the one before");
                sum += frag.truesize();
                frags.push(frag);
            }
            assert_eq!(sum, unit_bytes, "{} fragments of {size}", frags.len());
            assert_eq!(frags.len(), (unit_bytes / size.next_multiple_of(FRAG_ALIGN)).max(1));
        }
    }
}

#[test]
fn bad_sizes_are_named_and_cost_nothing() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let frag = cache.alloc(&mut pool, 100).unwrap();
    let before = pool.stats();
    for (size, error) in [
        (0, FragError::Empty),
        (4097, FragError::TooLarge { size: 4097, page_bytes: 4096 }),
        (usize::MAX, FragError::TooLarge { size: usize::MAX, page_bytes: 4096 }),
    ] {
        assert_eq!(cache.alloc(&mut pool, size).unwrap_err(), error);
        assert!(error.to_string().contains("; "), "says what to do: {error}");
    }
    assert_eq!(pool.stats(), before);
    assert_eq!(cache.alloc(&mut pool, 100).unwrap().offset(), 128, "the cache goes on where it was");
    drop(frag);
}

#[test]
fn without_a_page_the_pools_reason_is_told() {
    let (mut pool, mut cache) = (pool(4096, 1), FragCache::new());
    let one = cache.alloc(&mut pool, 2048).unwrap();
    let two = cache.alloc(&mut pool, 2048).unwrap();
    assert_eq!(cache.alloc(&mut pool, 2048).unwrap_err(), FragError::Alloc(AllocError::OutOfMemory));
    assert_eq!(cache.alloc(&mut pool, 4096).unwrap_err(), FragError::Alloc(AllocError::OutOfMemory));
    drop((one, two));
    drop(cache.alloc(&mut pool, 2048).unwrap());
    drop(cache);
    nothing_is_out(&pool);
}

#[cfg(feature = "leak-trace")]
#[test]
fn a_page_that_fragments_hold_is_traced_to_the_call_that_took_it() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let line = line!() + 1;
    let one = cache.alloc(&mut pool, 1000).unwrap();
    let whole = cache.alloc(&mut pool, 4000).unwrap();
    drop(cache);
    let held = pool.handle().who_holds();
    let at: Vec<(&str, u32)> = held.iter().map(|held| (held.site.file(), held.site.line())).collect();
    assert_eq!(at, [(file!(), line), (file!(), line + 1)]);
    drop((one, whole));
    assert!(pool.handle().who_holds().is_empty());
}

#[test]
fn one_page_is_out_until_the_cache_is_dropped() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    for _ in 0..if cfg!(miri) { 50 } else { 10_000 } {
        drop(cache.alloc(&mut pool, 700).unwrap());
        assert_eq!(pool.stats().in_use(), 1);
    }
    assert_eq!(pool.stats().hold, 4, "one refill, and the provider is left alone");
    drop(cache);
    nothing_is_out(&pool);
}

#[test]
fn a_page_whose_fragments_are_all_back_is_begun_anew_in_place() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let first = cache.alloc(&mut pool, 2048).unwrap();
    let page = unit(&first);
    let second = cache.alloc(&mut pool, 2048).unwrap();
    thread::spawn(move || drop((first, second))).join().unwrap();
    let again = cache.alloc(&mut pool, 2048).unwrap();
    assert_eq!((unit(&again), again.offset()), (page, 0));
    let stats = pool.stats();
    assert_eq!((stats.recycle.cached, stats.recycle.ring, stats.allocations()), (1, 0, 2));
    // One that is out sends the cache to another page.
    let _second = cache.alloc(&mut pool, 2048).unwrap();
    let third = cache.alloc(&mut pool, 2048).unwrap();
    assert_ne!(unit(&third), page);
}

#[test]
fn recycled_fragments_give_their_bytes_to_the_next() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let one = cache.alloc(&mut pool, 300).unwrap();
    let two = cache.alloc(&mut pool, 300).unwrap();
    let place = two.offset();
    cache.recycle(&mut pool, two);
    let two = cache.alloc(&mut pool, 1000).unwrap();
    assert_eq!(two.offset(), place);
    // Not the last one cut: the reference comes back, the bytes with the whole page.
    cache.recycle(&mut pool, one);
    assert_eq!(cache.alloc(&mut pool, 300).unwrap().offset(), place + 1024);
    cache.recycle(&mut pool, two);
    drop(cache);
    nothing_is_out(&pool);
}

#[test]
fn an_odd_piece_that_is_recycled_makes_no_odd_place() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let mut frag = cache.alloc(&mut pool, 1000).unwrap();
    let rest = frag.split_off(333).unwrap();
    cache.recycle(&mut pool, rest);
    let next = cache.alloc(&mut pool, 100).unwrap();
    assert_eq!(next.offset() % FRAG_ALIGN, 0);
    assert!(next.offset() >= frag.offset() + frag.truesize());
    cache.recycle_all(&mut pool, [frag, next]);
    drop(cache);
    nothing_is_out(&pool);
}

#[test]
fn fragments_of_earlier_pages_find_their_way_too() {
    let (mut pool, mut cache) = (pool(2048, 32), FragCache::new());
    let mut frags: Vec<Frag> = (0..64).map(|_| cache.alloc(&mut pool, 256).unwrap()).collect();
    assert_eq!(pool.stats().in_use(), 8);
    cache.recycle(&mut pool, frags.remove(0));
    let others = frags.split_off(31);
    cache.recycle_all(&mut pool, frags);
    drop_all(others);
    assert_eq!(pool.stats().in_use(), 1, "the cache's");
    assert!(pool.stats().recycle.cached >= 4, "whole pages went straight back: {:?}", pool.stats());
    drop(cache);
    nothing_is_out(&pool);
}

#[test]
fn a_cache_changes_pools_and_page_sizes() {
    let (mut small, mut large, mut cache) = (pool(2048, 4), pool(65536, 4), FragCache::new());
    let one = cache.alloc(&mut small, 1000).unwrap();
    // Room that is left is used whoever's it is.
    let two = cache.alloc(&mut large, 1000).unwrap();
    assert_eq!((unit(&one) == unit(&two), two.offset()), (true, 1024));
    let three = cache.alloc(&mut large, 30_000).unwrap();
    assert_eq!(three.truesize(), 30_016);
    assert_eq!(cache.alloc(&mut small, 2048).unwrap().truesize(), 2048);
    drop((one, two, three, cache));
    nothing_is_out(&small);
    nothing_is_out(&large);
}

#[test]
fn what_a_fragment_cannot_do_leaves_it_as_it_was() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let mut frag = cache.alloc(&mut pool, 100).unwrap();
    frag.fill(7);
    let range = |len| OutOfRange { offset: 0, len, available: 128 };
    assert_eq!(frag.set_len(129), Err(range(129)));
    assert_eq!(frag.set_len(usize::MAX), Err(range(usize::MAX)));
    assert_eq!(frag.trim_front(101).unwrap_err().available, 100);
    for at in [101, 128, usize::MAX] {
        assert_eq!(frag.split_off(at).unwrap_err(), PartError::OutOfRange { at, len: 100 });
        assert_eq!(frag.split_to(at).unwrap_err(), PartError::OutOfRange { at, len: 100 });
    }
    assert_eq!((frag.len(), frag.capacity(), frag.truesize()), (100, 128, 128));
    assert!(frag.iter().all(|byte| *byte == 7));

    // Room behind what is in use, a stranger, and one whose beginning was taken off: no neighbours.
    let other = cache.alloc(&mut pool, 128).unwrap();
    let GivenBack { buffer: mut other, reason } = frag.coalesce(other).unwrap_err();
    assert_eq!((reason, other.len()), (PartError::NotNeighbours, 128));
    frag.set_len(128).unwrap();
    other.trim_front(1).unwrap();
    let GivenBack { buffer: other, .. } = frag.coalesce(other).unwrap_err();
    assert_eq!((other.len(), other.truesize()), (127, 128));
    let stranger = cache.alloc(&mut pool, 4096).unwrap();
    let GivenBack { buffer: stranger, .. } = frag.coalesce(stranger).unwrap_err();
    assert_eq!(stranger.truesize(), 4096);
}

#[test]
fn lengths_follow_what_is_taken_and_given() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let mut frag = cache.alloc(&mut pool, 100).unwrap();
    let place = frag.offset();
    for (at, byte) in frag.iter_mut().enumerate() {
        *byte = at as u8;
    }
    frag.trim_front(10).unwrap();
    assert_eq!((frag[0], frag.len(), frag.offset(), frag.capacity(), frag.truesize()), (10, 90, place + 10, 118, 128));
    let front = frag.split_to(20).unwrap();
    assert_eq!((front[0], front.len(), front.truesize()), (10, 20, 30));
    assert_eq!((frag[0], frag.len(), frag.truesize()), (30, 70, 98));
    let mut front = front;
    front.coalesce(frag).unwrap();
    assert_eq!((front[0], front[89], front.len(), front.truesize()), (10, 99, 90, 128));
    front.truncate(5);
    assert_eq!((front.room_mut().len(), &*front), (113, &[10, 11, 12, 13, 14][..]));
    front.truncate(1000);
    assert_eq!(front.len(), 5);
    front.clear();
    assert!(front.is_empty());
    front.set_len(118).unwrap();
    assert_eq!((front[4], front[89]), (14, 99), "the bytes are still there");
}

#[test]
fn shared_fragments_have_views_of_their_own() {
    let (mut pool, mut cache) = (pool(4096, 4), FragCache::new());
    let mut frag = cache.alloc(&mut pool, 11).unwrap();
    frag.copy_from_slice(b"hello world");
    let mut hello = frag.share();
    let world = hello.slice(6, 5).unwrap();
    assert_eq!(hello.slice(7, 5).unwrap_err(), OutOfRange { offset: 7, len: 5, available: 11 });
    assert!(world.slice(0, 6).is_err(), "a view is no way out of itself");
    hello.truncate(5);
    assert_eq!((&*hello, &*world, world.offset(), world.truesize()), (&b"hello"[..], &b"world"[..], 6, 64));
    hello.trim_front(4).unwrap();
    assert_eq!(&*hello, b"o");
    assert!(hello.trim_front(2).is_err());
    drop(cache);
    assert_eq!(pool.stats().in_use(), 1);
    thread::spawn(move || drop(world)).join().unwrap();
    drop(hello);
    nothing_is_out(&pool);
}

#[test]
fn fragments_outlive_cache_and_pool() {
    let home = Home::new(Heap::new(4096, 4));
    let mut pool = PagePool::builder(home.clone()).cache(4).refill(1).build().unwrap();
    let mut cache = FragCache::new();
    let mut frag = cache.alloc(&mut pool, 64).unwrap();
    drop(cache);
    let shutdown = pool.shutdown();
    frag.fill(3);
    assert_eq!((frag[63], shutdown.outstanding()), (3, 1));
    thread::spawn(move || drop(frag)).join().unwrap();
    assert_eq!((shutdown.outstanding(), home.free_units()), (0, 4));
}

#[test]
fn units_without_an_address_are_fragmented_all_the_same() {
    let home = Home::new(Far::without_address(65536, 4));
    let mut pool = PagePool::builder(home.clone()).cache(4).refill(1).build().unwrap();
    let mut cache: FragCache<Device> = FragCache::new();
    let mut one = cache.alloc(&mut pool, 9000).unwrap();
    let two = cache.alloc(&mut pool, 9000).unwrap();
    assert_eq!((one.addr(), one.len(), one.truesize()), (None, 9000, 9024));
    assert_eq!((one.dma_addr(), two.dma_addr()), (Some(DmaAddr(65536)), Some(DmaAddr(65536 + 9024))));
    one.trim_front(14).unwrap();
    let payload = one.split_off(20).unwrap();
    assert_eq!(payload.dma_addr(), Some(DmaAddr(65536 + 34)));
    let shared = payload.share();
    assert_eq!(shared.slice(6, 10).unwrap().dma_addr(), Some(DmaAddr(65536 + 40)));
    thread::spawn(move || drop((one, shared))).join().unwrap();
    cache.recycle(&mut pool, two);
    drop(cache);
    nothing_is_out(&pool);
    drop(pool);
    assert!(home.all_home());
}

#[test]
fn exposed_fragments_are_copied_in_and_out_of_what_is_in_use() {
    let home = Home::new(Far::exposed(4096, 4));
    let mut pool = PagePool::builder(home).build().unwrap();
    let mut cache: FragCache<Exposed> = FragCache::new();
    let mut frag = cache.alloc(&mut pool, 16).unwrap();
    frag.copy_from(0, b"0123456789abcdef").unwrap();
    frag.trim_front(4).unwrap();
    let mut out = [0; 4];
    frag.copy_to(8, &mut out).unwrap();
    assert_eq!(&out, b"cdef");
    // There is room behind, and it is not in use.
    assert!(frag.copy_to(9, &mut out).is_err() && frag.copy_from(9, b"xxxx").is_err());
    let shared = frag.share();
    shared.copy_to(0, &mut out).unwrap();
    assert_eq!(&out, b"4567");
    assert!(shared.copy_to(9, &mut out).is_err());
}

#[test]
fn pools_that_clear_between_owners_do() {
    let home = Home::new(Heap::new(4096, 2));
    let mut pool = PagePool::builder(home).cache(2).refill(1).zeroing(Zeroing::OnCrossOwner).build().unwrap();
    let mut cache = FragCache::new();
    for _ in 0..20 {
        let mut frag = cache.alloc(&mut pool, 2048).unwrap();
        assert!(frag.iter().all(|byte| *byte == 0), "what another owner wrote");
        frag.fill(0xff);
        thread::spawn(move || drop(frag)).join().unwrap();
    }
}
