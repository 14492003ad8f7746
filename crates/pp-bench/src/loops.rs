//! The loops that everybody runs through, one copy a contender.
//!
//! After each call stands [`clobber`], so that no count is kept in a register from one call to the next: between two
//! calls of a real program there is work, and these loops leave it out.

use core::mem::MaybeUninit;

/// Pages of a batch; also the pool's default refill.
pub(crate) const BATCH: usize = 64;

/// Says to the compiler that all memory which anybody has a pointer to may have changed. No instruction.
#[inline(always)]
pub(crate) fn clobber() {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    core::hint::black_box(());
}

/// Gives and takes one at a time.
pub(crate) trait Direct {
    type Item;
    fn get(&mut self) -> Option<Self::Item>;
    fn put(&mut self, item: Self::Item);
    /// All of `items`, one call each unless the contender has a better way.
    #[inline(always)]
    fn put_all(&mut self, items: impl Iterator<Item = Self::Item>) {
        for item in items {
            self.put(item);
            clobber();
        }
    }
}

/// Gives and takes 64 at a time.
pub(crate) trait Bulk {
    type Batch;
    fn batch() -> Self::Batch;
    fn get_all(&mut self, to: &mut Self::Batch);
    fn put_all(&mut self, from: &mut Self::Batch);
}

/// One out, one back.
#[inline(never)]
pub(crate) fn single<D: Direct>(from: &mut D, pages: usize) {
    for _ in 0..pages {
        let Some(item) = from.get() else { empty() };
        clobber();
        from.put(item);
        clobber();
    }
}

/// 64 out, 64 back, one call each.
#[inline(never)]
pub(crate) fn napi<D: Direct>(from: &mut D, pages: usize) {
    let mut held = [const { MaybeUninit::<D::Item>::uninit() }; BATCH];
    for _ in 0..pages / BATCH {
        for place in &mut held {
            let Some(item) = from.get() else { empty() };
            place.write(item);
            clobber();
        }
        // SAFETY: written above, and not read again before it is written again.
        from.put_all(held.iter().map(|place| unsafe { place.assume_init_read() }));
    }
}

/// 64 out, 64 back, one call for all.
#[inline(never)]
pub(crate) fn bulk<B: Bulk>(from: &mut B, pages: usize) {
    let mut batch = B::batch();
    for _ in 0..pages / BATCH {
        from.get_all(&mut batch);
        core::hint::black_box(&mut batch);
        from.put_all(&mut batch);
        core::hint::black_box(&mut batch);
    }
}

/// As many out as `held` has room for, `work` on each as it comes, and all back in the order in which they came.
#[inline(never)]
pub(crate) fn window<D: Direct>(
    from: &mut D,
    rounds: usize,
    held: &mut Vec<D::Item>,
    mut work: impl FnMut(&mut D::Item),
) {
    let room = held.capacity();
    for _ in 0..rounds {
        for _ in 0..room {
            let Some(mut item) = from.get() else { empty() };
            work(&mut item);
            held.push(item);
            clobber();
        }
        from.put_all(held.drain(..));
    }
}

#[cold]
pub(crate) fn empty() -> ! {
    panic!("there is a page for every caller, and yet there was none")
}
