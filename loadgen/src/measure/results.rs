//! The figures of a run, in one shape for every command: what is written as JSON, printed as a
//! table and drawn.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::measure::errors::Errors;
use crate::measure::generator::{Generator, Usage};
use crate::measure::latencies::{Latencies, LatencySummary};
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;

/// A run: what is written to the file of `--json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) tool: String,
    pub(crate) version: String,
    pub(crate) command: String,
    /// When it began, as RFC 3339.
    pub(crate) started: String,
    pub(crate) settings: Value,
    pub(crate) results: Results,
}

/// What a run brought.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Everything that was to be done or proved was.
    pub(crate) passed: bool,
    /// One for each kind of request.
    pub(crate) operations: Vec<Operation>,
    /// Numbers of this command alone, by name.
    pub(crate) counts: Map<String, Value>,
    pub(crate) generator: Generator,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verification: Option<Verification>,
    /// What the servers took, where that was watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) samples: Vec<Sample>,
    /// The rates that were tried, where the highest was searched for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Step>,
}

/// One rate that was tried in a search for the highest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Requests a second that were due, and that were answered.
    pub(crate) rate: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) never_sent: u64,
    pub(crate) errors: u64,
    /// How late this program sent 99 % of the requests that had a free connection, at most.
    pub(crate) lateness_p99_ms: f64,
    /// The server sustained it.
    pub(crate) sustained: bool,
}

/// What one server took at one moment, by its metrics.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Seconds since the run began.
    pub(crate) at_s: f64,
    pub(crate) url: String,
    /// Resident memory, in megabytes (10^6 bytes).
    pub(crate) resident_mb: f64,
    pub(crate) open_files: u64,
    /// Processor time since the server was started, in seconds.
    pub(crate) cpu_s: f64,
}

/// The figures of one kind of request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) name: String,
    /// How long was measured, in seconds.
    pub(crate) measured_s: f64,
    /// Successful answers, and the changes that they wrote or brought.
    pub(crate) requests: u64,
    pub(crate) changes: u64,
    pub(crate) requests_per_s: f64,
    pub(crate) changes_per_s: f64,
    /// Megabytes (10^6 bytes) of change data sent, or of bodies received, a second.
    pub(crate) mb_per_s: f64,
    /// Requests of an open loop that found no free connection before the end.
    pub(crate) never_sent: u64,
    pub(crate) latency: LatencySummary,
    /// Pairs of a percentile and its milliseconds.
    pub(crate) curve: Vec<[f64; 2]>,
    pub(crate) intervals: Vec<IntervalFigures>,
    pub(crate) errors: Errors,
}

/// The figures of a part of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct IntervalFigures {
    /// Where it begins, in seconds since measuring began.
    pub(crate) at_s: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) changes_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// What was counted of one kind of request.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) tally: Tally,
    pub(crate) measured: Duration,
    /// How long the intervals of the tally are.
    pub(crate) interval: Duration,
}

/// All that a command has found out.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) passed: bool,
    pub(crate) parts: Vec<Part>,
    pub(crate) counts: Map<String, Value>,
    pub(crate) verification: Option<Verification>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) steps: Vec<Step>,
}

impl Findings {
    /// Those of a run that proved what it should, unless something else is said.
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self {
            passed: true,
            parts,
            counts: Map::new(),
            verification: None,
            samples: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// With a number of this command alone.
    pub(crate) fn count(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.counts.insert(name.to_owned(), value.into());
        self
    }

    /// With what the servers took: how their memory and descriptors began, ended, and stood highest.
    pub(crate) fn sampled(mut self, samples: Vec<Sample>) -> Self {
        if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
            let memory_max = samples.iter().map(|sample| sample.resident_mb).fold(0.0, f64::max);
            let files_max = samples.iter().map(|sample| sample.open_files).max();
            self = self
                .count("samples", samples.len())
                .count("resident_mb_first", first.resident_mb)
                .count("resident_mb_last", last.resident_mb)
                .count("resident_mb_max", memory_max)
                .count("open_files_first", first.open_files)
                .count("open_files_last", last.open_files)
                .count("open_files_max", files_max);
        }
        self.samples = samples;
        self
    }

    /// With what came of reading back, where it was asked for.
    pub(crate) fn verified(mut self, verification: Option<Verification>) -> Self {
        self.passed &= verification.as_ref().is_none_or(|verification| verification.passed);
        self.verification = verification;
        self
    }

    /// The figures of all this.
    pub(crate) fn results(&self, usage: &Usage) -> Result<Results> {
        let mut lateness = Latencies::new()?;
        let mut p99_ms = f64::INFINITY;
        for Part { tally, .. } in &self.parts {
            lateness.merge(&tally.lateness)?;
            // Only what has a schedule can be late for it.
            if !tally.lateness.histogram().is_empty() {
                p99_ms = p99_ms.min(tally.latencies.summary().p99_ms);
            }
        }
        Ok(Results {
            passed: self.passed,
            operations: self.parts.iter().map(Part::operation).collect::<Result<_>>()?,
            counts: self.counts.clone(),
            generator: usage.taken(&lateness, p99_ms),
            verification: self.verification.clone(),
            samples: self.samples.clone(),
            steps: self.steps.clone(),
        })
    }
}

impl Part {
    /// What all threads counted of one kind of request, in so much time.
    pub(crate) fn new(
        name: impl Into<String>,
        tallies: impl IntoIterator<Item = Tally>,
        measured: Duration,
        interval: Duration,
    ) -> Result<Self> {
        Ok(Self { name: name.into(), tally: Tally::sum(tallies)?, measured, interval })
    }

    fn operation(&self) -> Result<Operation> {
        let Self { name, tally, measured, interval } = self;
        let mut intervals: Vec<IntervalFigures> = Vec::new();
        for (counts, latencies) in tally.intervals()? {
            let begins = *interval * counts.at;
            // What came after the end belongs to no interval.
            if begins >= *measured {
                break;
            }
            // Without an answer there is nothing but that.
            for at in intervals.len() as u32..counts.at {
                let at_s = (*interval * at).as_secs_f64();
                intervals.push(IntervalFigures { at_s, ..IntervalFigures::default() });
            }
            // The last interval may be cut short.
            let lasted = measured.saturating_sub(begins).min(*interval);
            let LatencySummary { p50_ms, p99_ms, max_ms, .. } = latencies.summary();
            intervals.push(IntervalFigures {
                at_s: begins.as_secs_f64(),
                requests_per_s: per_second(counts.requests, lasted),
                changes_per_s: per_second(counts.changes, lasted),
                p50_ms,
                p99_ms,
                max_ms,
            });
        }
        Ok(Operation {
            name: name.clone(),
            measured_s: measured.as_secs_f64(),
            requests: tally.requests,
            changes: tally.changes,
            requests_per_s: per_second(tally.requests, *measured),
            changes_per_s: per_second(tally.changes, *measured),
            mb_per_s: per_second(tally.body_bytes, *measured) / 1e6,
            never_sent: tally.never_sent,
            latency: tally.latencies.summary(),
            curve: tally.latencies.curve(),
            intervals,
            errors: tally.errors.clone(),
        })
    }
}

/// A count by the second; 0 where no time was measured.
pub(crate) fn per_second(count: u64, measured: Duration) -> f64 {
    let seconds = measured.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::measure::span::Span;

    #[test]
    fn a_stall_is_an_interval_without_answers() {
        let start = Instant::now();
        let span = Span::new(start, Duration::ZERO, Duration::from_secs(4));
        let mut tally = Tally::new().expect("bounds");
        // The last comes after the end.
        for ms in [100, 200, 3_900, 4_100] {
            let now = start + Duration::from_millis(ms);
            tally.success(&span, now - Duration::from_millis(50), now, 1, 1);
        }
        let part = Part::new("append", [tally], span.measured(), span.interval);
        let operation = part.expect("same bounds").operation().expect("read back");
        let rates: Vec<f64> =
            operation.intervals.iter().map(|interval| interval.requests_per_s).collect();
        assert_eq!(rates, [2.0, 0.0, 0.0, 1.0]);
        assert_eq!((operation.requests, operation.latency.count), (3, 3));
    }
}
