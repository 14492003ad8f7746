//! Measures the pool beside its peers, in the same run and in turns.
//!
//! What is measured: [`local`] for one processor, [`cross`] for two, [`frag`] for parts of pages; how: [`mod@measure`]; against what: [`peers`].
//! Nothing here passes or fails for its time. What guards against a slower pool is the instruction gate, `icount`.

extern crate alloc;

mod cores;
mod cross;
mod frag;
mod local;
mod measure;
mod peers;
mod report;
mod spsc;

use core::time::Duration;
use std::io::Write;

use clap::Parser;

use crate::measure::{Budget, Contender, measure};
use crate::report::{Setting, Verdict};

const CASES: [&str; 19] = [
    "single",
    "napi64",
    "bulk64",
    "ring",
    "cross1",
    "cross16",
    "cross64",
    "frag256",
    "frag512",
    "frag1536",
    "frag2048",
    "frag256-64",
    "frag512-64",
    "frag1536-64",
    "frag2048-64",
    "frag256-foreign",
    "frag512-foreign",
    "frag1536-foreign",
    "frag2048-foreign",
];

/// The contenders of `case`. Those of two processors run on `other` as well.
fn contenders(case: &str, other: usize) -> Vec<Contender> {
    let mut contenders = local::contenders(case);
    contenders.extend(cross::contenders(case, other));
    contenders.extend(frag::contenders(case, other));
    contenders
}

/// Measures the pool beside its peers, in nanoseconds a page.
#[derive(Parser)]
struct Args {
    /// Only these cases
    #[arg(value_parser = CASES)]
    cases: Vec<String>,
    /// A few milliseconds a case: whether it runs, not how fast
    #[arg(long)]
    smoke: bool,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Rounds of each contender
    #[arg(long, short)]
    rounds: Option<usize>,
    /// The two processors to run on, such as 0,2; otherwise the first two allowed
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
}

fn main() {
    let args = Args::parse();
    let budget = if args.smoke {
        Budget { rounds: args.rounds.unwrap_or(3), round: Duration::from_micros(200) }
    } else {
        Budget { rounds: args.rounds.unwrap_or(101), round: Duration::from_millis(3) }
    };
    let allowed = cores::allowed();
    let cpus = if args.cpus.is_empty() { &allowed } else { &args.cpus };
    let pinned = cpus.first().is_some_and(|cpu| cores::pin(*cpu));
    let mut cases = Vec::new();
    for case in CASES.into_iter().filter(|case| args.cases.is_empty() || args.cases.iter().any(|arg| arg == case)) {
        let needs_two = case.starts_with("cross") || case.ends_with("-foreign");
        let verdict = match cpus.get(1) {
            None if needs_two => Verdict::Skipped("it needs two processors, and there is one".into()),
            other => Verdict::Measured(measure(&mut contenders(case, other.copied().unwrap_or_default()), budget)),
        };
        cases.push((case, verdict));
    }
    let setting = Setting { rounds: budget.rounds, processors: allowed.len(), pinned };
    let print = if args.json { report::json } else { report::markdown };
    // A reader that has seen enough, such as `head`, is no error.
    let _ = writeln!(std::io::stdout(), "{}", print(&setting, &cases));
}
