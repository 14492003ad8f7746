//! The null case keeps pp-core's promises too.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use pp_core::lock::SpinLock;
use pp_core::{Descriptor, Home, MemoryProvider, PagePool, Recycling, Request, Unit, UnitDrain, UnitSink};
use pp_provider_passthrough::{DefaultLock, PassThrough, PassThroughProvider, SizeError};

fn alloc(provider: &dyn MemoryProvider, order: u8, count: usize) -> Vec<Unit> {
    let mut places = vec![MaybeUninit::uninit(); count];
    let mut sink = UnitSink::new(&mut places);
    let result = provider.alloc_bulk(&Request::new(order, None), &mut sink);
    let len = sink.len();
    assert_eq!(result.is_err(), len == 0 && count > 0);
    // SAFETY: the first `len` places were filled with units that are given to us, each taken out once.
    places[..len].iter().map(|place| unsafe { Unit::new(place.assume_init().as_ref()) }).collect()
}

fn release_bulk(provider: &dyn MemoryProvider, units: Vec<Unit>) {
    let descriptors: Vec<NonNull<Descriptor>> = units.iter().map(|unit| NonNull::from(unit.descriptor())).collect();
    drop(units);
    // SAFETY: the units were ours and are given away here.
    provider.release_bulk(unsafe { UnitDrain::new(&descriptors) });
}

#[test]
fn units_are_zeroed_aligned_and_disjoint() {
    let pages = PassThrough::with_sizes(2048, 4).unwrap();
    let mut spans = Vec::new();
    let mut all = Vec::new();
    for order in [0, 1, 4, 0] {
        for unit in alloc(&*pages, order, 70) {
            let descriptor = unit.descriptor();
            let bytes = 2048 << order;
            assert_eq!(
                (descriptor.unit_bytes(), descriptor.order(), descriptor.recycling()),
                (bytes, order, Recycling::Never)
            );
            assert_eq!(descriptor.addr().addr() % bytes, 0);
            // SAFETY: the unit is ours and zeroed, and no other slice of it exists.
            let memory = unsafe { core::slice::from_raw_parts_mut(descriptor.addr(), bytes) };
            assert!(memory.iter().all(|byte| *byte == 0));
            memory.fill(0xff);
            spans.push((descriptor.addr().addr(), bytes));
            all.push(unit);
        }
    }
    assert_eq!(all.len(), 280);
    assert_eq!(pages.units_out(), 70 * (1 + 2 + 16 + 1));
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "overlap");
    release_bulk(&*pages, all);
    assert_eq!(pages.units_out(), 0);
    // Memory that was written and freed comes back zeroed.
    let again = alloc(&*pages, 0, 1).remove(0);
    // SAFETY: the unit is ours.
    assert_eq!(unsafe { again.descriptor().addr().add(100).read() }, 0);
    pages.release(again);
}

#[test]
fn descriptors_stay_readable_and_go_round() {
    let pages = PassThrough::new();
    let unit = alloc(&*pages, 0, 1).remove(0);
    let descriptor = NonNull::from(unit.descriptor());
    pages.release(unit);
    // SAFETY: obligation 2 of pp-core: descriptors are readable until the provider is dropped.
    assert!(unsafe { descriptor.as_ref() }.addr().is_null(), "the memory is gone, the descriptor says so");
    let again = alloc(&*pages, 3, 1).remove(0);
    assert_eq!(NonNull::from(again.descriptor()), descriptor);
    assert_eq!(again.descriptor().unit_bytes(), 4096 << 3);
    pages.release(again);
}

#[test]
fn describe_and_geometry() {
    let pages = PassThrough::default();
    let geometry = pages.geometry();
    assert_eq!((geometry.unit_bytes, geometry.max_order, geometry.nodes), (4096, 10, 1));
    let units = alloc(&*pages, 1, 3);
    let description = pages.describe();
    assert_eq!((description.name, description.total_units, description.free_units), ("passthrough", 6, 0));
    assert_eq!(description.fragmentation_index, None);
    release_bulk(&*pages, units);
    assert!(alloc(&*pages, 11, 1).is_empty(), "over the largest order");
    let home: Home<PassThroughProvider<DefaultLock>> = (&pages).into();
    let clone = pages.clone();
    assert_eq!(Home::owners(&home), 3);
    drop(clone);
    let home: Home<_> = pages.into();
    assert_eq!(Home::owners(&home), 2);
}

#[test]
fn strays_change_nothing() {
    let (ours, other) = (PassThrough::new(), PassThrough::new());
    let kept = alloc(&*ours, 0, 1).remove(0);
    ours.release(alloc(&*other, 0, 1).remove(0));
    assert_eq!((ours.stray_releases(), ours.units_out(), other.units_out()), (1, 1, 1));
    let descriptor = NonNull::from(kept.descriptor());
    ours.release(kept);
    // SAFETY: not true, the unit is home: that is the test.
    ours.release(unsafe { Unit::new(descriptor.as_ref()) });
    assert_eq!((ours.stray_releases(), ours.units_out()), (2, 0));
}

#[test]
fn impossible_sizes_say_what_to_do() {
    for (unit_bytes, max_order) in [(0, 0), (63, 0), (32, 0), (3000, 0), (4096, 20), (1 << 32, 0), (64, 255)] {
        let error = PassThrough::with_sizes(unit_bytes, max_order).unwrap_err();
        assert_eq!(error, SizeError { unit_bytes, max_order });
        assert_eq!(
            error.to_string(),
            format!(
                "units of {unit_bytes} bytes up to order {max_order} are not possible; \
                 use a power of two from 64, and at most 2147483648 bytes in the largest unit"
            )
        );
    }
    assert!(PassThrough::with_sizes(64, 25).is_ok());
    assert!(PassThrough::<SpinLock>::with_lock(4096, 19).is_ok());
}

/// Processor time that this thread has used, in clock ticks (a hundredth of a second as a rule).
#[cfg(all(feature = "std", target_os = "linux"))]
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[cfg(all(feature = "std", target_os = "linux"))]
fn who_waits_for_the_default_lock_sleeps() {
    use pp_core::lock::Locked;
    let locked = Locked::<DefaultLock, u32>::new(0);
    std::thread::scope(|scope| {
        locked
            .with(|value| {
                let waiter = scope.spawn(|| {
                    let before = ticks();
                    assert_eq!(locked.with(|value| *value), 1);
                    assert!(ticks() - before < 10, "it has spun");
                });
                std::thread::sleep(core::time::Duration::from_millis(400));
                *value = 1;
                waiter
            })
            .join()
            .unwrap();
    });
}

#[test]
fn threads_release_what_another_allocates() {
    let pages = PassThrough::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..200 {
                    let units = alloc(&*pages, round % 3, 40);
                    let (first, rest): (Vec<_>, Vec<_>) = units.into_iter().partition(span_is_odd);
                    scope_release(&pages, first);
                    release_bulk(&*pages, rest);
                }
            });
        }
    });
    assert_eq!((pages.units_out(), pages.stray_releases()), (0, 0));
}

#[test]
fn a_pool_takes_and_gives_back() {
    let pages = PassThrough::new();
    let mut pool = PagePool::builder(&pages).build().unwrap();
    let mut held: Vec<_> = (0..200).map(|_| pool.alloc().unwrap()).collect();
    assert!(held.iter_mut().all(|page| page.iter().all(|byte| *byte == 0)));
    held.iter_mut().for_each(|page| page.fill(1));
    held.truncate(100);
    drop(pool);
    assert_eq!((pages.units_out(), held[99][4095]), (100, 1));
    drop(held);
    assert_eq!((pages.units_out(), pages.stray_releases()), (0, 0));
}

fn span_is_odd(unit: &Unit) -> bool {
    unit.descriptor().addr().addr() / 4096 % 2 == 1
}

fn scope_release(pages: &PassThrough, units: Vec<Unit>) {
    units.into_iter().for_each(|unit| pages.release(unit));
}

#[test]
fn what_was_lost_outside_is_freed_with_the_provider() {
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::alloc::{GlobalAlloc, Layout, System};

    /// Counts live blocks of one odd size.
    struct Counting;
    static LIVE: AtomicUsize = AtomicUsize::new(0);
    const BYTES: usize = 1 << 23;

    // SAFETY: passes everything on to the system's allocator.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's promise.
            unsafe { System.alloc(layout) }
        }
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            LIVE.fetch_add(usize::from(layout.size() == BYTES), Relaxed);
            // SAFETY: the caller's promise.
            unsafe { System.alloc_zeroed(layout) }
        }
        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            LIVE.fetch_sub(usize::from(layout.size() == BYTES), Relaxed);
            // SAFETY: the caller's promise.
            unsafe { System.dealloc(memory, layout) }
        }
    }
    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    let pages = PassThrough::with_sizes(BYTES, 0).unwrap();
    let mut units = alloc(&*pages, 0, 3);
    assert_eq!(LIVE.load(Relaxed), 3);
    pages.release(units.remove(0));
    assert_eq!(LIVE.load(Relaxed), 2, "nothing is kept");
    drop(units);
    assert_eq!(LIVE.load(Relaxed), 2);
    drop(pages);
    assert_eq!(LIVE.load(Relaxed), 0);
}
