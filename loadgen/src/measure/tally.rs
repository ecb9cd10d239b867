//! What a thread counts while it runs, and the sum of all threads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::answers::problem;
use crate::http::response::Response;

/// Shortest and longest latency that are told apart, in nanoseconds.
const LATENCY_NS_MIN: u64 = 100;
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Digits to which latencies are exact.
const LATENCY_DIGITS: u8 = 3;

/// Latencies in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty collection.
    pub(crate) fn new() -> Result<Self> {
        Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, LATENCY_DIGITS)
            .map(Self)
            .context("cannot make a histogram")
    }

    /// Adds one; what lies beyond the bounds counts as the bound.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.0.add(&other.0).context("histograms differ in their bounds")
    }

    /// The figures of a report.
    pub(crate) fn summary(&self) -> LatencySummary {
        let ms = |ns: u64| ns as f64 / 1e6;
        let quantile = |share: f64| ms(self.0.value_at_quantile(share));
        LatencySummary {
            count: self.0.len(),
            mean_ms: self.0.mean() / 1e6,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            max_ms: ms(self.0.max()),
        }
    }
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// Errors by code: the server's, the bare status, or the kind of a connection's failure.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Errors(BTreeMap<Cow<'static, str>, u64>);

impl Errors {
    /// Counts one error of this code.
    pub(crate) fn add(&mut self, code: impl Into<Cow<'static, str>>) {
        self.add_many(code, 1);
    }

    /// Counts several errors of this code.
    pub(crate) fn add_many(&mut self, code: impl Into<Cow<'static, str>>, count: u64) {
        if count > 0 {
            *self.0.entry(code.into()).or_default() += count;
        }
    }

    /// Counts an answer that was no success, by its problem code or else its status.
    pub(crate) fn add_answer(&mut self, response: &Response<'_>) {
        self.add(problem::code(response.status, response.body));
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (code, count) in &other.0 {
            self.add_many(code.clone(), *count);
        }
    }

    /// Codes and counts, in the order of the codes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(code, count)| (code.as_ref(), *count))
    }

    /// How many errors there were of all codes.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// What one thread, or all of them, measured.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Successful answers within the measured part.
    pub(crate) requests: u64,
    /// Changes they wrote or brought.
    pub(crate) changes: u64,
    /// Bytes of their bodies, sent (ingest) or received (read).
    pub(crate) body_bytes: u64,
    /// Requests of an open loop that found no free connection before the end.
    pub(crate) never_sent: u64,
    /// Latencies of requests that were intended within the measured part.
    pub(crate) latencies: Latencies,
    /// Errors of the whole run, warm-up included.
    pub(crate) errors: Errors,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            requests: 0,
            changes: 0,
            body_bytes: 0,
            never_sent: 0,
            latencies: Latencies::new()?,
            errors: Errors::default(),
        })
    }

    /// Adds another's counts.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.requests += other.requests;
        self.changes += other.changes;
        self.body_bytes += other.body_bytes;
        self.never_sent += other.never_sent;
        self.latencies.merge(&other.latencies)?;
        self.errors.merge(&other.errors);
        Ok(())
    }
}

/// A thread's progress, for the line that is shown while it runs. Alone on its cache lines, so
/// that threads do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Progress {
    requests: AtomicU64,
    changes: AtomicU64,
    errors: AtomicU64,
}

impl Progress {
    /// Counts a successful answer. Only the owning thread writes, so a plain load and store do.
    pub(crate) fn success(&self, changes: u64) {
        bump(&self.requests, 1);
        bump(&self.changes, changes);
    }

    /// Counts an error.
    pub(crate) fn error(&self) {
        bump(&self.errors, 1);
    }

    /// Requests, changes and errors so far.
    pub(crate) fn read(&self) -> [u64; 3] {
        [&self.requests, &self.changes, &self.errors].map(|count| count.load(Ordering::Relaxed))
    }
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_problem_code_or_status() {
        let answer = |status, body| Response { status, body, close: false, consumed: 0 };
        let mut errors = Errors::default();
        errors.add_answer(&answer(503, br#"{"title":"x","code":"overloaded"}"#));
        errors.add_answer(&answer(503, br#"{"code":"over\u006coaded"}"#));
        errors.add_answer(&answer(502, b"<html>"));
        errors.add_answer(&answer(500, br#"{"code":7}"#));
        errors.add("timeout");
        let counts: Vec<_> = errors.iter().collect();
        let expected =
            [("503 overloaded", 2), ("status 500", 1), ("status 502", 1), ("timeout", 1)];
        assert_eq!(counts, expected);
        assert_eq!(errors.total(), 5);
    }

    #[test]
    fn merged_latencies_hold_both() {
        let (mut one, mut two) = (Tally::new().expect("bounds"), Tally::new().expect("bounds"));
        one.latencies.record(Duration::from_millis(1));
        two.latencies.record(Duration::from_millis(100));
        two.latencies.record(Duration::from_secs(100_000));
        one.merge(&two).expect("same bounds");
        let summary = one.latencies.summary();
        assert_eq!(summary.count, 3);
        assert!((summary.p50_ms - 100.0).abs() < 0.2, "{summary:?}");
        assert!(summary.max_ms >= 3_599_000.0, "{summary:?}");
    }
}
