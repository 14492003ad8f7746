//! The null case keeps pp-core's contract; it never runs dry.
#![cfg(not(any(loom, shuttle)))]

use pp_core::conformance::{self, Obligation};
use pp_provider_passthrough::PassThrough;

#[test]
fn every_size_conforms() {
    for (unit_bytes, max_order) in [(4096, 10), (64, 0), (2048, 4)] {
        let passed = conformance::provider(|| PassThrough::with_sizes(unit_bytes, max_order).unwrap()).unwrap();
        let not_shown: Vec<_> = passed.not_shown.iter().map(|(obligation, _)| *obligation).collect();
        assert_eq!(passed.capacity, 1024);
        assert_eq!(not_shown, [Obligation::Failure, Obligation::Premapped, Obligation::DeviceLost]);
    }
}
