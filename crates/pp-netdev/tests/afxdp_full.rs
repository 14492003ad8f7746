//! Forwarding to an interface that is up and sends nothing, as root.

#![cfg(all(feature = "af-xdp", target_os = "linux"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/keeper.rs"]
mod keeper;
#[path = "support/wire.rs"]
mod wire;

use std::thread;
use std::time::Duration;

use pp_netdev::afxdp::Directions;
use pp_netdev::{ForwardConfig, Verdict};
use pp_testbed::{Path, skip_without_rights};

use keeper::Keeper;
use wire::{Memories, check, forward};

/// What does not get into a full ring is dropped, and the kernel is asked for room once a burst and not for each packet.
#[test]
fn a_full_ring_costs_a_call_a_burst() {
    skip_without_rights!("tc");
    let path = Path::builder().build().unwrap();
    let keeper = Keeper::new(&path);
    // Slower than packets come, so that they come by whole bursts.
    let program = |_: usize| {
        |_: &mut [u8]| {
            thread::sleep(Duration::from_micros(50));
            Verdict::Forward
        }
    };
    let config = ForwardConfig::default();
    let (report, ()) = forward(
        &path,
        Memories::Shared,
        Directions::One,
        program,
        config,
        |_| {},
        || {
            let traffic = path.traffic().size(200).rate(20_000).count(60_000);
            path.generate(traffic).unwrap().wait().unwrap();
            // What is kept has to be let go, or it would be out for longer than the run waits.
            keeper.let_go();
        },
    );
    let report = report.unwrap();
    check(&report);
    let unsent = report.run.traffic.unsent;
    let wakes = report.ports[1].total(|counters| counters.wakes.get());
    assert!(unsent > 5000, "{:?}", report.run.traffic);
    assert!(wakes < unsent / 4, "{wakes} calls, {unsent} packets dropped");
}
