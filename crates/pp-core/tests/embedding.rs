//! The recipe of `docs/embedding.md`: its length, its text, and what the doc tests do not look at.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]
#![allow(clippy::undocumented_unsafe_blocks, reason = "the recipe's comments are where its readers want them")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::thread;

use pp_core::conformance::Obligation;

thread_local! {
    /// How deep this thread is in `irq::mask`.
    static MASKED: Cell<usize> = const { Cell::new(0) };
    /// Calls of the heap while it was.
    static HEAP_CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Notes when it is called where a kernel's heap must not be.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

impl Heap {
    fn note(&self) {
        if MASKED.get() > 0 {
            HEAP_CALLS.set(HEAP_CALLS.get() + 1);
        }
    }
}

// SAFETY: the system's, and a count.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.note();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Masks nothing: a thread of a test is not interrupted. Counts, so that a test sees when it would be.
mod irq {
    pub(super) fn mask() -> usize {
        super::MASKED.replace(super::MASKED.get() + 1)
    }

    pub(super) fn restore(before: usize) {
        super::MASKED.set(before);
    }
}

include!("../docs/own_provider.rs");

const PROVIDER: &str = include_str!("../docs/own_provider.rs");
const RECIPE: &str = include_str!("../docs/embedding.md");

fn memory(pages: usize) -> &'static mut [u8] {
    let all = Box::leak(vec![0; (pages + 1) * 4096].into_boxed_slice());
    let skip = all.as_ptr().addr().wrapping_neg() % 4096;
    &mut all[skip..skip + pages * 4096]
}

fn physical(address: *mut u8) -> u64 {
    address.addr() as u64 + 0x4000_0000
}

fn banks(pages: &[usize]) -> Home<Banks> {
    let banks = Banks { home: Locked::new(Vec::new()), total: AtomicUsize::new(0), physical };
    pages.iter().for_each(|pages| banks.add(memory(*pages)).unwrap());
    Home::new(banks)
}

#[test]
fn provider_and_lock_are_at_most_fifty_lines() {
    let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = PROVIDER.lines().filter(code).count();
    assert!(lines <= 50, "{lines}");
    assert!(PROVIDER.lines().all(|line| line.len() <= 120), "and lines of a length that is read");
}

#[test]
fn the_recipe_shows_what_is_tested_here_and_linked_without_std() {
    assert!(RECIPE.contains(PROVIDER), "docs/embedding.md and docs/own_provider.rs differ");
    let provider = [
        Obligation::Uniqueness,
        Obligation::Stability,
        Obligation::Conservation,
        Obligation::AnyThread,
        Obligation::Order,
        Obligation::Premapped,
        Obligation::Bulk,
        Obligation::HomeWords,
        Obligation::Memory,
        Obligation::Failure,
        Obligation::DeviceLost,
        Obligation::Description,
    ];
    let device = [Obligation::Reach, Obligation::Unmap, Obligation::Sync];
    let rows = |obligations: &[Obligation]| obligations.iter().map(|it| format!("| `{it:?}` |")).collect::<Vec<_>>();
    let tables = RECIPE.split("| promise | in other words |").skip(1).map(|table| {
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.map(|row| format!("|{}|", row.split('|').nth(1).unwrap_or_default())).collect::<Vec<_>>()
    });
    assert_eq!(tables.collect::<Vec<_>>(), [rows(&provider), rows(&device)]);
}

#[test]
fn it_keeps_the_contract() {
    let passed = conformance::provider(|| banks(&[40, 24])).unwrap();
    let not_shown: Vec<_> = passed.not_shown.iter().map(|(obligation, _)| *obligation).collect();
    assert_eq!((passed.capacity, not_shown), (64, vec![Obligation::DeviceLost]));
}

#[test]
fn its_holder_is_not_interrupted_and_everybody_else_is() {
    let banks = banks(&[4]);
    banks.home.with(|_| assert_eq!(MASKED.get(), 1));
    assert_eq!(MASKED.get(), 0);
    let lock = IrqLock::default();
    lock.lock();
    let other = thread::scope(|scope| {
        let other = scope.spawn(|| {
            irq::mask(); // this one is masked already
            lock.lock();
            let inside = MASKED.get();
            // SAFETY: locked just now.
            unsafe { lock.unlock() };
            (inside, MASKED.get())
        });
        thread::sleep(std::time::Duration::from_millis(10));
        assert!(!other.is_finished(), "it is held");
        // SAFETY: locked above.
        unsafe { lock.unlock() };
        other.join().unwrap()
    });
    assert_eq!((other, MASKED.get()), ((2, 1), 0), "each gets back what it had, not what the other had");
}

#[test]
fn memory_is_added_while_pools_live_and_pages_are_out() {
    let banks = banks(&[4]);
    let mut pool = PagePool::builder(banks.clone()).build().unwrap();
    let mut pages: PageBatch<32> = pool.alloc_batch();
    assert_eq!((pages.len(), pool.last_error()), (4, AllocError::OutOfMemory));
    for added in 1..=5 {
        thread::scope(|scope| scope.spawn(|| banks.add(memory(3)).unwrap()).join().unwrap());
        assert_eq!(pool.alloc_into(&mut pages), 3, "{added}");
    }
    let handle = pool.handle();
    thread::spawn(move || drop(pages)).join().unwrap();
    drop(pool);
    assert_eq!(
        (handle.state(), banks.describe().free_units, banks.describe().total_units),
        (PoolState::Closed, 19, 19)
    );
}

#[test]
fn the_heap_is_not_called_while_interrupts_are_masked() {
    let banks = banks(&[4, 40, 3]);
    let mut pool = PagePool::builder(banks.clone()).build().unwrap();
    let pages: PageBatch<64> = pool.alloc_batch();
    banks.add(memory(50)).unwrap();
    drop((pages, pool));
    assert_eq!((HEAP_CALLS.get(), banks.describe().free_units), (0, 97));
    banks.home.with(|_| drop(Box::new(7)));
    assert_eq!(HEAP_CALLS.get(), 2, "it would be seen");
}

#[test]
fn whoever_adds_memory_at_the_same_time_there_is_room_for_all() {
    for _ in 0..100 {
        let banks = banks(&[]);
        thread::scope(|scope| {
            for pages in 1..=4 {
                let banks = &banks;
                scope.spawn(move || banks.add(memory(pages)).unwrap());
            }
        });
        assert_eq!(banks.home.with(|home| (home.len(), home.capacity() >= 10)), (10, true));
    }
}

#[test]
fn devices_get_its_addresses_and_the_pool_maps_nothing() {
    let banks = banks(&[8]);
    let device = std::sync::Arc::new(Counting::<Identity>::default());
    let mut pool = PagePool::builder(banks).dma(device.clone(), DmaDirection::FromDevice).build().unwrap();
    let page = pool.alloc().unwrap();
    assert_eq!(page.dma_addr(), Some(DmaAddr(physical(page.as_ptr().cast_mut()))));
    drop((page, pool));
    assert_eq!((device.counts().maps, device.counts().unmaps), (0, 0));
}
