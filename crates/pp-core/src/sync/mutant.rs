//! Deliberate defects, for models that must fail.
//!
//! A model that passes proves something only if the same model fails once the thing it checks is broken. Each
//! [`Mutant`] is one such break, switched on for one thread by the test that wants it. In builds without a model
//! checker [`mutant`] is the constant `false` and the broken branch does not exist.

/// One deliberate defect, named after what it breaks. See the [module](crate::sync#examples).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// A slot is published without Release: the page's bytes may not have arrived.
    RelaxedPublish,
    /// A slot is taken without Acquire.
    RelaxedTake,
    /// A slot is published by a load and a store, so that two producers may use it, or one may overwrite the seal.
    PublishByStore,
    /// The producer touches the pool after publishing its last page (kernel 271683bb2cf3).
    TouchAfterPublish,
    /// The same in the bulk form (kernel bdea4980182e).
    TouchAfterBulkPublish,
    /// Closing empties the slots but leaves no seal, so a late publish is stranded.
    NoSeal,
    /// A slot is sealed, and what was in it taken, without Acquire.
    RelaxedSeal,
    /// `released` is added to without Release or Acquire.
    RelaxedReleased,
    /// Who leaves looks once more whether the books are even, so that two may see it.
    ElectByRead,
    /// A thread touches the pool after its last page was booked out.
    TouchAfterLeave,
    /// The unmap claim is a plain load and store instead of a compare-exchange (kernel 24ef02f934ee).
    UnclaimedUnmap,
    /// The loser of the unmap claim still unmaps what the descriptor says now.
    LoserTouches,
    /// The loser of the unmap claim sends the unit home while the winner still unmaps it.
    LoserRuns,
    /// The claim carries no pool generation, so it unmaps for whoever owns the unit now.
    ClaimWithoutGeneration,
    /// Tidying the list of mapped units writes new places into descriptors that may be home by then.
    TidyWritesAway,
    /// A reference to a page that several hold is dropped without Release.
    RelaxedUnref,
    /// The last holder finds that it is the last without Acquire.
    RelaxedShortcut,
    /// A fragmented page is given up and its bias is not given back.
    MissingDrain,
    /// A fragmented page is begun anew without looking whether parts of it are out.
    RenewUnderParts,
    /// Every `Shared::release` takes the page off the books, not only the one that claimed it.
    ReleaseWithoutClaim,
    /// A page that leaves while shared is nobody's for a moment, and another release takes it for its own.
    StrayThroughHome,
    /// A page-out hook may write a page that others read.
    PageOutWrites,
    /// A page off the books takes no owner of the region with it.
    StrayWithoutOwner,
    /// A Returner never looks whether its bag is closed.
    BagWithoutSeal,
    /// A bag is closed but not drained.
    BagForgotten,
    /// A bag's tail is published without Release.
    RelaxedBagTail,
    /// What is claimed of a closed bag says nothing of the tail that it was claimed up to; and the system's fence does nothing.
    RelaxedBagEnd,
    /// A Returner looks whether its bag is closed before its page can be seen in it.
    NoLightFence,
    /// The same, and so does whoever leaves a bag.
    NoFenceAtLast,
    /// A closer looks into a bag before it can be seen that it is closed.
    NoHeavyFence,
    /// A batch publishes its last page in a bag that it has yet to give back.
    LastPageInBag,
    /// A bag's head is given back without Release.
    RelaxedBagHead,
    /// A bag is measured from a head and a tail that were never true together.
    RelaxedBagLen,
    /// Statistics look at what only pages keep alive.
    StatsReadTable,
    /// A provider's lock does not lock.
    OpenLock,
    /// The completion wakes before the teardown has finished.
    EarlyWake,
    /// The waiter leaves its waker without looking whether it is too late.
    LostWake,
    /// A defect of a crate that builds on this one, by the name it has there.
    Named(&'static str),
}

#[cfg(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")))]
mod active {
    extern crate std;
    use core::cell::Cell;

    std::thread_local! {
        // Both checkers run every modelled thread on the thread that called them.
        static ACTIVE: Cell<Option<super::Mutant>> = const { Cell::new(None) };
    }

    impl super::Mutant {
        /// Runs `f` with this defect switched on for the current thread.
        ///
        /// See the [module](crate::sync#examples).
        pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
            struct Restore(Option<super::Mutant>);
            impl Drop for Restore {
                fn drop(&mut self) {
                    ACTIVE.set(self.0);
                }
            }
            let _restore = Restore(ACTIVE.replace(Some(self)));
            f()
        }
    }

    /// Whether `which` is switched on.
    pub fn mutant(which: super::Mutant) -> bool {
        ACTIVE.get() == Some(which)
    }
}

#[cfg(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle")))]
pub use active::mutant;

/// Whether `which` is switched on: never, in this build. See the [module](crate::sync#examples).
#[cfg(not(any(all(loom, feature = "loom"), all(shuttle, feature = "shuttle"))))]
#[inline(always)]
pub const fn mutant(_which: Mutant) -> bool {
    false
}
