//! The exhaustive engine: every interleaving and weak-memory outcome up to a preemption bound.

pub(crate) use loom::thread;

/// Whether every outcome is met.
pub(super) const EXHAUSTIVE: bool = true;
/// Preemptions a schedule may contain unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 3;
/// Loom's own limit of 1,000 branches is near for bodies that wait.
const BRANCHES: usize = 20_000;

/// Runs `body` in every execution within the bound, or within `preemptions` if those are fewer.
pub(super) fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = builder.preemption_bound.unwrap_or(PREEMPTIONS);
    builder.preemption_bound = Some(bound.min(preemptions));
    if std::env::var_os("LOOM_MAX_BRANCHES").is_none() {
        builder.max_branches = BRANCHES;
    }
    builder.check(body);
}
