//! What one kind of request brought on one thread, and the sum of all threads.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};

use crate::measure::errors::Errors;
use crate::measure::latencies::Latencies;
use crate::measure::span::Span;

/// What one kind of request brought.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Successful answers within the measured part.
    pub(crate) requests: u64,
    /// Changes they wrote or brought.
    pub(crate) changes: u64,
    /// Bytes of their bodies, sent (writes) or received (reads).
    pub(crate) body_bytes: u64,
    /// Requests of an open loop that found no free connection before the end.
    pub(crate) never_sent: u64,
    /// Latencies of requests that were intended within the measured part.
    pub(crate) latencies: Latencies,
    /// How late this program sent requests of an open loop that had a free connection.
    pub(crate) lateness: Latencies,
    /// Errors of the whole run, warm-up included.
    pub(crate) errors: Errors,
    /// The interval that lasts, and those before it.
    current: Interval,
    current_latencies: Latencies,
    closed: Vec<ClosedInterval>,
}

/// The answers of one interval.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Interval {
    /// Its number, from 0.
    pub(crate) at: u32,
    pub(crate) requests: u64,
    pub(crate) changes: u64,
}

/// An interval that is over. Its histogram is kept in a form that takes a few hundred bytes, not a
/// few hundred thousand.
#[derive(Debug, Clone)]
struct ClosedInterval {
    interval: Interval,
    latencies: Vec<u8>,
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
            lateness: Latencies::new()?,
            errors: Errors::default(),
            current: Interval::default(),
            current_latencies: Latencies::new()?,
            closed: Vec::new(),
        })
    }

    /// Counts a successful answer that came at `now`, as far as `span` measures it.
    pub(crate) fn success(
        &mut self,
        span: &Span,
        intended: Instant,
        now: Instant,
        changes: u64,
        body_bytes: u64,
    ) {
        let at = span.interval_at(now);
        if at != self.current.at {
            self.close_interval();
            self.current.at = at;
        }
        if span.measures(intended) {
            self.current_latencies.record(now.saturating_duration_since(intended));
        }
        if span.measures(now) {
            self.requests += 1;
            self.changes += changes;
            self.body_bytes += body_bytes;
            self.current.requests += 1;
            self.current.changes += changes;
        }
    }

    /// Notes how late a request of an open loop was sent.
    pub(crate) fn sent_late(&mut self, span: &Span, now: Instant, lateness: Duration) {
        if span.measures(now) {
            self.lateness.record(lateness);
        }
    }

    /// Puts the interval that lasts to those that are over.
    fn close_interval(&mut self) {
        if self.current.requests > 0 || !self.current_latencies.histogram().is_empty() {
            let mut latencies = Vec::new();
            let histogram = self.current_latencies.histogram();
            if V2Serializer::new().serialize(histogram, &mut latencies).is_ok() {
                self.closed.push(ClosedInterval { interval: self.current, latencies });
            }
            // Both have the same bounds.
            let _ = self.latencies.merge(&self.current_latencies);
            self.current_latencies.clear();
        }
        self.current = Interval::default();
    }

    /// Adds another's counts.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<()> {
        self.close_interval();
        other.close_interval();
        self.requests += other.requests;
        self.changes += other.changes;
        self.body_bytes += other.body_bytes;
        self.never_sent += other.never_sent;
        self.latencies.merge(&other.latencies)?;
        self.lateness.merge(&other.lateness)?;
        self.errors.merge(&other.errors);
        self.closed.append(&mut other.closed);
        Ok(())
    }

    /// Adds the counts of a run that followed, whose first interval is the one of this number.
    pub(crate) fn merge_later(&mut self, mut other: Self, at: u32) -> Result<()> {
        other.close_interval();
        for closed in &mut other.closed {
            closed.interval.at += at;
        }
        self.merge(other)
    }

    /// The sum of all of these.
    pub(crate) fn sum(parts: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut sum = Self::new()?;
        for part in parts {
            sum.merge(part)?;
        }
        Ok(sum)
    }

    /// Each interval in which there were answers, in order, with its latencies.
    pub(crate) fn intervals(&self) -> Result<Vec<(Interval, Latencies)>> {
        let mut closed: Vec<&ClosedInterval> = self.closed.iter().collect();
        closed.sort_by_key(|closed| closed.interval.at);
        let mut intervals: Vec<(Interval, Latencies)> = Vec::new();
        for ClosedInterval { interval, latencies } in closed {
            let histogram = Deserializer::new()
                .deserialize(&mut latencies.as_slice())
                .context("a histogram cannot be read back")?;
            match intervals.last_mut() {
                Some((sum, latencies)) if sum.at == interval.at => {
                    sum.requests += interval.requests;
                    sum.changes += interval.changes;
                    latencies.merge_histogram(&histogram)?;
                }
                _ => {
                    let mut latencies = Latencies::new()?;
                    latencies.merge_histogram(&histogram)?;
                    intervals.push((*interval, latencies));
                }
            }
        }
        Ok(intervals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_several_threads_are_added_up() {
        let start = Instant::now();
        let span = Span::new(start, Duration::from_secs(1), Duration::from_secs(3));
        let moment = |ms| start + Duration::from_millis(ms);
        let mut threads = Vec::new();
        for thread in 0..2 {
            let mut tally = Tally::new().expect("bounds");
            // Before the measured part, within three intervals of it, and behind its end.
            for ms in [500, 1_500, 1_600, 2_100, 3_999, 4_001] {
                tally.success(&span, moment(ms - 10 * (thread + 1)), moment(ms), 2, 100);
            }
            threads.push(tally);
        }
        let sum = Tally::sum(threads).expect("same bounds");
        assert_eq!((sum.requests, sum.changes, sum.body_bytes), (8, 16, 800));
        // What was intended within the measured part has a latency, also when it came late.
        assert_eq!(sum.latencies.summary().count, 10);
        let intervals = sum.intervals().expect("read back");
        let counts: Vec<_> = intervals
            .iter()
            .map(|(interval, latencies)| {
                (interval.at, interval.requests, latencies.histogram().len())
            })
            .collect();
        assert_eq!(counts, [(0, 4, 4), (1, 2, 2), (2, 2, 2), (3, 0, 2)]);
        let longest = intervals[0].1.summary().max_ms;
        assert!((longest - 20.0).abs() < 0.1, "{longest}");
    }
}
