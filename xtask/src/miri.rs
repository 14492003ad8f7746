//! Miri on pp-core's unit tests: undefined behaviour and weak memory that no native run shows.

use anyhow::Result;

use crate::sh::{self, Outcome};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many schedules of each test
    #[arg(long, default_value_t = 16)]
    seeds: u32,
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Runs the tests where Miri is installed.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let Some(nightly) = sh::installed_toolchain("nightly") else {
        return Ok(Outcome::Skipped("Miri needs a nightly toolchain (`rustup toolchain install nightly`)".into()));
    };
    if !sh::works(sh::cargo_of(&nightly).args(["miri", "--version"])) {
        let why = "lacks the component (`rustup component add miri rust-src --toolchain nightly`)";
        return Ok(Outcome::Skipped(format!("Miri did not run: {nightly} {why}")));
    }
    let mut command = sh::cargo_of(&nightly);
    // Isolation off: proptest looks for the folder where it keeps failed cases.
    let flags = format!("-Zmiri-disable-isolation -Zmiri-many-seeds=0..{}", args.seeds);
    sh::default_env(&mut command, "MIRIFLAGS", flags);
    sh::default_env(&mut command, "PROPTEST_CASES", "8");
    command.args(["miri", "test", "-p", "pp-core", "--lib", "--"]).args(&args.filter);
    sh::run(&mut command)?;
    Ok(Outcome::Done)
}
