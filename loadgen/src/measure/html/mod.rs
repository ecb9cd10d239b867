//! A report for a browser: one file that needs nothing else, of one run or of several side by side.

mod plot;

use std::fmt::Write;

use serde_json::Value;

use crate::measure::results::{IntervalFigures, Operation, Run, Sample};
use crate::measure::table::{number, verdict};
use plot::{Axis, Line, Scale, figure};

/// Settings that are told of a run, where it has them.
const SETTINGS: [&str; 14] = [
    "urls",
    "append_url",
    "connections",
    "threads",
    "size",
    "batch",
    "rate",
    "limit",
    "rounds",
    "tenants",
    "waiters",
    "keys",
    "duration_s",
    "warmup_s",
];

/// One run and what it is called.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) label: String,
    pub(crate) run: Run,
}

/// The page.
pub(crate) fn page(runs: &[Named]) -> String {
    let title = match runs {
        [Named { run, .. }] => format!("loadgen {}, {}", run.command, run.started),
        runs => format!("loadgen: {} runs", runs.len()),
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{}</style></head><body><h1>{title}</h1>\n",
        include_str!("style.css"),
        title = escape(&title)
    );
    out += &overview(runs);
    for name in names(runs) {
        out += &operation(name, runs);
    }
    out += &steps(runs);
    out += &samples(runs);
    out + "</body></html>\n"
}

/// The names of all kinds of requests, each once, in order.
fn names(runs: &[Named]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for operation in runs.iter().flat_map(|named| &named.run.results.operations) {
        if !names.contains(&operation.name.as_str()) {
            names.push(&operation.name);
        }
    }
    names
}

/// What was run, how, and whether it passed.
fn overview(runs: &[Named]) -> String {
    let mut rows = String::new();
    for Named { label, run } in runs {
        let results = &run.results;
        let settings = SETTINGS.iter().filter_map(|name| match run.settings.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => Some(format!("{name} {}", number(value))),
        });
        let settings = settings.collect::<Vec<_>>().join(", ");
        let counts = results.counts.iter().filter(|(name, _)| *name != "run");
        let counts =
            counts.map(|(name, value)| format!("{} {}", name.replace('_', " "), number(value)));
        let mut said = counts.collect::<Vec<_>>().join(", ");
        if let Some(verification) = &results.verification {
            let separator = if said.is_empty() { "" } else { "; " };
            // Writing to a string does not fail, here and below.
            let _ = write!(said, "{separator}{}", verdict(verification));
        }
        if let Some(warning) = &results.generator.warning {
            let separator = if said.is_empty() { "" } else { "; " };
            let _ = write!(said, "{separator}{warning}");
        }
        let (class, outcome) =
            if results.passed { ("", "passed") } else { (" class=\"failed\"", "FAILED") };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td class=\"word\">{}</td><td>{}</td><td{class}>{outcome}</td>\
             <td>{:.2}</td><td>{:.0} %</td><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>",
            escape(label),
            escape(&run.command),
            escape(&run.started),
            results.generator.cpus,
            results.generator.busiest * 100.0,
            lateness(run),
            escape(&settings),
            escape(&said)
        );
    }
    format!(
        "<h2>Runs</h2><div class=\"scroll\"><table><tr><th>run</th><th class=\"word\">command</th><th>began</th>\
         <th>outcome</th><th>processors of loadgen</th><th>busiest thread</th><th>sent late, p99</th><th class=\"text\">settings</th>\
         <th class=\"text\">what it says</th></tr>\n{rows}</table></div>\n"
    )
}

fn lateness(run: &Run) -> String {
    match &run.results.generator.lateness {
        lateness if lateness.count == 0 => "closed loop".to_owned(),
        lateness => format!("{:.3} ms", lateness.p99_ms),
    }
}

/// The runs that have this kind of request, with their number.
fn with<'a>(
    name: &'a str,
    runs: &'a [Named],
) -> impl Iterator<Item = (usize, &'a str, &'a Operation)> + 'a {
    runs.iter().enumerate().filter_map(move |(number, named)| {
        let operations = &named.run.results.operations;
        let operation = operations.iter().find(|operation| operation.name == name)?;
        Some((number, named.label.as_str(), operation))
    })
}

/// One kind of request: figures and plots.
fn operation(name: &str, runs: &[Named]) -> String {
    let mut out = format!(
        "<h2>{}</h2><div class=\"scroll\"><table><tr><th>run</th><th>requests/s</th>\
         <th>changes/s</th><th>MB/s</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th>\
         <th>p99.9</th><th>max</th><th>errors</th><th>never sent</th></tr>\n",
        escape(name)
    );
    for (_, label, operation) in with(name, runs) {
        let latency = &operation.latency;
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{:.0}</td><td>{:.0}</td><td>{:.2}</td>",
            escape(label),
            operation.requests_per_s,
            operation.changes_per_s,
            operation.mb_per_s
        );
        for ms in [
            latency.mean_ms,
            latency.p50_ms,
            latency.p90_ms,
            latency.p99_ms,
            latency.p999_ms,
            latency.max_ms,
        ] {
            let _ = write!(out, "<td>{ms:.3} ms</td>");
        }
        let (errors, never_sent) = (operation.errors.total(), operation.never_sent);
        let class = if errors > 0 { " class=\"failed\"" } else { "" };
        let _ = writeln!(out, "<td{class}>{errors}</td><td>{never_sent}</td></tr>");
    }
    out += "</table></div><div class=\"plots\">";
    let lines = |points: &dyn Fn(&Operation) -> Vec<[f64; 2]>| -> Vec<Line> {
        let line = |(style, label, operation): (usize, &str, &Operation)| Line {
            label: label.to_owned(),
            style,
            points: points(operation),
        };
        with(name, runs).map(line).collect()
    };
    let over_time = |value: fn(&IntervalFigures) -> f64| {
        lines(&|operation| operation.intervals.iter().map(|one| [one.at_s, value(one)]).collect())
    };
    let percentile = Axis { label: "percentile", scale: Scale::Percentile };
    let time = Axis { label: "seconds", scale: Scale::Linear };
    let ms = Axis { label: "milliseconds", scale: Scale::Log };
    let rate = Axis { label: "requests/s", scale: Scale::Linear };
    let curves = lines(&|operation| operation.curve.clone());
    out += &figure("Latency by percentile", percentile, ms, &curves);
    let rates = over_time(|interval| interval.requests_per_s);
    out += &figure("Throughput over time", time, rate, &rates);
    out += &figure("p99 over time", time, ms, &over_time(|interval| interval.p99_ms));
    out + "</div>\n"
}

/// The searches for the highest rate.
fn steps(runs: &[Named]) -> String {
    let lines = runs.iter().enumerate().map(|(style, named)| {
        let mut points: Vec<[f64; 2]> =
            named.run.results.steps.iter().map(|step| [step.rate, step.p99_ms]).collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        Line { label: named.label.clone(), style, points }
    });
    let lines: Vec<Line> = lines.filter(|line| !line.points.is_empty()).collect();
    let rate = Axis { label: "requests/s that were due", scale: Scale::Log };
    let ms = Axis { label: "milliseconds", scale: Scale::Log };
    section("Rates that were tried", &figure("p99 by rate", rate, ms, &lines))
}

/// What the servers took.
fn samples(runs: &[Named]) -> String {
    let lines = |value: fn(&Sample) -> f64| -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (style, Named { label, run }) in runs.iter().enumerate() {
            for sample in &run.results.samples {
                let label = format!("{label} {}", sample.url);
                let point = [sample.at_s, value(sample)];
                match lines.iter_mut().find(|line| line.label == label) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line { label, style, points: vec![point] }),
                }
            }
        }
        lines
    };
    let time = Axis { label: "seconds", scale: Scale::Linear };
    let memory = Axis { label: "megabytes", scale: Scale::Linear };
    let files = Axis { label: "descriptors", scale: Scale::Linear };
    let memory = figure("Resident memory", time, memory, &lines(|sample| sample.resident_mb));
    let files = figure("Open files", time, files, &lines(|sample| sample.open_files as f64));
    section("The servers", &(memory + &files))
}

/// Plots under a heading; nothing without any.
fn section(heading: &str, plots: &str) -> String {
    match plots {
        "" => String::new(),
        plots => format!("<h2>{}</h2><div class=\"plots\">{plots}</div>\n", escape(heading)),
    }
}

/// Text as it stands in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
