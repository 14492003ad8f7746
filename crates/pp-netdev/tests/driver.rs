//! The published example is run, and what it says of itself is what happened.
#![cfg(not(any(loom, shuttle)))]

#[allow(dead_code, reason = "its main is the example's")]
#[path = "../examples/driver.rs"]
mod driver;

use driver::{Counts, Frames, drive};

#[test]
fn three_branches_and_an_unload_with_pages_out() {
    const FRAMES: u64 = if cfg!(miri) { 400 } else { 10_000 };
    for kept in [0, 1, 16] {
        let (counts, at_unload, stats) = drive(Frames(FRAMES), kept).unwrap();
        assert_eq!(counts, Counts { errors: FRAMES / 4, dropped: FRAMES / 4, passed: FRAMES / 2 });
        assert_eq!(at_unload, kept, "exactly what the stack kept");
        // The first two branches are the direct way, the third the shared one.
        assert_eq!(stats.recycle.cached as u64 + stats.recycle.cache_full as u64, FRAMES / 2);
        assert_eq!((stats.allocations(), stats.hold), (stats.puts(), stats.released), "everything came home");
        assert_eq!(stats.inflight(), 0);
    }
}
