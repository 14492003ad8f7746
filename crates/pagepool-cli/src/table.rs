//! The report for people.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::HumanCount;
use pp_xdp::af_xdp::MAX_CHUNK_BYTES;

use crate::report::{KernelCounts, PhaseReport, PoolReport, PortReport, Report};

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

    for ports in report.ports.chunks(COLUMNS) {
        write_columns(out, ports, |port| port.port.clone(), PORT_ROWS)?;
    }
    for port in &report.ports {
        if let Some(reason) = &port.modes.native_refusal {
            writeln!(out, "{} is slower than it could be: {reason}", port.port)?;
        }
    }
    if report.stuck > 0 {
        writeln!(out, "{} on their way out when the run ended, and dropped", packets_were(report.stuck))?;
    }
    for pools in report.pools.chunks(COLUMNS) {
        write_columns(out, pools, |pool| format!("pool {} ({})", pool.id, pool.name), ROWS)?;
    }
    if report.too_long > 0 {
        let packets = if report.too_long == 1 { "packet" } else { "packets" };
        let page = report.pools.first().map_or(0, |pool| pool.page_size);
        let (buffer, option) = match report.phases.iter().find_map(|phase| phase.split) {
            Some(split) => {
                (format!("fragment of {split} bytes"), "a larger --split, and --page-size if they fit no page")
            }
            // What comes from an interface or goes to one has its pages.
            None if !report.ports.is_empty() && page >= MAX_CHUNK_BYTES as usize => (
                format!("page of {page} bytes, the longest that afxdp ports have"),
                "shorter packets, or the interface that they come from a lower MTU",
            ),
            None => (format!("page of {page} bytes"), "--page-size"),
        };
        writeln!(out, "{} {packets} did not fit a {buffer}; give {option}", count(report.too_long))?;
    }
    if report.too_short > 0 {
        let packets = if report.too_short == 1 { "packet has" } else { "packets have" };
        writeln!(out, "{} {packets} no whole Ethernet header, and did not go out", count(report.too_short))?;
    }
    Ok(())
}

/// A table of a column for each of `things`, and a row for each of `rows`.
fn write_columns<T>(
    out: &mut impl Write,
    things: &[T],
    name: impl Fn(&T) -> String,
    rows: &[Row<T>],
) -> io::Result<()> {
    let mut table = new_table(&[]);
    table.set_header(std::iter::once(String::new()).chain(things.iter().map(name)));
    for (name, value) in rows {
        table.add_row(std::iter::once((*name).to_owned()).chain(things.iter().map(value)));
    }
    align(&mut table, 1);
    writeln!(out, "{table}")
}

fn packets_were(packets: u64) -> String {
    if packets == 1 { "1 packet was".to_owned() } else { format!("{} packets were", count(packets)) }
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

type Row<T> = (&'static str, fn(&T) -> String);

const PORT_ROWS: &[Row<PortReport>] = &[
    ("program in", |port| match port.modes.attached.as_deref() {
        Some("native") => "driver (native)".to_owned(),
        Some(_) => "stack (generic)".to_owned(),
        None => "-".to_owned(),
    }),
    ("kernel copies", |port| if port.modes.bound == "copy" { "yes" } else { "no (zerocopy)" }.to_owned()),
    ("packets of several pages", |port| if port.modes.several_buffers { "yes" } else { "no" }.to_owned()),
    ("queues", |port| match port.interface_queues {
        Some(there) => format!("{} of {there}", port.queues.len()),
        None => port.queues.len().to_string(),
    }),
    ("packets in", |port| count(port.counts.packets_in)),
    ("packets out", |port| count(port.counts.packets_out)),
    ("pages into fill ring", |port| count(port.counts.fill)),
    ("  out of receive ring", |port| count(port.counts.rx)),
    ("pages into transmit ring", |port| count(port.counts.tx)),
    ("  out of completion ring", |port| count(port.counts.completion)),
    ("bytes copied", |port| count(port.counts.copied_bytes)),
    ("calls of the kernel", |port| count(port.counts.wakes)),
    ("descriptors without sense", |port| count(port.counts.nonsense)),
    ("kernel: dropped", |port| kernel(port, |counts| counts.rx_dropped)),
    ("kernel: receive ring full", |port| kernel(port, |counts| counts.rx_ring_full)),
    ("kernel: fill ring empty", |port| kernel(port, |counts| counts.rx_fill_ring_empty)),
    ("kernel: transmit ring empty", |port| kernel(port, |counts| counts.tx_ring_empty)),
    ("kernel: bad descriptors", |port| kernel(port, |counts| counts.rx_invalid_descs + counts.tx_invalid_descs)),
];

fn kernel(port: &PortReport, of: impl Fn(&KernelCounts) -> u64) -> String {
    or_dash(port.kernel.as_ref().map(|counts| count(of(counts))))
}

const ROWS: &[Row<PoolReport>] = &[
    ("provider", |pool| pool.provider.to_owned()),
    ("page size", |pool| count(pool.page_size as u64)),
    ("pages in flight", |pool| count(pool.inflight)),
    ("  in use", |pool| count(pool.in_use)),
    ("  of those with the kernel", |pool| count(pool.kernel_held)),
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
