//! A pool without an operating system's help: no std, no main, no C library, own memory, own lock, own provider.
//!
//! The provider is the one of `crates/pp-core/docs/embedding.md`, word for word. Interrupts are signals here: they come
//! between any two instructions of the program, on its own stack, which is what makes an interrupt one. The exit code is 0, or
//! the number of the check that failed, or, from the watchdog, [`STUCK`] and the number of the last check that held.
#![no_std]
#![no_main]

extern crate alloc;

mod mem;
mod sys;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicI32, AtomicPtr};

use sys::irq;

include!("../../crates/pp-core/docs/own_provider.rs");

#[global_allocator]
static HEAP: mem::Bump = mem::Bump;

/// A call after the check whose number is added never came back.
const STUCK: i32 = 40;
/// A panic: none is expected.
const PANIC: i32 = 39;

/// The last check that held.
static HELD: AtomicI32 = AtomicI32::new(0);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(PANIC)
}

core::arch::global_asm!(".globl _start", "_start:", "and rsp, -16", "call begin");

/// What the main program has for the interrupt handler.
static INBOX: AtomicPtr<Descriptor> = AtomicPtr::new(null_mut());

/// How the handler gives a page back. Set before the interrupt is raised.
static MANNER: AtomicUsize = AtomicUsize::new(TRY);
const TRY: usize = 0;
const DROP: usize = 1;

extern "C" fn interrupt(_: i32) {
    let Some(page) = NonNull::new(INBOX.swap(null_mut(), Relaxed)) else { return };
    // SAFETY: the main program put it there with `into_raw`, and the swap took it out.
    let page = unsafe { Page::<Host>::from_raw(page) };
    match MANNER.load(Relaxed) {
        // A page that is refused would be dropped here, and then it would not be in the ring.
        TRY => drop(page.try_put()),
        _ => drop(page),
    }
}

extern "C" fn stuck(_: i32) {
    sys::exit(STUCK + HELD.load(Relaxed))
}

/// Leaves a page to the next interrupt.
fn hand_over(page: Page, manner: usize) {
    MANNER.store(manner, Relaxed);
    INBOX.store(page.into_raw().as_ptr(), Relaxed);
}

fn check(number: i32, holds: bool) {
    if !holds {
        sys::exit(number);
    }
    HELD.store(number, Relaxed);
}

#[repr(align(4096))]
struct Memory<const BYTES: usize>(core::cell::UnsafeCell<[u8; BYTES]>);

// SAFETY: each is lent out once, below.
unsafe impl<const BYTES: usize> Sync for Memory<BYTES> {}

impl<const BYTES: usize> Memory<BYTES> {
    const fn new() -> Self {
        Memory(core::cell::UnsafeCell::new([0; BYTES]))
    }

    /// # Safety
    ///
    /// Called once.
    #[allow(clippy::mut_from_ref, reason = "once")]
    unsafe fn lend(&'static self) -> &'static mut [u8] {
        // SAFETY: nobody else has it.
        unsafe { &mut *self.0.get() }
    }
}

static FIRST: Memory<{ 4 * 4096 }> = Memory::new();
static SECOND: Memory<{ 2 * 4096 }> = Memory::new();

/// What a kernel's `virt_to_phys` does.
fn physical(address: *mut u8) -> u64 {
    address.addr() as u64 ^ 0xffff_8000_0000_0000
}

#[unsafe(no_mangle)]
extern "C" fn begin() -> ! {
    sys::on(sys::INTERRUPT, interrupt);
    sys::on(sys::WATCHDOG, stuck);
    sys::watch(if cfg!(feature = "unmasked") { 1 } else { 30 });

    let banks = Home::new(Banks { home: Locked::new(Vec::new()), total: AtomicUsize::new(0), physical });
    // SAFETY: the first time, and the only one.
    check(1, banks.add(unsafe { FIRST.lend() }).is_ok());
    let builder = PagePool::builder(banks.clone()).cache(2).refill(1).pool_size(1);
    let Ok(mut pool) = builder.build() else { sys::exit(2) };

    // A page, its bytes and its physical address.
    let Ok(mut page) = pool.alloc() else { sys::exit(3) };
    page[..4].copy_from_slice(b"bare");
    check(4, page.dma_addr() == Some(DmaAddr(physical(page.as_mut_ptr()))));

    // Back from an interrupt, into the ring, without a lock.
    hand_over(page, TRY);
    sys::raise();
    check(5, pool.stats().recycle.ring == 1 && pool.stats().in_ring == 1);

    // The same with the ring full: an interrupt that drops a page comes to the provider, and its lock.
    let Ok(page) = pool.alloc() else { sys::exit(6) };
    check(7, &page[..4] == b"bare");
    let Ok(other) = pool.alloc() else { sys::exit(8) };
    drop(page);
    hand_over(other, DROP);
    sys::raise();
    check(9, pool.stats().recycle.ring_full == 1);

    // At the worst place: while the provider's lock is held. Masked, the interrupt waits; unmasked, it waits for ever.
    let (Ok(one), Ok(two)) = (pool.alloc(), pool.alloc()) else { sys::exit(10) };
    drop(one);
    hand_over(two, DROP);
    banks.home.with(|_| {
        check(11, !INBOX.load(Relaxed).is_null());
        sys::raise();
        check(12, !INBOX.load(Relaxed).is_null());
    });
    check(13, INBOX.load(Relaxed).is_null() && pool.stats().recycle.ring_full == 2);

    // More memory while the pool lives.
    let mut pages: PageBatch<8> = pool.alloc_batch();
    check(14, pages.len() == 4 && pool.last_error() == AllocError::OutOfMemory);
    // SAFETY: the first time, and the only one.
    check(15, banks.add(unsafe { SECOND.lend() }).is_ok());
    check(16, pool.alloc_into(&mut pages) == 2 && banks.describe().total_units == 6);

    // The pool ends with a page out, and the last page comes home from an interrupt.
    let Some(last) = pages.pop() else { sys::exit(17) };
    pool.recycle_batch(&mut pages);
    let handle = pool.handle();
    drop(pool);
    check(18, handle.state() == PoolState::Closing && handle.inflight() == 1 && Home::owners(&banks) == 2);
    hand_over(last, DROP);
    sys::raise();
    check(19, handle.state() == PoolState::Closed && Home::owners(&banks) == 1);
    check(20, banks.describe().free_units == 6);

    sys::print("bare: 20 checks passed, without std, main and C library\n");
    sys::exit(0)
}
