//! The stated `rust-version` is true: built with exactly that toolchain where there is one.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

type Version = (u32, u32);

/// Builds with the stated version.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let versions = workspace
        .packages()
        .map(|package| package.rust_version().with_context(|| format!("{} states no rust-version", package.name())));
    let versions = versions.collect::<Result<Vec<_>>>()?;
    let stated = *versions.first().context("the workspace has no members")?;
    ensure!(versions.iter().all(|version| *version == stated), "the members state different rust-versions");

    let wanted = parse(stated)?;
    let rustc = sh::capture(Command::new("rustc").arg("-V"))?;
    let have = parse(rustc.split(' ').nth(1).unwrap_or_default())?;
    ensure!(have >= wanted, "rust-version is {stated}, but this is {}", rustc.trim());

    let exact = sh::installed_toolchain(&format!("{}.{}", wanted.0, wanted.1))
        .or_else(|| sh::installed_toolchain(&format!("{}.{}.0", wanted.0, wanted.1)));
    let mut command = if have == wanted {
        println!("rust-version {stated} is checked with {}, the toolchain in use", rustc.trim());
        sh::cargo()
    } else if let Some(exact) = exact {
        println!("rust-version {stated} is checked with {exact}");
        let mut command = sh::cargo_of(&exact);
        command.env("CARGO_TARGET_DIR", workspace.target.join("msrv"));
        command
    } else {
        let used = rustc.trim();
        let cure = format!("`rustup toolchain install {stated}`");
        sh::loud(&format!("rust-version {stated} is NOT checked exactly: built with {used} instead ({cure})"));
        sh::cargo()
    };
    sh::run(command.args(["build", "--workspace"]))?;
    Ok(Outcome::Done)
}

fn parse(version: &str) -> Result<Version> {
    let mut numbers = version.split(['.', '-']).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => anyhow::bail!("{version:?} is not a version of Rust"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_parse() {
        assert_eq!(parse("1.95").unwrap(), (1, 95));
        assert_eq!(parse("1.97.0-nightly").unwrap(), (1, 97));
        assert!(parse("stable").is_err());
    }
}
