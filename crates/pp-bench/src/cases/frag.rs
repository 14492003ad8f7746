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
//! | pool, recycle | `FragCache::alloc` | `FragCache::recycle`: on the side of the pool's consumer |
//! | pool, drop | the same | `drop`: whoever it is |
//! | pool, recycle_all, drop_all | the same | 64 in one call |
//! | pool, page, direct | `PagePool::alloc`, whatever the size | `recycle_direct` |
//! | malloc, mimalloc, jemalloc | aligned to 8 | the same |
//! | `Arc<[u8]>` | `Arc::new_uninit_slice` | `drop` |
//! | `BytesMut` | `reserve` and `split_to` of a buffer of 64 KiB | `drop` |
//! | bias split | half a page, whatever the size; above 1024 only | takes the page's count down |
//! | hand-over alone | nothing | nothing: in the foreign cases, what of everybody's time is the way between the threads |
//!
//! *Included*: everything the calls do, a fragment's share of the ways of its page as well. *Excluded*: the buffers' bytes,
//! which nobody touches but the allocators that keep their lists in them.

use alloc::sync::Arc;
use core::alloc::GlobalAlloc;
use core::hint::black_box;
use core::mem::MaybeUninit;
use std::alloc::System;

use bytes::BytesMut;
use mimalloc::MiMalloc;
use pp_core::PagePool;
use pp_frag::{Frag, FragCache, drop_all};

use super::Case;
use super::cross::{BETWEEN, hand_over};
use crate::cores::Patience;
use crate::lineup::{Lineup, Peer, Runner, timed};
use crate::loops::{BATCH, Direct, napi, single};
use crate::peers::{BiasSplit, DirectPool, Jemalloc, Malloc, heap_pool};
use crate::spsc::{Receiver, Sender, ring};

/// Pages there are: more than lie between the two threads of the foreign cases.
const PAGES: usize = 2048;
/// Buffers of the ring of split pages: as many.
const HALVES: usize = 2048;
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
        Frags { pool: heap_pool(PAGES), cache: FragCache::new(), size }
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

fn run<D: Direct + 'static>(mut by: D, run: fn(&mut D, usize)) -> Runner {
    timed(move |buffers| run(&mut by, buffers))
}

/// Everybody by one loop, without and with the calls for many where the loop has a use for them.
macro_rules! enter_all {
    ($lineup:expr, $size:expr, $loop:expr) => {{
        let (lineup, size): (&mut Lineup<'_>, usize) = ($lineup, $size);
        lineup.enter(Peer::Pool, "page, direct", || run(DirectPool(Frags::new(size).pool), $loop));
        lineup.enter(Peer::Malloc, "", || run(Malloc::new(System, size), $loop));
        lineup.enter(Peer::Mimalloc, "", || run(Malloc::new(MiMalloc, size), $loop));
        lineup.enter_if(Peer::Jemalloc, "", || Ok(run(Malloc::new(Jemalloc::load()?, size), $loop)));
        lineup.enter(Peer::ArcSlice, "", || run(ArcSlice(size), $loop));
        lineup.enter(Peer::BytesMut, "", || run(Splitting::new(size), $loop));
        if size > 1024 {
            lineup.enter(Peer::BiasSplit, "", || run(BiasSplit::new(HALVES), $loop));
        }
    }};
}

fn one_thread(lineup: &mut Lineup<'_>, size: usize) {
    lineup.enter(Peer::Pool, "recycle", || run(Recycling(Frags::new(size)), single));
    lineup.enter(Peer::Pool, "drop", || run(Dropping(Frags::new(size)), single));
    enter_all!(lineup, size, single);
}

fn many(lineup: &mut Lineup<'_>, size: usize) {
    lineup.enter(Peer::Pool, "recycle", || run(Recycling(Frags::new(size)), napi));
    lineup.enter(Peer::Pool, "recycle_all", || run(RecyclingAll(Frags::new(size)), napi));
    lineup.enter(Peer::Pool, "drop", || run(Dropping(Frags::new(size)), napi));
    lineup.enter(Peer::Pool, "drop_all", || run(DroppingAll(Frags::new(size)), napi));
    enter_all!(lineup, size, napi);
}

/// Allocates here and gives back on processor `other`, by `put`.
fn foreign<D>(mut by: D, other: usize, mut put: impl FnMut([D::Item; BATCH]) + Send + 'static) -> Runner
where
    D: Direct + 'static,
    D::Item: Send,
{
    let (mut sender, mut receiver) = ring::<D::Item>(BETWEEN);
    Box::new(move |buffers| {
        let put = &mut put;
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
        let give = move || move |from: &mut Receiver<D::Item>| put(from.receive_chunk());
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

fn two_threads(lineup: &mut Lineup<'_>, size: usize) {
    let other = lineup.stage.other();
    lineup.enter(Peer::Pool, "drop", || foreign(Dropping(Frags::new(size)), other, drop));
    lineup.enter(Peer::Pool, "drop_all", || foreign(DroppingAll(Frags::new(size)), other, drop_all));
    lineup.enter(Peer::Malloc, "", || two_ends([System; 2], size, other));
    lineup.enter(Peer::Mimalloc, "", || two_ends([MiMalloc, MiMalloc], size, other));
    lineup.enter_if(Peer::Jemalloc, "", || Ok(two_ends([Jemalloc::load()?; 2], size, other)));
    lineup.enter(Peer::ArcSlice, "", || foreign(ArcSlice(size), other, drop));
    lineup.enter(Peer::BytesMut, "", || foreign(Splitting::new(size), other, drop));
    if size > 1024 {
        lineup.enter(Peer::BiasSplit, "", || {
            foreign(BiasSplit::new(HALVES), other, |items| items.into_iter().for_each(BiasSplit::put_half))
        });
    }
    lineup.enter(Peer::Machine, "hand-over of a fragment's 24 bytes", || foreign(Words::<3>, other, give_nothing));
    lineup.enter(Peer::Machine, "hand-over of a pointer's 8 bytes", || foreign(Words::<1>, other, give_nothing));
}

/// Two handles to one allocator: one for each end.
fn two_ends<A: GlobalAlloc + Send + 'static>([here, there]: [A; 2], size: usize, other: usize) -> Runner {
    let there = Malloc::new(there, size);
    foreign(Malloc::new(here, size), other, move |items| items.into_iter().for_each(|item| there.free(item)))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, about: &str, processors: usize, enter: fn(&mut Lineup<'_>, usize)| {
        for size in [256, 512, 1536, 2048] {
            let case = Case::new(
                "frag",
                format!("frag{size}{name}"),
                format!("a fragment of {size} bytes: {about}"),
                move |to| {
                    enter(to, size);
                },
            );
            cases.push(case.per("fragment").on_processors(processors));
        }
    };
    add("", "one out, one back", 1, one_thread);
    add("-64", "64 out, 64 back", 1, many);
    add("-foreign", "64 out on one processor, 64 back on another", 2, two_threads);
    cases
}
