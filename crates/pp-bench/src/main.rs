//! Measures the pool beside its peers, in the same run and in turns.
//!
//! What is measured: [`cases`]; who takes part: [`peers`], as [`lineup`] enters them; how: [`mod@measure`]; what was promised:
//! [`budgets`], and whether it is kept: [`check`].

extern crate alloc;

mod args;
mod budgets;
mod cases;
mod check;
mod cores;
mod lineup;
mod loops;
mod measure;
mod peers;
mod quiet;
mod report;
mod spsc;

use core::time::Duration;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::budgets::BUDGETS;
use crate::cases::Case;
use crate::lineup::{Lineup, Outcome, Purpose, Stage};
use crate::measure::Effort;
use crate::quiet::Watch;
use crate::report::{Entry, PlaceError, Setting, Verdict};

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        let _ = std::io::stdout().write_all(args::list().as_bytes());
        return ExitCode::SUCCESS;
    }
    let allowed = cores::allowed();
    let (cases, cpus) = match args.cases().and_then(|cases| Ok((cases, args.cpus(&allowed)?))) {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("pp-bench: {error}");
            return ExitCode::from(2);
        }
    };
    let effort = args.effort();
    let pinned = cpus.first().is_some_and(|cpu| cores::pin(*cpu));
    let setting = Setting { rounds: effort.rounds, processors: cpus.len(), pinned, model: report::model() };
    let stage = Stage { cpus, peers: args.peers.clone(), purpose: Purpose::Measuring };
    let run = Run { stage: &stage, effort, check: args.check };
    let total = cases.len();
    let entries: Vec<_> = cases.into_iter().enumerate().map(|(at, case)| run.measure(&case, at, total)).collect();
    if let Err(error) = write(&args, &setting, &entries) {
        eprintln!("pp-bench: {error}");
        return ExitCode::FAILURE;
    }
    if args.check { judge(&entries, setting.processors) } else { ExitCode::SUCCESS }
}

/// How cases are measured in this run.
struct Run<'a> {
    stage: &'a Stage,
    effort: Effort,
    /// Whether a case that is too noisy for its budgets is measured once more.
    check: bool,
}

impl Run<'_> {
    fn measure(&self, case: &Case, at: usize, total: usize) -> Entry {
        eprintln!("[{}/{total}] {}", at + 1, case.name);
        let there = self.stage.cpus.len();
        let verdict = if there < case.processors {
            let why = format!("it needs {} processors, and there are {there}", case.processors);
            eprintln!("        skipped: {why}");
            Verdict::Skipped(why)
        } else {
            let mut outcomes = self.once(case);
            let budgets: Vec<_> = BUDGETS.iter().filter(|budget| budget.case == case.name).collect();
            if self.check && check::is_noisy(&budgets, &outcomes, there) {
                eprintln!("        rounds that do not agree: once more");
                outcomes = self.once(case);
            }
            for outcome in &outcomes {
                if let Some(absent) = &outcome.absent {
                    eprintln!("        {} is absent: {}", outcome.who, absent.0);
                }
            }
            Verdict::Measured(outcomes)
        };
        Entry { name: case.name.clone(), about: case.about.clone(), unit: case.unit, verdict }
    }

    fn once(&self, case: &Case) -> Vec<Outcome> {
        let mut lineup = Lineup::new(self.stage);
        (case.enter)(&mut lineup);
        // The first is this thread's own.
        let others = self.stage.cpus.get(1..case.busy.min(self.stage.cpus.len())).unwrap_or_default();
        let (outcomes, rounds) = lineup.measure(self.effort, &Watch::new(others, cores::pin));
        if rounds.disturbed > 0 {
            eprintln!("        {rounds}");
        }
        outcomes
    }
}

/// Writes what was asked for, where it was asked for; the table to standard output when nothing was.
fn write(args: &Args, setting: &Setting, entries: &[Entry]) -> Result<(), PlaceError> {
    if let Some(path) = &args.json {
        report::put(path, &report::json(setting, entries))?;
    }
    if let Some(path) = &args.markdown {
        report::put(path, &report::table(setting, entries))?;
    }
    if let Some(path) = &args.summary {
        report::put(path, &report::summary(setting, entries))?;
    }
    if let Some(path) = &args.svg {
        match report::svg(setting, entries) {
            Some(picture) => report::put(path, &picture)?,
            None => eprintln!("pp-bench: none of the cases that the picture shows was measured, so there is none"),
        }
    }
    if args.writes_nothing() && !args.check {
        report::put(Path::new("-"), &report::table(setting, entries))?;
    }
    Ok(())
}

/// Prints what became of each budget.
fn judge(entries: &[Entry], processors: usize) -> ExitCode {
    let verdict = |case: &str| entries.iter().find(|entry| entry.name == case).map(|entry| &entry.verdict);
    let judged = BUDGETS.iter().filter_map(|budget| {
        let verdict = verdict(budget.case)?;
        Some((budget, check::judge(budget, verdict, processors)))
    });
    let (table, is_well) = check::table(&judged.collect::<Vec<_>>());
    let _ = writeln!(std::io::stdout(), "{table}");
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Args {
    fn effort(&self) -> Effort {
        let (rounds, round) = if self.smoke { (3, Duration::from_micros(200)) } else { (51, Duration::from_millis(3)) };
        Effort { rounds: self.rounds.unwrap_or(rounds), round }
    }
}
