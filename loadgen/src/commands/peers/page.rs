//! The tables of a comparison as Markdown, between two marks of a file, and a plot of them as SVG beside it.

use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use super::{Compared, Row};
use crate::args::{PeersArguments, Work};
use crate::measure::report::write_file;

/// Between these lines stands what this command has written.
const BEGIN: &str = "<!-- loadgen peers: begin -->";
const END: &str = "<!-- loadgen peers: end -->";
/// The file of the plot.
const PLOT: &str = "peers.svg";
/// The sizes of the plot, in units of the drawing.
const WIDTH: f64 = 760.0;
const BARS_LEFT: f64 = 330.0;
const LINE: f64 = 20.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1b1f24}.h{font-weight:600}\
    rect{fill:#8a94a0}.own{fill:#0060a8}@media(prefers-color-scheme:dark){text{fill:#e6edf3}\
    rect{fill:#6b7683}.own{fill:#5cb3ff}}";

/// Checks that the file has its marks, before anything is measured.
pub(super) fn check(docs: &Path) -> Result<()> {
    marked(docs).map(|_| ())
}

/// What stands before and behind the marks.
fn marked(docs: &Path) -> Result<(String, String)> {
    let name = docs.display();
    let text = std::fs::read_to_string(docs).with_context(|| format!("cannot read {name}"))?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(END)?;
        Some((before.to_owned(), behind.to_owned()))
    });
    parts.with_context(|| format!("{name} has no lines {BEGIN} and {END}"))
}

/// Writes the tables and the plot.
pub(super) fn write(docs: &Path, arguments: &PeersArguments, compared: &Compared) -> Result<()> {
    ensure!(!compared.rows.is_empty(), "nothing was measured");
    let (before, behind) = marked(docs)?;
    let tables = tables(arguments, compared);
    write_file(docs, format!("{before}{BEGIN}\n{tables}{END}{behind}").as_bytes())?;
    write_file(&docs.with_file_name(PLOT), plot(&compared.rows).as_bytes())
}

/// Rows of the same work, one group after the other.
fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| a.cell == b.cell)
}

fn tables(arguments: &PeersArguments, compared: &Compared) -> String {
    let when = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let (slices, slice) = (arguments.slices, humantime::format_duration(arguments.turn.slice));
    let mut out = format!(
        "Measured {when} with a client of {} thread, {slices} turns of {slice} each after {}, on the same machine as \
         the servers; rates are medians of the turns. `data` has {} bytes.\n\n",
        arguments.client.threads,
        humantime::format_duration(arguments.turn.warmup),
        arguments.size
    );
    // Writing to a string does not fail, here and below.
    for peer in &compared.peers {
        let _ = writeln!(out, "- {peer}");
    }
    for skipped in &compared.skipped {
        let _ = writeln!(out, "- skipped: {skipped}");
    }
    out += "\n| work | | requests/s | changes/s | ChangeAgent to it | p50 | p99 | errors |\n\
            | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for group in groups(&compared.rows) {
        for row in group {
            let latency = row.tally.latencies.summary();
            let (rate, changes) = match row.cell.work {
                Work::Wait => ("–".to_owned(), "–".to_owned()),
                work => {
                    let each = if work == Work::Read { 100 } else { row.batch };
                    (format!("{:.0}", row.rate()), format!("{:.0}", row.rate() * f64::from(each)))
                }
            };
            let _ = writeln!(
                out,
                "| {} | {} | {rate} | {changes} | {} | {:.2} ms | {:.2} ms | {} |",
                row.cell.name(),
                row.label,
                ratio(group, row),
                latency.p50_ms,
                latency.p99_ms,
                row.tally.errors.total()
            );
        }
    }
    out + &format!("\n![The same as bars]({PLOT})\n")
}

/// The figure that rows of a group are compared by: changes a second, or how soon the last gets one.
fn figure(row: &Row) -> f64 {
    match row.cell.work {
        Work::Wait => row.tally.latencies.summary().p50_ms,
        Work::Read => row.rate() * 100.0,
        _ => row.rate() * f64::from(row.batch),
    }
}

/// How often ChangeAgent's figure is that of the row; of latencies, how often its own is that of ChangeAgent.
fn ratio(group: &[Row], row: &Row) -> String {
    let own = group.iter().find(|row| is_own(row)).map(figure);
    let (other, is_latency) = (figure(row), row.cell.work == Work::Wait);
    match own {
        Some(own) if !is_own(row) && own > 0.0 && other > 0.0 => {
            format!("{:.2}", if is_latency { other / own } else { own / other })
        }
        _ => "–".to_owned(),
    }
}

fn is_own(row: &Row) -> bool {
    row.label.starts_with("ChangeAgent")
}

/// Bars, each group by its own highest.
fn plot(rows: &[Row]) -> String {
    let lines = rows.len() + 2 * groups(rows).count();
    let height = LINE * (lines as f64 + 0.5);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
         <title>ChangeAgent beside others</title><style>{STYLE}</style>"
    );
    let mut y = LINE;
    for group in groups(rows) {
        let Some(first) = group.first() else { continue };
        let unit = if first.cell.work == Work::Wait { "ms, p50" } else { "changes/s" };
        let name = first.cell.name();
        let _ = write!(out, "<text class=\"h\" x=\"4\" y=\"{y}\">{name} ({unit})</text>");
        let highest = group.iter().map(figure).fold(f64::MIN_POSITIVE, f64::max);
        for row in group {
            y += LINE;
            let value = figure(row);
            let width = value / highest * (WIDTH - BARS_LEFT - 90.0);
            let class = if is_own(row) { " class=\"own\"" } else { "" };
            let digits = usize::from(value < 100.0) * 2;
            let _ = write!(
                out,
                "<text x=\"20\" y=\"{y}\">{}</text><rect{class} x=\"{BARS_LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" \
                 height=\"14\" rx=\"2\"/><text x=\"{:.1}\" y=\"{y}\">{value:.digits$}</text>",
                row.label,
                y - 11.0,
                BARS_LEFT + width + 6.0
            );
        }
        y += 2.0 * LINE;
    }
    out + "</svg>\n"
}
