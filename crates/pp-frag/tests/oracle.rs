//! Fragments against an oracle of byte ranges, by random operations.
//!
//! The oracle knows which bytes of which page are whose and what they hold. After each operation: no two owners overlap, every
//! allocation is aligned, and every byte is what its owner wrote. In the end everything is home.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;

use common::nothing_is_out;
use pp_core::doc::Heap;
use pp_core::{GivenBack, Home, PagePool};
use pp_frag::{FRAG_ALIGN, Frag, FragCache, SharedFrag, drop_all};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Alloc(usize),
    Drop(usize),
    DropElsewhere(usize),
    Recycle(usize),
    DropSome(usize),
    RecycleSome(usize),
    SplitOff(usize, usize),
    SplitTo(usize, usize),
    Coalesce(usize, usize),
    TrimFront(usize, usize),
    SetLen(usize, usize),
    Share(usize),
    Slice(usize, usize, usize),
    DropShared(usize),
    NewCache,
    Page,
}

fn op() -> impl Strategy<Value = Op> {
    let any = any::<usize>;
    prop_oneof![
        8 => (1usize..5000).prop_map(Op::Alloc),
        4 => (1usize..300).prop_map(Op::Alloc),
        2 => any().prop_map(Op::Drop),
        1 => any().prop_map(Op::DropElsewhere),
        3 => any().prop_map(Op::Recycle),
        1 => any().prop_map(Op::DropSome),
        1 => any().prop_map(Op::RecycleSome),
        3 => (any(), any()).prop_map(|(which, at)| Op::SplitOff(which, at)),
        2 => (any(), any()).prop_map(|(which, at)| Op::SplitTo(which, at)),
        4 => (any(), any()).prop_map(|(one, two)| Op::Coalesce(one, two)),
        2 => (any(), any()).prop_map(|(which, count)| Op::TrimFront(which, count)),
        2 => (any(), any()).prop_map(|(which, len)| Op::SetLen(which, len)),
        2 => any().prop_map(Op::Share),
        2 => (any(), any(), any()).prop_map(|(which, offset, len)| Op::Slice(which, offset, len)),
        2 => any().prop_map(Op::DropShared),
        1 => Just(Op::NewCache),
        1 => Just(Op::Page),
    ]
}

/// A fragment and what it holds; the room behind it as well, which nobody else may write.
struct Owned {
    frag: Frag,
    holds: Vec<u8>,
}

struct World {
    pool: PagePool,
    cache: FragCache,
    owned: Vec<Owned>,
    shared: Vec<(SharedFrag, Vec<u8>)>,
    next: u8,
}

impl World {
    fn new(unit_bytes: usize) -> Self {
        let builder = PagePool::builder(Home::new(Heap::new(unit_bytes, 64))).cache(4).refill(2).pool_size(4);
        let pool = builder.build().unwrap();
        World { pool, cache: FragCache::new(), owned: Vec::new(), shared: Vec::new(), next: 1 }
    }

    fn take(&mut self, which: usize) -> Option<Owned> {
        (!self.owned.is_empty()).then(|| self.owned.swap_remove(which % self.owned.len()))
    }

    fn one(&mut self, which: usize) -> Option<&mut Owned> {
        let count = self.owned.len().max(1);
        self.owned.get_mut(which % count)
    }

    /// A random half.
    fn some(&mut self, which: usize) -> Vec<Frag> {
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        for (at, owned) in self.owned.drain(..).enumerate() {
            if which.rotate_right(at as u32) & 1 == 0 { taken.push(owned.frag) } else { kept.push(owned) }
        }
        self.owned = kept;
        taken
    }

    fn write(&mut self, mut frag: Frag) {
        let holds: Vec<u8> = (0..frag.len()).map(|at| self.next.wrapping_add(at as u8)).collect();
        self.next = self.next.wrapping_mul(31).wrapping_add(7);
        frag.copy_from_slice(&holds);
        self.owned.push(Owned { frag, holds });
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Alloc(size) => {
                let page_bytes = self.pool.page_bytes();
                let size = size.min(page_bytes);
                let Ok(frag) = self.cache.alloc(&mut self.pool, size) else { return };
                assert_eq!((frag.len(), frag.offset() % FRAG_ALIGN), (size, 0));
                assert!(frag.truesize() >= size && frag.offset() + frag.truesize() <= page_bytes);
                self.write(frag);
            }
            Op::Drop(which) => drop(self.take(which)),
            Op::DropElsewhere(which) => {
                let owned = self.take(which);
                thread::spawn(move || drop(owned)).join().unwrap();
            }
            Op::Recycle(which) => {
                if let Some(owned) = self.take(which) {
                    self.cache.recycle(&mut self.pool, owned.frag);
                }
            }
            Op::DropSome(which) => drop_all(self.some(which)),
            Op::RecycleSome(which) => {
                let some = self.some(which);
                self.cache.recycle_all(&mut self.pool, some);
            }
            Op::SplitOff(which, at) => {
                let Some(owned) = self.one(which) else { return };
                let at = at % (owned.frag.len() + 1);
                let sizes = owned.frag.truesize();
                let frag = owned.frag.split_off(at).unwrap();
                assert_eq!(owned.frag.truesize() + frag.truesize(), sizes, "nothing is lost at a cut");
                let holds = owned.holds.split_off(at);
                self.owned.push(Owned { frag, holds });
            }
            Op::SplitTo(which, at) => {
                let Some(owned) = self.one(which) else { return };
                let at = at % (owned.frag.len() + 1);
                let frag = owned.frag.split_to(at).unwrap();
                let rest = owned.holds.split_off(at);
                let holds = std::mem::replace(&mut owned.holds, rest);
                self.owned.push(Owned { frag, holds });
            }
            Op::Coalesce(one, two) => {
                let (Some(mut one), Some(two)) = (self.take(one), self.take(two)) else { return };
                let end = one.frag.offset() + one.frag.capacity();
                let same_page = core::ptr::eq(one.frag.part().descriptor(), two.frag.part().descriptor());
                let full = one.frag.len() == one.frag.capacity();
                let untrimmed = two.frag.part().offset() == two.frag.offset();
                let neighbours = same_page && full && untrimmed && end == two.frag.offset();
                let sizes = one.frag.truesize() + two.frag.truesize();
                match one.frag.coalesce(two.frag) {
                    Ok(()) => {
                        assert!(neighbours);
                        assert_eq!(one.frag.truesize(), sizes);
                        one.holds.extend(two.holds);
                    }
                    Err(GivenBack { buffer, .. }) => {
                        assert!(!neighbours);
                        self.owned.push(Owned { frag: buffer, holds: two.holds });
                    }
                }
                self.owned.push(one);
            }
            Op::TrimFront(which, count) => {
                let Some(owned) = self.one(which) else { return };
                let count = count % (owned.frag.len() + 1);
                owned.frag.trim_front(count).unwrap();
                owned.holds.drain(..count);
            }
            Op::SetLen(which, len) => {
                let Some(owned) = self.one(which) else { return };
                let len = len % (owned.frag.capacity() + 2);
                if owned.frag.set_len(len).is_err() {
                    assert!(len > owned.frag.capacity());
                } else if len > owned.holds.len() {
                    let from = owned.holds.len();
                    owned.frag[from..].fill(0xaa);
                    owned.holds.resize(len, 0xaa);
                } else {
                    owned.holds.truncate(len);
                }
            }
            Op::Share(which) => {
                if let Some(Owned { frag, holds }) = self.take(which) {
                    self.shared.push((frag.share(), holds));
                }
            }
            Op::Slice(which, offset, len) => {
                let count = self.shared.len().max(1);
                let Some((shared, holds)) = self.shared.get(which % count) else { return };
                let offset = offset % (holds.len() + 1);
                let len = len % (holds.len() - offset + 1);
                let slice = (shared.slice(offset, len).unwrap(), holds[offset..offset + len].to_vec());
                self.shared.push(slice);
            }
            Op::DropShared(which) => {
                if !self.shared.is_empty() {
                    drop(self.shared.swap_remove(which % self.shared.len()));
                }
            }
            Op::NewCache => self.cache = FragCache::new(),
            Op::Page => {
                if let Ok(mut page) = self.pool.alloc() {
                    page.fill(0x55);
                    self.pool.recycle_direct(page);
                }
            }
        }
    }

    fn check(&self) {
        let mut ranges: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
        for Owned { frag, holds } in &self.owned {
            assert_eq!(&**frag, &holds[..], "somebody wrote what is another's");
            let part = frag.part();
            let page = core::ptr::from_ref(part.descriptor()).addr();
            ranges.entry(page).or_default().push(part.offset()..part.offset() + part.len());
        }
        for (shared, holds) in &self.shared {
            assert_eq!(&**shared, &holds[..], "somebody wrote what several read");
        }
        for ranges in ranges.values_mut() {
            // Empty ones are in nobody's way.
            ranges.retain(|range| !range.is_empty());
            ranges.sort_by_key(|range| range.start);
            let apart = ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
            assert!(apart, "two owners of one byte: {ranges:?}");
            let sum: usize = ranges.iter().map(|range| range.len()).sum();
            assert!(sum <= self.pool.page_bytes());
        }
        let pages = ranges.len();
        assert!(self.pool.stats().in_use() >= pages, "a page that fragments are left of is in use");
    }
}

fn run(unit_bytes: usize, ops: Vec<Op>) {
    let mut world = World::new(unit_bytes);
    for op in ops {
        world.step(op);
        world.check();
    }
    let World { pool, cache, owned, shared, .. } = world;
    drop((owned, shared, cache));
    nothing_is_out(&pool);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_they_are_cut_true_sizes_add_up_to_their_page(
        unit_bytes in prop::sample::select(vec![256usize, 2048, 4096, 65536]),
        sizes in prop::collection::vec(1usize..3000, 1..200),
    ) {
        let mut pool = PagePool::builder(Home::new(Heap::new(unit_bytes, 256))).build().unwrap();
        let (mut cache, mut kept) = (FragCache::new(), Vec::new());
        // The page that is being cut, and where its next fragment must begin.
        let (mut page, mut next) = (core::ptr::null(), unit_bytes);
        for size in sizes {
            let size = size.min(unit_bytes);
            let bytes = size.next_multiple_of(FRAG_ALIGN);
            let Ok(frag) = cache.alloc(&mut pool, size) else { break };
            if 2 * bytes > unit_bytes {
                prop_assert_eq!((frag.offset(), frag.truesize()), (0, unit_bytes));
            } else {
                let of: *const pp_core::Descriptor = frag.part().descriptor();
                if of != page {
                    prop_assert!(unit_bytes - next < bytes, "a page with room was left");
                    (page, next) = (of, 0);
                }
                prop_assert_eq!(frag.offset(), next);
                next += frag.truesize();
                prop_assert!(next == unit_bytes || unit_bytes - next >= bytes, "a rest too small for another");
                prop_assert!(frag.truesize() == bytes || next == unit_bytes);
            }
            kept.push(frag);
        }
    }

    #[test]
    fn fragments_are_what_the_oracle_says(
        unit_bytes in prop::sample::select(vec![64usize, 256, 2048, 4096, 16384]),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(unit_bytes, ops);
    }
}
