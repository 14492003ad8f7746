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

    /// Its second step, right after the first; the two pair with `heavy` between the other side's.
    #[inline(always)]
    pub(crate) fn load(self, word: &AtomicUsize) -> usize {
        word.load(if self.imposed || MODEL { Ordering::Relaxed } else { Ordering::SeqCst })
    }

    /// Whether the side that comes often waits, between its steps, for all its stores.
    #[inline(always)]
    pub(crate) fn waits(self) -> bool {
        !self.imposed
    }

    /// Stands between the store and the load of the side that comes rarely, both of any ordering. Takes some microseconds where it is imposed, and
    /// may wait for others who impose one.
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use alloc::vec::Vec;
    use std::thread;

    use super::{AsymmetricFence, AtomicUsize, Ordering};

    /// Rounds in which each side stores and then loads; says in how many both missed the other.
    fn missed_by_both(fence: AsymmetricFence, rounds: usize) -> usize {
        // A place for each round: nobody has to put anything back while the other one may still look.
        let words = || (0..rounds).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>();
        let (often, rarely, arrived) = (words(), words(), words());
        let (often, rarely, arrived) = (&*often, &*rarely, &*arrived);
        let meet = move |round: usize| {
            arrived[round].fetch_add(1, Ordering::Relaxed);
            let mut turns = 0;
            while arrived[round].load(Ordering::Relaxed) < 2 {
                turns += 1;
                if turns % 1024 == 0 { thread::yield_now() } else { core::hint::spin_loop() }
            }
        };
        thread::scope(|scope| {
            let one = scope.spawn(move || {
                let side = |round: usize| {
                    meet(round);
                    (0..round % 32).for_each(|_| core::hint::spin_loop());
                    fence.store(&often[round], 1);
                    fence.load(&rarely[round])
                };
                (0..rounds).map(side).collect::<Vec<_>>()
            });
            let other = scope.spawn(move || {
                let side = |round: usize| {
                    meet(round);
                    rarely[round].store(1, Ordering::Relaxed);
                    fence.heavy();
                    often[round].load(Ordering::Relaxed)
                };
                (0..rounds).map(side).collect::<Vec<_>>()
            });
            let (one, other) = (one.join().unwrap(), other.join().unwrap());
            one.iter().zip(&other).filter(|seen| *seen == (&0, &0)).count()
        })
    }

    #[test]
    fn one_side_at_least_sees_the_other() {
        let rounds = if cfg!(miri) { 200 } else { 50_000 };
        assert_eq!(missed_by_both(AsymmetricFence::PLAIN, rounds), 0, "each side pays for itself");
        let best = AsymmetricFence::best();
        assert_eq!(missed_by_both(best, rounds), 0, "{best:?}");
    }
}
