//! What pp-core's tests share.
//!
//! | part | what it is |
//! |---|---|
//! | [`Depot`] | a provider that keeps books on every unit and fails when told to |
//! | [`Window`] | a device that keeps books on every mapping |
//! | [`World`] | one provider, two pools on it, and what hands can be told to do |
//! | [`Hand`] | a thread with pages in its hands, driven by [`Step`]s |
//! | [`Heap`] | a global allocator that counts, and fails when told to |
//! | [`Model`] | what the pools must do, step by step |

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

mod depot;
mod hand;
mod heap;
mod model;
mod window;
mod world;

pub(crate) use depot::{Depot, Give, Memory, Shape};
pub(crate) use hand::Hand;
pub(crate) use heap::Heap;
pub(crate) use model::{Bytes, Model};
pub(crate) use window::Window;
pub(crate) use world::{Setup, Step, Verb, World};

use pp_core::{Access, Descriptor, Page, PagePool, Stats};

/// The descriptor's address: what names a unit in these tests.
pub(crate) fn key(descriptor: &Descriptor) -> usize {
    core::ptr::from_ref(descriptor).addr()
}

/// The address at which the devices of these tests see that unit. Aligned, as narrow words keep no page offset.
pub(crate) fn seen_at(unit: usize) -> u64 {
    (unit as u64) << 11
}

/// Whether every byte is 0, for pages of up to 1 MiB.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    bytes == &ZEROS[..bytes.len()]
}

/// Writes all bytes, with `tag` where [`check`] looks.
pub(crate) fn fill(page: &mut [u8], tag: u64) {
    page.fill(tag as u8 | 1);
    let last = page.len() - 8;
    for at in [0, page.len() / 2, last] {
        page[at..at + 8].copy_from_slice(&tag.to_le_bytes());
    }
}

/// Panics unless the page holds what [`fill`] wrote: somebody else has had it in hand.
pub(crate) fn check(page: &[u8], tag: u64) {
    let last = page.len() - 8;
    for at in [0, page.len() / 2, last] {
        assert_eq!(page[at..at + 8], tag.to_le_bytes(), "the page was written by somebody else");
    }
}

/// The law of the statistics, against what the test itself counted.
pub(crate) fn law(stats: &Stats, allocations: usize, puts: usize, in_use: usize) {
    let (a, r) = (&stats.alloc, &stats.recycle);
    assert_eq!(a.fast + a.refill + a.slow + a.slow_high_order, allocations, "allocations: {stats:?}");
    assert_eq!(r.cached + r.ring + r.ring_full + r.released_refcnt + r.released_closed, puts, "puts: {stats:?}");
    assert_eq!(stats.hold, stats.released + stats.in_cache + stats.in_ring + in_use, "hold: {stats:?}");
    assert_eq!((stats.allocations(), stats.puts(), stats.in_use()), (allocations, puts, in_use), "sums: {stats:?}");
}

/// `count` pages at once, all of which must be had.
pub(crate) fn take<A: Access>(pool: &mut PagePool<A>, count: usize) -> Vec<Page<A>> {
    (0..count).map(|_| pool.alloc().expect("a page")).collect()
}
