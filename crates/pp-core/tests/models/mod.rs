//! Bodies for model checkers, on the shipped types, and what both engines need to run them.
//!
//! A body sets up a tiny pool on its main thread, spawns every actor, joins them, checks that nothing was lost, and names
//! what it saw. Its main thread does nothing that races: loom 0.7 does not explore the races of the thread that spawns
//! (tokio-rs/loom#392). A model that passes proves something only together with its mutants: the same body must fail once
//! the thing it is about is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pp_core::sync::Mutant;

#[cfg_attr(all(loom, feature = "loom"), path = "engine_loom.rs")]
#[cfg_attr(not(all(loom, feature = "loom")), path = "engine_shuttle.rs")]
mod engine;
mod units;

pub(crate) mod batches;
pub(crate) mod closing;
#[cfg(shuttle)]
pub(crate) mod crowd;
pub(crate) mod device;
pub(crate) mod fragments;
pub(crate) mod handing;
pub(crate) mod lock;
pub(crate) mod returner;
pub(crate) mod sharing;
pub(crate) mod watching;

pub(crate) use engine::{explore, thread};

/// What the executions of one model came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// How many there were.
    pub(crate) executions: usize,
    /// How often each outcome was seen.
    pub(crate) outcomes: BTreeMap<&'static str, usize>,
}

/// Collects outcomes across executions.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Report>>);

impl Seen {
    fn record(&self, outcome: &'static str) {
        let mut report = self.0.lock().unwrap();
        report.executions += 1;
        *report.outcomes.entry(outcome).or_default() += 1;
    }

    fn report(&self) -> Report {
        self.0.lock().unwrap().clone()
    }
}

/// Runs a model that must pass, with exactly these outcomes among its executions.
pub(crate) fn must_pass(name: &str, body: fn() -> &'static str, expected: &[&'static str]) {
    must_pass_shallower(name, body, expected, 0);
}

/// The same with so many preemptions less than are asked for, for a body that would take minutes.
pub(crate) fn must_pass_shallower(name: &str, body: fn() -> &'static str, expected: &[&'static str], less: usize) {
    let start = Instant::now();
    let report = explore(body, less);
    println!("{name}: {} executions in {:.1?}, {:?}", report.executions, start.elapsed(), report.outcomes);
    assert!(report.executions > 1, "{name}: nothing was explored");
    let seen: BTreeSet<_> = report.outcomes.into_keys().collect();
    let expected: BTreeSet<_> = expected.iter().copied().collect();
    // Samples need not meet them all.
    let fits = if engine::EXHAUSTIVE { seen == expected } else { seen.is_subset(&expected) };
    assert!(fits, "{name}: other outcomes than {expected:?}");
}

/// Says to a child of this program which defect it runs its one test with.
const DEFECT: &str = "PP_MODEL_DEFECT";
/// What that child exits with when its model failed, as it must.
const FOUND: i32 = 77;

/// Runs a model with each of these defects switched on; it must find them.
///
/// Each in a process of its own, which ends where the model fails: unwinding would drop what the other modelled threads
/// hold outside of any execution, and such drops use the checker's types, panic once more, and abort.
pub(crate) fn must_fail(test: &str, body: fn() -> &'static str, mutants: &[Mutant]) {
    if let Ok(wanted) = std::env::var(DEFECT) {
        let mutant = mutants.iter().find(|mutant| format!("{mutant:?}") == wanted).expect("one of this test's mutants");
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            println!(
                "found: {} ({place})",
                info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default()
            );
            std::process::exit(FOUND);
        }));
        let report = mutant.run(|| explore(body, 0));
        println!("found: nothing in {} executions", report.executions);
        return;
    }
    for mutant in mutants {
        let start = Instant::now();
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
        child.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(DEFECT, format!("{mutant:?}"));
        let output = child.output().expect("this program runs once more");
        let text = String::from_utf8_lossy(&output.stdout);
        let said = text.split("found: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or("it crashed");
        println!("{test}: {mutant:?} in {:.1?}: {said}", start.elapsed());
        // Death by a signal finds it as well: most of these defects free memory under somebody's feet.
        let found = output.status.code().is_none_or(|code| code == FOUND);
        assert!(found, "{test}: {mutant:?} survived: {said}");
    }
}

/// Two tests of one body: it passes with these outcomes, and with each of these defects it fails.
macro_rules! model {
    ($passes:ident, $body:path, [$($outcome:literal),+ $(,)?]) => {
        #[test]
        fn $passes() {
            models::must_pass(stringify!($passes), $body, &[$($outcome),+]);
        }
    };
    ($passes:ident, $fails:ident, $body:path, [$($outcome:literal),+ $(,)?], [$($mutant:ident),+ $(,)?]) => {
        model!($passes, $body, [$($outcome),+]);

        #[test]
        fn $fails() {
            models::must_fail(stringify!($fails), $body, &[$(pp_core::sync::Mutant::$mutant),+]);
        }
    };
}
