//! What a run says in the end: a table for people, and the same figures with the settings as JSON.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::load::verify::Verification;
use crate::measure::tally::{Errors, LatencySummary, Tally};

/// Whether what the command was to prove holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
}

/// Figures of one command.
pub(crate) trait Figures: Serialize {
    /// The rows of the table.
    fn rows(&self, rows: &mut Rows);

    /// Whether the run proved what it should; lines about it may be printed.
    fn outcome(&self) -> Outcome {
        Outcome::Passed
    }
}

/// The head of a report, made when the run begins.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    tool: &'static str,
    version: &'static str,
    command: &'static str,
    started: String,
    settings: Value,
}

impl Report {
    /// Notes the time and the settings.
    pub(crate) fn begin(command: &'static str, settings: &impl Serialize) -> Result<Self> {
        Ok(Self {
            tool: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            command,
            started: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            settings: serde_json::to_value(settings).context("cannot write down the settings")?,
        })
    }

    /// Prints the table and writes the file.
    pub(crate) fn finish(self, figures: &impl Figures, json: Option<&Path>) -> Result<Outcome> {
        #[derive(Serialize)]
        struct File<'a, F> {
            #[serde(flatten)]
            report: Report,
            results: &'a F,
        }
        let mut rows = Rows::default();
        figures.rows(&mut rows);
        println!("{}", rows.table(self.command));
        if let Some(path) = json {
            let mut text = serde_json::to_string_pretty(&File { report: self, results: figures })?;
            text.push('\n');
            std::fs::write(path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(figures.outcome())
    }
}

/// Lines of a table: a name and its values.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Vec<String>>);

impl Rows {
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push(vec![name.into(), value.into()]);
    }

    fn latency(&mut self, name: &str, latency: &LatencySummary) {
        if latency.count == 0 {
            return self.add(name, "none measured");
        }
        for (quantile, value_ms) in [
            ("mean", latency.mean_ms),
            ("p50", latency.p50_ms),
            ("p90", latency.p90_ms),
            ("p99", latency.p99_ms),
            ("p99.9", latency.p999_ms),
            ("max", latency.max_ms),
        ] {
            self.add(format!("{name} {quantile}"), format!("{value_ms:.3} ms"));
        }
    }

    fn errors(&mut self, errors: &Errors) {
        self.add("errors", errors.total().to_string());
        for (code, count) in errors.iter() {
            self.add(format!("  {code}"), count.to_string());
        }
    }

    fn table(self, title: &str) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header([title, ""]);
        table.add_rows(self.0);
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// A count by the second.
fn per_second(count: u64, measured: Duration) -> f64 {
    let seconds = measured.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Rates and latencies that ingest and read share.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    measured_s: f64,
    requests: u64,
    changes: u64,
    requests_per_s: f64,
    changes_per_s: f64,
    /// Megabytes (10^6 bytes) of change data sent, or of bodies received, a second.
    mb_per_s: f64,
    latency: LatencySummary,
    errors: Errors,
}

impl Throughput {
    fn new(tally: &Tally, measured: Duration) -> Self {
        Self {
            measured_s: measured.as_secs_f64(),
            requests: tally.requests,
            changes: tally.changes,
            requests_per_s: per_second(tally.requests, measured),
            changes_per_s: per_second(tally.changes, measured),
            mb_per_s: per_second(tally.body_bytes, measured) / 1e6,
            latency: tally.latencies.summary(),
            errors: tally.errors.clone(),
        }
    }

    fn rows(&self, rows: &mut Rows) {
        rows.add("measured", format!("{:.2} s", self.measured_s));
        rows.add("requests", self.requests.to_string());
        rows.add("requests/s", format!("{:.0}", self.requests_per_s));
        rows.add("changes/s", format!("{:.0}", self.changes_per_s));
        rows.add("MB/s", format!("{:.2}", self.mb_per_s));
        rows.latency("latency", &self.latency);
        rows.errors(&self.errors);
    }
}

/// The figures of `ingest`.
#[derive(Debug, Serialize)]
pub(crate) struct IngestReport {
    run: String,
    #[serde(flatten)]
    throughput: Throughput,
    never_sent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
}

impl IngestReport {
    /// Puts the figures together.
    pub(crate) fn new(
        run: u64,
        tally: &Tally,
        measured: Duration,
        verification: Option<Verification>,
    ) -> Self {
        Self {
            run: format!("{run:016x}"),
            throughput: Throughput::new(tally, measured),
            never_sent: tally.never_sent,
            verification,
        }
    }
}

impl Figures for IngestReport {
    fn rows(&self, rows: &mut Rows) {
        rows.add("run", &*self.run);
        self.throughput.rows(rows);
        if self.never_sent > 0 {
            rows.add("due but never sent", self.never_sent.to_string());
        }
        if let Some(verification) = &self.verification {
            rows.add("acknowledged changes", verification.acknowledged.to_string());
            rows.add("found unchanged", verification.found.to_string());
            rows.add(
                "outcome unknown (found)",
                format!("{} ({})", verification.unknown, verification.unknown_found),
            );
            rows.add("of other writers", verification.foreign.to_string());
        }
    }

    fn outcome(&self) -> Outcome {
        let Some(verification) = &self.verification else { return Outcome::Passed };
        if verification.passed {
            println!("verify: passed: {} changes read back", verification.changes_read);
            return Outcome::Passed;
        }
        let counts: Vec<String> = verification
            .violations
            .iter()
            .map(|(violation, count)| format!("{violation:?} {count}"))
            .collect();
        println!("verify: FAILED: {}", counts.join(", "));
        for example in &verification.examples {
            println!("  {example}");
        }
        Outcome::Failed
    }
}

/// The figures of `read`.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ReadReport(Throughput);

impl ReadReport {
    /// Puts the figures together.
    pub(crate) fn new(tally: &Tally, measured: Duration) -> Self {
        Self(Throughput::new(tally, measured))
    }
}

impl Figures for ReadReport {
    fn rows(&self, rows: &mut Rows) {
        self.0.rows(rows);
    }
}

/// What one stage of `fill` brought.
#[derive(Debug, Serialize)]
pub(crate) struct Filled {
    wanted: u64,
    created: u64,
    took_s: f64,
    requests_per_s: f64,
    created_per_s: f64,
    latency: LatencySummary,
    errors: Errors,
}

impl Filled {
    /// Puts the figures together.
    pub(crate) fn new(wanted: u64, tally: &Tally, took: Duration) -> Self {
        Self {
            wanted,
            created: tally.changes,
            took_s: took.as_secs_f64(),
            requests_per_s: per_second(tally.requests, took),
            created_per_s: per_second(tally.changes, took),
            latency: tally.latencies.summary(),
            errors: tally.errors.clone(),
        }
    }

    /// Whether all that was wanted is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.created == self.wanted
    }
}

/// The figures of `fill`, stage by stage.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FillReport {
    pub(crate) stages: Vec<(&'static str, Filled)>,
}

impl Figures for FillReport {
    fn rows(&self, rows: &mut Rows) {
        for (what, stage) in &self.stages {
            rows.add(format!("{what} created"), format!("{} of {}", stage.created, stage.wanted));
            rows.add("in", format!("{:.2} s", stage.took_s));
            rows.add(format!("{what}/s"), format!("{:.0}", stage.created_per_s));
            rows.add("requests/s", format!("{:.0}", stage.requests_per_s));
            rows.add("latency p50", format!("{:.3} ms", stage.latency.p50_ms));
            rows.add("latency p99", format!("{:.3} ms", stage.latency.p99_ms));
            rows.errors(&stage.errors);
        }
    }

    fn outcome(&self) -> Outcome {
        let complete = self.stages.iter().all(|(_, stage)| stage.is_complete());
        if complete { Outcome::Passed } else { Outcome::Failed }
    }
}

/// The figures of `wait` and `stream`.
#[derive(Debug, Serialize)]
pub(crate) struct FanoutReport {
    pub(crate) rounds: u64,
    /// Changes that came before the append.
    pub(crate) early: u64,
    /// From sending the append to its own answer.
    pub(crate) append: LatencySummary,
    /// Over all servers.
    #[serde(flatten)]
    pub(crate) all: TargetArrivals,
    pub(crate) targets: Vec<TargetArrivals>,
    pub(crate) errors: Errors,
}

/// How appended changes arrived from one server, or from all.
#[derive(Debug, Serialize)]
pub(crate) struct TargetArrivals {
    pub(crate) url: String,
    /// Polls or streams that stood in the round that had the fewest.
    pub(crate) waiting_min: u64,
    /// Arrivals that did not come.
    pub(crate) missing: u64,
    /// From sending the append to each arrival.
    pub(crate) append_to_arrival: LatencySummary,
    /// The same to the last arrival of each round.
    pub(crate) append_to_last_arrival: LatencySummary,
}

impl TargetArrivals {
    fn rows(&self, prefix: &str, rows: &mut Rows) {
        rows.add(format!("{prefix}waiting at least"), self.waiting_min.to_string());
        rows.add(format!("{prefix}arrivals"), self.append_to_arrival.count.to_string());
        rows.add(format!("{prefix}arrivals missing"), self.missing.to_string());
        rows.latency(&format!("{prefix}append to arrival"), &self.append_to_arrival);
        rows.latency(&format!("{prefix}append to last arrival"), &self.append_to_last_arrival);
    }
}

impl Figures for FanoutReport {
    fn rows(&self, rows: &mut Rows) {
        rows.add("rounds", self.rounds.to_string());
        rows.add("arrivals before the append", self.early.to_string());
        rows.latency("append", &self.append);
        self.all.rows("", rows);
        for target in self.targets.iter().filter(|_| self.targets.len() > 1) {
            rows.add("at", &*target.url);
            target.rows("  ", rows);
        }
        rows.errors(&self.errors);
    }

    fn outcome(&self) -> Outcome {
        if self.all.missing == 0 { Outcome::Passed } else { Outcome::Failed }
    }
}

/// One server of a comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    /// Requests a second, turn by turn, and their median.
    pub(crate) rates: Vec<f64>,
    pub(crate) median: f64,
    pub(crate) latency: LatencySummary,
    pub(crate) errors: Errors,
}

/// The figures of `compare`.
#[derive(Debug, Serialize)]
pub(crate) struct CompareReport {
    pub(crate) a: Side,
    pub(crate) b: Side,
    /// Median rate of A by that of B.
    pub(crate) ratio: f64,
    pub(crate) passed: bool,
}

impl Figures for CompareReport {
    fn rows(&self, rows: &mut Rows) {
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let rates: Vec<String> = side.rates.iter().map(|rate| format!("{rate:.0}")).collect();
            rows.add(format!("{name} requests/s by turn"), rates.join(" "));
            rows.add(format!("{name} requests/s median"), format!("{:.0}", side.median));
            rows.latency(&format!("{name} latency"), &side.latency);
            rows.errors(&side.errors);
        }
        rows.add("A / B", format!("{:.3}", self.ratio));
    }

    fn outcome(&self) -> Outcome {
        if self.passed { Outcome::Passed } else { Outcome::Failed }
    }
}
