//! no_std stays no_std.

use std::process::Command;

use anyhow::Result;

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

const CRATES: [&str; 2] = ["pp-core", "pp-provider-buddy"];
/// A target that has no std to lean on by mistake.
const BARE: &str = "x86_64-unknown-none";

/// Checks the libraries without default features, for a target without std where one is installed.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let packages: Vec<_> = CRATES.iter().filter_map(|name| workspace.package(name)).collect();
    let targets = sh::capture(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    let bare = targets.lines().any(|line| line == BARE);
    if !bare {
        let note = "a dependency could still bring std in";
        sh::loud(&format!("no_std is checked on the host only, where {note} (`rustup target add {BARE}`)"));
    }
    for package in packages {
        let mut command = sh::cargo();
        command.args(["check", "-p", package.name(), "--lib", "--no-default-features"]);
        if bare {
            command.args(["--target", BARE]);
        }
        sh::run(&mut command)?;
    }
    Ok(Outcome::Done)
}
