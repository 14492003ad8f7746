//! The stress tests: real threads, contents and conservation checked, for a stated time.

use anyhow::{Result, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

const TEST: &str = "stress";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u32,
    /// Under the address sanitizer; needs a nightly toolchain
    #[arg(long)]
    pub(crate) asan: bool,
}

/// Runs the test target `stress` of every crate that has one, one after the other: each wants the processors for itself.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let packages: Vec<_> =
        workspace.packages().filter(|package| package.targets("test").any(|name| name == TEST)).collect();
    if packages.is_empty() {
        return Ok(Outcome::Skipped(format!("no crate has a test target `{TEST}`")));
    }

    let nightly = if args.asan { sh::installed_toolchain("nightly") } else { None };
    if args.asan && nightly.is_none() {
        let why = "the address sanitizer needs a nightly toolchain (`rustup toolchain install nightly`)";
        return Ok(Outcome::Skipped(why.into()));
    }
    for package in packages {
        let mut command = match &nightly {
            Some(nightly) => {
                let mut command = sh::cargo_of(nightly);
                sh::rustflags(&mut command, "-Zsanitizer=address");
                // With a target named, build scripts and macros of the host are built without the sanitizer.
                command.args(["test", "--target", &sh::host()?, "--target-dir"]).arg(workspace.target.join("asan"));
                command
            }
            None => {
                let mut command = sh::cargo();
                command.arg("test");
                command
            }
        };
        command.args(["--release", "-p", package.name(), "--test", TEST, "--", "--nocapture"]);
        command.env("PP_STRESS_SECONDS", args.seconds.to_string());
        ensure!(sh::run_tests(&mut command)? > 0, "the stress test of {} ran nothing", package.name());
    }
    Ok(Outcome::Done)
}
