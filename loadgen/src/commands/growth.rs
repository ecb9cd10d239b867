//! `loadgen growth`: what appends, pages at random places and pages of a tenant take while the server grows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::args::{GrowthArguments, LoadArguments, TurnArguments};
use crate::base::random::{Random, run_id};
use crate::base::stop;
use crate::commands::fill::create_tenants;
use crate::commands::ingest::{Ingest, post_requests};
use crate::commands::read::Reads;
use crate::http::control::Control;
use crate::http::target::Targets;
use crate::load::fleet::Fleet;
use crate::load::payload::{LIST, LIST_DIGITS, Origin, Payload};
use crate::load::turn::Turn;
use crate::load::verify::verify;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part, per_second};
use crate::measure::span;
use crate::measure::verification::Verification;

/// Changes in a page.
const PAGE_CHANGES: u16 = 100;
/// Changes in a request while the server is filled, and connections that fill it.
const FILL_BATCH: u16 = 1_000;
const FILL_CONNECTIONS: u16 = 4;
/// Changes of each tenant.
const TENANT_CHANGES: u16 = 10;
/// How long filling may take for each million changes, at most.
const FILL_TIME: Duration = Duration::from_secs(60);

/// The kinds of requests.
const KINDS: [&str; 3] = ["append", "read 100", "tenant read"];

/// Tenants whose lists are read.
struct Tenants {
    prefix: String,
    count: u64,
}

struct Growth<'a> {
    arguments: &'a GrowthArguments,
    targets: Targets,
    control: Control,
    tenants: Tenants,
    parts: Vec<Part>,
    verification: Option<Verification>,
}

/// Runs the command.
pub(crate) fn run(arguments: &GrowthArguments) -> Result<Outcome> {
    ensure!(!arguments.turn.slice.is_zero(), "--slice must be above 0");
    ensure!(arguments.sizes.is_sorted(), "--sizes must grow");
    ensure!(arguments.tenants.is_sorted(), "--tenants must grow");
    let common = &arguments.common;
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let report = Report::begin("growth", arguments)?;
    let mut growth = Growth {
        arguments,
        control: Control::new(targets.first(), common.client.timeout),
        targets,
        tenants: Tenants { prefix: String::new(), count: 0 },
        parts: Vec::new(),
        verification: None,
    };
    growth.tenants = growth.create(1)?;
    for &size in &arguments.sizes {
        growth.grow_to(size)?;
        growth.measure(&format!("{size} changes"))?;
    }
    for &count in &arguments.tenants {
        growth.tenants = growth.create(count)?;
        growth.measure(&format!("{count} tenants"))?;
    }
    let mut findings = Findings::new(Vec::new());
    for kind in KINDS {
        let of_kind = growth.parts.iter().filter(|part| part.name.starts_with(kind));
        let rates: Vec<f64> =
            of_kind.map(|part| per_second(part.tally.requests, part.measured)).collect();
        let lowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = rates.iter().copied().fold(0.0, f64::max);
        if highest > 0.0 {
            findings = findings.count(&format!("{kind}, lowest to highest rate"), lowest / highest);
        }
    }
    findings.parts = growth.parts;
    report.finish(&findings.verified(growth.verification), &common.client.output)
}

/// Appends to the global list until it holds so many changes.
pub(crate) fn grow(
    targets: &Targets,
    control: &mut Control,
    size: usize,
    changes: u64,
) -> Result<()> {
    let newest = control.newest("/changes")?;
    let Some(lacks) = changes.checked_sub(newest).filter(|lacks| *lacks > 0) else {
        return Ok(());
    };
    let payload = Payload::new(run_id(), size)?;
    let target = targets.first();
    let path = target.path("/changes")?;
    let fields = &target.fields;
    let write = |out: &mut Vec<u8>, first: Origin| {
        let mut body = vec![b'['];
        for sequence in (first.sequence..).take(FILL_BATCH.into()) {
            body.extend_from_slice(if body.len() == 1 { b"{\"data\":" } else { b",{\"data\":" });
            payload.write(&mut body, Origin { sequence, ..first });
            body.push(b'}');
        }
        body.push(b']');
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\n{fields}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&body);
    };
    let requests = lacks.div_ceil(u64::from(FILL_BATCH) * u64::from(FILL_CONNECTIONS));
    let turn = Turn {
        fleet: Fleet {
            targets: targets.first().clone().into(),
            connections: FILL_CONNECTIONS.into(),
            threads: 1,
            timeout: FILL_TIME,
            label: None,
        },
        write: &write,
        changes: FILL_BATCH,
        warmup: Duration::ZERO,
        duration: FILL_TIME * u32::try_from(lacks.div_ceil(1_000_000))?,
        requests_max: u32::try_from(requests)?,
    };
    let done = turn.run()?.done;
    ensure!(done >= lacks || stop::requested(), "only {done} of {lacks} changes were appended");
    Ok(())
}

impl Growth<'_> {
    fn fleet(&self) -> Fleet {
        let common = &self.arguments.common;
        Fleet {
            targets: self.targets.clone(),
            connections: self.arguments.connections.into(),
            threads: common.client.threads,
            timeout: common.client.timeout,
            label: None,
        }
    }

    /// So many tenants, with 10 changes each.
    fn create(&mut self, count: u64) -> Result<Tenants> {
        let common = &self.arguments.common;
        let prefix = format!("loadgen-{:016x}", run_id());
        create_tenants(common, &self.targets, &prefix, count)?;
        let payload = Payload::new(run_id(), self.arguments.size)?;
        let data = |sequence| {
            let mut data = Vec::new();
            payload.write(&mut data, Origin { worker: 0, sequence });
            format!("{{\"data\":{}}}", String::from_utf8_lossy(&data))
        };
        let changes: Vec<String> = (0..u32::from(TENANT_CHANGES)).map(data).collect();
        let body = format!("[{}]", changes.join(","));
        let connections = count.min(self.arguments.connections.into());
        let requests = u32::try_from(count.div_ceil(connections))?;
        let target = self.targets.first().clone();
        let (base, fields, stride) = (target.prefix.as_str(), &target.fields, u64::from(requests));
        let write = |out: &mut Vec<u8>, first: Origin| {
            let turn = u64::from(first.sequence / u32::from(TENANT_CHANGES));
            // Those that there are too many of begin again at the first list.
            let list = (u64::from(first.worker) * stride + turn) % count;
            let length = body.len();
            let request = format!(
                "POST {base}/tenants/{prefix}-{list:0LIST_DIGITS$}/changes HTTP/1.1\r\n{fields}\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            out.extend_from_slice(request.as_bytes());
        };
        let turn = Turn {
            fleet: Fleet { connections: usize::try_from(connections)?, threads: 1, ..self.fleet() },
            write: &write,
            changes: TENANT_CHANGES,
            warmup: Duration::ZERO,
            duration: FILL_TIME,
            requests_max: requests,
        };
        let done = turn.run()?.done;
        let least = count * u64::from(TENANT_CHANGES);
        ensure!(done >= least || stop::requested(), "only {done} of {least} changes of tenants");
        Ok(Tenants { prefix, count })
    }

    fn grow_to(&mut self, changes: u64) -> Result<()> {
        if !self.arguments.common.client.quiet {
            eprintln!("growing to {changes} changes");
        }
        grow(&self.targets, &mut self.control, self.arguments.size, changes)
    }

    /// Measures each kind of request once.
    fn measure(&mut self, at: &str) -> Result<()> {
        if stop::requested() {
            return Ok(());
        }
        if !self.arguments.common.client.quiet {
            eprintln!("measuring at {at}");
        }
        let parts = [self.append()?, self.read()?, self.read_tenants()?];
        for (kind, mut part) in KINDS.into_iter().zip(parts) {
            part.name = format!("{kind} at {at}");
            self.parts.push(part);
        }
        Ok(())
    }

    fn part(&self, tally: crate::measure::tally::Tally, measured: Duration) -> Result<Part> {
        Part::new("", [tally], measured, span::interval(self.arguments.turn.slice))
    }

    fn append(&mut self) -> Result<Part> {
        let GrowthArguments { connections, size, turn, verify: verified, .. } = *self.arguments;
        let TurnArguments { slice, warmup } = turn;
        let payload = Payload::new(run_id(), size)?;
        let load = LoadArguments { connections, size, batch: 1, tags: Vec::new() };
        let ingest = Ingest {
            requests: post_requests(&payload, &self.targets, "/changes", &load)?,
            fleet: self.fleet(),
            payload,
            batch: 1,
            rate: None,
            warmup,
            duration: slice,
            expect_status: None,
            record: verified,
            worker_base: 0,
            lists: 1,
            sends: None,
        };
        let base = self.control.newest("/changes")?;
        let ingested = ingest.run()?;
        if verified {
            let found = verify(&mut self.control, &ingest.payload, ingested.ledger, base)?;
            self.verification.get_or_insert_default().merge(found);
        }
        self.part(ingested.tally, ingested.measured)
    }

    fn read(&mut self) -> Result<Part> {
        let newest = self.control.newest("/changes")?;
        let reads = Reads {
            fleet: self.fleet(),
            path: "/changes".to_owned(),
            limit: PAGE_CHANGES.into(),
            random_below: Some(newest.saturating_sub(PAGE_CHANGES.into())),
            rate: None,
            warmup: self.arguments.turn.warmup,
            duration: self.arguments.turn.slice,
            verify: self.arguments.verify,
        };
        let (part, verification) = reads.run()?;
        if let Some(verification) = verification {
            let read = Verification { found: 0, foreign: 0, ..verification };
            self.verification.get_or_insert_default().merge(read);
        }
        Ok(part)
    }

    /// Pages of the lists of tenants, each time another.
    fn read_tenants(&mut self) -> Result<Part> {
        let Tenants { prefix, count } = &self.tenants;
        let target = self.targets.first();
        let path =
            target.path(&format!("/tenants/{prefix}-{LIST}/changes?limit={PAGE_CHANGES}"))?;
        let (before, behind) = path.split_once(LIST).context("a path with a list")?;
        let (fields, count, seed) = (&target.fields, *count, run_id());
        let write = |out: &mut Vec<u8>, origin: Origin| {
            let place = u64::from(origin.worker) << 32 | u64::from(origin.sequence);
            let list = Random::new(seed ^ place).below(count);
            let request =
                format!("GET {before}{list:0LIST_DIGITS$}{behind} HTTP/1.1\r\n{fields}\r\n");
            out.extend_from_slice(request.as_bytes());
        };
        let turn = Turn {
            fleet: Fleet { targets: target.clone().into(), ..self.fleet() },
            write: &write,
            changes: TENANT_CHANGES,
            warmup: self.arguments.turn.warmup,
            duration: self.arguments.turn.slice,
            requests_max: u32::MAX,
        };
        let turned = turn.run()?;
        self.part(turned.tally, turned.measured)
    }
}
