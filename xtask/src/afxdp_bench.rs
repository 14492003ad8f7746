//! AF_XDP forwarding, ours beside DPDK's, measured by the program of crates/pp-testbed.

use anyhow::Result;

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

const CRATE: &str = "pp-testbed";
const PROGRAM: &str = "afxdp_bench";
/// The package and the program that forward.
const OURS: (&str, &str) = ("pagepool-cli", "pagepool");

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds of each forwarder
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Seconds that are measured in a round
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u32,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Builds both in release, and measures.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Outcome::Skipped("AF_XDP is Linux's".into()));
    }
    let workspace = Workspace::load()?;
    sh::run(sh::cargo().args(["build", "--release", "-p", OURS.0, "--bin", OURS.1]))?;
    let mut command = sh::cargo();
    command.args(["run", "--release", "-p", CRATE, "--bin", PROGRAM, "--", "--pagepool"]);
    command.arg(workspace.target.join("release").join(OURS.1));
    command.args(["--rounds", &args.rounds.to_string(), "--seconds", &args.seconds.to_string()]);
    if args.json {
        command.arg("--json");
    }
    sh::run(&mut command)?;
    Ok(Outcome::Done)
}
