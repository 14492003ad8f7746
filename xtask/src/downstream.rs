//! What a user of the crates does with their own: the crates under `downstream/`, which are no members of the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

const FOLDER: &str = "downstream";
/// How the README tells users to check their own code. Run as it stands there.
const CHECK: &str = r#"RUSTFLAGS="--cfg loom" cargo test --features loom"#;

/// Tests each of them on real threads, and then as the README says.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let readme = fs::read_to_string(workspace.root.join("README.md")).context("README.md could not be read")?;
    ensure!(readme.contains(CHECK), "README.md no longer tells users to check their code by `{CHECK}`");
    for folder in folders(&workspace)? {
        // Each flag its own folder: the cfg rebuilds every dependency.
        let target = |flavour| workspace.target.join(FOLDER).join(flavour);
        let cargo = |arguments: &[&str]| {
            let mut command = sh::cargo();
            command.args(arguments).current_dir(&folder).env("CARGO_TARGET_DIR", target("plain"));
            sh::run(&mut command)
        };
        cargo(&["fmt", "--check"])?;
        cargo(&["clippy", "--locked", "--all-targets", "--", "-D", "warnings"])?;
        cargo(&["test", "--locked", "--quiet"])?;
        sh::run(&mut bash(CHECK, &folder, &target("loom")))?;
        let tests = sh::capture(&mut bash(&format!("{CHECK} -- --list"), &folder, &target("loom")))?;
        ensure!(tests.contains("loom_"), "`{CHECK}` has no test named `loom_*` in {}", folder.display());
    }
    Ok(Outcome::Done)
}

/// The crates' folders.
pub(crate) fn folders(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(workspace.root.join(FOLDER))?.collect::<Result<Vec<_>, _>>()?;
    let mut folders: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    folders.sort();
    ensure!(!folders.is_empty(), "{FOLDER}/ is empty");
    Ok(folders)
}

fn bash(line: &str, folder: &Path, target: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euc", line]).current_dir(folder).env("CARGO_TARGET_DIR", target).env("RUST_BACKTRACE", "0");
    // What `cargo run` leaves behind belongs to xtask.
    command.env_remove("CARGO_MANIFEST_DIR");
    command
}
