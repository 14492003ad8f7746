//! Data for programs.

use serde_json::{Value, json};

use super::{Entry, Setting, Verdict};
use crate::lineup::{Outcome, spread};

/// All cases with all their numbers; ratios are to the case's first contender, turn by turn.
pub(crate) fn json(setting: &Setting, entries: &[Entry]) -> String {
    let outcome = |outcome: &Outcome, first: &Outcome| {
        let who = outcome.who.to_string();
        if let Some(absent) = &outcome.absent {
            return json!({ "contender": who, "absent": absent.0 });
        }
        let (Some(middle), ratio) = (outcome.middle(), outcome.through(first)) else {
            return json!({ "contender": who, "absent": "not measured" });
        };
        json!({
            "contender": who,
            "ns": middle.median,
            "quartiles": [middle.quartiles.0, middle.quartiles.1],
            "fastest": middle.least,
            "ratio_to_first": ratio.map(|ratio| ratio.median),
            "ratio_spread": ratio.map(|ratio| spread(&ratio)),
        })
    };
    let case = |entry: &Entry| match &entry.verdict {
        Verdict::Measured(outcomes) => {
            let contenders = outcomes.iter().filter_map(|each| Some(outcome(each, outcomes.first()?)));
            json!({
                "case": entry.name,
                "about": entry.about,
                "ns_of_a": entry.unit,
                "contenders": contenders.collect::<Vec<_>>(),
            })
        }
        Verdict::Skipped(why) => json!({ "case": entry.name, "about": entry.about, "skipped": why }),
    };
    let report = json!({
        "arch": std::env::consts::ARCH,
        "model": setting.model,
        "processors": setting.processors,
        "pinned": setting.pinned,
        "rounds": setting.rounds,
        "cases": entries.iter().map(case).collect::<Vec<Value>>(),
    });
    format!("{report:#}\n")
}

#[cfg(test)]
mod tests {
    use super::json;
    use crate::report::tests::{entries, setting};

    #[test]
    fn json_is_json() {
        let value: serde_json::Value = serde_json::from_str(&json(&setting(), &entries())).unwrap();
        assert_eq!(value["cases"][0]["contenders"][0]["ns"], 1.5);
        assert_eq!(value["cases"][0]["contenders"][1]["ratio_to_first"], 2.0);
        assert_eq!(value["cases"][0]["contenders"][2]["absent"], "no libdpdk");
        assert_eq!(value["cases"][1]["skipped"], "one processor");
    }
}
