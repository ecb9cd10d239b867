//! `loadgen compare`: gives two servers the same load in short turns, so that whatever else the
//! machine does meanwhile hits both alike, and compares their rates.

use anyhow::Result;

use crate::args::CompareArguments;
use crate::base::random::run_id;
use crate::base::stop;
use crate::commands::ingest::{Ingest, post_requests};
use crate::http::target::Targets;
use crate::load::fleet::Fleet;
use crate::load::payload::Payload;
use crate::measure::report::{CompareReport, Outcome, Report, Side};
use crate::measure::tally::Tally;

/// The requests a second of each turn of one server, and everything it answered.
#[derive(Debug)]
struct Turns {
    ingest: Ingest,
    rates: Vec<f64>,
    tally: Tally,
}

/// Runs the command.
pub(crate) fn run(arguments: &CompareArguments) -> Result<Outcome> {
    let payload = Payload::new(run_id(), arguments.load.size)?;
    let common = &arguments.common;
    let mut a = Turns::new(arguments, &payload, &common.urls, &arguments.path, "A")?;
    let mut b = Turns::new(arguments, &payload, &arguments.urls_b, &arguments.path_b, "B")?;
    let report = Report::begin("compare", arguments)?;
    for _ in 0..arguments.slices {
        for side in [&mut a, &mut b] {
            if !stop::requested() {
                side.take_turn()?;
            }
        }
    }
    let (a, b) = (a.side(), b.side());
    let ratio = if b.median > 0.0 { a.median / b.median } else { f64::NAN };
    let passed = arguments.ratio_min.is_none_or(|least| ratio >= least);
    report.finish(&CompareReport { a, b, ratio, passed }, common.json.as_deref())
}

impl Turns {
    fn new(
        arguments: &CompareArguments,
        payload: &Payload,
        urls: &[String],
        path: &str,
        label: &'static str,
    ) -> Result<Self> {
        let (common, load) = (&arguments.common, &arguments.load);
        let targets = Targets::resolve(urls)?;
        let ingest = Ingest {
            requests: post_requests(payload, &targets, path, load)?,
            fleet: Fleet {
                targets,
                connections: usize::from(load.connections),
                threads: common.threads,
                timeout: common.timeout,
                label: (!common.quiet).then_some(label),
            },
            payload: payload.clone(),
            batch: load.batch,
            rate: None,
            warmup: arguments.warmup,
            duration: arguments.slice,
            expect_status: None,
            record: false,
        };
        Ok(Self { ingest, rates: Vec::new(), tally: Tally::new()? })
    }

    fn take_turn(&mut self) -> Result<()> {
        let ingested = self.ingest.run()?;
        let seconds = ingested.measured.as_secs_f64();
        if seconds > 0.0 {
            self.rates.push(ingested.tally.requests as f64 / seconds);
        }
        self.tally.merge(&ingested.tally)
    }

    fn side(self) -> Side {
        Side {
            median: median(&self.rates),
            rates: self.rates,
            latency: self.tally.latencies.summary(),
            errors: self.tally.errors,
        }
    }
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
