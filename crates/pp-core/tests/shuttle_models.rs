//! The models under shuttle: random schedules and PCT ones, also of a crowd that loom could not finish.
//!
//! `cargo xtask shuttle` runs them; `SHUTTLE_ITERATIONS` is how many schedules of each kind. Shuttle is sequentially
//! consistent, so the defects here are wrong protocols, never wrong orderings; those are loom's.
#![cfg(all(shuttle, feature = "shuttle"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[macro_use]
mod models;

use models::{batches, closing, crowd, device, fragments, handing, lock, returner, sharing, watching};

model!(
    shuttle_crowd_on_a_pool_with_dma,
    shuttle_crowd_on_a_pool_with_dma_mutants,
    crowd::pool_with_dma,
    ["all home"],
    [NoSeal, BagWithoutSeal, BagForgotten, ReleaseWithoutClaim, LoserRuns, LoserTouches, ClaimWithoutGeneration]
);
model!(
    shuttle_crowd_on_a_full_ring,
    shuttle_crowd_on_a_full_ring_mutants,
    crowd::full_ring,
    ["all home"],
    [PublishByStore]
);
model!(
    shuttle_batch_in_a_bag_against_close,
    shuttle_batch_in_a_bag_against_close_mutants,
    batches::against_close,
    ["closer frees", "dropper frees"],
    [BagForgotten]
);
model!(
    shuttle_put_against_refill,
    shuttle_put_against_refill_mutants,
    handing::two_returners_one_slot,
    ["none again, ring was full", "one again", "both again", "one again, ring was full", "both again, ring was full"],
    [PublishByStore]
);
model!(
    shuttle_seal_against_publish,
    shuttle_seal_against_publish_mutants,
    closing::seal_against_publish,
    ["a dropper frees", "closer frees"],
    [NoSeal, PublishByStore]
);
model!(
    shuttle_scrub_against_late_return,
    shuttle_scrub_against_late_return_mutants,
    device::scrub_against_late_return,
    ["closer frees", "dropper frees"],
    [UnclaimedUnmap, LoserTouches, LoserRuns]
);
model!(
    shuttle_scrub_against_second_pool,
    shuttle_scrub_against_second_pool_mutants,
    device::scrub_against_second_pool,
    ["not yet", "the second pool has it"],
    [ClaimWithoutGeneration, LoserRuns]
);
model!(
    shuttle_two_releases_against_close,
    shuttle_two_releases_against_close_mutants,
    sharing::two_releases_against_close,
    ["a releaser frees", "closer frees"],
    [ReleaseWithoutClaim]
);
model!(
    shuttle_returner_against_close,
    shuttle_returner_against_close_mutants,
    returner::publish_against_close_then_sleep,
    ["closer frees", "returner frees"],
    [BagWithoutSeal, BagForgotten]
);
model!(shuttle_two_pages_of_a_returner_against_close, returner::two_against_close, ["closer frees", "returner frees"]);
model!(
    shuttle_returner_changes_hands,
    shuttle_returner_changes_hands_mutants,
    returner::change_of_hands,
    ["handed on", "handed on, one taken", "not free yet", "not free yet, one taken"],
    [BagForgotten]
);
model!(
    shuttle_waiter_against_last_page,
    shuttle_waiter_against_last_page_mutants,
    watching::waiter_against_last_page,
    ["ready at once", "ready at the second look", "woken", "woken, then ready"],
    [EarlyWake, LostWake]
);
model!(shuttle_ring_hands_over, handing::one_page, ["handed over", "not yet"]);
model!(
    shuttle_put_against_refill_one_slot_left,
    shuttle_put_against_refill_one_slot_left_mutants,
    handing::two_returners_one_slot_left,
    ["none sent home", "one sent home"],
    [PublishByStore]
);
model!(
    shuttle_last_page_against_close,
    shuttle_last_page_against_close_mutants,
    closing::last_page,
    ["closer frees", "dropper frees"],
    [NoSeal, PublishByStore]
);
model!(
    shuttle_last_batch_against_close,
    shuttle_last_batch_against_close_mutants,
    closing::last_batch,
    ["closer frees", "dropper frees"],
    [NoSeal]
);
model!(shuttle_two_last_pages, closing::two_last_pages, ["first frees", "second frees"]);
model!(
    shuttle_try_put_against_close,
    shuttle_try_put_against_close_mutants,
    closing::try_put,
    ["accepted", "given back"],
    [NoSeal]
);
model!(shuttle_tidying_against_leaving, device::tidying_against_leaving, ["consumer frees", "leaver frees"]);
model!(shuttle_drop_against_unshare, sharing::drop_against_unshare, ["got it back", "still shared"]);
model!(shuttle_last_holder_against_refill, sharing::last_holder_against_refill, ["again", "not yet"]);
model!(
    shuttle_release_against_drop_and_close,
    sharing::release_against_drop_and_close,
    ["closer frees", "dropper frees", "releaser frees"]
);
model!(shuttle_two_releases, shuttle_two_releases_mutants, sharing::two_releases, ["left"], [ReleaseWithoutClaim]);
model!(shuttle_detached_against_close, sharing::detached_against_close, ["closer frees", "dropper frees"]);
model!(shuttle_detaching_against_close, sharing::detaching_against_close, ["closer frees", "dropper frees"]);
model!(shuttle_page_out_against_reader, sharing::page_out_against_reader, ["left", "went round"]);
model!(shuttle_two_last_parts, fragments::two_last_parts, ["again", "not yet"]);
model!(
    shuttle_drain_against_drop,
    shuttle_drain_against_drop_mutants,
    fragments::drain_against_drop,
    ["was the last", "again", "not yet"],
    [MissingDrain]
);
model!(shuttle_clone_against_drop, fragments::clone_against_drop, ["again", "not yet"]);
model!(shuttle_split_against_drop, fragments::split_against_drop, ["again", "not yet"]);
model!(
    shuttle_renew_against_late_drop,
    shuttle_renew_against_late_drop_mutants,
    fragments::renew_against_late_drop,
    ["in place", "again", "not yet"],
    [RenewUnderParts]
);
model!(shuttle_rejoin_against_drop, fragments::rejoin_against_drop, ["in place", "again", "not yet"]);
model!(shuttle_clone_against_renewal, fragments::clone_against_renewal, ["in place", "again", "not yet"]);
model!(shuttle_run_against_drop, fragments::run_against_drop, ["again", "not yet"]);
model!(
    shuttle_renew_detached_against_late_drop,
    shuttle_renew_detached_against_late_drop_mutants,
    fragments::renew_detached_against_late_drop,
    ["in place", "not yet"],
    [RenewUnderParts]
);
model!(
    shuttle_last_part_against_close,
    shuttle_last_part_against_close_mutants,
    fragments::last_part_against_close,
    ["closer frees", "dropper frees"],
    [MissingDrain, NoSeal]
);
model!(
    shuttle_idle_returner_against_close,
    shuttle_idle_returner_against_close_mutants,
    returner::idle_against_close,
    ["closer frees", "returner frees"],
    [BagForgotten]
);
model!(shuttle_returner_against_refill, returner::publish_against_refill, ["none", "one", "both"]);
model!(shuttle_statistics_against_last_page, watching::statistics_against_last_page, ["none out", "one out"]);
model!(shuttle_state_against_last_page, watching::state_against_last_page, ["closed", "closing", "open"]);
model!(shuttle_statistics_against_returner, watching::statistics_against_returner, ["in the bag", "not in the bag"]);
model!(shuttle_lock_excludes, lock::exclusion, ["first, second", "second, first"]);
model!(shuttle_inflight_against_last_page, watching::inflight_against_last_page, ["none", "one"]);
model!(shuttle_last_page_written, closing::last_page_written, ["closer frees", "dropper frees"]);
