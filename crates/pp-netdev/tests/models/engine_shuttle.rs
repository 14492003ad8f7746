//! The sampling engine: random and PCT schedules, for sizes that the exhaustive one cannot reach.

use std::sync::Arc;

pub(crate) use shuttle::thread;

/// Whether every outcome is met.
pub(super) const EXHAUSTIVE: bool = false;
/// Schedules of each kind unless `SHUTTLE_ITERATIONS` says otherwise.
const ITERATIONS: usize = 2_000;
/// How many ordering points a PCT schedule is built around.
const DEPTH: usize = 3;

/// Runs `body` under random schedules and under ones that favour few, badly placed preemptions.
pub(super) fn explore(_preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok());
    let iterations = asked.unwrap_or(ITERATIONS);
    let body = Arc::new(body);
    let again = body.clone();
    shuttle::check_random(move || body(), iterations);
    shuttle::check_pct(move || again(), iterations, DEPTH);
}
