//! The fuzz targets in `fuzz/`, a workspace of its own: LLVM's fuzzer chooses bytes, and looks for those that reach new code.
//!
//! Its instrumentation is a pass of LLVM that the stable compiler has as well; only the address sanitizer needs a nightly toolchain. What it
//! finds worth keeping goes into the seeds, which ordinary tests run too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

pub(crate) const FOLDER: &str = "fuzz";
/// Each target with its seeds.
const TARGETS: [(&str, &str); 1] = [("af_xdp", "crates/pp-xdp/tests/corpus/af_xdp")];
/// Counts each edge and traces comparisons, as `cargo fuzz` has it.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u32,
    /// Under the address sanitizer; needs a nightly toolchain
    #[arg(long)]
    pub(crate) asan: bool,
    /// Only targets whose names contain this
    filter: Option<String>,
}

impl Args {
    /// What `ci` runs.
    pub(crate) const SHORT: Self = Self { seconds: 5, asan: false, filter: None };
}

/// Builds the targets and runs each of them.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if !sh::works(Command::new(&compiler).arg("--version")) {
        return Ok(Outcome::Skipped(format!("the fuzzer is C++, and there is no compiler `{compiler}` for it")));
    }
    let nightly = if args.asan { sh::installed_toolchain("nightly") } else { None };
    if args.asan && nightly.is_none() {
        let why = "the address sanitizer needs a nightly toolchain (`rustup toolchain install nightly`)";
        return Ok(Outcome::Skipped(why.into()));
    }

    let (folder, host) = (workspace.root.join(FOLDER), sh::host()?);
    let target = workspace.target.join(FOLDER).join(if args.asan { "asan" } else { "plain" });
    sh::run(sh::cargo().current_dir(&folder).args(["fmt", "--check"]))?;
    let mut build = nightly.as_ref().map_or_else(sh::cargo, |nightly| sh::cargo_of(nightly));
    sh::rustflags(&mut build, &format!("{COVERAGE}{}", if args.asan { " -Zsanitizer=address" } else { "" }));
    // With a target named, build scripts and macros of the host are built without all that.
    build.args(["build", "--locked", "--release", "--target", &host, "--target-dir"]).arg(&target);
    sh::run(build.current_dir(&folder))?;

    let wanted = |name: &str| args.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    for (name, seeds) in TARGETS.into_iter().filter(|(name, _)| wanted(name)) {
        let program = target.join(&host).join("release").join(name);
        fuzz(&program, &workspace.root.join(seeds), &workspace.target.join(FOLDER).join(name), args.seconds)?;
    }
    Ok(Outcome::Done)
}

/// Runs one target, from its seeds and what earlier runs found, which stays in `own`.
fn fuzz(program: &Path, seeds: &Path, own: &Path, seconds: u32) -> Result<()> {
    let (found, failed) = (own.join("found"), own.join("failed"));
    for folder in [&found, &failed] {
        fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))?;
    }
    let mut command = Command::new(program);
    command.args([&found, &PathBuf::from(seeds)]);
    command.args(["-max_len=4096", "-timeout=20", "-verbosity=1", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", failed.display()));
    let cure = || {
        format!(
            "the bytes are in {}; the program runs them again when it is given that file, and the tests do once it lies in {}",
            failed.display(),
            seeds.display()
        )
    };
    sh::run(&mut command).with_context(cure)
}
