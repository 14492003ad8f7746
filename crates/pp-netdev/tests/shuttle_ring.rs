//! The models under shuttle: sampled schedules of sizes that loom cannot explore, three parties that sleep among them.
#![cfg(all(shuttle, feature = "shuttle"))]
#![allow(
    dead_code,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests have std; each engine runs its part"
)]

#[macro_use]
mod models;

use models::*;
use pp_netdev::ring::Left;

model!(
    shuttle_ring_rung_through,
    shuttle_ring_rung_through_mutants,
    || {
        rung_through(Size { descriptors: 2, packets: 8 });
        "all through".into()
    },
    ["all through"],
    ["a sleep without a last look"]
);

model!(
    shuttle_ring_driver_and_device,
    shuttle_ring_driver_and_device_mutants,
    || {
        driver_and_device(Size { descriptors: 3, packets: 12 });
        "all through".into()
    },
    ["all through"],
    ["a sleep without a last look"]
);

// What the device completed, and what it left.
model!(
    shuttle_ring_device_leaves,
    shuttle_ring_device_leaves_mutants,
    || format!("{:?}", device_leaves(Size { descriptors: 5, packets: 5 }, 3, Left::Abandoned).0),
    ["[Done, Done, Done, Failed, Failed]"],
    ["abandoning before the device left", "a sleep without a last look"]
);

// How many pages were taken out before the last end was dropped.
model!(
    shuttle_ring_ends_drop,
    shuttle_ring_ends_drop_mutants,
    || ends_drop(Size { descriptors: 6, packets: 6 }).to_string(),
    ["0", "1"],
    ["a ring that ends with its pages", "a page that is taken and stays"]
);

model!(
    shuttle_bell,
    shuttle_bell_mutants,
    || {
        bell(4);
        "rung".into()
    },
    ["rung"],
    ["a sleep without a last look"]
);

// A queue is restarted among more frames than its rings have buffers for, with a page of the old pool elsewhere.
model!(
    shuttle_restart,
    shuttle_restart_mutants,
    || restart(6, Reachable::Yes, Elsewhere::APage).split(':').next().unwrap_or_default().to_owned(),
    ["restarted"],
    ["a request that is not counted", "a start that does not wait"]
);
