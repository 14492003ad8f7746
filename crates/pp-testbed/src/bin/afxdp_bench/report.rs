//! Medians and quartiles, as a Markdown table for people and as JSON for programs.

use serde_json::{Value, json};

use crate::measure::Sample;

/// One line of the table.
pub(crate) struct Line {
    pub(crate) case: String,
    pub(crate) unit: &'static str,
    pub(crate) contender: String,
    /// One sample a round, or why there are none.
    pub(crate) samples: Result<Vec<Sample>, Absent>,
}

/// Why there are no figures.
#[derive(Debug)]
pub(crate) enum Absent {
    /// Something is not there that was needed.
    Skipped(String),
    /// It was tried, and a round went wrong.
    Failed(String),
}

impl Absent {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Absent::Skipped(why) => ("skipped", why),
            Absent::Failed(why) => ("failed", why),
        }
    }
}

/// How the run was made.
pub(crate) struct Setting {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    /// What the peer keeps its packets in.
    pub(crate) memory: &'static str,
}

/// Median, and the quartiles around it.
#[derive(Debug, PartialEq)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(samples: &[Sample], part: impl Fn(&Sample) -> f64) -> Self {
        let mut values: Vec<f64> = samples.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        let quantile = |part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
        Spread { low: quantile(0.25), median: quantile(0.5), high: quantile(0.75) }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "quartiles": [self.low, self.high] })
    }
}

/// What a line says.
struct Figures {
    per_cpu_second: Spread,
    per_second: Spread,
    offered: Option<Spread>,
    /// Per processor-second, through the first contender's.
    times: Option<f64>,
}

impl Figures {
    fn of<'a>(line: &'a Line, all: &[Line]) -> Result<Self, &'a Absent> {
        let samples = line.samples.as_ref()?;
        let cpu = |samples: &[Sample]| Spread::of(samples, |sample| sample.per_cpu_second);
        let first = all.iter().find(|other| other.case == line.case).and_then(|first| first.samples.as_ref().ok());
        let per_cpu_second = cpu(samples);
        let times = first.map(|first| per_cpu_second.median / cpu(first).median);
        let known = samples.iter().all(|sample| sample.offered.is_some());
        let offered = known.then(|| Spread::of(samples, |sample| sample.offered.unwrap_or_default()));
        Ok(Figures { per_cpu_second, per_second: Spread::of(samples, |sample| sample.per_second), offered, times })
    }

    /// Whether it may have had nothing to do at times. Who polls uses the processor then as well.
    fn is_idle(&self) -> bool {
        self.offered.as_ref().is_some_and(|offered| self.per_second.median > 0.95 * offered.median)
    }
}

/// The table. What it compares with is the first line of each case.
pub(crate) fn markdown(setting: &Setting, lines: &[Line]) -> String {
    let mut table = vec![
        "| traffic | forwarder | per processor-second | quartiles | per second | offered | times the first's |"
            .to_owned(),
        "|---|---|---:|---:|---:|---:|---:|".to_owned(),
    ];
    let mut idle = Vec::new();
    for line in lines {
        let (case, contender, unit) = (&line.case, &line.contender, line.unit);
        table.push(match Figures::of(line, lines) {
            Ok(figures) => {
                if figures.is_idle() {
                    idle.push(format!("{contender} ({case})"));
                }
                let Figures { per_cpu_second: cpu, per_second, offered, times } = figures;
                let times = times.map(|times| format!("{times:.2}")).unwrap_or_default();
                let offered = offered.map(|offered| format!("{:.0} {unit}", offered.median)).unwrap_or_default();
                format!(
                    "| {case} | {contender} | {:.0} {unit} | {:.0} - {:.0} | {:.0} {unit} | {offered} | {times} |",
                    cpu.median, cpu.low, cpu.high, per_second.median
                )
            }
            Err(absent) => {
                let (what, why) = absent.parts();
                format!("| {case} | {contender} | {what}: {} | | | | |", why.replace('|', "\\|"))
            }
        });
    }
    let Setting { rounds, seconds, processors, kernel, memory } = setting;
    let arch = std::env::consts::ARCH;
    table.push(String::new());
    table.push(format!(
        "Medians of {rounds} interleaved rounds of {seconds} s on {processors} {arch} processors, Linux {kernel}, veth pairs, one thread that forwards; DPDK on {memory}."
    ));
    if !idle.is_empty() {
        table.push(format!("Not busy all the time, so that who polls looks worse than it is: {}.", idle.join(", ")));
    }
    table.join("\n")
}

/// The same as data.
pub(crate) fn json(setting: &Setting, lines: &[Line]) -> String {
    let line = |line: &Line| match Figures::of(line, lines) {
        Ok(figures) => json!({
            "case": line.case,
            "forwarder": line.contender,
            "unit": line.unit,
            "per_processor_second": figures.per_cpu_second.json(),
            "per_second": figures.per_second.json(),
            "offered": figures.offered.as_ref().map(Spread::json),
            "times_the_first": figures.times,
        }),
        Err(absent) => {
            let (what, why) = absent.parts();
            json!({ "case": line.case, "forwarder": line.contender, what: why })
        }
    };
    let report = json!({
        "arch": std::env::consts::ARCH,
        "processors": setting.processors,
        "kernel": setting.kernel,
        "rounds": setting.rounds,
        "seconds": setting.seconds,
        "dpdk_memory": setting.memory,
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
    });
    format!("{report:#}")
}

#[cfg(test)]
mod tests {
    use super::{Absent, Line, Setting, json, markdown};
    use crate::measure::Sample;

    fn lines() -> Vec<Line> {
        let sample = |value: f64| Sample { per_second: value / 2.0, per_cpu_second: value, offered: Some(151.0) };
        let line = |contender: &str, samples| Line {
            case: "60-byte packets".into(),
            unit: "kpackets",
            contender: contender.into(),
            samples,
        };
        vec![
            line("ours", Ok([400.0, 100.0, 300.0, 200.0, 500.0].map(sample).into())),
            line("theirs", Ok([150.0].map(sample).into())),
            line("nobody's", Err(Absent::Skipped("not | installed".into()))),
            line("nothing's", Err(Absent::Failed("it ended".into()))),
        ]
    }

    fn setting() -> Setting {
        Setting { rounds: 5, seconds: 3, processors: 2, kernel: "6.18".into(), memory: "huge pages" }
    }

    #[test]
    fn tables_have_medians_and_name_what_was_skipped() {
        let table = markdown(&setting(), &lines());
        assert!(table.contains("| ours | 300 kpackets | 200 - 400 | 150 kpackets | 151 kpackets | 1.00 |"), "{table}");
        assert!(table.contains("| theirs | 150 kpackets | 150 - 150 | 75 kpackets | 151 kpackets | 0.50 |"), "{table}");
        assert!(table.contains("| nobody's | skipped: not \\| installed | | | | |"), "{table}");
        assert!(table.ends_with("looks worse than it is: ours (60-byte packets)."), "{table}");
        assert!(table.contains("| nothing's | failed: it ended | | | | |"), "{table}");
    }

    #[test]
    fn json_is_json() {
        let value: serde_json::Value = serde_json::from_str(&json(&setting(), &lines())).unwrap();
        assert_eq!(value["lines"][0]["per_processor_second"]["quartiles"][1], 400.0);
        assert_eq!(value["lines"][2]["skipped"], "not | installed");
    }
}
