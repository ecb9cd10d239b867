//! `loadgen tenants`: appends to the lists of many tenants in turn, at a given rate, and measures
//! how long each change takes to reach those who wait at its list.

mod waiters;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use crate::args::TenantsArguments;
use crate::base::random::run_id;
use crate::base::stop;
use crate::commands::fill::create_tenants;
use crate::commands::ingest::{Ingest, Ingested, post_requests};
use crate::http::control::Control;
use crate::http::target::Targets;
use crate::load::fleet::Fleet;
use crate::load::payload::{LIST, Payload};
use crate::load::sends::Sends;
use crate::load::verify::verify;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part};
use crate::measure::span;
use crate::measure::tally::Tally;
use waiters::Waiters;

/// Appends a second, unless something else is asked for.
const RATE: f64 = 1000.0;
/// How long it may take until all polls stand, besides a share for each of them.
const STAND_TIME: Duration = Duration::from_secs(10);
/// How often it is looked whether they do.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);
/// How much longer than the server's `block` a poll may take before it is given up.
const BLOCK_GRACE: Duration = Duration::from_secs(15);

/// Writers and waiters at the lists of tenants.
#[derive(Debug)]
pub(crate) struct Tenants {
    pub(crate) ingest: Ingest,
    pub(crate) waiters: Waiters,
}

/// What both brought.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) ingested: Ingested,
    pub(crate) arrivals: Tally,
    /// Arrivals of acknowledged changes that did not come.
    pub(crate) missing: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &TenantsArguments) -> Result<Outcome> {
    let common = &arguments.common;
    let run = run_id();
    let payload = Payload::new(run, arguments.load.size)?;
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let mut control = Control::new(targets.first(), common.client.timeout);
    let base = control.newest("/changes")?;
    let tenants = Tenants::create(arguments, run, &payload, &targets, 0)?;
    let report = Report::begin("tenants", arguments)?;
    let brought = tenants.run()?;
    let verification = match arguments.verify {
        true => Some(verify(&mut control, &payload, brought.ingested.ledger, base)?),
        false => None,
    };
    let (measured, interval) =
        (brought.ingested.measured, span::interval(arguments.phases.duration));
    let parts = vec![
        Part::new("append", [brought.ingested.tally], measured, interval)?,
        Part::new("arrival", [brought.arrivals], measured, interval)?,
    ];
    let mut findings = Findings::new(parts)
        .count("run", format!("{run:016x}"))
        .count("lists", arguments.tenants)
        .count("missing", brought.missing)
        .verified(verification);
    findings.passed &= brought.missing == 0;
    report.finish(&findings, &common.client.output)
}

impl Tenants {
    /// Creates the tenants on the server, and what is to be done with them. Writers have the
    /// numbers from `worker_base` on.
    pub(crate) fn create(
        arguments: &TenantsArguments,
        run: u64,
        payload: &Payload,
        targets: &Targets,
        worker_base: u16,
    ) -> Result<Self> {
        let (common, load) = (&arguments.common, &arguments.load);
        let prefix = format!("loadgen-{run:016x}");
        create_tenants(common, targets, &prefix, arguments.tenants)?;
        let sends = Arc::new(Sends::new(worker_base, load.connections));
        let path = format!("/tenants/{prefix}-{LIST}/changes");
        let fleet = |connections, timeout, label| Fleet {
            targets: targets.clone(),
            connections,
            threads: common.client.threads,
            timeout,
            label,
        };
        let label = (!common.client.quiet).then_some("tenants");
        let block_time = Duration::from_secs(arguments.block.into()) + BLOCK_GRACE;
        let count = usize::try_from(arguments.tenants)? * usize::from(arguments.waiters);
        Ok(Self {
            ingest: Ingest {
                fleet: fleet(usize::from(load.connections), common.client.timeout, label),
                payload: payload.clone(),
                requests: post_requests(payload, targets, &path, load)?,
                batch: load.batch,
                rate: (!arguments.closed).then(|| arguments.rate.unwrap_or(RATE)),
                warmup: arguments.phases.warmup,
                duration: arguments.phases.duration,
                expect_status: None,
                record: arguments.verify,
                worker_base,
                lists: arguments.tenants,
                sends: Some(Arc::clone(&sends)),
            },
            waiters: Waiters {
                fleet: fleet(count, common.client.timeout.max(block_time), None),
                payload: payload.clone(),
                prefix,
                lists: arguments.tenants,
                each: arguments.waiters,
                block: arguments.block,
                drain: common.client.timeout,
                sends,
            },
        })
    }

    /// Whether the polls stand, and the load has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.waiters.sends.span().is_some()
    }

    /// Parks the waiters, runs the load, and waits until all that was acknowledged has arrived.
    pub(crate) fn run(&self) -> Result<Brought> {
        let sends = &self.waiters.sends;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| self.waiters.run());
            let count = self.waiters.fleet.connections as u64;
            let deadline = Instant::now() + STAND_TIME + Duration::from_millis(count);
            while sends.standing() < count && !waiting.is_finished() && !stop::requested() {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(WATCH_INTERVAL);
            }
            let standing = sends.standing();
            let ingested = match waiting.is_finished() {
                true => Err(anyhow!("nobody waits any more")),
                false => self.ingest.run(),
            };
            sends.end();
            let arrivals = waiting.join().map_err(|_| anyhow!("a thread panicked"))??;
            ensure!(standing == count, "only {standing} of {count} polls came to stand");
            let each = u64::from(self.waiters.each);
            Ok(Brought { ingested: ingested?, arrivals, missing: sends.missing(each) })
        })
    }
}
