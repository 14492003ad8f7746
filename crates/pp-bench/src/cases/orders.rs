//! The page allocator's cases, after the kernel's `page_bench`: one page of each order out and back, `order0` to `order10`.
//!
//! Nobody touches the memory, so that is the allocators' work alone: 4 KiB times 2 to the order's power at a time.

use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::alloc::System;

use mimalloc::MiMalloc;
use pp_core::{Backing, Descriptor, Home, PagePool, Request, Unit, UnitDrain, UnitSink};
use pp_provider_buddy::Buddy;

use super::Case;
use crate::lineup::{Lineup, Peer, Runner, timed};
use crate::loops::{BATCH, Direct, empty, single};
use crate::peers::{ByRing, DirectPool, Jemalloc, Malloc, Mapping};

/// Enough for a refill of the largest, and as much again.
const BYTES: usize = 2 * BATCH * (4096 << 10);

pub(crate) fn cases() -> Vec<Case> {
    let case = |order: u8| {
        let about = format!("a page of {} KiB out and back, untouched", 4 << order);
        Case::new("orders", format!("order{order}"), about, move |lineup| enter(lineup, order))
    };
    (0..=10).map(case).collect()
}

fn buddy() -> Buddy {
    Buddy::anonymous(BYTES).expect("address space for a buddy")
}

fn pool(order: u8) -> PagePool {
    PagePool::builder(buddy()).order(order).build().expect("memory for a pool")
}

fn enter(lineup: &mut Lineup<'_>, order: u8) {
    let bytes = 4096 << order;
    lineup.enter(Peer::Pool, "direct", || run(DirectPool(pool(order))));
    lineup.enter(Peer::Pool, "drop", || run(ByRing(pool(order))));
    lineup.enter(Peer::Buddy, "", || run(Bare { provider: buddy().into(), order }));
    lineup.enter(Peer::Buddy, "64 in bulk", || {
        let bare = Bare { provider: buddy().into(), order };
        timed(move |pages| (0..pages / BATCH).for_each(|_| bare.bulk()))
    });
    lineup.enter(Peer::Malloc, "", || run(Malloc::pages(System, bytes)));
    lineup.enter(Peer::Mimalloc, "", || run(Malloc::pages(MiMalloc, bytes)));
    lineup.enter_if(Peer::Jemalloc, "", || Ok(run(Malloc::pages(Jemalloc::load()?, bytes))));
    lineup.enter(Peer::Mmap, "", || run(Malloc::pages(Mapping, bytes)));
}

fn run(mut by: impl Direct + 'static) -> Runner {
    timed(move |pages| single(&mut by, pages))
}

/// A provider without a pool.
struct Bare<P: Backing> {
    provider: Home<P>,
    order: u8,
}

impl<P: Backing> Bare<P> {
    fn take<const N: usize>(&self) -> Option<[NonNull<Descriptor>; N]> {
        let mut places = [MaybeUninit::uninit(); N];
        let mut units = UnitSink::new(&mut places);
        self.provider.alloc_bulk(&Request::new(self.order, None), &mut units).ok()?;
        // SAFETY: a request that succeeds fills all places, and this is looked at once more.
        (units.room() == 0).then(|| places.map(|unit| unsafe { unit.assume_init() }))
    }

    fn bulk(&self) {
        let Some(units) = self.take::<BATCH>() else { empty() };
        // SAFETY: this provider's, and given up here.
        self.provider.release_bulk(unsafe { UnitDrain::new(&units) });
    }
}

impl<P: Backing> Direct for Bare<P> {
    type Item = NonNull<Descriptor>;
    #[inline(always)]
    fn get(&mut self) -> Option<Self::Item> {
        self.take::<1>().map(|[unit]| unit)
    }
    #[inline(always)]
    fn put(&mut self, unit: Self::Item) {
        // SAFETY: out of `get`, with nobody else.
        self.provider.release(unsafe { Unit::new(unit.as_ref()) });
    }
}
