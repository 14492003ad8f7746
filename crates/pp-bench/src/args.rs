//! The command line, and what of it can be wrong.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::budgets::BUDGETS;
use crate::cases::{self, Case};
use crate::check;
use crate::lineup::Peer;

/// Measures the pool beside its peers, in nanoseconds a page.
#[derive(Parser)]
pub(crate) struct Args {
    /// Only these cases, or groups of cases; `--list` names them
    cases: Vec<String>,
    /// Only these peers beside the pool, such as mempool,array-queue; `--list` names them
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// Name the cases, the peers and the budgets, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Hold what is measured against the budgets, and fail when one is not kept. Only the cases that have one, unless
    /// some are named
    #[arg(long, conflicts_with = "smoke")]
    pub(crate) check: bool,
    /// A fraction of a millisecond a round: whether it runs, not how fast
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Write all numbers as JSON to FILE (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the table of all contenders to FILE, between its marks if it has some (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write the short table that the README shows to FILE, between its marks if it has some (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    pub(crate) summary: Option<PathBuf>,
    /// Draw the picture that the README shows to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Rounds of each contender; 51 unless set
    #[arg(long, short, value_parser = rounds)]
    pub(crate) rounds: Option<usize>,
    /// The processors to run on, such as 0,2; otherwise all that are allowed
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
}

/// What was asked for and cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgsError {
    #[error("there is no case or group `{0}`; `cargo xtask bench --list` names them")]
    UnknownCase(String),
    #[error("processor {cpu} is not among those that this process may run on ({allowed:?}); choose others with --cpus")]
    Processor { cpu: usize, allowed: Vec<usize> },
    #[error("processor {0} is named twice; each can be used once")]
    Twice(usize),
    #[error("{rounds} rounds are too few to judge by; --check needs {} or more", check::ROUNDS)]
    TooFewRounds { rounds: usize },
    #[error("none of the cases named has a budget; `cargo xtask bench --list` shows which have")]
    NoBudget,
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one round is needed".into()),
        Ok(rounds) => Ok(rounds),
        Err(error) => Err(format!("{error}; say how many, such as 51")),
    }
}

impl Args {
    /// Whether no report has a place of its own.
    pub(crate) fn writes_nothing(&self) -> bool {
        [&self.json, &self.markdown, &self.summary, &self.svg].into_iter().all(Option::is_none)
    }

    /// The cases to measure.
    pub(crate) fn cases(&self) -> Result<Vec<Case>, ArgsError> {
        let mut cases = cases::all();
        if let Some(unknown) = self.cases.iter().find(|name| cases.iter().all(|case| !is_called(case, name))) {
            return Err(ArgsError::UnknownCase(unknown.clone()));
        }
        cases.retain(|case| self.cases.is_empty() || self.cases.iter().any(|name| is_called(case, name)));
        if self.check {
            if let Some(rounds) = self.rounds.filter(|rounds| *rounds < check::ROUNDS) {
                return Err(ArgsError::TooFewRounds { rounds });
            }
            cases.retain(|case| BUDGETS.iter().any(|budget| budget.case == case.name));
            if cases.is_empty() {
                return Err(ArgsError::NoBudget);
            }
        }
        Ok(cases)
    }

    /// The processors to run on.
    pub(crate) fn cpus(&self, allowed: &[usize]) -> Result<Vec<usize>, ArgsError> {
        if self.cpus.is_empty() {
            return Ok(allowed.to_vec());
        }
        for (at, cpu) in self.cpus.iter().copied().enumerate() {
            if !allowed.contains(&cpu) {
                return Err(ArgsError::Processor { cpu, allowed: allowed.to_vec() });
            }
            if self.cpus[..at].contains(&cpu) {
                return Err(ArgsError::Twice(cpu));
            }
        }
        Ok(self.cpus.clone())
    }
}

fn is_called(case: &Case, name: &str) -> bool {
    case.name == name || case.group == name
}

/// What there is to choose from.
pub(crate) fn list() -> String {
    let mut lines = vec!["Cases:".to_owned()];
    let mut group = "";
    for case in cases::all() {
        if case.group != group {
            group = case.group;
            lines.push(format!("  {group}"));
        }
        let needs = if case.processors > 1 { format!(" ({} processors)", case.processors) } else { String::new() };
        lines.push(format!("    {:<18} {}{needs}", case.name, case.about));
    }
    lines.push("Peers:".to_owned());
    for value in Peer::value_variants().iter().filter_map(ValueEnum::to_possible_value) {
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        lines.push(format!("  {:<18} {about}", value.get_name()));
    }
    lines.push("Budgets:".to_owned());
    for budget in BUDGETS {
        let needs = if budget.processors > 1 { format!(" ({} processors)", budget.processors) } else { String::new() };
        lines.push(format!(
            "  {:<12} {} at most {:.3} of {}{needs}: {}",
            budget.case, budget.ours, budget.at_most, budget.theirs, budget.source
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Args;

    fn args(words: &str) -> Args {
        Args::parse_from(core::iter::once("pp-bench").chain(words.split_whitespace()))
    }

    fn complaint<T>(result: Result<T, super::ArgsError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        assert!(complaint(args("signle").cases()).contains("`signle`"));
        assert!(complaint(args("order0 --check").cases()).contains("none of the cases"));
        assert!(complaint(args("--check --rounds 3").cases()).contains("3 rounds are too few"));
        assert!(complaint(args("--cpus 7").cpus(&[0, 1])).contains("processor 7"));
        assert!(complaint(args("--cpus 1,1").cpus(&[0, 1])).contains("twice"));
        assert!(Args::try_parse_from(["pp-bench", "--peers", "nobody"]).is_err());
        assert!(Args::try_parse_from(["pp-bench", "--rounds", "0"]).is_err());
    }

    #[test]
    fn groups_and_cases_are_chosen_by_name() {
        let names = |words: &str| args(words).cases().unwrap().into_iter().map(|case| case.name).collect::<Vec<_>>();
        assert_eq!(names("cross ring"), ["ring", "cross1", "cross16", "cross64"]);
        assert!(!names("--check").iter().any(|name| name == "order0"));
        assert_eq!(args("--cpus 1").cpus(&[0, 1]).unwrap(), [1]);
    }
}
