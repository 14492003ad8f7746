//! The workspace's chores, one short file a command. `cargo xtask help` lists them.
//!
//! A command that cannot run for want of a tool says so loudly and exits with success; a command whose child fails
//! exits with the child's code.

mod afxdp_bench;
mod bare;
mod bench;
mod capi;
mod ci;
mod doc_examples;
mod downstream;
mod features;
mod fresh;
mod fuzz;
mod icount;
mod locks;
mod miri;
mod models;
mod msrv;
mod no_std;
mod orderings;
mod package;
mod semver;
mod sh;
mod stress;
mod targets;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::sh::Outcome;

/// The workspace's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Everything a change has to pass, each step with the time it took
    Ci(ci::Args),
    /// The loom models: every interleaving up to a preemption bound
    Loom(models::Args),
    /// The crates under downstream/, tested as the README tells users to test theirs
    Downstream,
    /// The shuttle models: random and PCT schedules of larger bodies
    Shuttle(models::Args),
    /// Every ordering weakened by one step, which the loom models must notice
    Orderings(orderings::Args),
    /// The stress tests on real threads, optionally under the address sanitizer
    Stress(stress::Args),
    /// The fuzz targets, from their seeds on, for a stated time
    Fuzz(fuzz::Args),
    /// The small tests under Miri, where that component is installed
    Miri(miri::Args),
    /// Every combination of the facade's and of pp-core's features builds without a warning
    Features,
    /// Every public item has an example or a link to one
    DocExamples,
    /// The libraries that promise no_std build without their default features
    NoStd,
    /// Other machines compile the libraries, or are refused in a sentence; as far as their targets are installed
    Targets,
    /// The program without std and main runs, and no verb of a page can panic
    Bare,
    /// What would go to crates.io: every publishable crate packed, and built from its package
    Package,
    /// Whether the versions say what the interfaces did, by cargo-semver-checks where it is installed
    Semver(semver::Args),
    /// The workspace builds with the `rust-version` that it states
    Msrv,
    /// The C header is up to date, and the C programs run under AddressSanitizer
    Capi(capi::Args),
    /// The benchmarks; arguments are passed through
    Bench(bench::Args),
    /// AF_XDP forwarding beside DPDK: packets per processor-second, and TCP; as root, on veth pairs of its own
    AfxdpBench(afxdp_bench::Args),
    /// The instruction gate: instructions an iteration, counted by callgrind, against the table
    Icount(icount::Args),
    /// Clones the repository into a temporary folder and runs the README's commands there
    Fresh(fresh::Args),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Ci(args) => ci::run(&args),
        Command::Loom(args) => models::loom(&args),
        Command::Downstream => downstream::run(),
        Command::Shuttle(args) => models::shuttle(&args),
        Command::Orderings(args) => orderings::run(&args),
        Command::Stress(args) => stress::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Miri(args) => miri::run(&args),
        Command::Features => features::run(),
        Command::DocExamples => doc_examples::run(),
        Command::NoStd => no_std::run(),
        Command::Targets => targets::run(),
        Command::Bare => bare::run(),
        Command::Package => package::run(),
        Command::Semver(args) => semver::run(&args),
        Command::Msrv => msrv::run(),
        Command::Capi(args) => capi::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::AfxdpBench(args) => afxdp_bench::run(&args),
        Command::Icount(args) => icount::run(&args),
        Command::Fresh(args) => fresh::run(&args),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped(why)) => {
            sh::loud(&format!("SKIPPED: {why}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            sh::exit_code(&error)
        }
    }
}
