//! `loadgen compare`: gives two servers the same load in short turns, so that whatever else the
//! machine does meanwhile hits both alike, and compares their rates.

use std::time::Duration;

use anyhow::Result;

use crate::args::{CompareArguments, LoadArguments};
use crate::base::random::run_id;
use crate::base::stop;
use crate::commands::ingest::{Ingest, Ingested, post_requests};
use crate::http::control::Control;
use crate::http::target::Targets;
use crate::load::fleet::Fleet;
use crate::load::payload::Payload;
use crate::load::verify::verify;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part};
use crate::measure::span;
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;

/// The requests a second of each turn of one server, and everything it answered.
#[derive(Debug)]
struct Turns<'a> {
    load: &'a LoadArguments,
    path: &'a str,
    ingest: Ingest,
    /// What came of reading back, where that is asked for.
    verification: Option<Verification>,
    rates: Vec<f64>,
    tally: Tally,
    measured: Duration,
}

/// Runs the command.
pub(crate) fn run(arguments: &CompareArguments) -> Result<Outcome> {
    let common = &arguments.common;
    let mut a = Turns::new(arguments, &common.urls, &arguments.path, "A", arguments.verify)?;
    let (urls_b, path_b) = (&arguments.urls_b, &arguments.path_b);
    let mut b = Turns::new(arguments, urls_b, path_b, "B", arguments.verify_b)?;
    let report = Report::begin("compare", arguments)?;
    for _ in 0..arguments.slices {
        for side in [&mut a, &mut b] {
            if !stop::requested() {
                side.take_turn()?;
            }
        }
    }
    let medians = [median(&a.rates), median(&b.rates)];
    let ratio = if medians[1] > 0.0 { medians[0] / medians[1] } else { f64::NAN };
    let mut findings = Findings::new(Vec::new())
        .count("ratio", ratio)
        .count("a_median_per_s", medians[0])
        .count("b_median_per_s", medians[1])
        .count("a_rates_per_s", rounded(&a.rates))
        .count("b_rates_per_s", rounded(&b.rates));
    findings.passed = arguments.ratio_min.is_none_or(|least| ratio >= least);
    let mut verification: Option<Verification> = None;
    for side in [&mut a, &mut b] {
        if let Some(of_side) = side.verification.take() {
            verification.get_or_insert_default().merge(of_side);
        }
    }
    findings.parts = vec![a.part("A")?, b.part("B")?];
    let findings = findings.verified(verification);
    report.finish(&findings, &common.client.output)
}

impl<'a> Turns<'a> {
    fn new(
        arguments: &'a CompareArguments,
        urls: &[String],
        path: &'a str,
        label: &'static str,
        verify: bool,
    ) -> Result<Self> {
        let (common, load) = (&arguments.common, &arguments.load);
        let targets = Targets::resolve(urls, &common.access()?)?;
        let payload = Payload::new(run_id(), load.size)?;
        let ingest = Ingest {
            requests: post_requests(&payload, &targets, path, load)?,
            fleet: Fleet {
                targets,
                connections: usize::from(load.connections),
                threads: common.client.threads,
                timeout: common.client.timeout,
                label: (!common.client.quiet).then_some(label),
            },
            payload,
            batch: load.batch,
            rate: None,
            warmup: arguments.turn.warmup,
            duration: arguments.turn.slice,
            expect_status: None,
            record: verify,
            worker_base: 0,
            lists: 1,
            sends: None,
        };
        Ok(Self {
            load,
            path,
            ingest,
            verification: verify.then(Verification::default),
            rates: Vec::new(),
            tally: Tally::new()?,
            measured: Duration::ZERO,
        })
    }

    fn take_turn(&mut self) -> Result<()> {
        let ingested = match self.verification {
            Some(_) => self.take_verified_turn()?,
            None => self.ingest.run()?,
        };
        let seconds = ingested.measured.as_secs_f64();
        if seconds > 0.0 {
            self.rates.push(ingested.tally.requests as f64 / seconds);
        }
        let interval = span::interval(self.ingest.duration);
        let before = self.measured.as_secs_f64() / interval.as_secs_f64();
        self.measured += ingested.measured;
        self.tally.merge_later(ingested.tally, before.round() as u32)
    }

    /// A turn is a run of its own, whose changes are told apart from those of the turns before.
    fn take_verified_turn(&mut self) -> Result<Ingested> {
        let fleet = &self.ingest.fleet;
        self.ingest.payload = Payload::new(run_id(), self.load.size)?;
        self.ingest.requests =
            post_requests(&self.ingest.payload, &fleet.targets, self.path, self.load)?;
        let mut control = Control::new(fleet.targets.first(), fleet.timeout);
        let base = control.newest("/changes")?;
        let mut ingested = self.ingest.run()?;
        let ledger = std::mem::take(&mut ingested.ledger);
        let verified = verify(&mut control, &self.ingest.payload, ledger, base)?;
        self.verification.get_or_insert_default().merge(verified);
        Ok(ingested)
    }

    fn part(self, name: &str) -> Result<Part> {
        let interval = span::interval(self.ingest.duration);
        Part::new(name, [self.tally], self.measured, interval)
    }
}

fn rounded(rates: &[f64]) -> Vec<f64> {
    rates.iter().map(|rate| rate.round()).collect()
}

/// The middle value, or the mean of the two in the middle; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => (sorted[middle - 1] + upper) / 2.0,
        (Some(value), _) => *value,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }
}
