//! The report for people.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::HumanCount;

use crate::report::{PhaseReport, PoolReport, Report};

/// What passed, rate and memory of each kind of buffers if there were several, and what each pool did.
///
/// # Errors
///
/// What the writer says.
pub(crate) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let bytes_per_second = if report.seconds > 0.0 { report.bytes as f64 / report.seconds } else { 0.0 };
    let mut traffic = new_table(&["packets in", "packets out", "dropped", "bytes", "seconds", "Mpps", "Gbit/s"]);
    traffic.add_row([
        count(report.packets_in),
        count(report.packets_out),
        count(report.dropped),
        count(report.bytes),
        format!("{:.3}", report.seconds),
        format!("{:.3}", report.mpps),
        format!("{:.2}", bytes_per_second * 8.0 / 1e9),
    ]);
    align(&mut traffic, 0);
    writeln!(out, "{traffic}")?;

    if report.phases.iter().any(|phase| phase.split.is_some()) {
        let mut phases = new_table(&["buffers", "packets", "seconds", "Mpps", "pages in use at most", "KiB"]);
        phases.add_rows(report.phases.iter().map(phase_row));
        align(&mut phases, 1);
        writeln!(out, "{phases}")?;
        if report.phases.len() == 1 {
            writeln!(out, "the run ended before its middle, where it would have changed to a page a packet")?;
        }
    }

    for pools in report.pools.chunks(COLUMNS) {
        let names = pools.iter().map(|pool| format!("pool {} ({})", pool.id, pool.name));
        let mut table = new_table(&[]);
        table.set_header(std::iter::once(String::new()).chain(names));
        for (name, value) in ROWS {
            table.add_row(std::iter::once((*name).to_owned()).chain(pools.iter().map(value)));
        }
        align(&mut table, 1);
        writeln!(out, "{table}")?;
    }
    if report.too_long > 0 {
        let packets = if report.too_long == 1 { "packet" } else { "packets" };
        let page = report.pools.first().map_or(0, |pool| pool.page_size);
        let (buffer, option) = match report.phases.iter().find_map(|phase| phase.split) {
            Some(split) => {
                (format!("fragment of {split} bytes"), "a larger --split, and --page-size if they fit no page")
            }
            None => (format!("page of {page} bytes"), "--page-size"),
        };
        writeln!(out, "{} {packets} did not fit a {buffer}; give {option}", count(report.too_long))?;
    }
    Ok(())
}

fn phase_row(phase: &PhaseReport) -> [String; 6] {
    let buffers = phase.split.map_or_else(|| "a page a packet".to_owned(), |split| format!("fragments of {split}"));
    [
        buffers,
        count(phase.packets),
        format!("{:.3}", phase.seconds),
        format!("{:.3}", phase.mpps),
        count(phase.most_pages),
        count(phase.most_bytes / 1024),
    ]
}

/// Pools beside each other, so that a table fits a terminal of 100 columns; the next ones come below.
const COLUMNS: usize = 4;

type Row = (&'static str, fn(&PoolReport) -> String);

const ROWS: &[Row] = &[
    ("provider", |pool| pool.provider.to_owned()),
    ("page size", |pool| count(pool.page_size as u64)),
    ("pages in flight", |pool| count(pool.inflight)),
    ("  in use", |pool| count(pool.in_use)),
    ("buffers posted to a device", |pool| count(pool.posted)),
    ("pages lost", |pool| count(pool.lost)),
    ("limit", |pool| or_dash(pool.limit.map(count))),
    ("limit hits", |pool| count(pool.limit_hits)),
    ("fragmentation index", |pool| or_dash(pool.fragmentation_index.map(|index| format!("{index:.3}")))),
    ("alloc fast", |pool| count(pool.alloc.fast)),
    ("alloc refill", |pool| count(pool.alloc.refill)),
    ("alloc slow", |pool| count(pool.alloc.slow)),
    ("alloc slow, high order", |pool| count(pool.alloc.slow_high_order)),
    ("alloc empty", |pool| count(pool.alloc.empty)),
    ("alloc waive", |pool| count(pool.alloc.waive)),
    ("recycle cached", |pool| count(pool.recycle.cached)),
    ("recycle cache full", |pool| count(pool.recycle.cache_full)),
    ("recycle ring", |pool| count(pool.recycle.ring)),
    ("recycle ring full", |pool| count(pool.recycle.ring_full)),
    ("recycle released", |pool| count(pool.recycle.released_refcnt)),
    ("recycled", |pool| format!("{:.2} %", pool.recycled_percent)),
    ("pages from provider", |pool| count(pool.provider_allocs)),
    ("  of those at 10 % of the run", |pool| or_dash(pool.provider_allocs_at_10_percent.map(count))),
    ("pages back to provider", |pool| count(pool.provider_releases)),
];

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    table
}

/// Numbers to the right, from the `first` column on.
fn align(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn count(value: u64) -> String {
    HumanCount(value).to_string()
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
