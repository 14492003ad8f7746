//! What `cargo metadata` knows about the workspace, as far as the commands ask.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::sh;

/// The workspace on disk.
pub(crate) struct Workspace {
    /// The folder of the root Cargo.toml.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    packages: Vec<Value>,
}

/// One member of the workspace.
#[derive(Clone, Copy)]
pub(crate) struct Package<'a>(&'a Value);

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let mut command = sh::cargo();
        let json = sh::capture(command.args(["metadata", "--format-version=1", "--no-deps"]))?;
        let json: Value = serde_json::from_str(&json)?;
        let path = |key: &str| json[key].as_str().map(PathBuf::from).with_context(|| format!("metadata has no {key}"));
        let packages = json["packages"].as_array().context("metadata has no packages")?.clone();
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")?, packages })
    }

    /// All members, in cargo's order.
    pub(crate) fn packages(&self) -> impl Iterator<Item = Package<'_>> {
        self.packages.iter().map(Package)
    }

    /// The member of this name.
    pub(crate) fn package(&self, name: &str) -> Option<Package<'_>> {
        self.packages().find(|package| package.name() == name)
    }
}

impl<'a> Package<'a> {
    pub(crate) fn name(self) -> &'a str {
        self.0["name"].as_str().unwrap_or_default()
    }

    /// Whether it may go to a registry.
    pub(crate) fn is_published(self) -> bool {
        // `publish = false` is an empty list of registries.
        self.0["publish"].as_array().is_none_or(|registries| !registries.is_empty())
    }

    /// Whether it has a library that Rust crates use.
    pub(crate) fn is_library(self) -> bool {
        self.targets("lib").chain(self.targets("rlib")).next().is_some()
    }

    /// Whether it has a `[package.metadata.docs.rs]`.
    pub(crate) fn instructs_docs_rs(self) -> bool {
        self.0["metadata"]["docs"]["rs"].is_object()
    }

    /// Its folder.
    pub(crate) fn folder(self) -> PathBuf {
        let manifest = PathBuf::from(self.0["manifest_path"].as_str().unwrap_or_default());
        manifest.parent().map(Into::into).unwrap_or_default()
    }

    pub(crate) fn rust_version(self) -> Option<&'a str> {
        self.0["rust_version"].as_str()
    }

    /// The names of its features.
    pub(crate) fn features(self) -> impl Iterator<Item = &'a str> {
        self.0["features"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
    }

    pub(crate) fn has_feature(self, name: &str) -> bool {
        self.features().any(|have| have == name)
    }

    /// The names of its targets of a kind: `test`, `bin`, `example`, `lib`.
    pub(crate) fn targets(self, kind: &'static str) -> impl Iterator<Item = &'a str> {
        let of_kind = move |target: &&Value| target["kind"].as_array().into_iter().flatten().any(|have| have == kind);
        self.0["targets"].as_array().into_iter().flatten().filter(of_kind).filter_map(|target| target["name"].as_str())
    }
}
