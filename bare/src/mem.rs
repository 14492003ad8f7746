//! What a C library would bring: four functions on bytes that compiled code calls, and a heap.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

/// # Safety
///
/// As C says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: both are valid for `count` bytes by the caller's promise.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack));
    }
    to
}

/// # Safety
///
/// As C says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: the target's start does not lie in the source, so going upwards reads every byte before it is written.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: as for `memcpy`; downwards from the last byte, as the target's start lies in the source.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _, inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _, options(nostack));
    }
    to
}

/// # Safety
///
/// As C says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: valid for `count` bytes by the caller's promise.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte as u8, options(nostack));
    }
    to
}

/// # Safety
///
/// As C says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: both are valid for `count` bytes by the caller's promise. Volatile, or this would become a call of itself.
        let (a, b) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// A heap that only grows: from the start of its memory to the end.
pub struct Bump;

const HEAP: usize = 1 << 20;

#[repr(align(4096))]
struct Memory(core::cell::UnsafeCell<[u8; HEAP]>);

// SAFETY: each byte is given to one caller, by the compare-exchange in `alloc`.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(core::cell::UnsafeCell::new([0; HEAP]));
static USED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: a layout's bytes are cut from the memory once and never again.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut used = USED.load(Ordering::Relaxed);
        loop {
            let start = used.next_multiple_of(layout.align());
            let end = start.saturating_add(layout.size());
            if end > HEAP || layout.align() > 4096 {
                return core::ptr::null_mut();
            }
            // Relaxed: the bytes are nobody's, and who gets them gets them by the word alone.
            match USED.compare_exchange(used, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return MEMORY.0.get().cast::<u8>().wrapping_add(start),
                Err(now) => used = now,
            }
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// The unwind tables of the precompiled `alloc` name it. Nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
