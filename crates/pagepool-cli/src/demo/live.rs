//! The table that moves while programs talk.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pp_netdev::afxdp::{AfxdpProgress, PoolProgress};

use super::clients::Now;
use crate::afxdp::Interfaces;
use crate::args::DemoArgs;

/// How often it changes on a terminal.
const FRAME: Duration = Duration::from_millis(250);
/// How often a line comes elsewhere.
const LINE: Duration = Duration::from_secs(1);

/// Where the figures go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// One table in one place.
    Terminal,
    /// A line now and then.
    Lines,
    /// Nowhere: standard output is for the object.
    Nowhere,
}

/// What is shown, and what it was when it was shown last.
#[derive(Debug)]
pub(super) struct Live {
    place: Place,
    bar: ProgressBar,
    now: Arc<Now>,
    interfaces: Interfaces,
    shown: Duration,
    packets: u64,
    bytes: u64,
}

// === impl Live ===

impl Live {
    pub(super) fn new(args: &DemoArgs) -> Self {
        let place = match (args.json, io::stdout().is_terminal()) {
            (true, _) => Place::Nowhere,
            (false, true) => Place::Terminal,
            (false, false) => Place::Lines,
        };
        let target = if place == Place::Terminal { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // The template is ours; a typo in it costs the decoration, not the run.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let now = Arc::new(Now::new("starting"));
        Live { place, bar, now, interfaces: Interfaces::default(), shown: Duration::ZERO, packets: 0, bytes: 0 }
    }

    /// Where to say what is going on.
    pub(super) fn now(&self) -> Arc<Now> {
        Arc::clone(&self.now)
    }

    /// Says something above the table.
    pub(super) fn say(&self, sentence: &str) {
        if self.place != Place::Nowhere {
            // Where it can't be said the demonstration goes on.
            self.bar.suspend(|| drop(writeln!(io::stdout(), "{sentence}")));
        }
    }

    /// Shows the figures, if it is time to.
    pub(super) fn show(&mut self, seen: &AfxdpProgress) {
        let bar = &self.bar;
        let complain = |sentence: &str| bar.suspend(|| drop(writeln!(io::stderr(), "pagepool: {sentence}")));
        self.interfaces.look(&seen.ports, complain);
        let every = if self.place == Place::Terminal { FRAME } else { LINE };
        let since = seen.elapsed.saturating_sub(self.shown);
        if since < every {
            return;
        }
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let a_second = |count: u64| count as f64 / since.as_secs_f64();
        let kpps = a_second(seen.traffic.packets_out - self.packets.min(seen.traffic.packets_out)) / 1e3;
        let gbit = a_second(seen.traffic.bytes_out - self.bytes.min(seen.traffic.bytes_out)) * 8.0 / 1e9;
        (self.shown, self.packets, self.bytes) = (seen.elapsed, seen.traffic.packets_out, seen.traffic.bytes_out);
        match self.place {
            Place::Nowhere => {}
            Place::Terminal => {
                let head = format!(
                    "{:>4.1} s  {now:<12} {:>12} packets  {kpps:>8.1} kpps  {gbit:>6.2} Gbit/s",
                    seen.elapsed.as_secs_f64(),
                    HumanCount(seen.traffic.packets_out).to_string(),
                );
                self.bar.set_message(format!("{head}\n{}", table(&seen.pools)));
                self.bar.tick();
            }
            Place::Lines => {
                let pools: Vec<_> = seen.pools.iter().map(in_a_line).collect();
                let line = format!(
                    "{:>4.1} s  {now:<12} {:>10} packets {kpps:>7.1} kpps {gbit:>5.2} Gbit/s | {}",
                    seen.elapsed.as_secs_f64(),
                    seen.traffic.packets_out,
                    pools.join(" | "),
                );
                // As above.
                let _ = writeln!(io::stdout(), "{line}");
            }
        }
    }

    /// Takes the table away: the results come in its place.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Pages of a pool that are neither in it nor with the kernel.
fn user_held(pool: &PoolProgress) -> usize {
    pool.stats.in_use().saturating_sub(pool.kernel_held)
}

fn table(pools: &[PoolProgress]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "pool",
        "pages in use",
        "kernel-held",
        "user-held",
        "allocated",
        "recycled",
        "from provider",
    ]);
    for pool in pools {
        let stats = &pool.stats;
        let count = |count: usize| HumanCount(count as u64).to_string();
        table.add_row([
            pool.name.clone(),
            count(stats.in_use()),
            count(pool.kernel_held),
            count(user_held(pool)),
            count(stats.allocations()),
            format!("{:.2} %", stats.recycled_percent()),
            count(stats.hold),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn in_a_line(pool: &PoolProgress) -> String {
    let (name, held, user) = (&pool.name, pool.kernel_held, user_held(pool));
    format!("{name}: kernel-held {held}, user-held {user}, from provider {}", pool.stats.hold)
}
