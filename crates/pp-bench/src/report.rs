//! What the program prints: a Markdown table for people, JSON for programs.

use serde_json::{Value, json};

use crate::measure::Outcome;

/// What became of one case.
pub(crate) enum Verdict {
    Measured(Vec<Outcome>),
    /// Why not.
    Skipped(String),
}

/// How the run was made.
pub(crate) struct Setting {
    pub(crate) rounds: usize,
    pub(crate) processors: usize,
    pub(crate) pinned: bool,
}

/// The table. What it compares with is the first line of each case.
pub(crate) fn markdown(setting: &Setting, cases: &[(&str, Verdict)]) -> String {
    let mut lines = vec![
        "| case | contender | ns a page | quartiles | fastest | times the pool's |".to_owned(),
        "|---|---|---:|---:|---:|---:|".to_owned(),
    ];
    for (case, verdict) in cases {
        match verdict {
            Verdict::Measured(outcomes) => {
                for (line, o) in outcomes.iter().enumerate() {
                    let case = if line == 0 { format!("`{case}`") } else { String::new() };
                    let (low, high) = o.quartiles;
                    lines.push(format!(
                        "| {case} | {} | {:.2} | {low:.2} - {high:.2} | {:.2} | {:.2} |",
                        o.contender, o.median, o.fastest, o.ratio
                    ));
                }
            }
            Verdict::Skipped(why) => lines.push(format!("| `{case}` | skipped: {why} | | | | |")),
        }
    }
    let Setting { rounds, processors, pinned } = setting;
    let arch = std::env::consts::ARCH;
    let pinned = if *pinned { "pinned" } else { "not pinned" };
    lines.push(String::new());
    lines.push(format!("Medians of {rounds} interleaved rounds on {processors} {arch} processors, {pinned}."));
    lines.join("\n")
}

/// The same as data.
pub(crate) fn json(setting: &Setting, cases: &[(&str, Verdict)]) -> String {
    let outcome = |o: &Outcome| {
        json!({
            "contender": o.contender,
            "ns_per_page": o.median,
            "quartiles": [o.quartiles.0, o.quartiles.1],
            "fastest": o.fastest,
            "ratio_to_first": o.ratio,
        })
    };
    let case = |(name, verdict): &(&str, Verdict)| match verdict {
        Verdict::Measured(outcomes) => {
            json!({ "case": name, "contenders": outcomes.iter().map(outcome).collect::<Vec<_>>() })
        }
        Verdict::Skipped(why) => json!({ "case": name, "skipped": why }),
    };
    let report = json!({
        "arch": std::env::consts::ARCH,
        "processors": setting.processors,
        "pinned": setting.pinned,
        "rounds": setting.rounds,
        "cases": cases.iter().map(case).collect::<Vec<Value>>(),
    });
    format!("{report:#}")
}

#[cfg(test)]
mod tests {
    use super::{Setting, Verdict, json, markdown};
    use crate::measure::Outcome;

    fn cases() -> Vec<(&'static str, Verdict)> {
        let pool = Outcome { contender: "pool", median: 1.5, quartiles: (1.25, 2.0), fastest: 1.0, ratio: 1.0 };
        vec![("single", Verdict::Measured(vec![pool])), ("cross1", Verdict::Skipped("one processor".into()))]
    }

    const SETTING: Setting = Setting { rounds: 3, processors: 1, pinned: false };

    #[test]
    fn tables_name_what_was_skipped() {
        let table = markdown(&SETTING, &cases());
        assert!(table.contains("| `single` | pool | 1.50 | 1.25 - 2.00 | 1.00 | 1.00 |"), "{table}");
        assert!(table.contains("| `cross1` | skipped: one processor | | | | |"), "{table}");
    }

    #[test]
    fn json_is_json() {
        let value: serde_json::Value = serde_json::from_str(&json(&SETTING, &cases())).unwrap();
        assert_eq!(value["cases"][0]["contenders"][0]["ns_per_page"], 1.5);
        assert_eq!(value["cases"][1]["skipped"], "one processor");
    }
}
