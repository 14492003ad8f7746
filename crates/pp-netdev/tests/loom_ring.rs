//! The models under loom: every interleaving and weak-memory outcome up to a preemption bound.
//!
//! Each entry names the test that must pass, the one that must fail, their body, the outcomes that its executions must
//! come to (all of them, and no other), and the defects that the same body must find.
#![cfg(all(loom, feature = "loom"))]
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

// Posted, worked on, taken back; the one descriptor is used a second time.
model!(
    loom_ring_there_and_back,
    loom_ring_there_and_back_mutants,
    || format!("{:?}", there_and_back(Size { descriptors: 1, packets: 2 })),
    ["(1, 0, 0)", "(1, 1, 0)", "(1, 1, 1)", "(2, 1, 1)", "(2, 2, 1)", "(2, 2, 2)"],
    [
        "posting without Acquire",
        "posting without Release",
        "working without Acquire",
        "completing without Release",
        "taking without Acquire",
        "emptying without Release",
    ]
);

// How often the driver and the device slept.
model!(
    loom_ring_driver_and_device,
    loom_ring_driver_and_device_mutants,
    || format!("{:?}", driver_and_device(Size { descriptors: 1, packets: 1 })),
    ["[0, 0]", "[0, 1]", "[0, 2]", "[1, 0]", "[1, 1]", "[1, 2]"],
    ["a ring without a fence", "a sleep without a fence", "a sleep without a last look"]
);

// Whether the room was there at once or was waited for.
model!(
    loom_ring_room_is_made,
    loom_ring_room_is_made_mutants,
    || room_is_made().to_string(),
    ["0", "1"],
    ["a ring without a fence", "a sleep without a fence", "a sleep without a last look", "emptying without Release"]
);

// What was completed is never taken for abandoned. The number is how often the cleaner slept.
model!(
    loom_ring_device_leaves,
    loom_ring_device_leaves_mutants,
    || format!("{:?}", device_leaves(Size { descriptors: 2, packets: 2 }, 1, Left::Abandoned)),
    [
        "([Done, Failed], Some(Abandoned), 0)",
        "([Done, Failed], Some(Abandoned), 1)",
        "([Done, Failed], Some(Abandoned), 2)",
    ],
    [
        "leaving without Release",
        "looking who left without Acquire",
        "abandoning before the device left",
        "completing without Release",
        "a ring without a fence",
        "a sleep without a fence",
    ]
);

model!(
    loom_ring_device_finishes,
    loom_ring_device_finishes_mutants,
    || format!("{:?}", device_leaves(Size { descriptors: 1, packets: 1 }, 1, Left::Complete)),
    ["([Done], Some(Complete), 0)", "([Done], Some(Complete), 1)", "([Done], Some(Complete), 2)"],
    ["looking who left without Acquire", "abandoning before the device left", "taking without Acquire"]
);

model!(
    loom_ring_device_leaves_early,
    loom_ring_device_leaves_early_mutants,
    || device_leaves_early().into(),
    ["neither", "begun", "taken back", "begun and taken back"],
    ["abandoning without Acquire", "abandoning before the device left", "leaving without Release"]
);

// How many pages were taken out before the last end was dropped.
model!(
    loom_ring_ends_drop,
    loom_ring_ends_drop_mutants,
    || ends_drop(Size { descriptors: 2, packets: 2 }).to_string(),
    ["0", "1"],
    ["a ring that ends with its pages", "a page that is taken and stays"]
);

// How often the waiter looked: twice a sleep at most, and a wake-up from each of two ringers.
model!(
    loom_bell,
    loom_bell_mutants,
    || bell(2).to_string(),
    ["1", "2", "3", "4"],
    [
        "a ring without a fence",
        "a sleep without a fence",
        "a sleep without a last look",
        "announcing a sleep without Release",
        "waking without Acquire",
    ]
);

// A queue is restarted while a page of the old pool comes back from elsewhere: how it went, in which pool's pages the frame
// came, and whether the late page found the old pool open. The device may be gone before it is asked. A restart is some hundred
// steps of three threads: two preemptions are what can be explored of these models, in a minute.
model!(
    loom_restart_late_return,
    loom_restart_late_return_mutants,
    || restart(1, Reachable::Yes, Elsewhere::APage),
    preemptions: 2,
    [
        "gone: 1 old, 0 new, late page after the close",
        "gone: 1 old, 0 new, late page before the close",
        "restarted: 0 old, 1 new, late page after the close",
        "restarted: 0 old, 1 new, late page before the close",
    ],
    ["a start that does not wait", "a replaced pool that is never closed"]
);

// The frames are more than the old ring has buffers for, so the device waits for the restart, if not before.
model!(
    loom_restart_of_a_full_ring,
    loom_restart_of_a_full_ring_mutants,
    || restart(2, Reachable::Yes, Elsewhere::Nothing),
    preemptions: 2,
    ["restarted: 0 old, 2 new", "restarted: 1 old, 1 new"],
    ["a request that is counted before it is made", "a request that is not counted", "a start that does not wait"]
);

// The device refuses, and the frame comes in a page of the old pool.
model!(
    loom_restart_refused,
    loom_restart_refused_mutants,
    || restart(1, Reachable::No, Elsewhere::Nothing),
    preemptions: 2,
    ["gone: 1 old, 0 new", "refused: 1 old, 0 new"],
    ["a failed start that does not go back"]
);
