//! Bodies for loom, on the shipped types, and what runs them.
//!
//! A body sets up on its main thread, spawns every actor, joins them, checks that nothing was lost, and names what it saw. A
//! model that passes proves something only together with its mutants: the same body must fail once the thing it is about is
//! broken.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pp_core::sync::Mutant;

#[cfg_attr(not(feature = "af-xdp"), allow(dead_code, reason = "a part is the rings' alone"))]
mod units;

pub(crate) mod registry;
pub(crate) mod returning;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub(crate) mod rings;

/// Preemptions an execution may contain unless `LOOM_MAX_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 3;
/// Loom's own limit of 1,000 branches is hit by any loop that waits.
const BRANCHES: usize = 20_000;

/// One execution of a model; says what it came to.
pub(crate) type Body = fn() -> &'static str;

/// Runs `body` in every execution within the bound, and counts what they came to.
fn explore(body: Body) -> BTreeMap<&'static str, usize> {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    if std::env::var_os("LOOM_MAX_BRANCHES").is_none() {
        builder.max_branches = BRANCHES;
    }
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let record = seen.clone();
    builder.check(move || {
        let outcome = body();
        *record.lock().unwrap().entry(outcome).or_default() += 1;
    });
    let seen = seen.lock().unwrap();
    seen.clone()
}

/// Runs a model that must pass, with exactly these outcomes among its executions.
pub(crate) fn must_pass(name: &str, body: Body, expected: &[&'static str]) {
    let start = Instant::now();
    let seen = explore(body);
    let executions: usize = seen.values().sum();
    println!("{name}: {executions} executions in {:.1?}, {seen:?}", start.elapsed());
    assert!(executions > 1, "{name}: nothing was explored");
    let fits = seen.into_keys().collect::<BTreeSet<_>>() == expected.iter().copied().collect();
    assert!(fits, "{name}: other outcomes than {expected:?}");
}

/// Says to a child of this program which defect it runs its one test with.
const DEFECT: &str = "PP_MODEL_DEFECT";
/// What that child exits with when its model failed, as it must.
const FOUND: i32 = 77;

/// Runs a model with each of these defects switched on; it must find them. Each in a process of its own, which ends where
/// the model fails: unwinding would drop what other modelled threads hold outside of any execution, and abort.
pub(crate) fn must_fail(test: &str, body: Body, mutants: &[Mutant]) {
    if let Ok(wanted) = std::env::var(DEFECT) {
        let mutant = mutants.iter().find(|mutant| format!("{mutant:?}") == wanted).expect("one of this test's mutants");
        std::panic::set_hook(Box::new(|info| {
            println!("found: {}", info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default());
            std::process::exit(FOUND);
        }));
        let seen = mutant.run(|| explore(body));
        println!("found: nothing in {} executions", seen.values().sum::<usize>());
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
        // Death by a signal finds it as well: some of these defects free memory under somebody's feet.
        assert!(output.status.code().is_none_or(|code| code == FOUND), "{test}: {mutant:?} survived: {said}");
    }
}

/// Two tests of one body: it passes with these outcomes, and with each of these defects it fails.
macro_rules! model {
    ($passes:ident, $fails:ident, $body:path, [$($outcome:literal),+ $(,)?], [$($mutant:expr),+ $(,)?]) => {
        #[test]
        fn $passes() {
            models::must_pass(stringify!($passes), $body, &[$($outcome),+]);
        }

        #[test]
        fn $fails() {
            models::must_fail(stringify!($fails), $body, &[$($mutant),+]);
        }
    };
}
