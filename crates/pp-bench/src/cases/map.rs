//! What mapping costs, and who pays: `map-none`, `map-cheap`, `map-dear`.
//!
//! A page that goes round is mapped once, when it enters. So with a pool the way of a page costs the same whatever mapping
//! costs; it shows where a page leaves each time, and where there is no pool.

use core::hint::black_box;
use core::time::Duration;
use std::alloc::System;
use std::time::Instant;

use pp_core::{
    Descriptor, Dma, DmaAddr, DmaDirection, DmaError, DmaRange, Home, Identity, Page, PagePool, PoolBuilder, doc::Heap,
};

use super::Case;
use crate::lineup::{Lineup, Peer, timed};
use crate::loops::{Direct, single};
use crate::peers::{ByRing, DirectPool, Malloc};

/// What a dear mapping takes each way: half of the pair that was published for the kernel on an arm64 machine.
const DEAR: Duration = Duration::from_nanos(200);

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, about: &str, enter: fn(&mut Lineup<'_>)| Case::new("map", name, about, enter);
    vec![
        case("map-none", "one page out and back, no device", |lineup| {
            enter(lineup, |builder| builder, |address| address, |_| ());
        }),
        case("map-cheap", "the same, a device that sees what the processor sees", |lineup| {
            let direction = DmaDirection::FromDevice;
            enter(lineup, |builder| builder.dma(Identity, direction), |address| address, |_| ());
        }),
        case("map-dear", "the same, a device whose mapping and unmapping take 200 ns each", |lineup| {
            let device = Dear::new();
            let direction = DmaDirection::FromDevice;
            enter(
                lineup,
                |builder| builder.dma(device, direction),
                move |it| device.pay(it),
                move |it| {
                    device.pay(it);
                },
            );
        }),
    ]
}

fn enter(
    lineup: &mut Lineup<'_>,
    with: impl Fn(PoolBuilder) -> PoolBuilder,
    map: impl Fn(usize) -> usize + Copy + 'static,
    unmap: impl Fn(usize) + Copy + 'static,
) {
    let pool = || with(PagePool::builder(Home::new(Heap::new(4096, 256)))).build().expect("memory for a pool");
    lineup.enter(Peer::Pool, "direct", || {
        let mut pool = DirectPool(pool());
        timed(move |pages| single(&mut pool, pages))
    });
    lineup.enter(Peer::Pool, "drop", || {
        let mut pool = ByRing(pool());
        timed(move |pages| single(&mut pool, pages))
    });
    lineup.enter(Peer::Pool, "leaves each time", || {
        let mut pool = Leaving(pool());
        timed(move |pages| single(&mut pool, pages))
    });
    lineup.enter(Peer::Malloc, "mapped each time", || {
        let mut each = Mapped(Malloc::pages(System, 4096), map, unmap);
        timed(move |pages| single(&mut each, pages))
    });
}

/// A pool none of whose pages goes round.
struct Leaving(PagePool);

impl Direct for Leaving {
    type Item = Page;
    #[inline(always)]
    fn get(&mut self) -> Option<Page> {
        self.0.alloc().ok()
    }
    #[inline(always)]
    fn put(&mut self, page: Page) {
        drop(page.detach());
    }
}

/// An allocator, and a device that is shown each page by itself.
struct Mapped<M, U>(Malloc<System>, M, U);

impl<M: Fn(usize) -> usize, U: Fn(usize)> Direct for Mapped<M, U> {
    type Item = usize;
    #[inline(always)]
    fn get(&mut self) -> Option<usize> {
        self.0.allocate().map(&self.1)
    }
    #[inline(always)]
    fn put(&mut self, page: usize) {
        (self.2)(page);
        self.0.free(page);
    }
}

/// A device that is slow to map for.
#[derive(Clone, Copy)]
struct Dear {
    turns: u32,
}

impl Dear {
    /// Finds out how long the machine has to be kept busy.
    fn new() -> Self {
        const TRIAL: u32 = 1_000_000;
        let trial = Dear { turns: TRIAL };
        let fastest = (0..5).map(|_| {
            let start = Instant::now();
            trial.pay(1);
            start.elapsed()
        });
        let fastest = fastest.min().unwrap_or(DEAR).max(Duration::from_nanos(1));
        Dear { turns: (f64::from(TRIAL) * DEAR.as_secs_f64() / fastest.as_secs_f64()) as u32 }
    }

    /// Keeps the processor busy; what comes in goes out.
    #[inline(never)]
    fn pay(self, value: usize) -> usize {
        for turn in 0..self.turns {
            black_box(turn);
        }
        value
    }
}

// SAFETY: nothing is mapped: no device uses these addresses.
unsafe impl Dma for Dear {
    fn map(&self, unit: &Descriptor, _: DmaDirection) -> Result<DmaAddr, DmaError> {
        Ok(DmaAddr(self.pay(unit.addr().addr()) as u64))
    }
    fn unmap(&self, addr: DmaAddr, _: usize, _: DmaDirection) {
        self.pay(addr.0 as usize);
    }
    fn sync_for_device(&self, _: DmaAddr, _: DmaRange, _: DmaDirection) {}
    fn sync_for_cpu(&self, _: DmaAddr, _: DmaRange, _: DmaDirection) {}
    fn needs_sync(&self) -> bool {
        false
    }
}
