//! The models under loom: every interleaving and weak-memory outcome up to a preemption bound.
//!
//! Each entry names the test that must pass, the one that must fail, their body, the outcomes that its executions must
//! come to (all of them, and no other), and the defects that the same body must find.
#![cfg(all(loom, feature = "loom"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[macro_use]
mod models;

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
use models::rings;
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

// --- queues of AF_XDP
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
model!(
    loom_rings_receive_against_kernel,
    loom_rings_receive_against_kernel_mutants,
    rings::receive_against_kernel,
    ["one told, none seen", "one told and seen", "two told, one seen", "two told and seen"],
    [
        Named("entries published relaxed"),
        Named("entries read relaxed"),
        Named("entries given back relaxed"),
        Named("room found relaxed"),
    ]
);
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
model!(
    loom_rings_send_against_kernel,
    loom_rings_send_against_kernel_mutants,
    rings::send_against_kernel,
    [
        "one sent, not seen",
        "one sent and seen",
        "one sent and back",
        "two sent, one seen",
        "two sent and seen",
        "two sent and back",
    ],
    [Named("entries published relaxed"), Named("entries read relaxed")]
);
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
model!(
    loom_rings_nonsense_against_user,
    loom_rings_nonsense_against_user_mutants,
    rings::nonsense_against_user,
    ["nothing seen", "a packet", "a packet and nonsense"],
    [Named("a chunk is taken and not noted")]
);
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
model!(
    loom_rings_late_write_against_close,
    loom_rings_late_write_against_close_mutants,
    rings::late_write_against_close,
    ["the next pool's", "on its way"],
    [Named("pages come back before it is quiet"), Named("quiet is said relaxed"), Named("quiet is heard relaxed")]
);
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
model!(
    loom_rings_completion_against_close,
    loom_rings_completion_against_close_mutants,
    rings::completion_against_close,
    ["not completed, waited", "not completed, quiet at once", "completed, waited", "completed, quiet at once"],
    [Named("pages come back before it is quiet"), Named("quiet is said relaxed"), Named("quiet is heard relaxed")]
);
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
model!(
    loom_rings_forward_against_pool_drop,
    loom_rings_forward_against_pool_drop_mutants,
    rings::forward_against_pool_drop,
    ["home when it is quiet", "completed, the sender sends it home", "completed, the dropper sends it home"],
    [Named("entries published relaxed"), Named("entries read relaxed")]
);
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
model!(
    loom_rings_figures_against_both,
    loom_rings_figures_against_both_mutants,
    rings::figures_against_both,
    ["one, not received", "two, not received", "none, received", "one, received", "one too many, received"],
    [Named("a chunk is taken and not noted")]
);
