//! Miri on what is small enough for it: undefined behaviour and weak memory that no native run shows.

use anyhow::Result;

use crate::sh::{self, Outcome};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many schedules of each test
    #[arg(long, default_value_t = 16)]
    seeds: u32,
    /// Checks aliasing by Tree Borrows in place of Stacked Borrows
    #[arg(long)]
    tree_borrows: bool,
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Runs the tests where Miri is installed.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let Some(nightly) = sh::installed_toolchain("nightly") else {
        return Ok(Outcome::Skipped("Miri needs a nightly toolchain (`rustup toolchain install nightly`)".into()));
    };
    if !sh::works(sh::cargo_of(&nightly).args(["miri", "--version"])) {
        let why = "lacks the component (`rustup component add miri rust-src --toolchain nightly`)";
        return Ok(Outcome::Skipped(format!("Miri did not run: {nightly} {why}")));
    }
    // The ring and the bags hold pages as addresses, which is what permissive provenance is for. Isolation off: proptest
    // looks for the folder where it keeps failed cases.
    let trees = if args.tree_borrows { " -Zmiri-tree-borrows" } else { "" };
    let seeds = args.seeds;
    let flags = format!("-Zmiri-disable-isolation -Zmiri-permissive-provenance{trees} -Zmiri-many-seeds=0..{seeds}");
    let test = |arguments: &[&str]| {
        let mut command = sh::cargo_of(&nightly);
        sh::default_env(&mut command, "MIRIFLAGS", &flags);
        sh::default_env(&mut command, "PROPTEST_CASES", "8");
        sh::run(command.args(["miri", "test"]).args(arguments).args(&args.filter))
    };
    test(&["-p", "pp-core", "--lib", "--test", "miri_small", "--"])?;
    test(&["-p", "pp-frag", "--all-features", "--test", "cache", "--"])?;
    // What of AF_XDP asks no system: the kernel's part is the tests'.
    let rings = ["-p", "pp-xdp", "--features", "af-xdp", "--lib", "--test", "af_xdp_rings", "--"];
    let skip = ["--skip", "program::", "--skip", "chunks_are_conserved"];
    test(&[&rings[..], &skip].concat())?;
    test(&["-p", "pp-allocators", "--test", "slab", "--test", "arena", "--"])?;
    if args.filter.is_none() {
        test(&["-p", "pp-netdev", "--lib", "--", "bell::", "ring::"])?;
    }
    Ok(Outcome::Done)
}
