//! The table for people.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use crate::measure::errors::Errors;
use crate::measure::latencies::LatencySummary;
use crate::measure::results::{Operation, Results};
use crate::measure::verification::Verification;

/// The table of a run.
pub(crate) fn table(command: &str, results: &Results) -> Table {
    let mut rows = Rows::default();
    // Texts in a list would make it wider than a screen.
    let is_short = |value: &Value| match value {
        Value::Array(values) => !values.iter().any(Value::is_string),
        _ => true,
    };
    for (name, value) in results.counts.iter().filter(|(_, value)| is_short(value)) {
        rows.add(name.replace('_', " "), &number(value));
    }
    for step in &results.steps {
        let verdict = if step.sustained { "sustained" } else { "not sustained" };
        rows.add(
            format!("{:.0} requests/s due", step.rate),
            &format!("{:.0} answered, p99 {:.3} ms, {verdict}", step.requests_per_s, step.p99_ms),
        );
    }
    for operation in &results.operations {
        rows.operation(operation, results.operations.len() > 1);
    }
    if let Some(verification) = &results.verification {
        rows.verification(verification);
    }
    let generator = &results.generator;
    let cpu = format!("{:.2} s, {:.2} of a processor", generator.cpu_s, generator.cpus);
    rows.add("load generator", &cpu);
    let busiest = format!("{:.0} % of its time", generator.busiest * 100.0);
    rows.add("its busiest thread", &busiest);
    if generator.lateness.count > 0 {
        rows.latency("sent late", &generator.lateness);
    }
    rows.table(command)
}

/// What is said of a verification below the table.
pub(crate) fn verdict(verification: &Verification) -> String {
    if verification.passed {
        return format!("verify: passed: {} changes read back", verification.changes_read);
    }
    let counts: Vec<String> = verification
        .violations
        .iter()
        .map(|(violation, count)| format!("{violation:?} {count}"))
        .collect();
    let examples = verification.examples.iter().map(|example| format!("\n  {example}"));
    format!("verify: FAILED: {}{}", counts.join(", "), examples.collect::<String>())
}

/// A number, a word or a list of them, of a report.
pub(crate) fn number(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(number).collect::<Vec<_>>().join(" "),
        Value::Null => "none".to_owned(),
        value => match value.as_f64() {
            Some(number) if number.fract() != 0.0 => format!("{number:.3}"),
            Some(number) => format!("{number:.0}"),
            None => value.to_string(),
        },
    }
}

/// Lines of a table: a name and its values.
#[derive(Debug, Default)]
struct Rows(Vec<[String; 2]>);

impl Rows {
    fn add(&mut self, name: impl Into<String>, value: &str) {
        self.0.push([name.into(), value.to_owned()]);
    }

    fn operation(&mut self, operation: &Operation, is_named: bool) {
        if is_named {
            self.add(format!("{}:", operation.name), "");
        }
        if operation.requests > 0 || !is_named {
            self.add("measured", &format!("{:.2} s", operation.measured_s));
            self.add("requests", &operation.requests.to_string());
            self.add("requests/s", &format!("{:.0}", operation.requests_per_s));
        }
        if operation.changes > 0 {
            self.add("changes/s", &format!("{:.0}", operation.changes_per_s));
        }
        if operation.mb_per_s >= 0.005 {
            self.add("MB/s", &format!("{:.2}", operation.mb_per_s));
        }
        if operation.never_sent > 0 {
            self.add("due but never sent", &operation.never_sent.to_string());
        }
        self.latency("latency", &operation.latency);
        self.errors(&operation.errors);
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
            self.add(format!("{name} {quantile}"), &format!("{value_ms:.3} ms"));
        }
    }

    fn errors(&mut self, errors: &Errors) {
        self.add("errors", &errors.total().to_string());
        for (code, count) in errors.iter() {
            self.add(format!("  {code}"), &count.to_string());
        }
    }

    fn verification(&mut self, verification: &Verification) {
        self.add("acknowledged changes", &verification.acknowledged.to_string());
        self.add("found unchanged", &verification.found.to_string());
        let unknown = format!("{} ({})", verification.unknown, verification.unknown_found);
        self.add("outcome unknown (found)", &unknown);
        self.add("of other writers", &verification.foreign.to_string());
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
