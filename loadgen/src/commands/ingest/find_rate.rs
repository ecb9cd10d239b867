//! `loadgen ingest --find-rate`: the highest rate whose p99 is below a limit.

use std::time::Duration;

use anyhow::{Context, Result};

use super::measure;
use crate::args::IngestArguments;
use crate::base::stop;
use crate::http::target::Targets;
use crate::load::sweep::Sweep;
use crate::measure::results::{Findings, Part, Step, per_second};
use crate::measure::verification::Verification;

/// The rate that a search begins with, in requests a second.
const FIRST_RATE: f64 = 1000.0;
/// A rate is not sustained when one of so many requests was never sent.
const NEVER_SENT_SHARE: u64 = 1000;

/// Tries one rate after the other. The figures are those of the highest that was sustained, or else
/// of the last that was tried.
pub(super) fn run(
    arguments: &IngestArguments,
    targets: &Targets,
    p99: Duration,
) -> Result<Findings> {
    let mut sweep = Sweep::new(arguments.rate.unwrap_or(FIRST_RATE));
    let mut steps = Vec::new();
    let mut best: Option<Findings> = None;
    let mut verification: Option<Verification> = None;
    while let Some(rate) = sweep.next() {
        let mut findings = measure(arguments, targets, Some(rate))?;
        if stop::requested() {
            // It was cut short.
            break;
        }
        if let Some(part) = findings.verification.take() {
            verification.get_or_insert_default().merge(part);
        }
        let step = step(rate, &findings.parts, p99);
        let is_sustained = step.sustained;
        if !arguments.common.quiet {
            let verdict = if is_sustained { "sustained" } else { "not sustained" };
            eprintln!("{rate:.0} requests/s: p99 {:.3} ms, {verdict}", step.p99_ms);
        }
        steps.push(step);
        sweep.tried(is_sustained);
        if is_sustained || sweep.sustained().is_none() {
            best = Some(findings);
        }
    }
    let mut findings = best.context("interrupted before a rate was tried")?;
    findings.steps = steps;
    findings.passed = sweep.sustained().is_some();
    Ok(findings.count("rate_max", sweep.sustained().map(f64::round)).verified(verification))
}

/// What one rate brought. It is sustained when the p99 is below the limit, and all but one in a
/// thousand of the requests that were due were sent, without an error.
fn step(rate: f64, parts: &[Part], p99: Duration) -> Step {
    let mut step = Step {
        rate,
        requests_per_s: 0.0,
        p50_ms: 0.0,
        p99_ms: 0.0,
        never_sent: 0,
        errors: 0,
        lateness_p99_ms: 0.0,
        sustained: false,
    };
    let Some(Part { tally, measured, .. }) = parts.first() else { return step };
    let latency = tally.latencies.summary();
    step.requests_per_s = per_second(tally.requests, *measured);
    step.p50_ms = latency.p50_ms;
    step.p99_ms = latency.p99_ms;
    step.never_sent = tally.never_sent;
    step.errors = tally.errors.total();
    step.lateness_p99_ms = tally.lateness.summary().p99_ms;
    step.sustained = latency.count > 0
        && latency.p99_ms <= p99.as_secs_f64() * 1e3
        && step.errors == 0
        && step.never_sent * NEVER_SENT_SHARE <= latency.count;
    step
}
