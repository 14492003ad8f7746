//! no_std stays no_std.

use anyhow::{Context, Result};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

/// The features of the facade that need no std: its layers, and its providers, as it has none of its own accord.
pub(crate) const FACADE: &str = "bytes,xdp,buddy,passthrough";
/// With the features that need no std.
const CRATES: [(&str, &str); 6] = [
    ("pp-core", ""),
    ("pp-frag", "bytes"),
    ("pp-xdp", ""),
    ("pp-provider-buddy", ""),
    ("pp-provider-passthrough", ""),
    ("page-pool", FACADE),
];
/// A target that has no std to lean on by mistake.
const BARE: &str = "x86_64-unknown-none";

/// Checks the libraries without default features, for a target without std where one is installed.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let packages = CRATES.iter().map(|(name, features)| {
        let package = workspace.package(name).with_context(|| format!("the workspace has no {name}"))?;
        Ok((package, *features))
    });
    let packages = packages.collect::<Result<Vec<_>>>()?;
    let bare = sh::installed_targets().iter().any(|target| target == BARE);
    if !bare {
        let note = "a dependency could still bring std in";
        sh::loud(&format!("no_std is checked on the host only, where {note} (`rustup target add {BARE}`)"));
    }
    for (package, features) in packages {
        let mut command = sh::cargo();
        command.args(["check", "-p", package.name(), "--lib", "--no-default-features"]);
        if !features.is_empty() {
            command.args(["--features", features]);
        }
        if bare {
            command.args(["--target", BARE]);
        }
        sh::run(&mut command)?;
    }
    Ok(Outcome::Done)
}
