//! The sampling engine: random and PCT schedules, for sizes that the exhaustive one cannot reach.

use super::{Report, Seen};

pub(crate) use shuttle::thread;

/// Whether every outcome is met.
pub(super) const EXHAUSTIVE: bool = false;
/// Schedules of each kind unless `SHUTTLE_ITERATIONS` says otherwise.
const ITERATIONS: usize = 2_000;
/// How many ordering points a PCT schedule is built around.
const DEPTH: usize = 3;

/// Runs `body` under random schedules and under ones that favour few, badly placed preemptions. There is nothing to have `less` of.
pub(crate) fn explore(body: fn() -> &'static str, _less: usize) -> Report {
    let asked = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok());
    let iterations = asked.unwrap_or(ITERATIONS);
    let seen = Seen::default();
    let (random, pct) = (seen.clone(), seen.clone());
    shuttle::check_random(move || random.record(body()), iterations);
    shuttle::check_pct(move || pct.record(body()), iterations, DEPTH);
    seen.report()
}
