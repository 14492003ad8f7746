//! Everything a change has to pass, cheapest first. Stops at the first failure.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::sh::{self, Outcome};
use crate::{
    bare, bench, capi, doc_examples, downstream, features, fuzz, icount, locks, models, msrv, no_std, package, stress,
    targets,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these steps
    steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Step {
    Fmt,
    /// Lock files, those of bare/, downstream/ and fuzz/ as well
    Locks,
    Clippy,
    Msrv,
    NoStd,
    Targets,
    Bare,
    Features,
    Doc,
    DocExamples,
    Package,
    Capi,
    Bench,
    Icount,
    Loom,
    Downstream,
    Shuttle,
    Stress,
    Fuzz,
    /// Last, so that its summaries end the output
    Test,
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What is wrong when it fails.
    fn complaint(self) -> &'static str {
        match self {
            Self::Fmt => "the code is not formatted (cure: `cargo fmt`)",
            Self::Locks => "a lock file is stale",
            Self::Clippy => "clippy has complaints",
            Self::Msrv => "the workspace does not build with its stated rust-version",
            Self::NoStd => "a no_std library does not build without its default features",
            Self::Targets => "another machine's target does not build, or is not refused in a sentence",
            Self::Bare => "the program without std fails, or a verb of a page can panic",
            Self::Features => "a combination of features does not build, or warns",
            Self::Doc => "the documentation does not build, or warns",
            Self::DocExamples => "a public item has no example and leads to none",
            Self::Package => "a crate is not ready for a registry",
            Self::Capi => "the C header is stale, or a C program fails",
            Self::Bench => "the benchmarks do not run",
            Self::Icount => "the instruction gate does not hold",
            Self::Loom => "a loom model fails",
            Self::Downstream => "a crate that uses ours fails, tested as the README says",
            Self::Shuttle => "a shuttle model fails",
            Self::Stress => "the stress test fails",
            Self::Fuzz => "the fuzzer found a fault",
            Self::Test => "a test fails",
        }
    }

    fn run(self) -> Result<Outcome> {
        match self {
            Self::Fmt => cargo(&["fmt", "--all", "--check"]),
            Self::Locks => locks::run(),
            Self::Clippy => {
                cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
            }
            Self::Msrv => msrv::run(),
            Self::NoStd => no_std::run(),
            Self::Targets => targets::run(),
            Self::Bare => bare::run(),
            Self::Features => features::run(),
            Self::Doc => {
                let mut command = sh::cargo();
                command.env("RUSTDOCFLAGS", "-D warnings");
                done(command.args(["doc", "--workspace", "--no-deps", "--all-features"]))
            }
            Self::DocExamples => doc_examples::run(),
            Self::Package => package::run(),
            Self::Capi => capi::run(&capi::Args { bless: false }),
            Self::Bench => bench::smoke(),
            Self::Icount => icount::run(&icount::Args { cases: Vec::new(), n: 10_000, bless: false }),
            Self::Loom => models::loom(&models::Args::SHORT),
            Self::Downstream => downstream::run(),
            Self::Shuttle => models::shuttle(&models::Args::SHORT),
            Self::Stress => stress::run(&stress::Args { seconds: 5, asan: false }),
            Self::Fuzz => fuzz::run(&fuzz::Args::SHORT),
            Self::Test => {
                // Once with the features that cost something, which no default has, then everything as users get it. The
                // stress test had its step; here it only has to start.
                let costly = ["test", "-p", "pp-core", "-p", "pp-frag", "-p", "pp-xdp", "--all-features"];
                for arguments in [&costly[..], &["test", "--workspace"]] {
                    let mut command = sh::cargo();
                    sh::default_env(&mut command, "PP_STRESS_SECONDS", "1");
                    sh::run(command.args(arguments))?;
                }
                Ok(Outcome::Done)
            }
        }
    }
}

/// Runs the steps.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let wanted = |step: &Step| args.steps.is_empty() || args.steps.contains(step);
    let steps: Vec<Step> = Step::value_variants().iter().copied().filter(wanted).collect();
    let start = Instant::now();
    let mut report = String::new();
    for (at, step) in steps.iter().enumerate() {
        eprintln!("\n=== [{}/{}] {}", at + 1, steps.len(), step.name());
        let begun = Instant::now();
        let outcome = step.run().with_context(|| format!("ci stopped at `{}`: {}", step.name(), step.complaint()))?;
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("=== {} took {seconds:.1} s", step.name());
        report += &format!("{:>10} {seconds:>7.1} s", step.name());
        if let Outcome::Skipped(why) = outcome {
            sh::loud(&format!("SKIPPED `{}`: {why}", step.name()));
            report += &format!("   SKIPPED: {why}");
        }
        report += "\n";
    }
    eprintln!("\n{report}ci passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(Outcome::Done)
}

fn cargo(arguments: &[&str]) -> Result<Outcome> {
    done(sh::cargo().args(arguments))
}

fn done(command: &mut Command) -> Result<Outcome> {
    sh::run(command).map(|()| Outcome::Done)
}
