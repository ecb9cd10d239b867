//! `loadgen read`: reads the list of changes from many connections, page after page or at random.

mod check;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::answers::page;
use crate::args::ReadArguments;
use crate::base::random::{Random, run_id};
use crate::base::stop;
use crate::commands::find_rate;
use crate::http::connection::Failure;
use crate::http::control::Control;
use crate::http::response::Response;
use crate::http::target::Targets;
use crate::http::workload::{Census, Workload};
use crate::load::fleet::{Crew, Fleet};
use crate::load::pace::Pace;
use crate::measure::progress::Progress;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part};
use crate::measure::span::{self, Span};
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;
use check::Checker;

/// The list whose ids are promised to have no gaps.
const GLOBAL_LIST: &str = "/changes";

/// Reads of a list.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) fleet: Fleet,
    /// The list to read.
    pub(crate) path: String,
    /// Changes in one answer at most.
    pub(crate) limit: u32,
    /// Reads at random positions below this id, unless pages follow each other.
    pub(crate) random_below: Option<u64>,
    pub(crate) rate: Option<f64>,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// Whether every page is held against what the list promises.
    pub(crate) verify: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &ReadArguments) -> Result<Outcome> {
    let common = &arguments.common;
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let newest = Control::new(targets.first(), common.client.timeout).newest(&arguments.path)?;
    let report = Report::begin("read", arguments)?;
    let findings =
        find_rate::run(&arguments.search, arguments.rate, common.client.quiet, |rate| {
            let (part, verification) = reads(arguments, &targets, newest, rate).run()?;
            Ok(Findings::new(vec![part]).verified(verification))
        })?;
    report.finish(&findings, &common.client.output)
}

/// What the command line asks for, at a rate or as fast as it goes.
fn reads(arguments: &ReadArguments, targets: &Targets, newest: u64, rate: Option<f64>) -> Reads {
    let common = &arguments.common;
    Reads {
        fleet: Fleet {
            targets: targets.clone(),
            connections: arguments.connections,
            threads: common.client.threads,
            timeout: common.client.timeout,
            label: (!common.client.quiet).then_some("read"),
        },
        path: arguments.path.clone(),
        limit: arguments.limit,
        random_below: arguments.since_random.then_some(newest),
        rate,
        warmup: arguments.phases.warmup,
        duration: arguments.phases.duration,
        verify: arguments.verify,
    }
}

impl Reads {
    /// Runs the load on all threads; what was found wrong comes with it, where that is asked for.
    pub(crate) fn run(&self) -> Result<(Part, Option<Verification>)> {
        ensure!(!self.duration.is_zero(), "the duration must be above 0");
        let fleet = &self.fleet;
        let requests = page_requests(&fleet.targets, &self.path, self.limit)?;
        let seed = run_id();
        let parts = fleet.run(|crew: Crew<'_>| {
            let mut engine = crew.engine;
            let mut reading = Reading {
                requests: &requests,
                targets: &fleet.targets,
                first: crew.indices.start,
                request: Vec::new(),
                dense: self.path == GLOBAL_LIST,
                since: vec![0; crew.indices.len()],
                random: self
                    .random_below
                    .map(|newest| (Random::new(seed ^ crew.thread as u64), newest)),
                pace: Pace::of(self.rate, crew.start, crew.thread, fleet.threads),
                span: Span::new(crew.start, self.warmup, self.duration),
                drain: fleet.timeout,
                checker: self.verify.then(Checker::default),
                tally: Tally::new()?,
                progress: crew.progress,
            };
            engine.run(&mut reading)?;
            reading.tally.never_sent = reading.pace.overdue(reading.span.end);
            Ok((reading.tally, reading.span.measured(), reading.checker))
        })?;
        let measured = parts.iter().map(|(_, measured, _)| *measured).max().unwrap_or_default();
        let mut verification: Option<Verification> = None;
        let mut tallies = Vec::new();
        for (tally, _, checker) in parts {
            tallies.push(tally);
            if let Some(checker) = checker {
                verification.get_or_insert_default().merge(checker.finish());
            }
        }
        let interval = span::interval(self.duration);
        Ok((Part::new("read", tallies, measured, interval)?, verification))
    }
}

/// The request for a page: before and behind the number of `since`.
#[derive(Debug)]
struct PageRequest {
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// The requests for pages of a list, one for each target.
fn page_requests(targets: &Targets, path: &str, limit: u32) -> Result<Vec<PageRequest>> {
    let requests = targets.all().iter().map(|target| {
        let path = target.path(&page::query(path, "since="))?;
        let tail = format!("&limit={limit} HTTP/1.1\r\n{}\r\n", target.fields);
        Ok(PageRequest { head: format!("GET {path}").into_bytes(), tail: tail.into_bytes() })
    });
    requests.collect()
}

/// The load of one thread.
#[derive(Debug)]
struct Reading<'a> {
    /// By the target.
    requests: &'a [PageRequest],
    targets: &'a Targets,
    /// Number of this thread's first connection among all.
    first: usize,
    request: Vec<u8>,
    dense: bool,
    /// Where each connection reads next.
    since: Vec<u64>,
    /// The source of positions and their bound, unless pages follow each other.
    random: Option<(Random, u64)>,
    pace: Pace,
    span: Span,
    drain: Duration,
    checker: Option<Checker>,
    tally: Tally,
    progress: &'a Progress,
}

impl Workload for Reading<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        if now >= self.span.end { None } else { self.pace.take(now) }
    }

    fn request(&mut self, connection: usize) -> &[u8] {
        if let Some((random, newest)) = &mut self.random {
            self.since[connection] = random.below(*newest);
        }
        self.request.clear();
        let request = &self.requests[self.targets.index_of(self.first + connection)];
        self.request.extend_from_slice(&request.head);
        // Writing into a vector cannot fail.
        let _ = write!(self.request, "{}", self.since[connection]);
        self.request.extend_from_slice(&request.tail);
        &self.request
    }

    fn answered(
        &mut self,
        connection: usize,
        intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        if !response.is_success() {
            self.tally.errors.add_answer(response);
            self.progress.error();
            return false;
        }
        let page = match &mut self.checker {
            Some(checker) => checker.page(response.body, self.since[connection], self.dense),
            None => page::summary(response.body, self.dense),
        };
        let Some(page) = page else {
            self.tally.errors.add("not a list of changes");
            self.progress.error();
            return false;
        };
        self.since[connection] = if page.at_end { 0 } else { page.last };
        self.progress.success(page.changes);
        let bytes = response.body.len() as u64;
        self.tally.success(&self.span, intended, now, page.changes, bytes);
        true
    }

    fn failed(&mut self, _connection: usize, failure: &Failure, _in_flight: bool) {
        self.tally.errors.add(failure.to_string());
        self.progress.error();
    }

    fn sent_late(&mut self, now: Instant, lateness: Duration) {
        self.tally.sent_late(&self.span, now, lateness);
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let end = self.span.end;
        (now < end).then(|| self.pace.due().map_or(end, |due| due.min(end)))
    }

    fn finished(&mut self, now: Instant, census: Census) -> bool {
        if stop::requested() {
            self.span.end_by(now);
        }
        self.span.is_over(now, census.busy > 0, self.drain)
    }
}
