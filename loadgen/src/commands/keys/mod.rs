//! `loadgen keys`: puts, reads and deletes keys in a mix. Each key belongs to one connection, so
//! that it is known what a key must hold: every read is held against that, and in the end
//! every key.

mod mixing;
mod model;

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::answers::page;
use crate::args::{KeysArguments, Mix};
use crate::base::random::run_id;
use crate::commands::find_rate;
use crate::http::control::Control;
use crate::http::target::Targets;
use crate::load::fleet::{Crew, Fleet};
use crate::load::pace::Pace;
use crate::load::payload::Payload;
use crate::load::verify::{Ledger, verify};
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part};
use crate::measure::span::{self, Span};
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;
use mixing::{Mixed, Mixing};
use model::{Key, KeysVerifier};

/// Keys in one page that is read back.
const PAGE_KEYS_MAX: u32 = 10_000;
/// The collection that is created, and what the name of a key begins with.
const COLLECTION: &str = "keys";
const KEY: &str = "key-";
/// The kinds of requests, as they are named in reports.
const KINDS: [&str; 4] = ["put", "put-if", "get", "delete"];

/// A load of keys.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) fleet: Fleet,
    pub(crate) payload: Payload,
    /// Path of the keys, below the base URL.
    pub(crate) path: String,
    pub(crate) count: usize,
    pub(crate) mix: Mix,
    pub(crate) rate: Option<f64>,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// Number of the first connection among all that write in this run.
    pub(crate) worker_base: u16,
    pub(crate) seed: u64,
}

/// What a load of keys brought.
#[derive(Debug)]
pub(crate) struct KeysBrought {
    pub(crate) parts: Vec<Part>,
    pub(crate) ledger: Ledger,
    /// What reads found wrong while the load ran.
    pub(crate) verification: Verification,
    keys: Vec<Key>,
}

/// Runs the command.
pub(crate) fn run(arguments: &KeysArguments) -> Result<Outcome> {
    let common = &arguments.common;
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let report = Report::begin("keys", arguments)?;
    let findings =
        find_rate::run(&arguments.search, arguments.rate, common.client.quiet, |rate| {
            let arguments = KeysArguments { rate, ..arguments.clone() };
            measure(&arguments, &targets)
        })?;
    report.finish(&findings, &common.client.output)
}

/// One load with keys of its own, and its verification.
fn measure(arguments: &KeysArguments, targets: &Targets) -> Result<Findings> {
    let common = &arguments.common;
    let run = run_id();
    let payload = Payload::new(run, arguments.size)?;
    let mut control = Control::new(targets.first(), common.client.timeout);
    let base = control.newest("/changes")?;
    let keys = Keys::create(arguments, run, &payload, targets, &mut control, 0)?;
    let brought = keys.run()?;
    let mut verification = brought.verification.clone();
    if arguments.verify {
        verification.merge(keys.verify(&brought, &mut control)?);
        verification.merge(verify(&mut control, &payload, brought.ledger, base)?);
    }
    let findings = Findings::new(brought.parts)
        .count("run", format!("{run:016x}"))
        .count("keys", arguments.keys);
    Ok(findings.verified(Some(verification)))
}

impl Keys {
    /// Creates the collection, and what is to be done with its keys. Writers have the numbers from
    /// `worker_base` on.
    pub(crate) fn create(
        arguments: &KeysArguments,
        run: u64,
        payload: &Payload,
        targets: &Targets,
        control: &mut Control,
        worker_base: u16,
    ) -> Result<Self> {
        let common = &arguments.common;
        ensure!(!arguments.phases.duration.is_zero(), "the duration must be above 0");
        let count = usize::try_from(arguments.keys)?;
        let connections = usize::from(arguments.connections);
        ensure!(count >= connections, "--keys must be at least --connections: each needs one");
        let tenant = format!("loadgen-{run:016x}-keys");
        control.post("/tenants", &format!("{{\"name\":\"{tenant}\"}}"))?;
        let path = format!("/tenants/{tenant}/collections");
        control.post(&path, &format!("{{\"name\":\"{COLLECTION}\"}}"))?;
        Ok(Self {
            fleet: Fleet {
                targets: targets.clone(),
                connections,
                threads: common.client.threads,
                timeout: common.client.timeout,
                label: (!common.client.quiet).then_some("keys"),
            },
            payload: payload.clone(),
            path: format!("{path}/{COLLECTION}/keys"),
            count,
            mix: arguments.mix,
            rate: arguments.rate,
            warmup: arguments.phases.warmup,
            duration: arguments.phases.duration,
            worker_base,
            seed: run,
        })
    }

    /// Runs the load on all threads.
    pub(crate) fn run(&self) -> Result<KeysBrought> {
        let mixed = self.fleet.run(|mut crew: Crew<'_>| {
            let span = Span::new(crew.start, self.warmup, self.duration);
            let pace = Pace::of(self.rate, crew.start, crew.thread, self.fleet.threads);
            let mut mixing = Mixing::new(self, crew.indices.clone(), span, pace, crew.progress)?;
            crew.engine.run(&mut mixing)?;
            Ok(mixing.finish())
        })?;
        let mut keys = vec![Key::UNUSED; self.count];
        let mut brought = KeysBrought {
            parts: Vec::new(),
            ledger: Ledger::default(),
            verification: Verification { passed: true, ..Verification::default() },
            keys: Vec::new(),
        };
        let mut tallies: [Vec<Tally>; 4] = Default::default();
        let mut measured = Duration::ZERO;
        for part in mixed {
            let Mixed { keys: own, tallies: of_thread, ledger, verification, span } = part;
            for (number, key) in own {
                keys[number] = key;
            }
            for (all, tally) in tallies.iter_mut().zip(of_thread) {
                all.push(tally);
            }
            brought.ledger.merge(ledger);
            brought.verification.merge(verification);
            measured = measured.max(span.measured());
        }
        let interval = span::interval(self.duration);
        for (kind, tallies) in KINDS.into_iter().zip(tallies) {
            brought.parts.push(Part::new(kind, tallies, measured, interval)?);
        }
        brought.keys = keys;
        Ok(brought)
    }

    /// Reads all keys back and holds them against what was acknowledged.
    pub(crate) fn verify(
        &self,
        brought: &KeysBrought,
        control: &mut Control,
    ) -> Result<Verification> {
        control.newest_when_up("/changes")?;
        let mut verifier = KeysVerifier::new(&self.payload, &brought.keys);
        let mut after = String::new();
        loop {
            let path = format!("{}?limit={PAGE_KEYS_MAX}&after={after}", self.path);
            let body = control.get(&path)?;
            let page = page::parse_keys(body).with_context(|| format!("GET {path}: no page"))?;
            for change in &page.keys {
                let name = change.key.as_deref().unwrap_or_default();
                let number = name.strip_prefix(KEY).and_then(|digits| digits.parse().ok());
                verifier
                    .found(number.with_context(|| format!("{name:?} is none of ours"))?, change);
            }
            match page.keys.last().and_then(|change| change.key.as_deref()) {
                Some(last) if !page.at_end => after = last.to_owned(),
                _ => return Ok(verifier.finish()),
            }
        }
    }
}
