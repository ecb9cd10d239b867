//! `loadgen mixed` and `loadgen soak`: writes, reads, waits and keys at once, each at its own rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::args::{
    KeysArguments, LoadArguments, Mix, MixedArguments, SearchArguments, SoakArguments,
    TenantsArguments,
};
use crate::base::random::run_id;
use crate::commands::ingest::{Ingest, post_requests};
use crate::commands::keys::Keys;
use crate::commands::read::Reads;
use crate::commands::tenants::Tenants;
use crate::http::control::Control;
use crate::http::target::Targets;
use crate::load::fleet::Fleet;
use crate::load::payload::Payload;
use crate::load::sampler;
use crate::load::verify::{Ledger, verify};
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part, Sample};
use crate::measure::span;
use crate::measure::verification::Verification;

/// Connections that append to the lists of tenants, and those that use keys.
const TENANTS_CONNECTIONS: u16 = 16;
const KEYS_CONNECTIONS: u16 = 8;
/// Shares of the requests for keys.
const KEYS_MIX: Mix = Mix { put: 30, put_if: 20, get: 40, delete: 10 };
/// `block` of each poll, in seconds.
const BLOCK: u32 = 60;
/// How often it is looked whether the polls stand.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// Runs `mixed`.
pub(crate) fn run(arguments: &MixedArguments) -> Result<Outcome> {
    run_as("mixed", arguments, None)
}

/// Runs `soak`.
pub(crate) fn run_soak(arguments: &SoakArguments) -> Result<Outcome> {
    let mixed = MixedArguments { verify: true, ..arguments.mixed.clone() };
    run_as("soak", &mixed, Some(arguments.sample_every))
}

fn run_as(
    command: &'static str,
    arguments: &MixedArguments,
    sample_every: Option<Duration>,
) -> Result<Outcome> {
    let common = &arguments.common;
    let run = run_id();
    let payload = Payload::new(run, arguments.load.size)?;
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let mut control = Control::new(targets.first(), common.client.timeout);
    let base = control.newest("/changes")?;
    let mixed = Mixed::create(arguments, run, &payload, &targets, &mut control, base)?;
    let report = Report::begin(command, arguments)?;
    let brought = mixed.run(sample_every)?;
    let mut verification = brought.verification;
    if arguments.verify {
        if !common.client.quiet {
            eprintln!("verify: reading back from id {base}");
        }
        verification.merge(verify(&mut control, &payload, brought.ledger, base)?);
    }
    let mut findings = Findings::new(brought.parts)
        .count("run", format!("{run:016x}"))
        .count("missing", brought.missing)
        .sampled(brought.samples)
        .verified(Some(verification));
    findings.passed &= brought.missing == 0;
    report.finish(&findings, &common.client.output)
}

/// What runs at once.
#[derive(Debug)]
pub(crate) struct Mixed {
    pub(crate) ingest: Ingest,
    pub(crate) reads: Option<Reads>,
    pub(crate) tenants: Option<Tenants>,
    pub(crate) keys: Option<Keys>,
}

/// What all of it brought.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) parts: Vec<Part>,
    pub(crate) ledger: Ledger,
    pub(crate) verification: Verification,
    /// Arrivals of acknowledged changes that did not come.
    pub(crate) missing: u64,
    samples: Vec<Sample>,
}

impl Mixed {
    /// Creates on the server what is used, and what is to be done with it.
    pub(crate) fn create(
        arguments: &MixedArguments,
        run: u64,
        payload: &Payload,
        targets: &Targets,
        control: &mut Control,
        newest: u64,
    ) -> Result<Self> {
        let (common, load) = (&arguments.common, &arguments.load);
        let fleet = |connections, label| Fleet {
            targets: targets.clone(),
            connections,
            threads: common.client.threads,
            timeout: common.client.timeout,
            label,
        };
        let tenants_base = load.connections;
        let keys_base = tenants_base
            .checked_add(TENANTS_CONNECTIONS)
            .filter(|base| base.checked_add(KEYS_CONNECTIONS).is_some())
            .context("too many --connections")?;
        let tenants = match arguments.tenants {
            0 => None,
            _ => {
                let arguments = tenants_arguments(arguments);
                Some(Tenants::create(&arguments, run, payload, targets, tenants_base)?)
            }
        };
        let keys = match arguments.keys {
            0 => None,
            _ => {
                let arguments = keys_arguments(arguments);
                Some(Keys::create(&arguments, run, payload, targets, control, keys_base)?)
            }
        };
        Ok(Self {
            ingest: Ingest {
                fleet: fleet(
                    usize::from(load.connections),
                    (!common.client.quiet).then_some("append"),
                ),
                payload: payload.clone(),
                requests: post_requests(payload, targets, "/changes", load)?,
                batch: load.batch,
                rate: Some(arguments.rate),
                warmup: arguments.phases.warmup,
                duration: arguments.phases.duration,
                expect_status: None,
                record: arguments.verify,
                worker_base: 0,
                lists: 1,
                sends: None,
            },
            reads: (arguments.readers > 0).then(|| Reads {
                fleet: fleet(arguments.readers, None),
                path: "/changes".to_owned(),
                limit: arguments.limit,
                random_below: Some(newest),
                rate: Some(arguments.read_rate),
                warmup: arguments.phases.warmup,
                duration: arguments.phases.duration,
                verify: arguments.verify,
            }),
            tenants,
            keys,
        })
    }

    /// Runs everything at once, and then reads the keys back.
    pub(crate) fn run(&self, sample_every: Option<Duration>) -> Result<Brought> {
        let is_over = AtomicBool::new(false);
        let targets = &self.ingest.fleet.targets;
        std::thread::scope(|scope| {
            let samples = sample_every.map(|every| {
                let (is_over, timeout) = (&is_over, self.ingest.fleet.timeout);
                let ends = move || is_over.load(Ordering::Relaxed);
                scope.spawn(move || sampler::sample(targets, every, timeout, ends))
            });
            let tenants = self.tenants.as_ref().map(|tenants| scope.spawn(|| tenants.run()));
            self.await_polls(tenants.as_ref().map(|handle| move || handle.is_finished()));
            let reads = self.reads.as_ref().map(|reads| scope.spawn(|| reads.run()));
            let keys = self.keys.as_ref().map(|keys| scope.spawn(|| keys.run()));
            let ingested = self.ingest.run();
            let reads = joined(reads);
            let tenants = joined(tenants);
            let keys = joined(keys);
            is_over.store(true, Ordering::Relaxed);
            let samples = samples.map_or(Ok(Vec::new()), |samples| {
                samples.join().map_err(|_| anyhow!("a thread panicked"))
            })?;

            let ingested = ingested?;
            let (measured, interval) = (ingested.measured, span::interval(self.ingest.duration));
            let mut brought = Brought {
                parts: vec![Part::new("append", [ingested.tally], measured, interval)?],
                ledger: ingested.ledger,
                verification: Verification { passed: true, ..Verification::default() },
                missing: 0,
                samples,
            };
            if let Some((part, verification)) = reads? {
                brought.parts.push(part);
                if let Some(verification) = verification {
                    // What was found in pages is not what this run has written.
                    let read = Verification { found: 0, foreign: 0, ..verification };
                    brought.verification.merge(read);
                }
            }
            if let Some(tenants) = tenants? {
                let (measured, tally) = (tenants.ingested.measured, tenants.ingested.tally);
                brought.parts.push(Part::new("tenant append", [tally], measured, interval)?);
                let arrivals = [tenants.arrivals];
                brought.parts.push(Part::new("tenant arrival", arrivals, measured, interval)?);
                brought.ledger.merge(tenants.ingested.ledger);
                brought.missing = tenants.missing;
            }
            if let (Some(keys), Some(load)) = (keys?, &self.keys) {
                let mut control = Control::new(targets.first(), load.fleet.timeout);
                brought.verification.merge(keys.verification.clone());
                brought.verification.merge(load.verify(&keys, &mut control)?);
                brought.parts.extend(keys.parts);
                brought.ledger.merge(keys.ledger);
            }
            Ok(brought)
        })
    }

    /// Waits until the polls stand and the appends to their lists begin.
    fn await_polls(&self, is_finished: Option<impl Fn() -> bool>) {
        let (Some(tenants), Some(is_finished)) = (&self.tenants, is_finished) else { return };
        while !tenants.has_begun() && !is_finished() {
            std::thread::sleep(WATCH_INTERVAL);
        }
    }
}

/// What a thread brought, if there was one.
fn joined<T>(handle: Option<ScopedJoinHandle<'_, Result<T>>>) -> Result<Option<T>> {
    match handle {
        None => Ok(None),
        Some(handle) => handle.join().map_err(|_| anyhow!("a thread panicked"))?.map(Some),
    }
}

fn tenants_arguments(arguments: &MixedArguments) -> TenantsArguments {
    let mut common = arguments.common.clone();
    common.client.quiet = true;
    TenantsArguments {
        common,
        load: LoadArguments {
            connections: TENANTS_CONNECTIONS,
            batch: 1,
            ..arguments.load.clone()
        },
        tenants: arguments.tenants,
        waiters: 1,
        rate: Some(arguments.tenants_rate),
        closed: false,
        phases: arguments.phases,
        block: BLOCK,
        verify: arguments.verify,
    }
}

fn keys_arguments(arguments: &MixedArguments) -> KeysArguments {
    let mut common = arguments.common.clone();
    common.client.quiet = true;
    KeysArguments {
        common,
        connections: KEYS_CONNECTIONS,
        keys: arguments.keys.max(KEYS_CONNECTIONS.into()),
        size: arguments.load.size,
        mix: KEYS_MIX,
        rate: Some(arguments.keys_rate),
        phases: arguments.phases,
        verify: arguments.verify,
        search: SearchArguments { find_rate: false, p99: None },
    }
}
