//! The instruction gate: what an iteration costs, counted instead of timed, so that a shared machine can judge it.
//!
//! `icount CASE N` runs a case N times. Under callgrind with N and with 2N, the difference holds N iterations and
//! nothing of start and end. The gate is a table of `case = instructions`, one a line, which a case must not exceed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::CRATE;
use crate::sh::{self, Outcome};
use crate::workspace::Workspace;

const PROGRAM: &str = "icount";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these cases of the table
    pub(crate) cases: Vec<String>,
    /// How many iterations
    #[arg(long, short, default_value_t = 10_000)]
    pub(crate) n: u32,
    /// Write what was measured into the table
    #[arg(long)]
    pub(crate) bless: bool,
}

/// Measures the cases of the table and holds them against it.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    let workspace = Workspace::load()?;
    let Some(package) = workspace.package(CRATE) else {
        return Ok(Outcome::Skipped(format!("there is no crate {CRATE}")));
    };
    if !sh::works(Command::new("valgrind").arg("--version")) {
        return Ok(Outcome::Skipped("the instruction gate needs valgrind, which is not installed".into()));
    }
    ensure!(args.n > 0, "at least one iteration is needed");
    let example = package.targets("example").any(|name| name == PROGRAM);
    let kind = if example { "--example" } else { "--bin" };
    sh::run(sh::cargo().args(["build", "--release", "-p", CRATE, kind, PROGRAM]))?;
    let program = workspace.target.join(if example { "release/examples" } else { "release" }).join(PROGRAM);

    let path = package.folder().join("instructions.toml");
    let mut text = fs::read_to_string(&path).with_context(|| format!("{} could not be read", path.display()))?;
    let mut table = parse(&text)?;
    if let Some(unknown) = args.cases.iter().find(|case| table.iter().all(|(name, _)| name != *case)) {
        bail!("{} has no case `{unknown}`", path.display());
    }
    table.retain(|(name, _)| args.cases.is_empty() || args.cases.contains(name));

    let mut risen = Vec::new();
    println!("{:<32} {:>14} {:>10}", "case", "instructions", "gate");
    for (case, gate) in &table {
        let once = collect(&program, case, args.n)?;
        let twice = collect(&program, case, args.n.checked_mul(2).context("too many iterations")?)?;
        let measured = twice.saturating_sub(once) as f64 / f64::from(args.n);
        ensure!(
            measured >= 1.0,
            "`{case}` took {once} instructions {} times and {twice} twice as often: it does nothing",
            args.n
        );
        // The table is written with one decimal.
        let rise = measured > *gate + 0.05;
        println!("{case:<32} {measured:>14.1} {gate:>10.1}{}", if rise { "  RISEN" } else { "" });
        if args.bless {
            text = blessed(&text, case, measured);
        } else if rise {
            risen.push(case.as_str());
        }
    }
    if args.bless {
        fs::write(&path, text)?;
        println!("{} now states these numbers", path.display());
    }
    ensure!(risen.is_empty(), "more instructions than the gate allows: {}", risen.join(", "));
    Ok(Outcome::Done)
}

/// The instructions that callgrind counts in one run.
fn collect(program: &Path, case: &str, n: u32) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args([case, &n.to_string()]);
    let output = command.stdout(Stdio::null()).output().context("valgrind could not be started")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{PROGRAM} {case} {n}` failed under callgrind:\n{log}");
    collected(&log).with_context(|| format!("callgrind printed no count:\n{log}"))
}

/// Callgrind's line `==123== Collected : 4567`.
fn collected(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_whitespace().next()?.parse().ok()
}

/// The table: a subset of TOML with nothing but `name = number` and comments.
fn parse(text: &str) -> Result<Vec<(String, f64)>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let entry = |line: &str| {
        let (name, max) = line.split_once('=')?;
        Some((name.trim().trim_matches('"').to_owned(), max.trim().replace('_', "").parse().ok()?))
    };
    let entries = lines.filter(|line| !line.is_empty());
    entries.map(|line| entry(line).with_context(|| format!("`{line}` is not `name = number`"))).collect()
}

/// The table's text with one number replaced; comments stay.
fn blessed(text: &str, case: &str, measured: f64) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let name = line.split('=').next().unwrap_or_default().trim().trim_matches('"');
        let comment = line.find('#').map(|at| format!(" {}", &line[at..])).unwrap_or_default();
        let key = line.split('=').next().unwrap_or_default().trim_end();
        lines.push(if name == case { format!("{key} = {measured:.1}{comment}") } else { line.to_owned() });
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{blessed, collected, parse};

    #[test]
    fn callgrinds_total_is_found() {
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 192345\n==7==\n"), Some(192_345));
        assert_eq!(collected("==7== error"), None);
    }

    #[test]
    fn tables_parse_and_bless() {
        let text = "# gates\nalloc_fast = 21 # cache hit\n\"ring.return\" = 1_040.5\n";
        assert_eq!(parse(text).unwrap(), [("alloc_fast".to_owned(), 21.0), ("ring.return".to_owned(), 1040.5)]);
        assert_eq!(blessed(text, "alloc_fast", 19.0), text.replace("= 21 #", "= 19.0 #"));
        assert!(parse("[section]").is_err());
    }
}
