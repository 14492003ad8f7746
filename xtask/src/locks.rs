//! Every lock file fits the manifests beside it: a stale one shows here, in seconds, and not in a build much later.

use std::process::Stdio;

use anyhow::{Context, Result};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;
use crate::{bare, downstream, fuzz};

/// Has cargo resolve each workspace by its lock.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let host = sh::host()?;
    let mut folders = downstream::folders(&workspace)?;
    folders.extend([workspace.root.clone(), workspace.root.join(bare::FOLDER), workspace.root.join(fuzz::FOLDER)]);
    for folder in folders {
        let mut command = sh::cargo();
        command.args(["metadata", "--locked", "--format-version=1", "--filter-platform", &host]);
        let stale = || format!("{}/Cargo.lock (cure: `cargo update --workspace` there)", folder.display());
        sh::run(command.current_dir(&folder).stdout(Stdio::null())).with_context(stale)?;
    }
    Ok(Outcome::Done)
}
