//! A fence of which one side pays for both.
//!
//! Two threads that each store one word and then load the other's need a full fence between the two steps, or both may miss the other's
//! store. Where one of them comes by once in a pool's life, it can pay for both, if the system has a way to make every other thread
//! pass a fence: Linux has (`membarrier`, feature `membarrier`). Then the other one needs to keep the compiler in order and nothing else.

use super::{AtomicUsize, MODEL, Mutant, Ordering, fence, mutant};

/// One of the two kinds; both sides must have the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsymmetricFence {
    /// The rare side imposes it on the frequent one, which then does without.
    imposed: bool,
}

impl AsymmetricFence {
    /// Each side pays for itself.
    pub(crate) const PLAIN: Self = AsymmetricFence { imposed: false };

    /// The best that the system offers.
    pub(crate) fn best() -> Self {
        AsymmetricFence { imposed: system::register() }
    }

    /// The first step of the side that comes often. Releases what comes before it.
    #[inline(always)]
    pub(crate) fn store(self, word: &AtomicUsize, value: usize) {
        let release = if mutant(Mutant::RelaxedBagTail) { Ordering::Relaxed } else { Ordering::Release };
        if self.imposed {
            word.store(value, release);
            core::sync::atomic::compiler_fence(Ordering::SeqCst);
        } else if MODEL {
            // loom knows sequential consistency of fences only. This one is stronger than what follows.
            word.store(value, release);
            if ![Mutant::NoLightFence, Mutant::NoFenceAtLast, Mutant::RelaxedBagEnd].into_iter().any(mutant) {
                fence(Ordering::SeqCst);
            }
        } else {
            // With the load below: half the price of a fence between the two, and nothing needs more.
            word.store(value, Ordering::SeqCst);
        }
    }

    /// Its second step, right after the first.
    #[inline(always)]
    pub(crate) fn load(self, word: &AtomicUsize) -> usize {
        word.load(if self.imposed || MODEL { Ordering::Relaxed } else { Ordering::SeqCst })
    }

    /// Whether the side that comes often waits, between its steps, for all its stores.
    #[inline(always)]
    pub(crate) fn waits(self) -> bool {
        !self.imposed
    }

    /// Stands between the steps of the side that comes rarely, whose store is `SeqCst`. Takes some microseconds where it is imposed, and
    /// never sleeps.
    #[cold]
    pub(crate) fn heavy(self) {
        if !mutant(Mutant::NoHeavyFence) {
            fence(Ordering::SeqCst);
        }
        if self.imposed {
            system::impose();
        }
    }
}

#[cfg(all(feature = "membarrier", target_os = "linux", not(any(loom, shuttle, miri))))]
mod system {
    use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};

    /// Says to the kernel that this process will impose fences, and whether it may.
    pub(super) fn register() -> bool {
        let (register, impose) = (MembarrierCommand::RegisterPrivateExpedited, MembarrierCommand::PrivateExpedited);
        let known = membarrier_query();
        known.contains_command(register) && known.contains_command(impose) && membarrier(register).is_ok()
    }

    /// Each thread of the process that runs now passes a full fence before this returns; each that does not did when it stopped.
    pub(super) fn impose() {
        // Refused after all, by a sandbox that was entered since: pages may wait for their Returner's next call, see `bag`.
        let _ = membarrier(MembarrierCommand::PrivateExpedited);
    }
}

#[cfg(not(all(feature = "membarrier", target_os = "linux", not(any(loom, shuttle, miri)))))]
mod system {
    pub(super) fn register() -> bool {
        false
    }
    pub(super) fn impose() {}
}
