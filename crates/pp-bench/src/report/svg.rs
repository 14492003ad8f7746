//! The picture: for each case, how many times the pool's time the others take, on a logarithmic axis.
//!
//! Written by hand: a few lines, marks and words. Colours come from a palette that colour-blind people can tell apart, marks
//! differ in shape as well, and the sheet follows the reader's light or dark scheme.

use core::fmt::Write;

use super::{Entry, Setting, Verdict, fastest};
use crate::lineup::Peer;

/// Rows: cases in which other peers do the same work. Of several ways of a peer, the fastest is drawn.
const ROWS: [&str; 15] = [
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

/// How a peer is drawn.
struct Mark {
    peer: Peer,
    color: &'static str,
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    Circle,
    Square,
    Diamond,
    Up,
    Down,
    Cross,
    Bar,
}

const fn mark(peer: Peer, color: &'static str, shape: Shape) -> Mark {
    Mark { peer, color, shape }
}

const MARKS: [Mark; 9] = [
    mark(Peer::ArrayStack, "#8a8a8a", Shape::Bar),
    mark(Peer::Rings, "#8a8a8a", Shape::Cross),
    mark(Peer::Mempool, "#d55e00", Shape::Square),
    mark(Peer::ArrayQueue, "#2f8fd0", Shape::Circle),
    mark(Peer::Opool, "#56b4e9", Shape::Down),
    mark(Peer::PageRing, "#cc79a7", Shape::Up),
    mark(Peer::Mimalloc, "#009e73", Shape::Diamond),
    mark(Peer::Jemalloc, "#7a9a00", Shape::Up),
    mark(Peer::Malloc, "#c99700", Shape::Circle),
];

const WIDTH: f64 = 880.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 24.0;
/// Above the first row: title, legend, axis.
const TOP: f64 = 132.0;
const ROW: f64 = 26.0;
const BOTTOM: f64 = 40.0;

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#24292f}\
.small{font-size:11px;fill:#57606a}.title{font-size:15px;font-weight:600}\
.sheet{fill:#ffffff}.grid{stroke:#d8dee4}.row{stroke:#eaeef2}.one{stroke:#24292f;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.sheet{fill:#0d1117}.grid{stroke:#30363d}\
.row{stroke:#21262d}.one{stroke:#e6edf3}}";

/// One row: the case, and each peer's times the pool's.
struct Row<'a> {
    name: &'a str,
    points: Vec<(&'static Mark, f64)>,
}

fn rows(entries: &[Entry]) -> Vec<Row<'_>> {
    let row = |name: &&str| {
        let entry = entries.iter().find(|entry| entry.name == *name)?;
        let Verdict::Measured(outcomes) = &entry.verdict else { return None };
        let ours = fastest(outcomes, &[Peer::Pool])?;
        let point = |mark: &'static Mark| Some((mark, fastest(outcomes, &[mark.peer])?.through(ours)?.median));
        let points: Vec<_> = MARKS.iter().filter_map(point).collect();
        (!points.is_empty()).then_some(Row { name: &entry.name, points })
    };
    ROWS.iter().filter_map(row).collect()
}

/// The picture, or nothing when no case that it shows was measured.
pub(crate) fn svg(setting: &Setting, entries: &[Entry]) -> Option<String> {
    let rows = rows(entries);
    let ratios = || rows.iter().flat_map(|row| row.points.iter().map(|(_, ratio)| *ratio));
    let low = ratios().fold(0.5_f64, f64::min).log10().floor();
    let high = ratios().fold(2.0_f64, f64::max).log10().ceil();
    if rows.is_empty() || !(low.is_finite() && high.is_finite()) {
        return None;
    }
    let x = |ratio: f64| LEFT + (ratio.log10() - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let end = TOP + rows.len() as f64 * ROW;
    let height = end + BOTTOM;

    let mut out = Drawing(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<title>Times the pool's time, peer by peer</title>\n\
         <style>{STYLE}</style>\n"
    ));
    out.add(format_args!("<rect class=\"sheet\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>"));
    out.text((16.0, 26.0), "title", "start", "How many times the pool's time the others take (log scale)");
    legend(&mut out);
    for power in low as i32..=high as i32 {
        for step in [1.0, 2.0, 5.0] {
            let ratio = step * 10f64.powi(power);
            if ratio.log10() > high + 1e-9 {
                break;
            }
            let at = x(ratio);
            out.add(format_args!("<path class=\"grid\" d=\"M{at:.1} {:.1}V{end:.1}\"/>", TOP - 6.0));
            if step == 1.0 || high - low < 3.0 {
                out.text((at, TOP - 12.0), "small", "middle", &format!("{}\u{d7}", short(ratio)));
            }
        }
    }
    let one = x(1.0);
    for (at, row) in rows.iter().enumerate() {
        let y = TOP + (at as f64 + 0.5) * ROW;
        out.add(format_args!("<path class=\"row\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", WIDTH - RIGHT));
        out.text((LEFT - 12.0, y + 4.5), "", "end", row.name);
    }
    out.add(format_args!("<path class=\"one\" d=\"M{one:.1} {:.1}V{end:.1}\"/>", TOP - 6.0));
    for (at, row) in rows.iter().enumerate() {
        let y = TOP + (at as f64 + 0.5) * ROW;
        row.points.iter().for_each(|(mark, ratio)| out.mark(mark, x(*ratio), y));
    }
    out.text((one - 8.0, end + 16.0), "small", "end", "\u{2190} faster than the pool");
    out.text((one + 8.0, end + 16.0), "small", "start", "slower than the pool \u{2192}");
    out.text((16.0, height - 8.0), "small", "start", &setting.words());
    out.0 += "</svg>\n";
    Some(out.0)
}

fn short(ratio: f64) -> String {
    if ratio >= 1.0 { format!("{ratio:.0}") } else { format!("{ratio:.2}").trim_end_matches('0').to_owned() }
}

fn legend(out: &mut Drawing) {
    let (mut x, mut y) = (20.0, 52.0);
    out.add(format_args!("<path class=\"one\" d=\"M{x} {:.1}v12\"/>", y - 6.0));
    out.text((x + 10.0, y + 4.5), "", "start", "pool");
    x += 70.0;
    for mark in &MARKS {
        let label = mark.peer.label();
        let width = 36.0 + 7.6 * label.len() as f64;
        if x + width > WIDTH - RIGHT {
            (x, y) = (20.0, y + 22.0);
        }
        out.mark(mark, x, y);
        out.text((x + 10.0, y + 4.5), "", "start", label);
        x += width;
    }
}

/// SVG as it grows.
struct Drawing(String);

impl Drawing {
    fn add(&mut self, element: core::fmt::Arguments<'_>) {
        // Strings take whatever is written to them.
        let _ = writeln!(self.0, "{element}");
    }

    fn text(&mut self, (x, y): (f64, f64), class: &str, anchor: &str, words: &str) {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{words}</text>"
        ));
    }

    fn mark(&mut self, mark: &Mark, x: f64, y: f64) {
        let Mark { peer, color, shape } = mark;
        let path = match shape {
            Shape::Circle => "m-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
            Shape::Square => "m-4.5 -4.5h9v9h-9z",
            Shape::Diamond => "m0 -6l6 6l-6 6l-6 -6z",
            Shape::Up => "m0 -5.5l5.5 10h-11z",
            Shape::Down => "m0 5.5l5.5 -10h-11z",
            Shape::Cross => "m-5 -5l10 10m0 -10l-10 10",
            Shape::Bar => "m0 -7v14",
        };
        let paint = match shape {
            Shape::Cross | Shape::Bar => format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"3\""),
            _ => format!("fill=\"{color}\" fill-opacity=\"0.9\""),
        };
        let label = peer.label();
        self.add(format_args!("<path {paint} d=\"M{x:.1} {y:.1}{path}\"><title>{label}</title></path>"));
    }
}

#[cfg(test)]
mod tests {
    use super::svg;
    use crate::report::tests::{entries, setting};

    #[test]
    fn a_mark_stands_where_its_ratio_is() {
        let picture = svg(&setting(), &entries()).unwrap();
        // From 0.1 to 10: the array stack, at twice the pool, stands 65 % along.
        let x = super::LEFT + 0.5 * (1.0 + 2f64.log10()) * (super::WIDTH - super::LEFT - super::RIGHT);
        assert!(picture.contains(&format!("M{x:.1} {:.1}m0 -7v14", super::TOP + 0.5 * super::ROW)), "{picture}");
        assert_eq!(picture.matches("<svg").count(), picture.matches("</svg>").count());
    }

    #[test]
    fn nothing_measured_is_no_picture() {
        assert_eq!(svg(&setting(), &[]), None);
    }
}
