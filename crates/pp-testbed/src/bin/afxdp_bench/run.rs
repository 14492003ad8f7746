//! The command line, and the rounds.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pp_testbed::{Rights, processors};

use crate::contender::{Contender, Memory, Places};
use crate::measure::{Case, Failure};
use crate::report::{self, Absent, Line, Setting};

/// Measures AF_XDP forwarders: packets per second of the forwarder's processor, and TCP through them.
#[derive(Parser)]
#[command(name = "afxdp-bench")]
struct Args {
    /// The `pagepool` to measure
    #[arg(long, value_name = "FILE")]
    pagepool: PathBuf,
    /// Rounds of each forwarder
    #[arg(long, short, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that are measured in a round
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..3600))]
    seconds: u32,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// The smallest packets, where the forwarder is all that matters; the largest; and a conversation.
const CASES: [Case; 3] = [Case::Packets(60), Case::Packets(1514), Case::Tcp];

/// Runs it.
pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(missing) = Rights::check() {
        return skip(&missing.to_string());
    }
    let Some(places) = Places::choose(&processors()) else {
        return skip("two processors are needed, one for the forwarder and one for the traffic");
    };
    let memory = Memory::available();
    let contenders = [Contender::Ours(args.pagepool), Contender::Testpmd(memory)];

    let mut lines = Vec::new();
    for case in CASES {
        let mut outcomes = contenders
            .each_ref()
            .map(|contender| missing(case, contender).map_or(Ok(Vec::new()), |why| Err(Absent::Skipped(why))));
        for round in 1..=args.rounds {
            for (contender, outcome) in contenders.iter().zip(&mut outcomes) {
                let Ok(samples) = outcome else { continue };
                match case.round(contender, &places, args.seconds) {
                    Ok(sample) => {
                        progress(
                            case,
                            contender,
                            &format!("round {round}, {:.0} {} a processor-second", sample.per_cpu_second, case.unit()),
                        );
                        samples.push(sample);
                    }
                    Err(failure) => *outcome = Err(Absent::Failed(reason(case, contender, &failure))),
                }
            }
        }
        lines.extend(contenders.iter().zip(outcomes).map(|(contender, samples)| Line {
            case: case.name(),
            unit: case.unit(),
            contender: contender.to_string(),
            samples,
        }));
    }

    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let memory = match memory {
        Memory::HugePages => "huge pages",
        Memory::Ordinary => "ordinary pages",
    };
    let setting =
        Setting { rounds: args.rounds, seconds: args.seconds, processors: processors().len(), kernel, memory };
    let text = if args.json { report::json(&setting, &lines) } else { report::markdown(&setting, &lines) };
    // Nobody who has closed the pipe wants to hear of it.
    let _ = writeln!(std::io::stdout(), "{text}");
    let failed = lines.iter().any(|line| matches!(line.samples, Err(Absent::Failed(_))));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Why `contender` has no part in `case`.
fn missing(case: Case, contender: &Contender) -> Option<String> {
    let needed: &[&'static str] = match case {
        Case::Packets(_) => &[],
        Case::Tcp => &["ping", "iperf3"],
    };
    let tool = needed.iter().find_map(|tool| Rights::tool(tool).err()).map(|missing| missing.to_string());
    let why = contender.missing().or(tool)?;
    progress(case, contender, &format!("SKIPPED: {why}"));
    Some(why)
}

/// A failure in one line.
fn reason(case: Case, contender: &Contender, failure: &Failure) -> String {
    let text = failure.to_string();
    progress(case, contender, &format!("FAILED: {text}"));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn progress(case: Case, contender: &Contender, what: &str) {
    eprintln!("{}, {contender}: {what}", case.name());
}

fn skip(why: &str) -> ExitCode {
    let rule = "!".repeat(100);
    eprintln!("\n{rule}\n!! SKIPPED: {why}\n{rule}");
    ExitCode::SUCCESS
}
