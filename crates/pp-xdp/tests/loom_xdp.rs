//! The models under loom: every interleaving and weak-memory outcome up to a preemption bound.
//!
//! Each entry names the test that must pass, the one that must fail, their body, the outcomes that its executions must
//! come to (all of them, and no other), and the defects that the same body must find.
#![cfg(all(loom, feature = "loom"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[macro_use]
mod models;

use models::{registry, returning};
use pp_core::sync::Mutant::{
    Named, NoSeal, OpenLock, PublishByStore, TouchAfterBulkPublish, TouchAfterLeave, TouchAfterPublish,
};

model!(
    loom_registry_two_register,
    loom_registry_two_register_mutants,
    registry::two_register,
    ["first, second", "second, first"],
    [OpenLock]
);
model!(
    loom_registry_lookup_against_reuse,
    loom_registry_lookup_against_reuse_mutants,
    registry::lookup_against_reuse,
    ["old, then reused", "old, still in hand", "new", "none, reused"],
    [Named("a lookup that is not counted"), Named("an id that is freed under a lookup"), OpenLock]
);
model!(
    loom_registry_last_look_against_register,
    loom_registry_last_look_against_register_mutants,
    registry::last_look_against_register,
    ["free", "in hand"],
    [OpenLock]
);
model!(
    loom_frame_against_pool_drop,
    loom_frame_against_pool_drop_mutants,
    returning::frame_against_pool_drop,
    ["returner frees", "closer frees"],
    [TouchAfterPublish, TouchAfterLeave, NoSeal, PublishByStore]
);
model!(
    loom_frame_against_unregister,
    loom_frame_against_unregister_mutants,
    returning::frame_against_unregister,
    ["returned, returner frees", "returned, closer frees", "given back, returner frees", "given back, closer frees",],
    [TouchAfterPublish, NoSeal, OpenLock]
);
model!(
    loom_bulk_against_pools_drop,
    loom_bulk_against_pools_drop_mutants,
    returning::bulk_against_pools_drop,
    ["flusher frees", "closer frees"],
    [TouchAfterBulkPublish, NoSeal]
);
model!(
    loom_order0_against_drop,
    loom_order0_against_drop_mutants,
    returning::order0_against_drop,
    ["returner sends it home", "closer sends it home"],
    [Named("a return to who has gone"), OpenLock]
);
model!(
    loom_chunk_against_alloc,
    loom_chunk_against_alloc_mutants,
    returning::chunk_against_alloc,
    ["again", "not yet"],
    [OpenLock]
);
