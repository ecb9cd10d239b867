//! Latencies, and the figures of them that are reported.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Shortest and longest latency that are told apart, in nanoseconds.
const LATENCY_NS_MIN: u64 = 100;
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Digits to which latencies are exact.
const LATENCY_DIGITS: u8 = 3;
/// Points of the curve of latency by percentile for each halving of the rest.
const CURVE_POINTS_PER_HALVING: u32 = 5;

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
        self.merge_histogram(&other.0)
    }

    /// Adds those of a histogram of nanoseconds with the same bounds.
    pub(crate) fn merge_histogram(&mut self, other: &Histogram<u64>) -> Result<()> {
        self.0.add(other).context("histograms differ in their bounds")
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// The histogram itself.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// The figures of a report.
    pub(crate) fn summary(&self) -> LatencySummary {
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

    /// Percentiles and their milliseconds, closer to each other the nearer they are to 100.
    pub(crate) fn curve(&self) -> Vec<[f64; 2]> {
        let steps = self.0.iter_quantiles(CURVE_POINTS_PER_HALVING);
        let mut points: Vec<[f64; 2]> = Vec::new();
        for step in steps {
            let point = [step.quantile_iterated_to() * 100.0, ms(step.value_iterated_to())];
            // A step that stands still adds nothing to the curve.
            match points.last_mut() {
                Some(last) if last[0] >= point[0] => {}
                _ => points.push(point),
            }
        }
        points
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_latencies_hold_both() {
        let (mut one, mut two) =
            (Latencies::new().expect("bounds"), Latencies::new().expect("bounds"));
        one.record(Duration::from_millis(1));
        two.record(Duration::from_millis(100));
        two.record(Duration::from_secs(100_000));
        one.merge(&two).expect("same bounds");
        let summary = one.summary();
        assert_eq!(summary.count, 3);
        assert!((summary.p50_ms - 100.0).abs() < 0.2, "{summary:?}");
        assert!(summary.max_ms >= 3_599_000.0, "{summary:?}");
    }

    #[test]
    fn a_curve_rises_to_the_longest_latency() {
        let mut latencies = Latencies::new().expect("bounds");
        assert_eq!(latencies.curve().len(), 0);
        for n in 1..=10_000 {
            latencies.record(Duration::from_micros(n));
        }
        let curve = latencies.curve();
        assert!(curve.len() > 30 && curve.len() < 200, "{}", curve.len());
        assert!(curve.is_sorted_by(|a, b| a[0] < b[0] && a[1] <= b[1]), "{curve:?}");
        let half = curve.iter().find(|point| point[0] >= 50.0).expect("a middle");
        assert!((half[1] - 5.0).abs() < 0.2, "{half:?}");
        assert_eq!(curve.last().map(|point| point[0]), Some(100.0));
    }
}
