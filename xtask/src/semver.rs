//! Whether the version says what the interface did: cargo-semver-checks on every published library.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::sh::{self, Outcome};
use crate::workspace::{Package, Workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The git revision to compare with; otherwise the last tag, or without one the last commit
    #[arg(long)]
    baseline: Option<String>,
}

/// Compares the working tree with the baseline.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    if !sh::works(sh::cargo().args(["semver-checks", "--version"])) {
        let why = "the check needs cargo-semver-checks (`cargo install cargo-semver-checks --locked`)";
        return Ok(Outcome::Skipped(why.into()));
    }
    let baseline = args.baseline.clone().or_else(last_tag).unwrap_or_else(|| "HEAD".into());
    let workspace = Workspace::load()?;
    let mut command = sh::cargo();
    command.args(["semver-checks", "check-release", "--baseline-rev", &baseline]);
    for package in workspace.packages().filter(|package| package.is_published() && package.is_library()) {
        if existed(package, &workspace.root, &baseline) {
            command.args(["--package", package.name()]);
        } else {
            println!("{} is new since {baseline}: there is nothing to compare it with", package.name());
        }
    }
    sh::run(&mut command)?;
    println!("the versions say what changed since {baseline}");
    Ok(Outcome::Done)
}

/// Whether the crate was there at `revision`.
fn existed(package: Package<'_>, root: &Path, revision: &str) -> bool {
    let manifest = package.folder().join("Cargo.toml");
    let manifest = manifest.strip_prefix(root).unwrap_or(&manifest).display().to_string();
    sh::works(Command::new("git").args(["cat-file", "-e", &format!("{revision}:{manifest}")]).current_dir(root))
}

fn last_tag() -> Option<String> {
    let tag = Command::new("git").args(["describe", "--tags", "--abbrev=0"]).output().ok()?;
    let tag = String::from_utf8(tag.stdout).ok()?.trim().to_owned();
    (!tag.is_empty()).then_some(tag)
}
