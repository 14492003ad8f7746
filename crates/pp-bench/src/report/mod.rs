//! What the program writes: a Markdown table and a picture for people, JSON for programs.

mod json;
mod markdown;
mod place;
mod svg;

pub(crate) use json::json;
pub(crate) use markdown::{summary, table};
pub(crate) use place::{PlaceError, put};
pub(crate) use svg::svg;

use crate::lineup::{Outcome, Peer};

/// What became of one case.
pub(crate) enum Verdict {
    Measured(Vec<Outcome>),
    /// Why not.
    Skipped(String),
}

/// One case with what became of it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) unit: &'static str,
    pub(crate) verdict: Verdict,
}

/// How the run was made.
pub(crate) struct Setting {
    pub(crate) rounds: usize,
    pub(crate) processors: usize,
    pub(crate) pinned: bool,
    /// The processor's name, where the system says it.
    pub(crate) model: String,
}

impl Setting {
    /// In half a sentence.
    pub(crate) fn words(&self) -> String {
        let Setting { rounds, processors, pinned, model } = self;
        let pinned = if *pinned { "pinned" } else { "not pinned" };
        let arch = std::env::consts::ARCH;
        format!("medians of {rounds} interleaved rounds, {processors} {arch} processors ({model}), {pinned}")
    }
}

/// The fastest way of one of `peers` that does the case's work itself.
fn fastest<'a>(outcomes: &'a [Outcome], peers: &[Peer]) -> Option<&'a Outcome> {
    let of_peers = outcomes.iter().filter(|each| peers.contains(&each.who.peer));
    // Two of ours stand beside others' cases only to be compared with.
    let working = of_peers.filter(|each| !matches!(each.who.way, "uncontended ring" | "page, direct"));
    let timed = working.filter_map(|each| Some((each, each.middle()?.median)));
    timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(each, _)| each)
}

/// The processor's name as Linux tells it.
pub(crate) fn model() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    match (line("model name"), line("cpu family"), line("model")) {
        (Some(name), Some(family), Some(model)) => format!("{name}, family {family} model {model}"),
        (Some(name), ..) => name,
        _ => "of a kind that the system does not tell".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Entry, Setting, Verdict};
    use crate::lineup::{Absent, Outcome, Peer, Who};

    pub(crate) fn setting() -> Setting {
        Setting { rounds: 3, processors: 1, pinned: false, model: "a test".into() }
    }

    fn outcome(peer: Peer, samples: &[f64]) -> Outcome {
        Outcome { who: Who { peer, way: "" }, samples: samples.to_vec(), absent: None }
    }

    /// One measured case with somebody absent, and one skipped.
    pub(crate) fn entries() -> Vec<Entry> {
        let absent = Outcome { absent: Some(Absent("no libdpdk".into())), ..outcome(Peer::Mempool, &[]) };
        let outcomes = vec![outcome(Peer::Pool, &[1.0, 1.5, 2.0]), outcome(Peer::ArrayStack, &[2.0, 3.0, 4.0]), absent];
        let entry = |name: &str, verdict| Entry { name: name.into(), about: "a way".into(), unit: "page", verdict };
        vec![entry("single", Verdict::Measured(outcomes)), entry("cross1", Verdict::Skipped("one processor".into()))]
    }
}
