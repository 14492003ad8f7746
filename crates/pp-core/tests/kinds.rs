//! Kinds of memory as types, and regions: unit, address and index.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

mod common;

use std::sync::Arc;

use common::{Depot, Shape, Window, fill, key, take};
use pp_core::{
    Access, Descriptor, Device, DmaDirection, Exposed, Home, Host, NetMem, NodeId, OutOfRange, Page, PageBatch,
    PagePool, Region, RegionError, RegionMemory, Returner, Shared, Shutdown, StaticMemory, Zeroing,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

// The consumer may move between threads, and be in one at a time.
assert_impl_all!(PagePool: Send);
assert_not_impl_any!(PagePool: Sync, Clone);
assert_impl_all!(Page<Host>: Send, Sync);
assert_impl_all!(Page<Device>: Send, Sync);
assert_impl_all!(Page<Exposed>: Send, Sync);
assert_not_impl_any!(Page<Host>: Clone, Copy);
assert_not_impl_any!(Page<Device>: Clone, core::ops::Deref, core::ops::DerefMut);
assert_not_impl_any!(Page<Exposed>: Clone, core::ops::Deref, core::ops::DerefMut);
assert_impl_all!(Shared<Host>: Send, Sync, Clone, core::ops::Deref);
assert_not_impl_any!(Shared<Host>: core::ops::DerefMut);
assert_not_impl_any!(Shared<Device>: core::ops::Deref);
assert_not_impl_any!(Shared<Exposed>: core::ops::Deref);
assert_impl_all!(PageBatch<8>: Send);
assert_not_impl_any!(PageBatch<8>: Clone);
assert_impl_all!(pp_core::PoolHandle: Send, Sync, Clone);
assert_impl_all!(Returner: Send);
assert_not_impl_any!(Returner: Clone);
assert_impl_all!(Shutdown: Send, Sync, core::future::Future<Output = ()>);
assert_not_impl_any!(Shutdown: Clone);
assert_impl_all!(Home<Depot>: Send, Sync, Clone);
assert_impl_all!(NetMem: Send, Sync);
assert_not_impl_any!(NetMem: Clone);
assert_impl_all!(Descriptor: Send, Sync);
assert_impl_all!(Region: Send, Sync);

#[test]
fn handles_are_one_pointer_wide() {
    assert_eq!(size_of::<Page>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Page<Device>>>(), size_of::<usize>());
    assert_eq!(size_of::<Shared>(), size_of::<usize>());
    assert!(size_of::<Descriptor>() <= 64 && align_of::<Descriptor>() == 64);
    assert_eq!((Host::NAME, Device::NAME, Exposed::NAME), ("host", "device", "exposed"));
}

#[test]
fn a_page_of_device_memory_goes_round_without_an_address() {
    let home: Home<Depot<Device>> = Home::new(Depot::new(Shape::plain(65536, 8)));
    let window = Arc::new(Window::new(false));
    let builder = PagePool::builder(home.clone()).refill(4).returners(1, 4);
    let mut pool = builder.dma(window.clone(), DmaDirection::FromDevice).build().unwrap();
    let page = pool.alloc().unwrap();
    assert!(page.descriptor().addr().is_null());
    assert_eq!((page.len(), page.dma_addr().is_some()), (65536, true));
    pool.recycle_direct(page);
    let mut batch: PageBatch<4, Device> = pool.alloc_batch();
    pool.handle().returner().unwrap().put_batch(&mut batch);
    let shared = pool.alloc().unwrap().share();
    assert_eq!(shared.len(), 65536);
    drop(shared.try_unshare().unwrap().detach());
    drop(pool);
    assert_eq!((home.out(), window.mapped()), (0, 0));
}

#[test]
fn netmem_has_bytes_when_its_page_has() {
    let host: Home<Depot> = Home::new(Depot::new(Shape::plain(4096, 2)));
    let device: Home<Depot<Device>> = Home::new(Depot::new(Shape::plain(8192, 2)));
    device.premap(true);
    let mut host = PagePool::builder(host).build().unwrap();
    let mut device = PagePool::builder(device).build().unwrap();
    let mut mem = [NetMem::from(host.alloc().unwrap()), NetMem::from(device.alloc().unwrap())];
    mem[0].bytes_mut().unwrap()[..4].copy_from_slice(b"ping");
    assert_eq!(mem[0].bytes().map(|bytes| &bytes[..4]), Some(&b"ping"[..]));
    assert!(mem[1].bytes().is_none() && mem[1].bytes_mut().is_none());
    assert_eq!(mem.each_ref().map(NetMem::len), [4096, 8192]);
    assert_eq!(mem.each_ref().map(|mem| mem.dma_addr().is_some()), [false, true]);
    drop(mem);
    assert_eq!((host.stats().recycle.ring, device.stats().recycle.ring), (1, 1));
}

#[test]
fn exposed_memory_is_copied_in_and_out() {
    let home: Home<Depot<Exposed>> = Home::new(Depot::new(Shape::plain(4096, 2)));
    let mut pool = PagePool::builder(home).zeroing(Zeroing::OnCrossOwner).build().unwrap();
    let mut page = pool.alloc().unwrap();
    page.copy_from(4090, b"abcdef").unwrap();
    let mut out = [0; 4];
    page.copy_to(4091, &mut out).unwrap();
    assert_eq!(&out, b"bcde");
    // SAFETY: within the page, which nobody else reaches in this test.
    assert_eq!(unsafe { page.as_ptr().add(4090).read() }, b'a');
    for (offset, len) in [(4093, 4), (4096, 1), (usize::MAX, 2), (0, 4097)] {
        let error = OutOfRange { offset, len, available: 4096 };
        assert_eq!(page.copy_to(offset, &mut vec![0; len]), Err(error));
        assert_eq!(page.copy_from(offset, &vec![9; len]), Err(error));
    }
    assert!(error_text(OutOfRange { offset: 4093, len: 4, available: 4096 }).contains("4 bytes at 4093"));
    page.copy_to(4093, &mut out[..3]).unwrap();
    assert_eq!(&out[..3], b"def", "a refused copy copied nothing");
    page.copy_to(4096, &mut []).unwrap();
    drop(page);
    pool.alloc().unwrap().copy_to(4090, &mut out).unwrap();
    assert_eq!(out, [0; 4], "cleared between owners");

    let mut page = pool.alloc().unwrap();
    page.copy_from(0, b"many").unwrap();
    let shared = page.share();
    shared.clone().copy_to(0, &mut out).unwrap();
    assert_eq!(&out, b"many");
    assert!(shared.copy_to(4095, &mut out).is_err());
}

fn error_text(error: impl core::error::Error) -> String {
    error.to_string()
}

/// Memory that begins anywhere.
struct At(*mut u8, usize);

// SAFETY: only numbers in these tests; nothing is read or written there.
unsafe impl Send for At {}
// SAFETY: as above.
unsafe impl Sync for At {}
// SAFETY: no page is made of it, so the memory is never reached.
unsafe impl RegionMemory for At {
    fn base(&self) -> *mut u8 {
        self.0
    }
    fn bytes(&self) -> usize {
        self.1
    }
}

#[test]
fn a_region_knows_unit_address_and_index_of_each_other() {
    let memory: &'static mut [u8] = Box::leak(vec![0u8; 10 * 4096].into_boxed_slice());
    let range = memory.as_ptr_range();
    let region = Region::new(StaticMemory::new(memory), 4096, NodeId(3)).unwrap();
    assert!(region.units() >= 9, "at most one unit is lost to alignment");
    assert_eq!((region.unit_bytes(), region.node(), region.bytes()), (4096, NodeId(3), region.units() as usize * 4096));
    assert!(region.base().addr().is_multiple_of(4096) && range.contains(&region.base().cast_const()));
    for index in 0..region.units() {
        let descriptor = region.descriptor(index).unwrap();
        let address = region.address(index).unwrap();
        assert_eq!(descriptor.addr(), address.as_ptr());
        assert_eq!((descriptor.unit_bytes(), descriptor.node(), descriptor.order()), (4096, NodeId(3), 0));
        assert_eq!((region.index_of(descriptor), region.contains(descriptor)), (Some(index), true));
        for within in [0, 1, 4095] {
            assert_eq!(region.index_of_address(address.as_ptr().wrapping_add(within)), Some(index));
        }
    }
    let end = region.base().wrapping_add(region.bytes());
    for outside in [end, region.base().wrapping_sub(1), core::ptr::null_mut()] {
        assert_eq!(region.index_of_address(outside), None);
    }
    assert!(region.descriptor(region.units()).is_none() && region.address(region.units()).is_none());
    let stranger = Descriptor::new(region.base(), 4096, NodeId(3));
    assert_eq!(
        (region.index_of(&stranger), region.contains(&stranger)),
        (None, false),
        "an address does not make it ours"
    );
}

#[test]
fn units_are_aligned_and_ragged_ends_stay_unused() {
    let at =
        |address: usize, bytes| Region::new(At(core::ptr::without_provenance_mut(address), bytes), 4096, NodeId(0));
    let region = at(0x1_0001, 3 * 4096).unwrap();
    assert_eq!((region.base().addr(), region.units()), (0x1_1000, 2));
    let region = at(0x1_0000, 3 * 4096 + 4095).unwrap();
    assert_eq!((region.base().addr(), region.units()), (0x1_0000, 3));
    assert_eq!(at(0x1_0001, 4096 + 4094).unwrap_err(), RegionError::TooSmall { bytes: 8190, unit_bytes: 4096 });
    assert_eq!(at(0x1_0000, 0).unwrap_err(), RegionError::TooSmall { bytes: 0, unit_bytes: 4096 });
    let nowhere = at(0, 5 * 4096).unwrap();
    assert_eq!((nowhere.units(), nowhere.address(0), nowhere.index_of_address(0x1000 as *const u8)), (5, None, None));
    assert!(nowhere.descriptor(4).unwrap().addr().is_null());
}

#[test]
fn impossible_regions_are_refused_with_a_sentence() {
    let new = |unit_bytes, bytes| Region::new(At(core::ptr::null_mut(), bytes), unit_bytes, NodeId(0)).unwrap_err();
    for unit_bytes in [0, 1, 32, 3000, 4097, (1 << 31) + 1, usize::MAX] {
        let error = new(unit_bytes, usize::MAX);
        assert_eq!(error, RegionError::UnitSize { unit_bytes });
        assert!(error_text(error).contains("use a power of two"), "{error}");
    }
    assert!(error_text(new(4096, 1)).contains("give more memory"));
}

#[cfg(target_pointer_width = "64")]
#[test]
fn sizes_that_only_64_bits_can_say_are_refused_with_a_sentence() {
    let new = |unit_bytes, bytes| Region::new(At(core::ptr::null_mut(), bytes), unit_bytes, NodeId(0)).unwrap_err();
    assert_eq!(new(1 << 32, 1 << 40), RegionError::UnitSize { unit_bytes: 1 << 32 });
    assert_eq!(new(64, (1 << 38) - 64), RegionError::TooMany { units: u32::MAX as usize });
    assert!(error_text(new(64, 1 << 40)).contains("use a larger unit"));
}

#[test]
fn pages_of_a_region_from_every_unit_size() {
    for unit_bytes in [2048, 4096, 16384, 65536] {
        let home: Home<Depot> = Home::new(Depot::new(Shape::plain(unit_bytes, 4)));
        let mut pool = PagePool::builder(home).build().unwrap();
        let mut pages = take(&mut pool, 4);
        for (tag, page) in pages.iter_mut().enumerate() {
            fill(page, tag as u64);
            assert_eq!((page.len(), page.as_ptr().addr() % unit_bytes), (unit_bytes, 0));
        }
        let mut keys: Vec<_> = pages.iter().map(|page| key(page.descriptor())).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 4);
    }
}
