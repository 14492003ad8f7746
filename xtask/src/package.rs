//! What would go to crates.io: each publishable crate packed, unpacked, and built from what was packed.

use anyhow::{Result, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::{Package, Workspace};

/// Packs all of them; crates that are on no registry yet find each other in one that cargo makes for the purpose.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    for package in workspace.packages().filter(|package| package.is_published()) {
        ensure!(package.instructs_docs_rs(), "{} does not say what docs.rs should build", package.name());
    }
    let mut command = sh::cargo();
    // What is not committed yet is worth a try as well.
    command.args(["package", "--workspace", "--locked", "--allow-dirty", "--quiet", "--target-dir"]);
    command.arg(workspace.target.join("package"));
    for package in workspace.packages().filter(|package| !package.is_published()) {
        command.args(["--exclude", package.name()]);
    }
    sh::run(&mut command)?;
    let packed: Vec<_> = workspace.packages().filter(|package| package.is_published()).map(Package::name).collect();
    println!("packed, and built from the package: {}", packed.join(", "));
    Ok(Outcome::Done)
}
