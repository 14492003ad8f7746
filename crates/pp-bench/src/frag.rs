//! The cases of fragments: buffers smaller than a page, beside everything a Rust program would use in their place.
//!
//! | case | a buffer's way |
//! |---|---|
//! | `frag256` and so on | allocate one of so many bytes, give it back |
//! | `frag256-64` | allocate 64, then give 64 back |
//! | `frag256-foreign` | one processor allocates and hands over 64 at a time, another gives them back |
//!
//! | contender | allocates | gives back |
//! |---|---|---|
//! | frag, recycle | `FragCache::alloc` | `FragCache::recycle`: on the side of the pool's consumer |
//! | frag, drop | the same | `drop`: whoever it is |
//! | frag, recycle_all, drop_all | the same | 64 in one call |
//! | page, direct | `PagePool::alloc`, whatever the size | `recycle_direct` |
//! | malloc, mimalloc | as a `GlobalAlloc`, aligned to 8 | the same |
//! | `Arc<[u8]>` | `Arc::new_uninit_slice` | `drop` |
//! | `BytesMut` | `reserve` and `split_to` of a buffer of 64 KiB | `drop` |
//! | hand-over alone | nothing | nothing: in the foreign cases, what of everybody's time is the way between the threads |
//!
//! *Included*: everything the calls do, a fragment's share of the ways of its page as well. *Excluded*: the buffers' bytes,
//! which nobody touches but the allocators that keep their lists in them.

use alloc::sync::Arc;
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::mem::MaybeUninit;
use std::alloc::System;

use bytes::BytesMut;
use mimalloc::MiMalloc;
use pp_core::{Home, Page, PagePool, doc::Heap};
use pp_frag::{Frag, FragCache, drop_all};

use crate::cores::Patience;
use crate::cross::{BETWEEN, hand_over};
use crate::local::{BATCH, Direct, napi, single};
use crate::measure::Contender;
use crate::spsc::{Receiver, Sender, ring};

/// Pages there are: more than lie between the two threads of the foreign cases.
const PAGES: usize = 2048;
/// Bytes of the buffer that `BytesMut` splits.
const BUFFER: usize = 64 << 10;

/// A pool with a fragment cache, and the size that is asked of it.
struct Frags {
    pool: PagePool,
    cache: FragCache,
    size: usize,
}

impl Frags {
    fn new(size: usize) -> Self {
        let builder = PagePool::builder(Home::new(Heap::new(4096, PAGES))).pool_size(PAGES);
        Frags { pool: builder.build().expect("memory for a pool"), cache: FragCache::new(), size }
    }

    #[inline(always)]
    fn get(&mut self) -> Option<Frag> {
        self.cache.alloc(&mut self.pool, self.size).ok()
    }
}

/// Gives back on the consumer's side.
struct Recycling(Frags);

impl Direct for Recycling {
    type Item = Frag;
    #[inline(always)]
    fn get(&mut self) -> Option<Frag> {
        self.0.get()
    }
    #[inline(always)]
    fn put(&mut self, frag: Frag) {
        self.0.cache.recycle(&mut self.0.pool, frag);
    }
}

/// The same, many in one call.
struct RecyclingAll(Frags);

impl Direct for RecyclingAll {
    type Item = Frag;
    #[inline(always)]
    fn get(&mut self) -> Option<Frag> {
        self.0.get()
    }
    #[inline(always)]
    fn put(&mut self, frag: Frag) {
        self.0.cache.recycle(&mut self.0.pool, frag);
    }
    #[inline(always)]
    fn put_all(&mut self, frags: impl Iterator<Item = Frag>) {
        self.0.cache.recycle_all(&mut self.0.pool, frags);
    }
}

/// Gives back as anybody does.
struct Dropping(Frags);

impl Direct for Dropping {
    type Item = Frag;
    #[inline(always)]
    fn get(&mut self) -> Option<Frag> {
        self.0.get()
    }
    #[inline(always)]
    fn put(&mut self, frag: Frag) {
        drop(frag);
    }
}

/// The same, many in one call.
struct DroppingAll(Frags);

impl Direct for DroppingAll {
    type Item = Frag;
    #[inline(always)]
    fn get(&mut self) -> Option<Frag> {
        self.0.get()
    }
    #[inline(always)]
    fn put(&mut self, frag: Frag) {
        drop(frag);
    }
    #[inline(always)]
    fn put_all(&mut self, frags: impl Iterator<Item = Frag>) {
        drop_all(frags);
    }
}

/// Any allocator of the language.
struct Malloc<A>(A, Layout);

impl<A: GlobalAlloc> Malloc<A> {
    fn new(allocator: A, size: usize) -> Self {
        Malloc(allocator, Layout::from_size_align(size, 8).expect("a size that fits"))
    }
}

impl<A: GlobalAlloc> Direct for Malloc<A> {
    /// An address: pointers are not `Send`.
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        // SAFETY: the size is not 0.
        let start = unsafe { self.0.alloc(self.1) };
        // Or the compiler, which knows what allocators do, leaves both calls out.
        (!black_box(start).is_null()).then(|| start.expose_provenance())
    }
    #[inline(always)]
    fn put(&mut self, start: usize) {
        // SAFETY: from `get`, with the same layout, once.
        unsafe { self.0.dealloc(core::ptr::with_exposed_provenance_mut(start), self.1) };
    }
}

struct ArcSlice(usize);

impl Direct for ArcSlice {
    type Item = Arc<[MaybeUninit<u8>]>;
    #[inline(always)]
    fn get(&mut self) -> Option<Self::Item> {
        Some(Arc::new_uninit_slice(self.0))
    }
    #[inline(always)]
    fn put(&mut self, item: Self::Item) {
        drop(item);
    }
}

struct Splitting(BytesMut, usize);

impl Splitting {
    fn new(size: usize) -> Self {
        Splitting(BytesMut::with_capacity(BUFFER), size)
    }
}

impl Direct for Splitting {
    type Item = BytesMut;
    #[inline(always)]
    fn get(&mut self) -> Option<BytesMut> {
        if self.0.capacity() < self.1 {
            // As much as the whole buffer, so that it is taken back whole or replaced whole.
            self.0.reserve(BUFFER);
        }
        // SAFETY: there is that much capacity. The bytes are not initialised, and nobody reads them.
        unsafe { self.0.set_len(self.1) };
        Some(self.0.split_to(self.1))
    }
    #[inline(always)]
    fn put(&mut self, item: BytesMut) {
        drop(item);
    }
}

/// The direct path of whole pages.
struct Pages(PagePool);

impl Direct for Pages {
    type Item = Page;
    #[inline(always)]
    fn get(&mut self) -> Option<Page> {
        self.0.alloc().ok()
    }
    #[inline(always)]
    fn put(&mut self, page: Page) {
        self.0.recycle_direct(page);
    }
}

fn timed<D: Direct + 'static>(name: &'static str, mut by: D, run: fn(&mut D, usize)) -> Contender {
    Contender::timed(name, move |buffers| run(&mut by, buffers))
}

fn one_thread(size: usize) -> Vec<Contender> {
    vec![
        timed("frag, recycle", Recycling(Frags::new(size)), single),
        timed("frag, drop", Dropping(Frags::new(size)), single),
        timed("page, direct", Pages(Frags::new(size).pool), single),
        timed("malloc", Malloc::new(System, size), single),
        timed("mimalloc", Malloc::new(MiMalloc, size), single),
        timed("Arc<[u8]>", ArcSlice(size), single),
        timed("BytesMut", Splitting::new(size), single),
    ]
}

fn many(size: usize) -> Vec<Contender> {
    vec![
        timed("frag, recycle", Recycling(Frags::new(size)), napi),
        timed("frag, recycle_all", RecyclingAll(Frags::new(size)), napi),
        timed("frag, drop", Dropping(Frags::new(size)), napi),
        timed("frag, drop_all", DroppingAll(Frags::new(size)), napi),
        timed("page, direct", Pages(Frags::new(size).pool), napi),
        timed("malloc", Malloc::new(System, size), napi),
        timed("mimalloc", Malloc::new(MiMalloc, size), napi),
        timed("Arc<[u8]>", ArcSlice(size), napi),
        timed("BytesMut", Splitting::new(size), napi),
    ]
}

/// Allocates here and gives back on processor `other`, by `put`.
fn foreign<D>(
    name: &'static str,
    mut by: D,
    other: usize,
    mut put: impl FnMut([D::Item; BATCH]) + Send + 'static,
) -> Contender
where
    D: Direct + 'static,
    D::Item: Send,
{
    let (mut sender, mut receiver) = ring::<D::Item>(BETWEEN);
    Contender::new(name, move |buffers| {
        let take = |to: &mut Sender<D::Item>| {
            let chunk: [D::Item; BATCH] = core::array::from_fn(|_| {
                let mut patience = Patience::default();
                loop {
                    if let Some(item) = by.get() {
                        break item;
                    }
                    patience.lose();
                }
            });
            to.send(chunk.into_iter());
        };
        let give = |from: &mut Receiver<D::Item>| put(from.receive_chunk());
        hand_over(other, buffers / BATCH, (&mut sender, &mut receiver), take, give)
    })
}

/// So many words on their way between two threads: as wide as a fragment, or as a pointer.
struct Words<const N: usize>;

impl<const N: usize> Direct for Words<N> {
    type Item = [usize; N];
    #[inline(always)]
    fn get(&mut self) -> Option<Self::Item> {
        Some(black_box([1; N]))
    }
    #[inline(always)]
    fn put(&mut self, item: Self::Item) {
        black_box(item);
    }
}

fn give_nothing<const N: usize>(words: [[usize; N]; BATCH]) {
    black_box(words);
}

fn two_threads(size: usize, other: usize) -> Vec<Contender> {
    let (mut malloc, mut mimalloc) = (Malloc::new(System, size), Malloc::new(MiMalloc, size));
    vec![
        foreign("frag, drop", Dropping(Frags::new(size)), other, drop),
        foreign("frag, drop_all", DroppingAll(Frags::new(size)), other, drop_all),
        foreign("malloc", Malloc::new(System, size), other, move |items| {
            items.into_iter().for_each(|item| malloc.put(item))
        }),
        foreign("mimalloc", Malloc::new(MiMalloc, size), other, move |items| {
            items.into_iter().for_each(|item| mimalloc.put(item))
        }),
        foreign("Arc<[u8]>", ArcSlice(size), other, drop),
        foreign("BytesMut", Splitting::new(size), other, drop),
        foreign("hand-over alone, a fragment's 24 bytes", Words::<3>, other, give_nothing),
        foreign("hand-over alone, a pointer's 8 bytes", Words::<1>, other, give_nothing),
    ]
}

/// The contenders of `case`, the fragments first; none for a case of another module. The foreign ones have their second thread
/// on processor `other`.
pub(crate) fn contenders(case: &str, other: usize) -> Vec<Contender> {
    let Some((size, kind)) = case.strip_prefix("frag").map(|rest| rest.split_once('-').unwrap_or((rest, ""))) else {
        return Vec::new();
    };
    match (size.parse(), kind) {
        (Ok(size), "") => one_thread(size),
        (Ok(size), "64") => many(size),
        (Ok(size), "foreign") => two_threads(size, other),
        _ => Vec::new(),
    }
}
