//! The models: tests whose names begin with `loom_` or `shuttle_`, in `tests/loom*.rs` or `tests/shuttle*.rs` of a
//! crate or in modules of the crate itself.

use anyhow::{Result, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::{Package, Workspace};

/// Crates with models in their own modules; any other member joins by having a test target of the engine's name.
const WITH_INNER_MODELS: [&str; 2] = ["pp-core", "pp-provider-buddy"];

/// Features that have models behind them.
const BEHIND: [&str; 1] = ["af-xdp"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For long runs: more preemptions (loom), more schedules (shuttle)
    #[arg(long)]
    pub(crate) deep: bool,
    /// Run what has this in its name, in place of everything with the prefix `loom_` or `shuttle_`
    filter: Option<String>,
}

impl Args {
    /// What `ci` runs.
    pub(crate) const SHORT: Self = Self { deep: false, filter: None };
}

/// Explores with loom.
pub(crate) fn loom(args: &Args) -> Result<Outcome> {
    let bound = if args.deep { "5" } else { "3" };
    // Loom's own limit of 1,000 branches is hit by any loop that waits.
    explore("loom", args, &[("LOOM_MAX_PREEMPTIONS", bound), ("LOOM_MAX_BRANCHES", "20000")])
}

/// Explores with shuttle.
pub(crate) fn shuttle(args: &Args) -> Result<Outcome> {
    let iterations = if args.deep { "1000000" } else { "10000" };
    explore("shuttle", args, &[("SHUTTLE_ITERATIONS", iterations)])
}

/// Runs the models of one engine, whose name is at once the cfg, the feature and the prefix of the tests.
fn explore(engine: &str, args: &Args, env: &[(&str, &str)]) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let in_tests = |package: &Package<'_>| package.targets("test").any(|name| name.starts_with(engine));
    let takes_part = |package: &Package<'_>| {
        package.has_feature(engine) && (WITH_INNER_MODELS.contains(&package.name()) || in_tests(package))
    };
    let packages: Vec<_> = workspace.packages().filter(takes_part).collect();
    if packages.is_empty() {
        return Ok(Outcome::Skipped(format!("no crate has a feature `{engine}` and models")));
    }

    let mut command = sh::cargo();
    sh::rustflags(&mut command, &format!("--cfg {engine}"));
    // Models that must fail panic by design, a backtrace each would bury the counts.
    command.env("RUST_BACKTRACE", "0");
    env.iter().for_each(|(name, value)| sh::default_env(&mut command, name, value));
    // The cfg reaches every dependency: in the usual target folder each switch would rebuild the world.
    command.args(["test", "--profile", "loom", "--target-dir"]).arg(workspace.target.join(engine));
    for package in &packages {
        let behind = BEHIND.into_iter().filter(|feature| package.has_feature(feature));
        let features: Vec<_> = behind.chain([engine]).map(|name| format!("{}/{name}", package.name())).collect();
        command.args(["-p", package.name(), "--features", &features.join(",")]);
    }
    command.arg("--lib");
    if packages.iter().any(in_tests) {
        command.args(["--test", &format!("{engine}*")]);
    }
    command.args(["--", "--nocapture", args.filter.as_deref().unwrap_or(&format!("{engine}_"))]);

    // A suite that runs no model must not pass for one that found no fault.
    let passed = sh::run_tests(&mut command)?;
    ensure!(passed > 0, "no {engine} model ran: none is named `{engine}_*`, or the filter matches none");
    println!("{engine}: {passed} models passed");
    Ok(Outcome::Done)
}
