//! Fragments as the `bytes` crate's types, and what that costs: counted, not guessed.
#![cfg(all(feature = "bytes", not(any(loom, shuttle))))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Buf, BufMut, Bytes};
use common::nothing_is_out;
use pp_core::doc::Heap;
use pp_core::{Home, PagePool};
use pp_frag::{Frag, FragCache};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: passes everything on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// Heap allocations that `f` makes on this thread.
fn allocations<R>(f: impl FnOnce() -> R) -> (usize, R) {
    let before = ALLOCATIONS.get();
    let result = f();
    (ALLOCATIONS.get() - before, result)
}

fn pool() -> (PagePool, FragCache) {
    let mut pool = PagePool::builder(Home::new(Heap::new(4096, 8))).build().unwrap();
    // The first refill is not what is measured.
    drop(pool.alloc().unwrap());
    (pool, FragCache::new())
}

fn frag(pool: &mut PagePool, cache: &mut FragCache, bytes: &[u8]) -> Frag {
    let mut frag = cache.alloc(pool, bytes.len()).unwrap();
    frag.copy_from_slice(bytes);
    frag
}

#[test]
fn bytes_of_a_shared_fragment_are_the_fragments_own_for_one_allocation() {
    let (mut pool, mut cache) = pool();
    let shared = frag(&mut pool, &mut cache, b"hello world").share();
    let address = shared.as_ptr();
    let (count, bytes) = allocations(|| Bytes::from(shared));
    assert_eq!((count, bytes.as_ptr(), &bytes[..]), (1, address, &b"hello world"[..]), "one box, no copy");
    let (count, (clone, slice)) = allocations(|| (bytes.clone(), bytes.slice(6..)));
    assert_eq!((count, &slice[..]), (0, &b"world"[..]));
    drop((bytes, clone, cache));
    assert_eq!(pool.stats().in_use(), 1);
    std::thread::spawn(move || drop(slice)).join().unwrap();
    nothing_is_out(&pool);
}

#[test]
fn a_fragment_is_written_and_read_without_a_heap() {
    let (mut pool, mut cache) = pool();
    let (count, sum) = allocations(|| {
        let mut frag = cache.alloc(&mut pool, 100).unwrap();
        assert_eq!(frag.remaining_mut(), 28, "the room that its true size has");
        frag.clear();
        frag.put_u16(0x0800);
        frag.put_slice(b"payload");
        frag.put_bytes(0xff, 3);
        assert_eq!((frag.len(), frag.remaining_mut()), (12, 116));
        let kind = frag.get_u16();
        let mut shared = frag.share();
        shared.advance(7);
        let tail = shared.get_u16();
        assert_eq!((kind, tail, shared.remaining(), shared.chunk()), (0x0800, 0xffff, 1, &[0xff][..]));
        usize::from(tail)
    });
    assert_eq!((count, sum), (0, 0xffff));
}

#[test]
fn fragments_chain_like_other_buffers() {
    let (mut pool, mut cache) = pool();
    let (header, payload) = (frag(&mut pool, &mut cache, b"head"), frag(&mut pool, &mut cache, b"tail"));
    let mut chain = header.chain(payload.share());
    let mut out = [0; 8];
    chain.copy_to_slice(&mut out);
    assert_eq!((&out, chain.has_remaining()), (b"headtail", false));
}

#[test]
#[should_panic(expected = "no more than remains")]
fn reading_beyond_the_end_is_the_readers_bug() {
    let (mut pool, mut cache) = pool();
    frag(&mut pool, &mut cache, b"four").advance(5);
}

#[test]
#[should_panic]
fn writing_beyond_the_room_is_the_writers_bug() {
    let (mut pool, mut cache) = pool();
    let mut frag = cache.alloc(&mut pool, 64).unwrap();
    frag.put_u8(1);
}
