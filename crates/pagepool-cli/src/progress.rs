//! A line on the terminal while a run goes on.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often whoever waits for the run should look at it.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// What a run did so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    pub(crate) packets_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) dropped: u64,
}

/// The line; nothing at all where standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    total: Option<u64>,
}

impl Progress {
    /// A run of `total` packets, where that is known.
    pub(crate) fn new(total: Option<u64>) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = if total.is_some() {
            "{elapsed_precise} {bar:30} {percent:>3}%  {msg}"
        } else {
            "{elapsed_precise} {spinner}  {msg}"
        };
        // The template is ours; a typo in it costs the decoration, not the run.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, total }
    }

    /// Shows what there is to see.
    pub(crate) fn show(&self, sight: Sight) {
        let seconds = self.bar.elapsed().as_secs_f64();
        let mpps = if seconds > 0.0 { sight.packets_out as f64 / seconds / 1e6 } else { 0.0 };
        self.bar.set_message(format!(
            "in {}  out {}  dropped {}  {mpps:.2} Mpps",
            HumanCount(sight.packets_in),
            HumanCount(sight.packets_out),
            HumanCount(sight.dropped),
        ));
        match self.total {
            Some(total) => self.bar.set_position(sight.packets_in.min(total)),
            None => self.bar.tick(),
        }
    }

    /// Says something on standard error, above the line if there is one.
    pub(crate) fn say(&self, sentence: &str) {
        // Where it can't be said the run goes on.
        self.bar.suspend(|| drop(writeln!(io::stderr(), "pagepool: {sentence}")));
    }

    /// Takes the line away: the table comes in its place.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
