//! Other machines: what they compile, and what they refuse in a sentence. Only targets that are installed are tried; each
//! other one is named, loudly.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::no_std::FACADE;
use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

/// Without an operating system, 32 and 64 bits wide. `no-std` has x86-64.
const BARE: [&str; 3] = ["thumbv7em-none-eabi", "riscv32imac-unknown-none-elf", "aarch64-unknown-none"];
/// Other operating systems, and narrower words, with everything but the layers that are Unix's.
const HOSTED: [&str; 6] = [
    "i686-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-pc-windows-gnu",
    "x86_64-pc-windows-msvc",
    "aarch64-apple-darwin",
    "x86_64-unknown-freebsd",
];
/// Without compare-and-swap.
const REFUSED: [&str; 2] = ["thumbv6m-none-eabi", "riscv32i-unknown-none-elf"];
/// What they are told.
const SENTENCE: &str = "pp-core needs a compare-and-swap of a word, which this target has not";
/// 32-bit words on this machine: rustup brings its C library, and a linker.
const RUN_32: &str = "i686-unknown-linux-musl";

/// Checks what is installed.
pub(crate) fn run() -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let installed = sh::installed_targets();
    let target_dir = workspace.target.join("targets");
    let cargo = |command: &str, target: &str, arguments: &[&str]| {
        let mut cargo = sh::cargo();
        cargo.args([command, "--target", target, "--target-dir"]).arg(&target_dir).args(arguments);
        cargo
    };
    let mut missing = Vec::new();
    let mut present = |target: &'static str| {
        let present = installed.iter().any(|have| have == target);
        if !present {
            missing.push(target);
        }
        present
    };

    for target in BARE.into_iter().filter(|target| present(target)) {
        let facade = ["-p", "page-pool", "--lib", "--no-default-features", "--features", FACADE];
        sh::run(&mut cargo("check", target, &facade))?;
    }
    for target in HOSTED.into_iter().filter(|target| present(target)) {
        let features = format!("std,leak-trace,conformance,{FACADE}");
        sh::run(&mut cargo("check", target, &["-p", "page-pool", "--lib", "--features", &features]))?;
    }
    for target in REFUSED.into_iter().filter(|target| present(target)) {
        let mut command = cargo("check", target, &["-p", "pp-core", "--lib", "--no-default-features"]);
        let output = command.stdout(Stdio::null()).output().context("cargo could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{target} has no compare-and-swap, and pp-core was built for it");
        ensure!(said.contains(SENTENCE), "{target} is refused, but not in a sentence:\n{said}");
        println!("{target} is refused: {SENTENCE}");
    }
    if present(RUN_32) {
        let mut command = cargo("test", RUN_32, &["-p", "pp-core", "--lib", "--tests"]);
        command.env("CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
        command
            .env("CARGO_TARGET_I686_UNKNOWN_LINUX_MUSL_RUSTFLAGS", "-Clink-self-contained=yes -Clinker-flavor=ld.lld");
        sh::default_env(&mut command, "PP_STRESS_SECONDS", "1");
        ensure!(sh::run_tests(&mut command)? > 0, "no test ran on {RUN_32}");
    }

    if missing.is_empty() {
        return Ok(Outcome::Done);
    }
    let all = missing.len() == BARE.len() + HOSTED.len() + REFUSED.len() + 1;
    let (missing, cure) = (missing.join(", "), "`rustup target add TARGET`");
    let note = format!("not tried, because they are not installed ({cure}): {missing}");
    if all {
        return Ok(Outcome::Skipped(note));
    }
    sh::loud(&note);
    Ok(Outcome::Done)
}
