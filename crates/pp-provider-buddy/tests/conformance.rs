//! The buddy provider keeps pp-core's contract, whatever its memory, orders, nodes and reserves.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use pp_core::NodeId;
use pp_core::conformance::{self, Obligation, Passed};
use pp_provider_buddy::Buddy;

fn memory(bytes: usize) -> &'static mut [u8] {
    Box::leak(vec![0; bytes].into_boxed_slice())
}

fn not_shown(passed: &Passed) -> Vec<Obligation> {
    passed.not_shown.iter().map(|(obligation, _)| *obligation).collect()
}

#[test]
fn over_static_memory() {
    let passed = conformance::provider(|| Buddy::static_memory(memory(130 * 4096)).unwrap()).unwrap();
    assert!((129..=130).contains(&passed.capacity));
    assert_eq!(not_shown(&passed), [Obligation::Premapped, Obligation::DeviceLost]);
}

#[test]
fn on_two_nodes_with_a_reserve() {
    let make = || {
        let builder = Buddy::builder().node(NodeId(0)).static_memory(memory(101 * 4096));
        builder.node(NodeId(1)).static_memory(memory(61 * 4096)).reserve_units(8).build().unwrap()
    };
    assert!((160..=162).contains(&conformance::provider(make).unwrap().capacity));
}

#[cfg(all(feature = "std", target_os = "linux"))]
#[test]
fn over_mapped_memory_and_over_memory_that_others_may_write() {
    let mapped = || Buddy::builder().anonymous(64 * 4096).max_order(3).build().unwrap();
    let exposed = || Buddy::builder().exposed_memfd(64 * 4096).build().unwrap();
    assert_eq!(conformance::provider(mapped).unwrap().capacity, 64);
    assert_eq!(conformance::provider(exposed).unwrap().capacity, 64);
}
