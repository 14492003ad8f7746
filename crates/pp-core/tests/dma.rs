//! Mapping and syncing: once in, once out, and never after the device has gone.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use common::{Depot, Shape, Window, key, law, seen_at, take};
use pp_core::{
    AllocError, Counting, Description, Dma, DmaAddr, DmaDirection, DmaError, DmaRange, Geometry, Home, Identity,
    MemoryProvider, PageBatch, PagePool, PoolBuilder, ProvideError, Request, Unit, UnitSink, Zeroing,
};

fn home(units: usize) -> Home<Depot> {
    Home::new(Depot::new(Shape::plain(4096, units)))
}

fn builder(home: &Home<Depot>, window: &Arc<Window>) -> PoolBuilder {
    PagePool::builder(home.clone()).cache(8).refill(4).dma(window.clone(), DmaDirection::FromDevice)
}

fn window(needs_sync: bool) -> Arc<Window> {
    Arc::new(Window::new(needs_sync))
}

#[test]
fn a_page_is_mapped_once_a_stay() {
    let (home, window) = (home(8), window(false));
    let mut pool = builder(&home, &window).build().unwrap();
    for round in 0..100 {
        let pages = take(&mut pool, 8);
        assert!(pages.iter().all(|page| page.dma_addr() == Some(DmaAddr(seen_at(key(page.descriptor()))))));
        for page in pages {
            if round % 2 == 0 { pool.recycle_direct(page) } else { drop(page) }
        }
    }
    assert_eq!((window.maps(), window.unmaps(), pool.stats().mapped), (8, 0, 8));
    pool.trim(3);
    assert_eq!((window.mapped(), window.unmaps(), pool.stats().mapped), (3, 5, 3));
    drop(pool);
    assert_eq!((window.maps(), window.unmaps()), (8, 8));
    window.verify();
}

#[test]
fn pages_that_are_out_are_unmapped_when_the_pool_is_dropped_and_not_again() {
    let (home, window) = (home(16), window(true));
    let mut pool = builder(&home, &window).returners(1, 8).build().unwrap();
    let mut returner = pool.handle().returner().unwrap();
    let mut pages = take(&mut pool, 12);
    let shared = pages.pop().unwrap().share();
    let detached = pages.pop().unwrap().detach();
    drop(pages.pop());
    returner.put(pages.pop().unwrap());
    assert_eq!(window.mapped(), 11);
    let handle = pool.handle();
    drop(pool);
    assert_eq!((window.mapped(), window.unmaps(), handle.stats().mapped), (0, 12, 0));
    window.remove();
    assert!(pages.iter().all(|page| page.dma_addr().is_none()), "no address that nobody answers to");
    returner.put(pages.pop().unwrap());
    drop((pages, shared, detached));
    window.verify();
    assert_eq!((home.out(), window.unmaps()), (0, 12));
}

#[test]
fn a_unit_that_moves_between_pools_is_each_ones_own() {
    let (home, windows) = (home(4), [window(false), window(false)]);
    let mut pools = [0, 1].map(|index| builder(&home, &windows[index]).build().unwrap());
    for round in 0..200 {
        let at = round % 2;
        let held = take(&mut pools[at], 4);
        assert_eq!((windows[at].mapped(), windows[1 - at].mapped()), (4, 0));
        drop(held);
        pools[at].trim(0);
    }
    let held = take(&mut pools[1], 4);
    let [first, second] = pools;
    drop(first);
    assert_eq!(windows[1].mapped(), 4, "the first pool forgot them");
    drop(second);
    assert_eq!(windows[1].mapped(), 0);
    drop(held);
    windows.iter().for_each(|window| window.verify());
}

#[test]
fn what_a_holder_does_to_a_descriptor_strands_no_mapping() {
    let (home, window) = (home(256), window(false));
    let mut pool = builder(&home, &window).cache(256).refill(64).build().unwrap();
    let mut held = Vec::new();
    for _ in 0..256 {
        let page = pool.alloc().unwrap();
        for word in page.descriptor().home_words() {
            word.store(0, Ordering::Relaxed);
        }
        held.push(page);
    }
    let others: Vec<_> = held.drain(..128).collect();
    drop(others);
    pool.trim(0);
    held.extend(take(&mut pool, 128));
    drop(pool);
    assert_eq!(window.mapped(), 0, "a page that is out was left mapped");
    drop(held);
    window.verify();
}

#[test]
fn premapped_units_are_neither_mapped_nor_unmapped_by_the_pool() {
    let (home, window) = (home(8), window(true));
    home.premap(true);
    let mut plain = PagePool::builder(home.clone()).refill(1).build().unwrap();
    let mut with_device = builder(&home, &window).refill(1).build().unwrap();
    for pool in [&mut plain, &mut with_device] {
        let page = pool.alloc().unwrap();
        assert_eq!(page.dma_addr(), Some(DmaAddr(seen_at(key(page.descriptor())))));
        assert_eq!(page.detach().dma_addr(), None, "only while it is on the books");
        drop(pool.alloc().unwrap());
        pool.trim(0);
    }
    assert_eq!((window.maps(), window.unmaps()), (0, 0));
    home.premap(false);
    assert_eq!(plain.alloc().unwrap().dma_addr(), None, "no address is left from an earlier stay");
}

#[test]
fn a_unit_that_does_not_map_goes_home_and_the_others_stay() {
    let (home, window) = (home(16), window(false));
    let mut pool = builder(&home, &window).build().unwrap();
    window.plan(|call| if call % 3 == 0 { Err(DmaError::Full) } else { Ok(()) });
    let pages: PageBatch<6> = pool.alloc_batch();
    assert_eq!(pages.len(), 6);
    assert_eq!((window.mapped(), home.out(), pool.stats().inflight()), (6, 6, 6));
    window.plan(|_| Err(DmaError::Refused));
    assert_eq!(pool.alloc().unwrap_err(), AllocError::Dma(DmaError::Refused));
    assert_eq!((home.out(), pool.stats().provider_failures), (6, 0), "it was not the provider");
    window.plan(|_| Ok(()));
    assert!(pool.alloc().is_ok());
    drop((pool, pages));
    assert_eq!((window.mapped(), home.out()), (0, 0));
}

#[test]
fn a_page_of_high_order_that_does_not_map_goes_home() {
    let home: Home<Depot> = Home::new(Depot::new(Shape { max_order: 2, ..Shape::plain(4096, 16) }));
    let window = window(false);
    let mut pool = builder(&home, &window).order(2).build().unwrap();
    window.plan(|call| if call == 1 { Err(DmaError::DeviceLost) } else { Ok(()) });
    assert_eq!(pool.alloc().unwrap_err(), AllocError::Dma(DmaError::DeviceLost));
    assert_eq!((home.out(), pool.stats().hold), (0, 0));
    let page = pool.alloc().unwrap();
    assert_eq!(window.mapped(), 1);
    drop((pool, page));
    window.verify();
}

#[test]
fn the_consumer_syncs_what_a_put_left_and_nothing_more() {
    let (home, window) = (home(8), window(true));
    let mut pool = builder(&home, &window).refill(1).dma_sync(128, 1500).build().unwrap();
    let lengths =
        |window: &Window| window.drain_for_device().iter().map(|(_, at, len)| (*at, *len)).collect::<Vec<_>>();
    let page = pool.alloc().unwrap();
    assert_eq!(lengths(&window), [(128, 1500)], "on entry: all of it");
    page.put_synced(60);
    assert_eq!(lengths(&window), [], "a put does not reach the device");
    let page = pool.alloc().unwrap();
    assert_eq!(lengths(&window), [(128, 60)]);
    drop(page);
    let page = pool.alloc().unwrap();
    assert_eq!(lengths(&window), [(128, 1500)], "a length holds for one return");
    page.put_synced(usize::MAX);
    let page = pool.alloc().unwrap();
    assert_eq!(lengths(&window), [(128, 1500)], "no more than max_len");
    pool.recycle_direct(page);
    assert_eq!(lengths(&window), [(128, 1500)]);
    let page = pool.alloc().unwrap();
    assert_eq!(lengths(&window), [], "it was synced when it entered the cache");
    drop(page);
    law(&pool.stats(), 5, 5, 0);
    window.verify();
}

#[test]
fn a_device_that_is_coherent_is_never_synced() {
    let (home, window) = (home(8), window(false));
    let mut pool = builder(&home, &window).dma_sync(0, 4096).build().unwrap();
    let page = pool.alloc().unwrap();
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: 64 });
    pool.recycle_direct(page);
    drop(pool.alloc());
    drop(pool);
    assert!(window.drain_for_device().is_empty() && window.drain_for_cpu().is_empty());
}

#[test]
fn a_cleared_page_is_synced_in_full() {
    let (home, window) = (home(8), window(true));
    let mut pool = builder(&home, &window).refill(1).dma_sync(0, 4096).zeroing(Zeroing::OnCrossOwner).build().unwrap();
    pool.alloc().unwrap().put_synced(60);
    window.drain_for_device();
    let _page = pool.alloc().unwrap();
    assert_eq!(window.drain_for_device()[0].2, 4096, "all of it was written");
}

#[test]
fn dma_sync_for_cpu_counts_from_the_pools_offset_and_stays_in_the_page() {
    let (home, window) = (home(8), window(true));
    let mut pool = builder(&home, &window).dma_sync(256, 2048).build().unwrap();
    let page = pool.alloc().unwrap();
    let unit = key(page.descriptor());
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 64, len: 100 });
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: usize::MAX });
    assert_eq!(window.drain_for_cpu(), [(unit, 320, 100), (unit, 256, 4096 - 256)]);
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 4096, len: 1 });
    pool.dma_sync_for_cpu(&page, DmaRange { offset: usize::MAX, len: 1 });
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: 0 });
    let page = page.detach();
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: 1 });
    assert_eq!(window.drain_for_cpu(), [], "nothing there to sync");
    window.verify();
}

#[test]
fn dma_sync_for_cpu_leaves_other_pools_pages_alone() {
    let (home, windows) = (home(8), [window(true), window(true)]);
    let mut pools = [0, 1].map(|index| builder(&home, &windows[index]).dma_sync(0, 64).build().unwrap());
    let theirs = pools[1].alloc().unwrap();
    pools[0].dma_sync_for_cpu(&theirs, DmaRange { offset: 0, len: 64 });
    assert_eq!(windows[0].drain_for_cpu(), [], "this device knows nothing of that address");
    windows[0].verify();
}

#[test]
fn the_two_backends_that_need_no_hardware() {
    let home = home(8);
    let counting = Arc::new(Counting::new(Identity));
    let builder = PagePool::builder(home.clone()).refill(1).dma(counting.clone(), DmaDirection::Bidirectional);
    let mut pool = builder.dma_sync(0, 2048).build().unwrap();
    let page = pool.alloc().unwrap();
    assert_eq!(page.dma_addr(), Some(DmaAddr(page.as_ptr().addr() as u64)), "the device sees what the CPU sees");
    pool.dma_sync_for_cpu(&page, DmaRange { offset: 0, len: 60 });
    page.put_synced(100);
    drop(pool.alloc().unwrap());
    drop(pool);
    let counts = counting.counts();
    assert_eq!((counts.maps, counts.unmaps, counts.syncs_for_device, counts.syncs_for_cpu), (1, 1, 2, 1));
    assert_eq!(counts.synced_bytes, 2048 + 100 + 60);
    assert!(!Identity.needs_sync() && counting.needs_sync());
}

/// Writes its name down when it is dropped.
struct Named<T>(T, &'static str, Arc<Mutex<Vec<&'static str>>>);

impl<T> Drop for Named<T> {
    fn drop(&mut self) {
        self.2.lock().unwrap().push(self.1);
    }
}

// SAFETY: every call is passed on.
unsafe impl Dma for Named<Identity> {
    fn map(&self, unit: &pp_core::Descriptor, direction: DmaDirection) -> Result<DmaAddr, DmaError> {
        self.0.map(unit, direction)
    }
    fn unmap(&self, _: DmaAddr, _: usize, _: DmaDirection) {}
}

// SAFETY: every call is passed on.
unsafe impl MemoryProvider for Named<Depot> {
    fn alloc_bulk(&self, request: &Request, units: &mut UnitSink<'_>) -> Result<(), ProvideError> {
        self.0.alloc_bulk(request, units)
    }
    fn release(&self, unit: Unit) {
        self.0.release(unit);
    }
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }
    fn describe(&self) -> Description {
        self.0.describe()
    }
}

// SAFETY: as the inner one.
unsafe impl pp_core::Backing for Named<Depot> {
    type Access = pp_core::Host;
}

#[test]
fn the_device_is_let_go_before_the_memory_it_reached() {
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let home = Home::new(Named(Depot::new(Shape::plain(4096, 8)), "memory", dropped.clone()));
    let device = Named(Identity, "device", dropped.clone());
    let mut pool = PagePool::builder(home).dma(device, DmaDirection::FromDevice).build().unwrap();
    drop(pool.alloc());
    drop(pool);
    assert_eq!(*dropped.lock().unwrap(), ["device", "memory"]);
}

#[test]
fn a_dropped_packet_gives_the_device_back_only_what_it_wrote() {
    let device = Arc::new(Counting::new(Identity));
    let builder = PagePool::builder(home(4)).cache(8).refill(1).dma(device.clone(), DmaDirection::FromDevice);
    let mut pool = builder.dma_sync(64, 2048).build().unwrap();
    let page = pool.alloc().unwrap();
    let before = device.counts().synced_bytes;
    pool.recycle_direct_synced(page, 60);
    assert_eq!(device.counts().synced_bytes - before, 60);
    let page = pool.alloc().unwrap();
    pool.recycle_direct(page);
    assert_eq!(device.counts().synced_bytes - before, 60 + 2048, "the length counts once");
}
