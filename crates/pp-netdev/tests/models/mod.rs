//! Bodies for model checkers, on the shipped rings and bells, and what both engines need to run them.
//!
//! A body sets up on its main thread, spawns every actor, joins them, checks that no page was lost, and says what it came
//! to. Its main thread does nothing that races. A model that passes proves something only together with its defects:
//! the same body must fail once the thing it is about is broken.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pp_core::sync::Mutant;

mod bench;
#[cfg_attr(all(loom, feature = "loom"), path = "engine_loom.rs")]
#[cfg_attr(not(all(loom, feature = "loom")), path = "engine_shuttle.rs")]
mod engine;
mod parties;
mod restart;

pub(crate) use bench::Size;
pub(crate) use engine::thread;
pub(crate) use parties::*;
pub(crate) use restart::*;

/// One execution of a model; says what it came to.
pub(crate) type Body = fn() -> String;

/// How often each outcome was seen.
type Seen = Arc<Mutex<BTreeMap<String, u64>>>;

/// Runs `body` in all the executions of the engine, of so many preemptions at most where it counts them, and returns how many there were and what they came to.
fn explore(body: Body, preemptions: usize) -> (u64, BTreeMap<String, u64>) {
    let seen = Seen::default();
    let record = seen.clone();
    engine::explore(preemptions, move || {
        let outcome = body();
        *record.lock().unwrap().entry(outcome).or_default() += 1;
    });
    let seen = seen.lock().unwrap().clone();
    (seen.values().sum(), seen)
}

/// Runs a model that must pass, with exactly these outcomes among its executions.
pub(crate) fn must_pass(name: &str, body: Body, preemptions: usize, expected: &[&str]) {
    let start = Instant::now();
    let (executions, seen) = explore(body, preemptions);
    println!("{name}: {executions} executions in {:.1?}, {seen:?}", start.elapsed());
    assert!(executions > 1, "{name}: nothing was explored");
    let fits = seen.keys().all(|outcome| expected.contains(&outcome.as_str()));
    // Samples need not meet them all.
    assert!(fits && (seen.len() == expected.len() || !engine::EXHAUSTIVE), "{name}: other outcomes than {expected:?}");
}

/// Says to a child of this program which defect it runs its one test with.
const DEFECT: &str = "PP_MODEL_DEFECT";
/// What that child exits with when its model failed, as it must.
const FOUND: i32 = 77;

/// Runs a model with each of these defects switched on; it must find them.
///
/// Each in a process of its own, which ends where the model fails: unwinding would drop the ends that other modelled
/// threads hold, outside of any execution, and abort.
pub(crate) fn must_fail(test: &str, body: Body, preemptions: usize, defects: &[&'static str]) {
    if let Ok(wanted) = std::env::var(DEFECT) {
        let defect = defects.iter().find(|defect| **defect == wanted).expect("one of this test's defects");
        std::panic::set_hook(Box::new(|info| {
            println!("found: {}", info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default());
            std::process::exit(FOUND);
        }));
        let (executions, _) = Mutant::Named(defect).run(|| explore(body, preemptions));
        println!("found: nothing in {executions} executions");
        return;
    }
    for defect in defects {
        let start = Instant::now();
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
        child.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(DEFECT, defect);
        let output = child.output().expect("this program runs once more");
        let text = String::from_utf8_lossy(&output.stdout);
        let said = text.split("found: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or("it crashed");
        println!("{test}: {defect} in {:.1?}: {said}", start.elapsed());
        assert!(output.status.code() == Some(FOUND), "{test}: {defect} survived: {said}");
    }
}

/// Two tests of one body: it passes with these outcomes, and with each of these defects it fails. A body of many steps says how many
/// preemptions are enough.
macro_rules! model {
    ($passes:ident, $fails:ident, $body:expr, [$($outcome:literal),+ $(,)?], [$($defect:literal),+ $(,)?]) => {
        model!($passes, $fails, $body, preemptions: usize::MAX, [$($outcome),+], [$($defect),+]);
    };
    ($passes:ident, $fails:ident, $body:expr, preemptions: $preemptions:expr, [$($outcome:literal),+ $(,)?], [$($defect:literal),+ $(,)?]) => {
        #[test]
        fn $passes() {
            models::must_pass(stringify!($passes), $body, $preemptions, &[$($outcome),+]);
        }

        #[test]
        fn $fails() {
            models::must_fail(stringify!($fails), $body, $preemptions, &[$($defect),+]);
        }
    };
}
