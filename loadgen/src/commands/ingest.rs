//! `loadgen ingest`: appends changes from many connections and, on demand, proves afterwards
//! that every acknowledged one is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::answers::acknowledgement;
use crate::args::{IngestArguments, LoadArguments};
use crate::base::random::run_id;
use crate::base::stop;
use crate::commands::find_rate;
use crate::http::connection::Failure;
use crate::http::control::Control;
use crate::http::response::Response;
use crate::http::target::Targets;
use crate::http::workload::{Census, Workload};
use crate::load::fleet::{Crew, Fleet};
use crate::load::pace::Pace;
use crate::load::payload::{Origin, Payload, PostRequest};
use crate::load::sends::Sends;
use crate::load::verify::{Acknowledged, Ledger, Sent, verify};
use crate::measure::progress::Progress;
use crate::measure::report::{Outcome, Report};
use crate::measure::results::{Findings, Part};
use crate::measure::span::{self, Span};
use crate::measure::tally::Tally;

/// A load of appends, apart from the command line that asked for it.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) fleet: Fleet,
    pub(crate) payload: Payload,
    /// By the target.
    pub(crate) requests: Vec<PostRequest>,
    pub(crate) batch: u16,
    pub(crate) rate: Option<f64>,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    pub(crate) expect_status: Option<u16>,
    /// Whether to keep what was acknowledged.
    pub(crate) record: bool,
    /// Number of the first connection among all that write in this run.
    pub(crate) worker_base: u16,
    /// How many lists the requests go to, one after the other, where the path names one.
    pub(crate) lists: u64,
    /// Where those who wait for the changes look up when they were sent.
    pub(crate) sends: Option<Arc<Sends>>,
}

/// What a load brought.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) tally: Tally,
    pub(crate) ledger: Ledger,
    /// How long the measured part was: shorter than asked for after an interruption.
    pub(crate) measured: Duration,
}

/// Runs the command; the outcome tells whether verification succeeded.
pub(crate) fn run(arguments: &IngestArguments) -> Result<Outcome> {
    let targets = Targets::resolve(&arguments.common.urls, &arguments.common.access()?)?;
    let report = Report::begin("ingest", arguments)?;
    let findings =
        find_rate::run(&arguments.search, arguments.rate, arguments.common.client.quiet, |rate| {
            measure(arguments, &targets, rate)
        })?;
    report.finish(&findings, &arguments.common.client.output)
}

/// One load at a rate, or in a closed loop, with its verification.
fn measure(arguments: &IngestArguments, targets: &Targets, rate: Option<f64>) -> Result<Findings> {
    let (common, load) = (&arguments.common, &arguments.load);
    let run = run_id();
    let payload = Payload::new(run, load.size)?;
    let ingest = Ingest {
        requests: post_requests(&payload, targets, &arguments.path, load)?,
        fleet: Fleet {
            targets: targets.clone(),
            connections: usize::from(load.connections),
            threads: common.client.threads,
            timeout: common.client.timeout,
            label: (!common.client.quiet).then_some("ingest"),
        },
        payload,
        batch: load.batch,
        rate,
        warmup: arguments.phases.warmup,
        duration: arguments.phases.duration,
        expect_status: arguments.expect_status,
        record: arguments.verify,
        worker_base: 0,
        lists: 1,
        sends: None,
    };
    let mut control = Control::new(targets.first(), common.client.timeout);
    let base = if arguments.verify { Some(control.newest("/changes")?) } else { None };
    let ingested = ingest.run()?;
    let verification = match base {
        Some(base) => {
            if !common.client.quiet {
                eprintln!("verify: reading back from id {base}");
            }
            Some(verify(&mut control, &ingest.payload, ingested.ledger, base)?)
        }
        None => None,
    };
    let interval = span::interval(arguments.phases.duration);
    let part = Part::new("append", [ingested.tally], ingested.measured, interval)?;
    Ok(Findings::new(vec![part]).count("run", format!("{run:016x}")).verified(verification))
}

/// The prebuilt requests of a load, one for each target.
pub(crate) fn post_requests(
    payload: &Payload,
    targets: &Targets,
    path: &str,
    load: &LoadArguments,
) -> Result<Vec<PostRequest>> {
    let batch = usize::from(load.batch);
    let requests = targets.all().iter().map(|target| {
        PostRequest::new(payload, &target.fields, &target.path(path)?, batch, &load.tags)
    });
    requests.collect()
}

impl Ingest {
    /// Runs the load on all threads.
    pub(crate) fn run(&self) -> Result<Ingested> {
        ensure!(!self.duration.is_zero(), "the duration must be above 0");
        let parts = self.fleet.run(|crew| self.run_crew(crew))?;
        let mut tally = Tally::new()?;
        let mut ledger = Ledger::default();
        let mut measured = Duration::ZERO;
        for part in parts {
            tally.merge(part.tally)?;
            ledger.merge(part.ledger);
            measured = measured.max(part.measured);
        }
        Ok(Ingested { tally, ledger, measured })
    }

    fn run_crew(&self, mut crew: Crew<'_>) -> Result<Ingested> {
        let span = Span::new(crew.start, self.warmup, self.duration);
        if let Some(sends) = &self.sends {
            sends.begin(span);
        }
        let mut posting = Posting {
            payload: &self.payload,
            targets: &self.fleet.targets,
            requests: self.requests.clone(),
            batch: self.batch,
            first: crew.indices.start,
            worker_first: self.worker_base + crew.indices.start as u16,
            lists: self.lists,
            list: crew.thread as u64,
            list_stride: self.fleet.threads as u64,
            sends: self.sends.as_deref(),
            intended: crew.start,
            workers: vec![Worker::default(); crew.indices.len()],
            pace: Pace::of(self.rate, crew.start, crew.thread, self.fleet.threads),
            span,
            drain: self.fleet.timeout,
            expect_status: self.expect_status,
            record: self.record,
            tally: Tally::new()?,
            ledger: Ledger::default(),
            progress: crew.progress,
        };
        crew.engine.run(&mut posting)?;
        Ok(posting.finish())
    }
}

/// What one connection has sent.
#[derive(Debug, Clone, Copy, Default)]
struct Worker {
    /// Sequence number of its next change.
    next: u32,
    in_flight: bool,
}

/// The load of one thread.
#[derive(Debug)]
struct Posting<'a> {
    payload: &'a Payload,
    targets: &'a Targets,
    /// By the target.
    requests: Vec<PostRequest>,
    batch: u16,
    /// Number of this thread's first connection among all of this load, and among all that write
    /// in this run.
    first: usize,
    worker_first: u16,
    /// How many lists there are, which of them the next request goes to, and how far to go on.
    lists: u64,
    list: u64,
    list_stride: u64,
    sends: Option<&'a Sends>,
    /// When the request that is about to be sent was due.
    intended: Instant,
    workers: Vec<Worker>,
    pace: Pace,
    span: Span,
    /// How long after the end answers are still waited for.
    drain: Duration,
    expect_status: Option<u16>,
    record: bool,
    tally: Tally,
    ledger: Ledger,
    progress: &'a Progress,
}

impl Posting<'_> {
    /// Takes the request in flight off a connection.
    fn settle(&mut self, connection: usize) -> Sent {
        let worker = &mut self.workers[connection];
        worker.in_flight = false;
        let first = Origin {
            worker: self.worker_first + connection as u16,
            sequence: worker.next - u32::from(self.batch),
        };
        Sent { first, count: self.batch }
    }

    fn acknowledge(&mut self, sent: Sent, response: &Response<'_>) -> bool {
        match acknowledgement::first_id(response.body, u64::from(self.batch)) {
            Some(first_id) => {
                self.ledger.acknowledged.push(Acknowledged::new(first_id, sent));
                true
            }
            None => {
                self.ledger.unknown.push(sent);
                self.tally.errors.add("success without the ids");
                self.progress.error();
                false
            }
        }
    }

    fn finish(mut self) -> Ingested {
        for connection in 0..self.workers.len() {
            if self.workers[connection].in_flight {
                let sent = self.settle(connection);
                self.tally.errors.add("no answer before the end");
                self.ledger.unknown.push(sent);
            }
            let worker = self.worker_first + connection as u16;
            self.ledger.sent.push((worker, self.workers[connection].next));
        }
        self.tally.never_sent = self.pace.overdue(self.span.end);
        Ingested { tally: self.tally, ledger: self.ledger, measured: self.span.measured() }
    }
}

impl Workload for Posting<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        let intended = if now >= self.span.end { None } else { self.pace.take(now) }?;
        self.intended = intended;
        Some(intended)
    }

    fn request(&mut self, connection: usize) -> &[u8] {
        let worker = &mut self.workers[connection];
        let first = Origin { worker: self.worker_first + connection as u16, sequence: worker.next };
        worker.next += u32::from(self.batch);
        worker.in_flight = true;
        if let Some(sends) = self.sends {
            for sequence in (first.sequence..).take(usize::from(self.batch)) {
                sends.sent(Origin { sequence, ..first }, self.intended);
            }
        }
        let list = self.list % self.lists;
        self.list += self.list_stride;
        let target = self.targets.index_of(self.first + connection);
        self.requests[target].fill(self.payload, first, list)
    }

    fn answered(
        &mut self,
        connection: usize,
        intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        let sent = self.settle(connection);
        let success = match self.expect_status {
            Some(status) => response.status == status,
            None => response.is_success(),
        };
        if !success {
            self.tally.errors.add_answer(response);
            self.progress.error();
            if self.record {
                self.ledger.unknown.push(sent);
            }
            return false;
        }
        if self.record && !self.acknowledge(sent, response) {
            return false;
        }
        let changes = u64::from(self.batch);
        self.progress.success(changes);
        if let Some(sends) = self.sends {
            sends.acknowledge(changes);
        }
        let bytes = changes * self.payload.size() as u64;
        self.tally.success(&self.span, intended, now, changes, bytes);
        true
    }

    fn failed(&mut self, connection: usize, failure: &Failure, in_flight: bool) {
        self.tally.errors.add(failure.to_string());
        self.progress.error();
        if in_flight {
            let sent = self.settle(connection);
            if self.record {
                self.ledger.unknown.push(sent);
            }
        }
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
