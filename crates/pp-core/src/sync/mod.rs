//! Everything concurrent in this crate goes through here, so that a model checker can take its place.
//!
//! | build | atomics and cells | what it finds |
//! |---|---|---|
//! | plain | `core` | nothing, and costs nothing |
//! | `--cfg loom`, feature `loom` | loom's | every interleaving and weak-memory outcome within a bound |
//! | `--cfg shuttle`, feature `shuttle` | shuttle's | random and PCT schedules at larger sizes |
//!
//! Both switches are needed, so neither `--all-features` nor a global `RUSTFLAGS` changes a build by accident.
//! The module is public because structures built on pages want to be checked together with the pool
//! under them. Outside the two checkers it is a set of plain re-exports.
//!
//! Rules that the models rely on:
//!
//! * a slot that one thread publishes and another takes is reached through `Slot` only: under loom it ticks a
//!   per-object [`Clock`] first, without which loom 0.7 loses the race of a producer that looks before it stores. The same for
//!   any other word that a thread looks at first and changes then: the count of a shared page, a completion's state;
//! * every object that can be freed under a racing thread carries a [`Canary`]: entries `enter` it, the free path
//!   `bury`s it, and loom reports the two overlapping. Statistics are canary touches;
//! * counters that decide nothing are `core` atomics ([`Counter`]): they would only multiply the executions.
//!
//! # Examples
//!
//! A place for one value, with everything that a checker wants to see:
//!
//! ```
//! use pp_core::sync::{AtomicUsize, Canary, Clock, Counter, Mutant, Ordering, UnsafeCell, mutant};
//! use pp_core::sync::{MODEL, context_hint, load_unshared, spin};
//!
//! struct Place { full: AtomicUsize, clock: Clock, value: UnsafeCell<u64>, canary: Canary, sent: Counter }
//!
//! impl Place {
//!     fn send(&self, value: u64) {
//!         self.canary.enter(); // "this place is alive"
//!         self.clock.tick(); // looked at, then changed
//!         while self.full.load(Ordering::Acquire) != 0 {
//!             spin();
//!         }
//!         // SAFETY: empty, so it is the sender's.
//!         self.value.with_mut(|place| unsafe { *place = value });
//!         self.sent.add(1); // decides nothing
//!         // A defect that a model must find; `false` outside of a checker.
//!         let release = if mutant(Mutant::Named("relaxed send")) { Ordering::Relaxed } else { Ordering::Release };
//!         self.clock.tick();
//!         self.full.store(1, release);
//!     }
//! }
//!
//! # if !MODEL {
//! let (full, clock, value) = (AtomicUsize::new(0), Clock::new(), UnsafeCell::new(0));
//! let place = Place { full, clock, value, canary: Canary::new(), sent: Counter::new(0) };
//! place.send(7);
//! // SAFETY: sent, and there is one receiver.
//! assert_eq!(place.value.with(|place| unsafe { *place }), 7);
//! // SAFETY: nobody writes it now.
//! assert_eq!((unsafe { load_unshared(&place.full) }, place.sent.get()), (1, 1));
//! place.canary.bury(); // before it is freed
//! let lane = context_hint() % 4; // a different one for each stack, most of the time
//! # let _ = lane;
//! # }
//! ```
//!
//! In a test under loom, `Mutant::Named("relaxed send").run(|| loom::model(...))` must panic then.

mod asymmetric;
mod counter;
mod mutant;
mod slot;

pub(crate) use asymmetric::AsymmetricFence;
pub use counter::Counter;
pub use mutant::{Mutant, mutant};
pub(crate) use slot::{SEAL, Slot};

#[cfg(all(loom, feature = "loom"))]
mod loom;
#[cfg(all(loom, feature = "loom"))]
use loom as imp;

#[cfg(all(shuttle, feature = "shuttle", not(all(loom, feature = "loom"))))]
mod shuttle;
#[cfg(all(shuttle, feature = "shuttle", not(all(loom, feature = "loom"))))]
use shuttle as imp;

#[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
mod plain;
#[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
use plain as imp;

pub use imp::{
    AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Clock, UnsafeCell, context_hint, fence, load_unshared,
    spin,
};

pub(crate) use imp::stack;

pub use core::sync::atomic::Ordering;

/// Whether this build runs under a model checker; sizes and layout assertions depend on it. See the
/// [module](crate::sync#examples).
pub const MODEL: bool = cfg!(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")));

/// Stands in for the memory of an object that another thread may free.
///
/// `enter` reads it and `bury` writes it, so a checker that tracks cells reports a touch after the free, which
/// atomics alone do not show. Outside the checkers it has no size and no code. See the [module](crate::sync#examples).
pub struct Canary(#[allow(dead_code, reason = "holds nothing in plain builds")] UnsafeCell<()>);

impl core::fmt::Debug for Canary {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Canary")
    }
}

impl Canary {
    /// A canary that lives.
    #[inline(always)]
    #[allow(clippy::new_without_default, reason = "a canary is never a default of anything")]
    pub fn new() -> Self {
        Canary(UnsafeCell::new(()))
    }

    /// Says "this object is alive now".
    #[inline(always)]
    pub fn enter(&self) {
        if MODEL {
            self.0.with(|_| ());
        }
    }

    /// Says "from here on nobody may touch this object".
    #[inline(always)]
    pub fn bury(&self) {
        if MODEL {
            self.0.with_mut(|_| ());
        }
    }
}

// SAFETY: the cell holds no data; it is only a probe for race detectors.
unsafe impl Send for Canary {}
// SAFETY: as above. A real race on it is exactly what the detectors are meant to report.
unsafe impl Sync for Canary {}
