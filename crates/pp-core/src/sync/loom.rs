//! loom's types, and the clock that makes its exploration complete for look-then-store producers.

pub use ::loom::cell::UnsafeCell;
pub use ::loom::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, fence};

/// Lets loom schedule somebody else inside a spin loop.
pub fn spin() {
    ::loom::hint::spin_loop();
}

/// Models must be deterministic, so every context is the same one.
pub fn context_hint() -> usize {
    0
}

/// The same.
pub(crate) fn stack() -> usize {
    0
}

/// loom 0.7 keeps only a thread's last access to an atomic when it looks for races (tokio-rs/loom#166, #392), so a
/// producer's "empty? then publish" hides the race of its own load. A read-modify-write on a word of the same
/// object before each access restores the lost dependency.
#[derive(Debug)]
pub struct Clock(AtomicUsize);

impl Clock {
    /// The clock of one object.
    #[allow(clippy::new_without_default, reason = "a part of an atomic, never a value of its own")]
    pub fn new() -> Self {
        Clock(AtomicUsize::new(0))
    }

    /// To be called before each access to the object.
    pub fn tick(&self) {
        self.0.fetch_add(0, super::Ordering::Relaxed);
    }
}

/// Reads an atomic that nobody writes at the moment; loom reports it if somebody does.
///
/// # Safety
///
/// No other thread writes `atomic` at the same time.
pub unsafe fn load_unshared(atomic: &AtomicUsize) -> usize {
    // SAFETY: the caller's promise, checked by loom.
    unsafe { atomic.unsync_load() }
}
