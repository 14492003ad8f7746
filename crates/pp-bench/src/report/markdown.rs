//! Tables for people.

use core::fmt::Write;

use super::{Entry, Setting, Verdict, fastest};
use crate::lineup::{Outcome, Peer, spread};

/// Every contender of every case. What it compares with is the first line of each case.
pub(crate) fn table(setting: &Setting, entries: &[Entry]) -> String {
    let mut text = String::from(
        "| case | contender | ns | quartiles | fastest | times the first | spread |\n|---|---|---:|---:|---:|---:|---:|\n",
    );
    for Entry { name, verdict, .. } in entries {
        match verdict {
            Verdict::Measured(outcomes) => {
                for (line, outcome) in outcomes.iter().enumerate() {
                    let case = if line == 0 { format!("`{name}`") } else { String::new() };
                    text += &format!("| {case} | {} |{}\n", outcome.who, numbers(outcome, &outcomes[0]));
                }
            }
            Verdict::Skipped(why) => text += &format!("| `{name}` | skipped: {why} | | | | | |\n"),
        }
    }
    text += &format!("\nNanoseconds a page, a fragment or a pool; {}.\n", setting.words());
    text
}

fn numbers(outcome: &Outcome, first: &Outcome) -> String {
    if let Some(absent) = &outcome.absent {
        return format!(" absent: {} | | | | |", absent.0);
    }
    let (Some(middle), Some(ratio)) = (outcome.middle(), outcome.through(first)) else {
        return " not measured | | | | |".to_owned();
    };
    let (low, high) = middle.quartiles;
    let (median, least) = (middle.median, middle.least);
    let spread = 100.0 * spread(&ratio);
    format!(" {median:.2} | {low:.2} - {high:.2} | {least:.2} | {:.2} | {spread:.0} % |", ratio.median)
}

/// The cases that the README shows.
const SHOWN: [&str; 15] = [
    "single",
    "napi64",
    "bulk64",
    "ring",
    "cross1",
    "cross16",
    "cross64",
    "contended2",
    "contended8",
    "touch-line",
    "touch-page",
    "held",
    "frag256-64",
    "frag1536-64",
    "frag1536-foreign",
];

/// And the peers. Several in one column, or several ways of one: the fastest.
const COLUMNS: [(&str, &[Peer]); 7] = [
    ("pool", &[Peer::Pool]),
    ("bare limit", &[Peer::ArrayStack, Peer::Rings]),
    ("DPDK mempool", &[Peer::Mempool]),
    ("crossbeam ArrayQueue", &[Peer::ArrayQueue]),
    ("mimalloc", &[Peer::Mimalloc]),
    ("jemalloc", &[Peer::Jemalloc]),
    ("malloc", &[Peer::Malloc]),
];

/// The few lines that the README has.
pub(crate) fn summary(setting: &Setting, entries: &[Entry]) -> String {
    let mut text = String::from("| case |");
    COLUMNS.iter().for_each(|(name, _)| write(&mut text, format_args!(" {name} |")));
    text += "\n|---|";
    COLUMNS.iter().for_each(|_| text += "---:|");
    text += "\n";
    for entry in entries.iter().filter(|entry| SHOWN.contains(&entry.name.as_str())) {
        write(&mut text, format_args!("| `{}`: {} |", entry.name, entry.about));
        match &entry.verdict {
            Verdict::Measured(outcomes) => {
                COLUMNS.iter().for_each(|(_, peers)| write(&mut text, format_args!(" {} |", place(outcomes, peers))));
            }
            Verdict::Skipped(why) => write(&mut text, format_args!(" skipped: {why} | | | | | | |")),
        }
        text += "\n";
    }
    text += &format!(
        "\nNanoseconds a page or a fragment; {}. Of several ways of one peer, the fastest.\n",
        setting.words()
    );
    text
}

/// The number in one column, or a dash for those who do not take part.
fn place(outcomes: &[Outcome], peers: &[Peer]) -> String {
    match fastest(outcomes, peers).and_then(Outcome::middle) {
        Some(middle) => format!("{:.2}", middle.median),
        None if outcomes.iter().any(|outcome| peers.contains(&outcome.who.peer)) => "absent".to_owned(),
        None => "-".to_owned(),
    }
}

/// Strings take whatever is written to them.
fn write(text: &mut String, arguments: core::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::{summary, table};
    use crate::report::tests::{entries, setting};

    #[test]
    fn tables_name_who_is_absent_and_what_was_skipped() {
        let table = table(&setting(), &entries());
        assert!(table.contains("| `single` | pool | 1.50 | 1.50 - 2.00 | 1.00 | 1.00 | 0 % |"), "{table}");
        assert!(table.contains("|  | array stack | 3.00 | 3.00 - 4.00 | 2.00 | 2.00 | 0 % |"), "{table}");
        assert!(table.contains("|  | DPDK mempool | absent: no libdpdk | | | | |"), "{table}");
        assert!(table.contains("| `cross1` | skipped: one processor | | | | | |"), "{table}");
    }

    #[test]
    fn the_summary_has_a_line_a_case() {
        let summary = summary(&setting(), &entries());
        assert!(summary.contains("| `single`: a way | 1.50 | 3.00 | absent | - | - | - | - |"), "{summary}");
        assert!(summary.contains("| `cross1`: a way | skipped: one processor |"), "{summary}");
    }
}
