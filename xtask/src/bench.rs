//! The benchmarks of crates/pp-bench.

use anyhow::Result;

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

pub(crate) const CRATE: &str = "pp-bench";
/// The other crate that measures, beside the system's allocator.
const ALLOCATORS: &str = "pp-allocators";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of the benchmark program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// Runs them in release.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    if Workspace::load()?.package(CRATE).is_none() {
        return Ok(Outcome::Skipped(format!("there is no crate {CRATE}")));
    }
    let mut command = sh::cargo();
    sh::run(command.args(["run", "--release", "-p", CRATE, "--"]).args(&args.args))?;
    Ok(Outcome::Done)
}

/// Whether all programs that measure still run; how fast is not looked at.
pub(crate) fn smoke() -> Result<Outcome> {
    sh::run(sh::cargo().args(["run", "--release", "-p", ALLOCATORS, "--", "--smoke"]))?;
    run(&Args { args: vec!["--smoke".into()] })
}
