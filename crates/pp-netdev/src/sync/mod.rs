//! What a model checker takes the place of: pp-core's facade, and what threads and shared ends need besides.
//!
//! The rings, the bells and the gates go through here, and nothing else of this crate does: a [`DmaWindow`](crate::DmaWindow) is
//! locks around copies, and what remains are counters and flags that hand nothing over.

#[cfg(all(loom, feature = "loom"))]
use ::loom::sync as engine;
#[cfg(all(shuttle, feature = "shuttle", not(all(loom, feature = "loom"))))]
use ::shuttle::sync as engine;

#[cfg(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")))]
mod model;
#[cfg(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")))]
use model as imp;

#[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
mod plain;
#[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
use plain as imp;

pub(crate) use imp::{Arc, Mutex, MutexGuard, Parker, lock};
pub(crate) use pp_core::sync::{AtomicU8, AtomicUsize, Canary, Clock, MODEL, Mutant, Ordering, fence, mutant};

/// Takes a lock of `std`, in every build, whether or not somebody panicked under it: what these locks protect is whole at every
/// point where one can.
pub(crate) fn lock_std<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether a model has asked for this defect: never, in plain builds.
#[inline(always)]
pub(crate) fn broken(defect: &'static str) -> bool {
    mutant(Mutant::Named(defect))
}

/// `ordering`; none at all in the model that has to notice.
#[inline(always)]
pub(crate) fn unless(defect: &'static str, ordering: Ordering) -> Ordering {
    if broken(defect) { Ordering::Relaxed } else { ordering }
}
