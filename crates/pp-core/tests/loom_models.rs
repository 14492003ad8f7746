//! The models under loom: every interleaving and weak-memory outcome up to a preemption bound.
//!
//! `cargo xtask loom` runs them; `LOOM_MAX_PREEMPTIONS` goes deeper than the 3 that they begin with. Each line names the
//! test that must pass, the one that must fail, their body, the outcomes that its executions must come to (all of them,
//! and no other), and the defects that the same body must find.
#![cfg(all(loom, feature = "loom"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[macro_use]
mod models;

use models::{batches, closing, device, fragments, handing, lock, returner, sharing, watching};

model!(
    loom_ring_hands_over,
    loom_ring_hands_over_mutants,
    handing::one_page,
    ["handed over", "not yet"],
    [RelaxedPublish, RelaxedTake]
);
model!(
    loom_put_against_refill,
    loom_put_against_refill_mutants,
    handing::two_returners_one_slot,
    ["none again, ring was full", "one again", "both again", "one again, ring was full", "both again, ring was full"],
    [RelaxedPublish, RelaxedTake, PublishByStore]
);
model!(
    loom_put_against_refill_one_slot_left,
    loom_put_against_refill_one_slot_left_mutants,
    handing::two_returners_one_slot_left,
    ["none sent home", "one sent home"],
    [PublishByStore]
);
model!(
    loom_last_page_against_close,
    loom_last_page_against_close_mutants,
    closing::last_page,
    ["closer frees", "dropper frees"],
    [TouchAfterPublish, TouchAfterLeave, RelaxedReleased, NoSeal, PublishByStore]
);
model!(
    loom_last_page_written,
    loom_last_page_written_mutants,
    closing::last_page_written,
    ["closer frees", "dropper frees"],
    [RelaxedSeal, RelaxedPublish]
);
model!(
    loom_last_batch_against_close,
    loom_last_batch_against_close_mutants,
    closing::last_batch,
    ["closer frees", "dropper frees"],
    [TouchAfterBulkPublish, NoSeal]
);
model!(
    loom_seal_against_publish,
    loom_seal_against_publish_mutants,
    closing::seal_against_publish,
    ["a dropper frees", "closer frees"],
    [NoSeal, PublishByStore, ElectByRead]
);
model!(
    loom_two_last_pages,
    loom_two_last_pages_mutants,
    closing::two_last_pages,
    ["first frees", "second frees"],
    [RelaxedReleased, ElectByRead, TouchAfterLeave]
);
model!(
    loom_try_put_against_close,
    loom_try_put_against_close_mutants,
    closing::try_put,
    ["accepted", "given back"],
    [NoSeal]
);
model!(
    loom_scrub_against_late_return,
    loom_scrub_against_late_return_mutants,
    device::scrub_against_late_return,
    ["closer frees", "dropper frees"],
    [UnclaimedUnmap, LoserTouches, LoserRuns]
);
model!(
    loom_scrub_against_second_pool,
    loom_scrub_against_second_pool_mutants,
    device::scrub_against_second_pool,
    ["not yet", "the second pool has it"],
    [ClaimWithoutGeneration, LoserRuns]
);
model!(
    loom_tidying_against_leaving,
    loom_tidying_against_leaving_mutants,
    device::tidying_against_leaving,
    ["consumer frees", "leaver frees"],
    [TidyWritesAway]
);
model!(
    loom_drop_against_unshare,
    loom_drop_against_unshare_mutants,
    sharing::drop_against_unshare,
    ["got it back", "still shared"],
    [RelaxedUnref]
);
model!(
    loom_last_holder_against_refill,
    loom_last_holder_against_refill_mutants,
    sharing::last_holder_against_refill,
    ["again", "not yet"],
    [RelaxedUnref]
);
model!(
    loom_release_against_drop_and_close,
    loom_release_against_drop_and_close_mutants,
    sharing::release_against_drop_and_close,
    ["closer frees", "dropper frees", "releaser frees"],
    [StrayWithoutOwner, RelaxedUnref]
);
model!(
    loom_two_releases,
    loom_two_releases_mutants,
    sharing::two_releases,
    ["left"],
    [ReleaseWithoutClaim, StrayThroughHome]
);
model!(
    loom_two_releases_against_close,
    loom_two_releases_against_close_mutants,
    sharing::two_releases_against_close,
    ["a releaser frees", "closer frees"],
    [ReleaseWithoutClaim, StrayWithoutOwner]
);
model!(
    loom_detached_against_close,
    loom_detached_against_close_mutants,
    sharing::detached_against_close,
    ["closer frees", "dropper frees"],
    [StrayWithoutOwner]
);
model!(
    loom_detaching_against_close,
    loom_detaching_against_close_mutants,
    sharing::detaching_against_close,
    ["closer frees", "dropper frees"],
    [StrayWithoutOwner]
);
model!(
    loom_page_out_against_reader,
    loom_page_out_against_reader_mutants,
    sharing::page_out_against_reader,
    ["left", "went round"],
    [PageOutWrites]
);
model!(
    loom_two_last_parts,
    loom_two_last_parts_mutants,
    fragments::two_last_parts,
    ["again", "not yet"],
    [RelaxedUnref, RelaxedShortcut]
);
model!(
    loom_drain_against_drop,
    loom_drain_against_drop_mutants,
    fragments::drain_against_drop,
    ["was the last", "again", "not yet"],
    [RelaxedUnref, RelaxedShortcut, MissingDrain]
);
model!(
    loom_clone_against_drop,
    loom_clone_against_drop_mutants,
    fragments::clone_against_drop,
    ["again", "not yet"],
    [RelaxedUnref]
);
model!(
    loom_split_against_drop,
    loom_split_against_drop_mutants,
    fragments::split_against_drop,
    ["again", "not yet"],
    [RelaxedUnref]
);
model!(
    loom_renew_against_late_drop,
    loom_renew_against_late_drop_mutants,
    fragments::renew_against_late_drop,
    ["in place", "again", "not yet"],
    [RelaxedShortcut, RenewUnderParts]
);
model!(
    loom_rejoin_against_drop,
    loom_rejoin_against_drop_mutants,
    fragments::rejoin_against_drop,
    ["in place", "again", "not yet"],
    [RelaxedShortcut, RenewUnderParts]
);
model!(
    loom_clone_against_renewal,
    loom_clone_against_renewal_mutants,
    fragments::clone_against_renewal,
    ["in place", "again", "not yet"],
    [RelaxedUnref, RelaxedShortcut]
);
model!(
    loom_run_against_drop,
    loom_run_against_drop_mutants,
    fragments::run_against_drop,
    ["again", "not yet"],
    [RelaxedUnref, RelaxedShortcut]
);
model!(
    loom_renew_detached_against_late_drop,
    loom_renew_detached_against_late_drop_mutants,
    fragments::renew_detached_against_late_drop,
    ["in place", "not yet"],
    [RelaxedShortcut, RenewUnderParts]
);
model!(
    loom_last_part_against_close,
    loom_last_part_against_close_mutants,
    fragments::last_part_against_close,
    ["closer frees", "dropper frees"],
    [MissingDrain, NoSeal]
);
model!(
    loom_batch_in_a_bag_against_close,
    loom_batch_in_a_bag_against_close_mutants,
    batches::against_close,
    ["closer frees", "dropper frees"],
    [LastPageInBag, BagForgotten, NoFenceAtLast, NoHeavyFence, RelaxedBagTail, TouchAfterBulkPublish]
);
model!(
    loom_batch_in_a_bag_against_refill,
    loom_batch_in_a_bag_against_refill_mutants,
    batches::against_refill,
    ["none", "one", "both"],
    [RelaxedBagTail]
);
model!(
    loom_two_batches_and_one_bag,
    loom_two_batches_and_one_bag_mutants,
    batches::two_and_one_bag,
    ["all of them"],
    [NoFenceAtLast]
);
/// Four actors' worth of executions: 1.3 million with three preemptions.
#[test]
fn loom_two_batches_against_close() {
    let outcomes = ["closer frees", "a dropper frees"];
    models::must_pass_shallower("loom_two_batches_against_close", batches::two_against_close, &outcomes, 1);
}

#[test]
fn loom_two_batches_against_close_mutants() {
    use pp_core::sync::Mutant::{BagForgotten, NoFenceAtLast, NoHeavyFence};
    let mutants = [NoFenceAtLast, NoHeavyFence, BagForgotten];
    models::must_fail("loom_two_batches_against_close_mutants", batches::two_against_close, &mutants);
}

model!(
    loom_idle_returner_against_close,
    loom_idle_returner_against_close_mutants,
    returner::idle_against_close,
    ["closer frees", "returner frees"],
    [BagForgotten]
);
model!(
    loom_returner_against_close,
    loom_returner_against_close_mutants,
    returner::publish_against_close,
    ["closer frees", "returner frees"],
    [NoHeavyFence, NoFenceAtLast]
);
model!(
    loom_sleeping_returner_against_close,
    loom_sleeping_returner_against_close_mutants,
    returner::publish_against_close_then_sleep,
    ["closer frees", "returner frees"],
    [BagWithoutSeal, BagForgotten, NoLightFence, NoHeavyFence]
);
model!(
    loom_two_pages_of_a_returner_against_close,
    loom_two_pages_of_a_returner_against_close_mutants,
    returner::two_against_close,
    ["closer frees", "returner frees"],
    [RelaxedBagEnd, RelaxedBagTail]
);
model!(
    loom_two_pages_together_against_close,
    loom_two_pages_together_against_close_mutants,
    returner::two_together_against_close,
    ["closer frees", "returner frees"],
    [BagWithoutSeal, BagForgotten, NoLightFence, NoHeavyFence]
);
model!(
    loom_next_returner_against_close,
    loom_next_returner_against_close_mutants,
    returner::next_one_against_close,
    ["closer frees", "first frees", "second frees"],
    [BagForgotten, NoHeavyFence]
);

/// Where the system is to impose the fence and does not: a page may wait in a closed bag for the Returner's end, and no memory is touched that
/// is not ours.
#[test]
fn loom_returner_against_close_without_its_fence() {
    let outcomes = ["closer frees", "returner frees"];
    let without = |name, body| {
        pp_core::sync::Mutant::NoLightFence.run(|| models::must_pass(name, body, &outcomes));
    };
    without("loom_returner_against_close_without_its_fence", returner::publish_against_close);
    without("loom_two_pages_of_a_returner_against_close_without_its_fence", returner::two_against_close);
    // What one Returner did is the next one's by the fence of its last look alone.
    let outcomes = ["handed on", "handed on, one taken", "not free yet", "not free yet, one taken"];
    let name = "loom_returner_changes_hands_without_its_fence";
    pp_core::sync::Mutant::NoLightFence.run(|| models::must_pass(name, returner::change_of_hands, &outcomes));
}
model!(
    loom_returner_against_refill,
    loom_returner_against_refill_mutants,
    returner::publish_against_refill,
    ["none", "one", "both"],
    [RelaxedBagTail, RelaxedBagHead]
);
model!(
    loom_returner_changes_hands,
    loom_returner_changes_hands_mutants,
    returner::change_of_hands,
    ["handed on", "handed on, one taken", "not free yet", "not free yet, one taken"],
    [NoFenceAtLast]
);
model!(
    loom_statistics_against_last_page,
    loom_statistics_against_last_page_mutants,
    watching::statistics_against_last_page,
    ["none out", "one out"],
    [StatsReadTable]
);
model!(
    loom_state_against_last_page,
    loom_state_against_last_page_mutants,
    watching::state_against_last_page,
    ["closed", "closing", "open"],
    [TouchAfterPublish, TouchAfterLeave]
);
model!(
    loom_inflight_against_last_page,
    loom_inflight_against_last_page_mutants,
    watching::inflight_against_last_page,
    ["none", "one"],
    [TouchAfterLeave]
);
model!(
    loom_statistics_against_returner,
    loom_statistics_against_returner_mutants,
    watching::statistics_against_returner,
    ["in the bag", "not in the bag"],
    [RelaxedBagLen]
);
model!(
    loom_waiter_against_last_page,
    loom_waiter_against_last_page_mutants,
    watching::waiter_against_last_page,
    ["ready at once", "ready at the second look", "woken", "woken, then ready"],
    [EarlyWake, LostWake]
);
model!(loom_lock_excludes, loom_lock_excludes_mutants, lock::exclusion, ["first, second", "second, first"], [OpenLock]);
