//! The benchmarks of crates/pp-bench.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::icount;
use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

pub(crate) const CRATE: &str = "pp-bench";
/// The other crate that measures, beside the system's allocator.
const ALLOCATORS: &str = "pp-allocators";
/// Debian's packages of the peers that no registry of Rust's has.
const PACKAGES: [&str; 4] = ["libdpdk-dev", "libjemalloc2", "pkg-config", "valgrind"];
/// Room for the thread-local variables of a jemalloc that is loaded late, in bytes.
const LATE_TLS: &str = "glibc.rtld.optional_static_tls=8192";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install the peers that are packages of the system (Debian's apt-get, as root), then measure
    #[arg(long)]
    pub(crate) install: bool,
    /// Measure everything and write the README's table and picture, and the whole table beside pp-bench
    #[arg(long)]
    pub(crate) publish: bool,
    /// Arguments of the benchmark program; `--help` among them lists those
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// Runs them in release. With `--check`, the instructions and the memory are held against their limits as well.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let Some(package) = workspace.package(CRATE) else {
        return Ok(Outcome::Skipped(format!("there is no crate {CRATE}")));
    };
    if args.publish
        && let Some(other) = other_than_effort(&args.args)
    {
        bail!(
            "--publish writes what the README shows, so it measures everything: no `{other}` with it, only --rounds and --cpus"
        );
    }
    if args.install {
        install()?;
    }
    let mut command = measuring();
    command.args(&args.args);
    if args.publish {
        let beside = |name: &str| package.folder().join(name);
        command.arg("--json").arg(beside("results.json")).arg("--markdown").arg(beside("RESULTS.md"));
        command.arg("--svg").arg(beside("results.svg")).arg("--summary").arg(workspace.root.join("README.md"));
    }
    let timed = sh::run(&mut command);
    if args.args.iter().any(|arg| arg == "--check") {
        // All three are said, whichever fails.
        let memory = sh::run(sh::cargo().args(["test", "--release", "-p", CRATE, "--test", "memory"]));
        let counted = icount::run(&icount::Args { cases: Vec::new(), n: 10_000, bless: false });
        timed.context("a budget is not kept")?;
        memory.context("a page takes more memory than was promised")?;
        return counted;
    }
    timed?;
    Ok(Outcome::Done)
}

/// The first argument that changes what is measured, or where it is written.
fn other_than_effort(args: &[String]) -> Option<&str> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" | "-r" | "--cpus" => drop(args.next()),
            effort if effort.starts_with("--rounds=") || effort.starts_with("--cpus=") => {}
            other => return Some(other),
        }
    }
    None
}

/// Whether all programs that measure still run; how fast is not looked at.
pub(crate) fn smoke() -> Result<Outcome> {
    sh::run(sh::cargo().args(["run", "--release", "-p", ALLOCATORS, "--", "--smoke"]))?;
    sh::run(measuring().arg("--smoke"))?;
    Ok(Outcome::Done)
}

fn measuring() -> Command {
    let mut command = sh::cargo();
    sh::default_env(&mut command, "GLIBC_TUNABLES", LATE_TLS);
    command.args(["run", "--release", "-p", CRATE, "--bin", CRATE, "--"]);
    command
}

fn install() -> Result<()> {
    sh::run(Command::new("apt-get").arg("update"))
        .context("the packages' lists could not be read anew; as root on Debian")?;
    sh::run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends"]).args(PACKAGES))
        .context("the peers could not be installed; as root on Debian, or by hand elsewhere")
}

#[cfg(test)]
mod tests {
    use super::other_than_effort;

    #[test]
    fn a_part_is_not_published() {
        let other = |args: &[&str]| {
            other_than_effort(&args.iter().map(|arg| arg.to_string()).collect::<Vec<_>>()).map(str::to_owned)
        };
        assert_eq!(other(&[]), None);
        assert_eq!(other(&["--rounds", "101", "--cpus=0,1"]), None);
        assert_eq!(other(&["-r", "5", "cross16"]).as_deref(), Some("cross16"));
        assert_eq!(other(&["--smoke"]).as_deref(), Some("--smoke"));
    }
}
