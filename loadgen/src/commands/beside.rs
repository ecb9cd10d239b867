//! `loadgen beside`: how long appends take at half the highest rate, alone and while something else is done.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};

use crate::args::{BesideArguments, LoadArguments, MixedArguments, Other};
use crate::base::random::run_id;
use crate::base::stop;
use crate::commands::growth::grow;
use crate::commands::ingest::{Ingest, post_requests};
use crate::commands::mixed::{Brought, Mixed};
use crate::commands::read::Reads;
use crate::http::control::Control;
use crate::http::target::Targets;
use crate::load::fleet::Fleet;
use crate::load::payload::Payload;
use crate::load::verify::verify;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part, per_second};
use crate::measure::verification::Verification;

/// Changes in a page: at random places, and of those who read everything.
const PAGE_CHANGES: u32 = 100;
const CATCH_UP_CHANGES: u32 = 1_000;

/// Runs the command.
pub(crate) fn run(arguments: &BesideArguments) -> Result<Outcome> {
    ensure!(!arguments.phases.duration.is_zero(), "the duration must be above 0");
    let common = &arguments.common;
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let mut control = Control::new(targets.first(), common.client.timeout);
    let report = Report::begin("beside", arguments)?;
    grow(&targets, &mut control, arguments.size, arguments.fill)?;
    let rate = match arguments.rate {
        Some(rate) => rate,
        None => {
            let highest = ingest(arguments, &targets, None)?.run()?;
            per_second(highest.tally.requests, highest.measured) / 2.0
        }
    };
    ensure!(rate > 0.0, "nothing was appended");
    let mut beside = Beside { arguments, targets, control, verification: None };
    let alone = beside.phase(rate, false)?;
    if let Some(directory) = &arguments.cold {
        forget(directory)?;
    }
    let both = beside.phase(rate, true)?;
    let p99 = |brought: &[Part]| {
        brought.first().map_or(0.0, |part| part.tally.latencies.summary().p99_ms)
    };
    let ratio = p99(&both) / p99(&alone).max(f64::MIN_POSITIVE);
    let mut parts = Vec::new();
    for (name, of_phase) in [("alone", alone), ("beside", both)] {
        for mut part in of_phase {
            part.name = format!("{} {name}", part.name);
            parts.push(part);
        }
    }
    let mut findings =
        Findings::new(parts).count("rate", rate.round()).count("p99_beside_to_alone", ratio);
    findings.passed = arguments.ratio_max.is_none_or(|most| ratio <= most) && !stop::requested();
    report.finish(&findings.verified(beside.verification), &common.client.output)
}

/// Appends to the global list.
fn ingest(arguments: &BesideArguments, targets: &Targets, rate: Option<f64>) -> Result<Ingest> {
    let common = &arguments.common;
    let payload = Payload::new(run_id(), arguments.size)?;
    let load = LoadArguments {
        connections: arguments.connections,
        size: arguments.size,
        batch: 1,
        tags: Vec::new(),
    };
    Ok(Ingest {
        requests: post_requests(&payload, targets, "/changes", &load)?,
        fleet: Fleet {
            targets: targets.clone(),
            connections: arguments.connections.into(),
            threads: common.client.threads,
            timeout: common.client.timeout,
            label: (!common.client.quiet).then_some("append"),
        },
        payload,
        batch: 1,
        rate,
        warmup: arguments.phases.warmup,
        duration: arguments.phases.duration,
        expect_status: None,
        record: arguments.verify,
        worker_base: 0,
        lists: 1,
        sends: None,
    })
}

struct Beside<'a> {
    arguments: &'a BesideArguments,
    targets: Targets,
    control: Control,
    verification: Option<Verification>,
}

impl Beside<'_> {
    /// Appends at the rate, with the other work or without it. The first part is that of the appends.
    fn phase(&mut self, rate: f64, with_other: bool) -> Result<Vec<Part>> {
        let base = self.control.newest("/changes")?;
        let ingest = ingest(self.arguments, &self.targets, Some(rate))?;
        let payload = ingest.payload.clone();
        let mixed = match (with_other, self.arguments.other) {
            (false, _) => Mixed { ingest, reads: None, tenants: None, keys: None },
            (true, Other::CatchUp) => {
                Mixed { ingest, reads: Some(self.reads(None)), tenants: None, keys: None }
            }
            (true, Other::Mixed) => self.mixed(ingest, base)?,
        };
        let Brought { parts, ledger, verification, missing, .. } = mixed.run(None)?;
        ensure!(missing == 0, "{missing} changes did not reach those who waited");
        if self.arguments.verify {
            let all = self.verification.get_or_insert_default();
            all.merge(verification);
            all.merge(verify(&mut self.control, &payload, ledger, base)?);
        }
        Ok(parts)
    }

    /// Pages at random places below an id, or all of them one after the other.
    fn reads(&self, below: Option<u64>) -> Reads {
        let arguments = self.arguments;
        Reads {
            fleet: Fleet {
                targets: self.targets.clone(),
                connections: arguments.readers.into(),
                threads: 1,
                timeout: arguments.common.client.timeout,
                label: None,
            },
            path: "/changes".to_owned(),
            limit: if below.is_some() { PAGE_CHANGES } else { CATCH_UP_CHANGES },
            random_below: below,
            rate: below.map(|_| arguments.read_rate),
            warmup: arguments.phases.warmup,
            duration: arguments.phases.duration,
            verify: arguments.verify,
        }
    }

    /// Appends, with reads, and tenants at whose lists somebody waits.
    fn mixed(&mut self, ingest: Ingest, newest: u64) -> Result<Mixed> {
        let BesideArguments { connections, size, tenants, tenants_rate, .. } = *self.arguments;
        let arguments = MixedArguments {
            common: self.arguments.common.clone(),
            load: LoadArguments { connections, size, batch: 1, tags: Vec::new() },
            rate: 1.0,
            readers: 0,
            read_rate: self.arguments.read_rate,
            limit: PAGE_CHANGES,
            tenants,
            tenants_rate,
            keys: 0,
            keys_rate: 1.0,
            phases: self.arguments.phases,
            verify: self.arguments.verify,
        };
        let (payload, control) = (ingest.payload.clone(), &mut self.control);
        let mixed = Mixed::create(&arguments, run_id(), &payload, &self.targets, control, newest)?;
        Ok(Mixed { ingest, reads: Some(self.reads(Some(newest))), ..mixed })
    }
}

/// Has the page cache forget the files of a directory, as far as they are written and not mapped.
fn forget(directory: &Path) -> Result<()> {
    let name = || directory.display().to_string();
    for entry in std::fs::read_dir(directory).with_context(|| format!("cannot read {}", name()))? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else if let Ok(file) = File::open(&path) {
            fadvise(&file, 0, None, Advice::DontNeed)
                .with_context(|| format!("cannot forget {}", path.display()))?;
        }
    }
    Ok(())
}
