//! `loadgen fill`: creates tenants, then collections of the first of them, then live keys spread
//! over these, each once: a node of a known size, to be measured.

mod verify;

use std::io::Write;
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::args::{CommonArguments, FillArguments};
use crate::base::stop;
use crate::http::connection::Failure;
use crate::http::control::Control;
use crate::http::response::Response;
use crate::http::target::{Target, Targets};
use crate::http::workload::{Census, Workload};
use crate::load::fleet::{Crew, Fleet};
use crate::load::payload::LIST_DIGITS;
use crate::measure::progress::Progress;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part};
use crate::measure::span::{self, Span};
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;

/// Connections that create what a command needs before it measures.
const CREATING_CONNECTIONS: usize = 16;
/// What the names of tenants begin with.
const TENANTS: &str = "tenant";
/// What the names of collections begin with.
const COLLECTIONS: &str = "collection";

/// Creates tenants whose names are `prefix`, a hyphen, and a number of [`LIST_DIGITS`] digits from
/// 0 on.
///
/// # Errors
/// When one was not created, or the run was interrupted.
pub(crate) fn create_tenants(
    common: &CommonArguments,
    targets: &Targets,
    prefix: &str,
    count: u64,
) -> Result<()> {
    let fleet = Fleet {
        targets: targets.clone(),
        connections: CREATING_CONNECTIONS.max(common.client.threads),
        threads: common.client.threads,
        timeout: common.client.timeout,
        label: None,
    };
    let fill = Fill { stage: Stage::Tenants, tenants: prefix, count, batch: 1, collections: 0 };
    let part = fill.run("tenants", &fleet)?;
    let created = part.tally.changes;
    let errors: Vec<&str> = part.tally.errors.iter().map(|(code, _)| code).collect();
    ensure!(created == count, "{created} of {count} tenants created: {}", errors.join(", "));
    Ok(())
}

/// Runs the command; it fails when anything was not created.
pub(crate) fn run(arguments: &FillArguments) -> Result<Outcome> {
    let common = &arguments.common;
    ensure!(
        arguments.keys == 0 || arguments.collections > 0,
        "keys need --collections to be in, and these a tenant"
    );
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let report = Report::begin("fill", arguments)?;
    let mut findings = Findings::new(Vec::new());
    let mut verification: Option<Verification> = None;
    let stages = [
        (Stage::Tenants, "tenants", arguments.tenants),
        (Stage::Collections, "collections", arguments.collections),
        (Stage::Keys, "keys", arguments.keys),
    ];
    for (stage, label, count) in stages.into_iter().filter(|(.., count)| *count > 0) {
        let fill = Fill {
            stage,
            tenants: TENANTS,
            count,
            batch: if stage == Stage::Keys { u64::from(arguments.batch) } else { 1 },
            collections: arguments.collections,
        };
        let fleet = Fleet {
            targets: targets.clone(),
            connections: usize::from(arguments.connections),
            threads: common.client.threads,
            timeout: common.client.timeout,
            label: (!common.client.quiet).then_some(label),
        };
        let part = fill.run(label, &fleet)?;
        findings = findings.count(&format!("{label}_wanted"), count);
        findings.passed = part.tally.changes == count;
        findings.parts.push(part);
        if !findings.passed {
            // What comes next would find nothing to be in.
            break;
        }
        if arguments.verify {
            let mut control = Control::new(targets.first(), common.client.timeout);
            let there = verify::verify(&mut control, stage, arguments)?;
            verification.get_or_insert_default().merge(there);
        }
    }
    report.finish(&findings.verified(verification), &common.client.output)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Tenants,
    Collections,
    Keys,
}

/// All requests of one stage, by number.
#[derive(Debug)]
struct Fill<'a> {
    stage: Stage,
    /// What the names of tenants begin with.
    tenants: &'a str,
    /// What is to be created.
    count: u64,
    /// How much of it one request creates.
    batch: u64,
    collections: u64,
}

impl Fill<'_> {
    fn run(&self, name: &str, fleet: &Fleet) -> Result<Part> {
        let requests = self.count.div_ceil(self.batch);
        let threads = fleet.threads as u64;
        let parts = fleet.run(|crew: Crew<'_>| {
            let (mut engine, thread) = (crew.engine, crew.thread as u64);
            let mut filling = Filling {
                fill: self,
                next: requests * thread / threads,
                end: requests * (thread + 1) / threads,
                targets: &fleet.targets,
                first: crew.indices.start,
                // By the connection: what it sent last.
                sent: vec![0; crew.indices.len()],
                request: Vec::new(),
                body: Vec::new(),
                tally: Tally::new()?,
                progress: crew.progress,
                span: Span::open(crew.start),
                until: crew.start,
            };
            engine.run(&mut filling)?;
            Ok((filling.tally, filling.until.duration_since(crew.start)))
        })?;
        if stop::requested() {
            bail!("interrupted");
        }
        let measured = parts.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let tallies = parts.into_iter().map(|(tally, _)| tally);
        Part::new(name, tallies, measured, span::INTERVAL_MIN)
    }

    /// What the `n`-th request creates.
    fn items(&self, n: u64) -> std::ops::Range<u64> {
        n * self.batch..self.count.min((n + 1) * self.batch)
    }

    /// Writes the `n`-th request.
    fn write(
        &self,
        n: u64,
        target: &Target,
        body: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        body.clear();
        let (path, media) = match self.stage {
            Stage::Tenants => {
                write!(body, "{{\"name\":\"{}\"}}", tenant(self.tenants, n))?;
                ("/tenants".to_owned(), "json")
            }
            Stage::Collections => {
                write!(body, "{{\"name\":\"{}\"}}", collection(n))?;
                (format!("/tenants/{}/collections", tenant(self.tenants, 0)), "json")
            }
            Stage::Keys => {
                for key in self.items(n) {
                    writeln!(body, "{{\"key\":\"key-{key:016}\",\"data\":{{\"n\":{key}}}}}")?;
                }
                let collection = collection(n % self.collections);
                (
                    format!("/tenants/{}/collections/{collection}/keys", tenant(self.tenants, 0)),
                    "x-ndjson",
                )
            }
        };
        out.clear();
        write!(
            out,
            "POST {}{path} HTTP/1.1\r\n{}Content-Type: application/{media}\r\n\
             Content-Length: {}\r\n\r\n",
            target.prefix,
            target.fields,
            body.len()
        )?;
        out.write_all(body)
    }
}

/// The name of the `n`-th tenant whose name begins with `prefix`.
fn tenant(prefix: &str, n: u64) -> String {
    format!("{prefix}-{n:0LIST_DIGITS$}")
}

fn collection(n: u64) -> String {
    format!("{COLLECTIONS}-{n:0LIST_DIGITS$}")
}

/// One thread's part of a stage.
#[derive(Debug)]
struct Filling<'a> {
    fill: &'a Fill<'a>,
    /// The next request, and the one behind the last.
    next: u64,
    end: u64,
    targets: &'a Targets,
    /// Number of this thread's first connection among all.
    first: usize,
    sent: Vec<u64>,
    request: Vec<u8>,
    body: Vec<u8>,
    tally: Tally,
    progress: &'a Progress,
    span: Span,
    /// When the last answer came.
    until: Instant,
}

impl Workload for Filling<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        (self.next < self.end && !stop::requested()).then_some(now)
    }

    fn request(&mut self, connection: usize) -> &[u8] {
        self.sent[connection] = self.next;
        // Writing into a vector cannot fail.
        let target = &self.targets.all()[self.targets.index_of(self.first + connection)];
        let _ = self.fill.write(self.next, target, &mut self.body, &mut self.request);
        self.next += 1;
        &self.request
    }

    fn answered(
        &mut self,
        connection: usize,
        intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        self.until = now;
        if response.status != 201 {
            self.tally.errors.add_answer(response);
            self.progress.error();
            return false;
        }
        let items = self.fill.items(self.sent[connection]);
        let created = items.end - items.start;
        self.tally.success(&self.span, intended, now, created, 0);
        self.progress.success(created);
        true
    }

    fn failed(&mut self, _connection: usize, failure: &Failure, _in_flight: bool) {
        self.tally.errors.add(failure.to_string());
        self.progress.error();
    }

    fn wake_at(&self, _now: Instant) -> Option<Instant> {
        None
    }

    fn finished(&mut self, _now: Instant, census: Census) -> bool {
        census.busy == 0 && (self.next >= self.end || stop::requested())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target::Access;

    fn request(stage: Stage, n: u64) -> String {
        let fill = Fill { stage, tenants: TENANTS, count: 5, batch: 2, collections: 2 };
        let target = Target::resolve("http://127.0.0.1:9/p", &Access::default()).expect("valid");
        let (mut body, mut out) = (Vec::new(), Vec::new());
        fill.write(n, &target, &mut body, &mut out).expect("a vector takes it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_key_is_in_exactly_one_request() {
        let keys = "/tenants/tenant-000000/collections/collection-000000/keys";
        assert_eq!(
            request(Stage::Keys, 2),
            format!(
                "POST /p{keys} HTTP/1.1\r\nHost: 127.0.0.1:9\r\nContent-Type: application/x-ndjson\r\n\
                 Content-Length: 46\r\n\r\n\
                 {{\"key\":\"key-0000000000000004\",\"data\":{{\"n\":4}}}}\n"
            )
        );
        let all: String = (0..3).map(|n| request(Stage::Keys, n)).collect();
        assert!((0..5).all(|key| all.matches(&format!("\"key-{key:016}\"")).count() == 1));
        assert_eq!(all.matches("\"key\"").count(), 5);
    }

    #[test]
    fn what_holds_the_keys_is_named_as_it_is_created() {
        assert!(request(Stage::Tenants, 0).ends_with("\r\n\r\n{\"name\":\"tenant-000000\"}"));
        let created = request(Stage::Collections, 1);
        assert!(created.starts_with("POST /p/tenants/tenant-000000/collections HTTP/1.1\r\n"));
        assert!(created.ends_with("{\"name\":\"collection-000001\"}"));
    }
}
