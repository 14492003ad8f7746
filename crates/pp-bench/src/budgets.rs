//! What the pool may cost beside others. `--check` reads this table, and so does whoever wonders whether we keep our word.

use crate::lineup::{Peer, Who};

/// One promise: in `case`, `ours` takes at most `at_most` times what `theirs` takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) case: &'static str,
    pub(crate) ours: Who,
    pub(crate) theirs: Who,
    pub(crate) at_most: f64,
    /// Processors below which it is not promised.
    pub(crate) processors: usize,
    /// Why this number.
    pub(crate) source: &'static str,
}

const fn of(peer: Peer, way: &'static str) -> Who {
    Who { peer, way }
}

const fn pool(way: &'static str) -> Who {
    of(Peer::Pool, way)
}

const fn budget(case: &'static str, ours: &'static str, theirs: Who, at_most: f64, source: &'static str) -> Budget {
    Budget { case, ours: pool(ours), theirs, at_most, processors: 1, source }
}

const MEMPOOL: Who = of(Peer::Mempool, "");
const STACK: Who = of(Peer::ArrayStack, "");
const QUEUE: Who = of(Peer::ArrayQueue, "");
const UNCONTENDED: Who = pool("uncontended ring");

const THREE_TIMES: &str = "at least three times as fast as DPDK, whose get and put of one go through a cache as well";
const BARE: &str = "owner check, books and statistics for 15 % of a bare array stack";
const CHECKED: &str = "no slower than DPDK, which knows nothing of its objects; a batch knows whose its pages are";
const TWICE: &str = "at least twice as fast as the queue that a Rust program would use";
const PIPELINE: &str = "no slower than DPDK with a cache on each processor";
const CONTENDED: &str = "processor time; the kernel's published contended return is 25 times its uncontended one";
const FLAT: &str = "no slower for a larger pool, as long as what goes round fits the processor's cache";

/// All promises about time but that about AF_XDP, which `cargo xtask afxdp-bench` measures. Those about instructions are in
/// `instructions.toml`, those about memory in `tests/memory.rs`.
pub(crate) const BUDGETS: &[Budget] = &[
    budget("single", "", MEMPOOL, 1.0 / 3.0, THREE_TIMES),
    budget("single", "", STACK, 1.15, BARE),
    budget("napi64", "", MEMPOOL, 1.0 / 3.0, THREE_TIMES),
    budget("napi64", "", STACK, 1.15, BARE),
    budget("bulk64", "", MEMPOOL, 1.0, CHECKED),
    budget("ring", "drop", QUEUE, 0.5, TWICE),
    budget("cross1", "Returner", MEMPOOL, 1.0, PIPELINE),
    budget("cross16", "Returner", MEMPOOL, 1.0, PIPELINE),
    budget("cross64", "Returner", MEMPOOL, 1.0, PIPELINE),
    budget("contended2", "Returner", UNCONTENDED, 3.0, CONTENDED),
    budget("contended2", "batch", UNCONTENDED, 3.0, CONTENDED),
    with_eight(budget("contended2", "drop", UNCONTENDED, 3.0, CONTENDED)),
    budget("contended4", "Returner", UNCONTENDED, 3.0, CONTENDED),
    budget("contended4", "batch", UNCONTENDED, 3.0, CONTENDED),
    with_eight(budget("contended4", "drop", UNCONTENDED, 3.0, CONTENDED)),
    budget("contended8", "Returner", UNCONTENDED, 3.0, CONTENDED),
    budget("contended8", "batch", UNCONTENDED, 3.0, CONTENDED),
    with_eight(budget("contended8", "drop", UNCONTENDED, 3.0, CONTENDED)),
    budget("growth", "32 Ki pages", pool("1 Ki pages"), 1.1, FLAT),
    budget("growth", "1 Mi pages", pool("1 Ki pages"), 1.1, FLAT),
    budget("growth-ring", "32 Ki pages", pool("1 Ki pages"), 1.1, FLAT),
    budget("growth-ring", "1 Mi pages", pool("1 Ki pages"), 1.1, FLAT),
];

/// Promised only where every thread can have a processor.
const fn with_eight(budget: Budget) -> Budget {
    Budget { processors: 8, ..budget }
}

#[cfg(test)]
mod tests {
    use super::BUDGETS;
    use crate::cases;
    use crate::lineup::{Lineup, Purpose, Stage};

    #[test]
    fn budgets_name_cases_and_contenders_that_there_are() {
        let stage = Stage { cpus: vec![0, 1], peers: Vec::new(), purpose: Purpose::Naming };
        for case in cases::all() {
            let budgets: Vec<_> = BUDGETS.iter().filter(|budget| budget.case == case.name).collect();
            if budgets.is_empty() {
                continue;
            }
            let mut lineup = Lineup::new(&stage);
            (case.enter)(&mut lineup);
            for budget in budgets {
                for who in [budget.ours, budget.theirs] {
                    assert!(lineup.contenders.iter().any(|there| there.who == who), "{}: {who}", case.name);
                }
            }
        }
        let names: Vec<_> = cases::all().into_iter().map(|case| case.name).collect();
        assert!(BUDGETS.iter().all(|budget| names.iter().any(|name| name == budget.case)));
    }
}
