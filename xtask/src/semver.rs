//! Whether the version says what the interface did: cargo-semver-checks on every published library.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::{Package, Workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The git revision to compare with; otherwise the last tag
    #[arg(long)]
    baseline: Option<String>,
}

/// Compares the working tree with the baseline.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let Some(baseline) = args.baseline.clone().or_else(|| last_tag(&workspace.root)) else {
        return Ok(Outcome::Skipped("no tag: nothing to compare with; give --baseline REVISION".into()));
    };
    ensure!(exists(&workspace.root, &format!("{baseline}^{{commit}}")), "{baseline} is no revision of this repository");
    let published = workspace.packages().filter(|package| package.is_published() && package.is_library());
    let (old, new): (Vec<_>, Vec<_>) = published.partition(|package| existed(*package, &workspace.root, &baseline));
    for package in new {
        println!("{} is new since {baseline}: there is nothing to compare it with", package.name());
    }
    // Without a choice the tool would take every member.
    if old.is_empty() {
        return Ok(Outcome::Skipped(format!(
            "{baseline} has none of the published libraries; give another --baseline"
        )));
    }
    if !sh::works(sh::cargo().args(["semver-checks", "--version"])) {
        let why = "the check needs cargo-semver-checks (`cargo install cargo-semver-checks --locked`)";
        return Ok(Outcome::Skipped(why.into()));
    }
    let mut command = sh::cargo();
    command.args(["semver-checks", "check-release", "--baseline-rev", &baseline]);
    for package in old {
        command.args(["--package", package.name()]);
    }
    sh::run(&mut command)?;
    println!("the versions say what changed since {baseline}");
    Ok(Outcome::Done)
}

/// Whether the crate was there at `revision`.
fn existed(package: Package<'_>, root: &Path, revision: &str) -> bool {
    let manifest = package.folder().join("Cargo.toml");
    let manifest = manifest.strip_prefix(root).unwrap_or(&manifest).display().to_string();
    exists(root, &format!("{revision}:{manifest}"))
}

/// Whether git knows the object of this name.
fn exists(root: &Path, object: &str) -> bool {
    sh::works(Command::new("git").args(["cat-file", "-e", object]).current_dir(root))
}

fn last_tag(root: &Path) -> Option<String> {
    let tag = Command::new("git").args(["describe", "--tags", "--abbrev=0"]).current_dir(root).output().ok()?;
    let tag = String::from_utf8(tag.stdout).ok()?.trim().to_owned();
    (!tag.is_empty()).then_some(tag)
}
