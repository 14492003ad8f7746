//! The ends of a pool and of memory: `create` and `first-touch`.

use pp_core::{Home, PagePool, doc::Heap};
use pp_provider_buddy::{Buddy, Prefault};

use super::Case;
use crate::lineup::{Lineup, Peer, Runner, in_rounds, timed};
use crate::loops::{Direct, empty};
use crate::peers::{Malloc, Mapping, Mempool, array_queue, opool_once};

/// Pages of the memory that is made, touched and given back.
const PAGES: usize = 1024;

pub(crate) fn cases() -> Vec<Case> {
    let create = "a pool of 1024 is made and dropped, over memory that is there";
    let touch =
        "fresh memory for 1024 pages: made, each page taken, a byte of it written, put back, all of it given up";
    vec![
        Case::new("life", "create", create, enter_create).per("pool"),
        Case::new("life", "first-touch", touch, enter_first_touch),
    ]
}

fn enter_create(lineup: &mut Lineup<'_>) {
    lineup.enter(Peer::Pool, "", || {
        let home = Home::new(Heap::new(4096, PAGES));
        timed(move |pools| {
            for _ in 0..pools {
                drop(PagePool::builder(home.clone()).build().expect("memory for a pool"));
            }
        })
    });
    lineup.enter(Peer::Pool, "a refill in between", || {
        let home = Home::new(Heap::new(4096, PAGES));
        timed(move |pools| {
            for _ in 0..pools {
                let mut pool = PagePool::builder(home.clone()).build().expect("memory for a pool");
                drop(pool.alloc().expect("a page of a new pool"));
            }
        })
    });
    lineup.enter_if(Peer::Mempool, "", || {
        Mempool::new(PAGES - 1, 64, 256)?;
        Ok(timed(|pools| {
            for _ in 0..pools {
                if Mempool::new(PAGES - 1, 64, 256).is_err() {
                    empty();
                }
            }
        }))
    });
    lineup.enter(Peer::ArrayQueue, "filled", || {
        timed(|pools| {
            for _ in 0..pools {
                drop(array_queue(PAGES, 0..PAGES));
            }
        })
    });
    lineup.enter(Peer::Opool, "filled", || {
        timed(|pools| {
            for _ in 0..pools {
                drop(opool_once(PAGES));
            }
        })
    });
}

fn enter_first_touch(lineup: &mut Lineup<'_>) {
    let mut pool = |way, prefault| lineup.enter(Peer::Pool, way, || regions(move || touch_pool(prefault)));
    pool("buddy, lazy", Prefault::Lazy);
    pool("buddy, prefaulted", Prefault::Now);
    lineup.enter(Peer::Mmap, "", || regions(|| touch_each(Malloc::pages(Mapping, 4096))));
    lineup.enter(Peer::Mmap, "one for all", || {
        regions(|| {
            let all = Malloc::pages(Mapping, PAGES * 4096);
            let Some(start) = all.allocate() else { empty() };
            (0..PAGES).for_each(|page| write(start + page * 4096));
            all.free(start);
        })
    });
}

fn regions(each: impl Fn() + 'static) -> Runner {
    in_rounds(PAGES, move |regions| (0..regions).for_each(|_| each()))
}

fn touch_pool(prefault: Prefault) {
    let buddy = Buddy::builder().prefault(prefault).anonymous(PAGES * 4096).build().expect("memory for a buddy");
    let mut pool = PagePool::builder(buddy).build().expect("memory for a pool");
    let mut pages = Vec::with_capacity(PAGES);
    while let Ok(mut page) = pool.alloc() {
        page[0] = 1;
        pages.push(page);
    }
    assert_eq!(pages.len(), PAGES, "all of them");
}

fn touch_each(mut by: impl Direct<Item = usize>) {
    let pages: Vec<_> = (0..PAGES).map(|_| by.get().unwrap_or_else(|| empty())).collect();
    pages.iter().for_each(|page| write(*page));
    pages.into_iter().for_each(|page| by.put(page));
}

fn write(address: usize) {
    // SAFETY: a page of the caller's own.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
}
