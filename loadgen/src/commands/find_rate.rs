//! `--find-rate`: the highest rate whose p99 is below a limit.

use anyhow::{Context, Result};

use crate::args::SearchArguments;
use crate::base::stop;
use crate::load::sweep::Sweep;
use crate::measure::results::{Findings, Part, Step, per_second};
use crate::measure::verification::Verification;

/// The rate that a search begins with, in requests a second.
const FIRST_RATE: f64 = 1000.0;
/// A rate is not sustained when one of so many requests was never sent.
const NEVER_SENT_SHARE: u64 = 1000;

/// Measures once, at `rate`; or tries one rate after the other where a search is asked for. The figures of
/// a search are those of the highest rate that was sustained, or else of the last that was tried.
pub(crate) fn run(
    search: &SearchArguments,
    rate: Option<f64>,
    quiet: bool,
    mut measure: impl FnMut(Option<f64>) -> Result<Findings>,
) -> Result<Findings> {
    let Some(p99_ms) = search.p99.filter(|_| search.find_rate).map(|p99| p99.as_secs_f64() * 1e3)
    else {
        return measure(rate);
    };
    let mut sweep = Sweep::new(rate.unwrap_or(FIRST_RATE));
    let mut steps = Vec::new();
    let mut best: Option<Findings> = None;
    let mut verification: Option<Verification> = None;
    while let Some(rate) = sweep.next() {
        let mut findings = measure(Some(rate))?;
        if stop::requested() {
            // It was cut short.
            break;
        }
        if let Some(part) = findings.verification.take() {
            verification.get_or_insert_default().merge(part);
        }
        let step = step(rate, &findings.parts, p99_ms);
        let is_sustained = step.sustained;
        if !quiet {
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
    findings.passed &= sweep.sustained().is_some();
    Ok(findings.count("rate_max", sweep.sustained().map(f64::round)).verified(verification))
}

/// What one rate brought, of several kinds of requests the highest latencies. It is sustained when every p99 is
/// below the limit, and all but one in a thousand of the requests that were due were sent, without an error.
fn step(rate: f64, parts: &[Part], limit_ms: f64) -> Step {
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
    let mut count = 0;
    for Part { tally, measured, .. } in parts {
        let latency = tally.latencies.summary();
        count += latency.count;
        step.requests_per_s += per_second(tally.requests, *measured);
        step.p50_ms = step.p50_ms.max(latency.p50_ms);
        step.p99_ms = step.p99_ms.max(latency.p99_ms);
        step.never_sent += tally.never_sent;
        step.errors += tally.errors.total();
        step.lateness_p99_ms = step.lateness_p99_ms.max(tally.lateness.summary().p99_ms);
    }
    step.sustained = count > 0
        && step.p99_ms <= limit_ms
        && step.errors == 0
        && step.never_sent * NEVER_SENT_SHARE <= count;
    step
}
