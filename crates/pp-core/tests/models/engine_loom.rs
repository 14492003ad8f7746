//! The exhaustive engine: every interleaving and weak-memory outcome up to a preemption bound.

use super::{Report, Seen};

pub(crate) use loom::thread;

/// Whether every outcome is met.
pub(super) const EXHAUSTIVE: bool = true;
/// Preemptions a schedule may contain unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 3;
/// Loom's own limit of 1,000 branches is hit by any loop that waits.
const BRANCHES: usize = 20_000;

/// Runs `body` in every execution within the bound, `less` so many preemptions.
pub(crate) fn explore(body: fn() -> &'static str, less: usize) -> Report {
    let mut builder = loom::model::Builder::new();
    let bound = builder.preemption_bound.get_or_insert(PREEMPTIONS);
    *bound = bound.saturating_sub(less);
    if std::env::var_os("LOOM_MAX_BRANCHES").is_none() {
        builder.max_branches = BRANCHES;
    }
    let seen = Seen::default();
    let in_model = seen.clone();
    builder.check(move || in_model.record(body()));
    seen.report()
}
