//! `loadgen wait` and `loadgen stream`: many clients wait for one change, by long-polls or
//! streams, on one server or several. A round is: wait until all of them stand, let the servers
//! settle, append one change, and measure how long it takes to arrive at each.

mod figures;
mod waiters;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::answers::acknowledgement;
use crate::answers::stream::StreamFormat;
use crate::args::{FanoutArguments, StreamArguments};
use crate::base::random::run_id;
use crate::base::stop;
use crate::http::control::Control;
use crate::http::engine::Engine;
use crate::http::target::{Target, Targets};
use crate::load::fleet::{Crew, Fleet, lock};
use crate::load::payload::{DATA_BYTES_MIN, Origin, Payload, PostRequest};
use crate::load::verify::{Acknowledged, Ledger, Sent, verify};
use crate::measure::errors::Errors;
use crate::measure::report::{Outcome, Report};
use crate::measure::span::Span;
use crate::measure::tally::Tally;
use waiters::Waiters;

/// How much longer than the server's `block` a poll may take before it is given up.
const BLOCK_GRACE: Duration = Duration::from_secs(15);
/// How long a stream may stand: longer than any run.
const STREAM_TIME_MAX: Duration = Duration::from_secs(1_000_000_000);

/// Runs `wait`.
pub(crate) fn run_polls(arguments: &FanoutArguments) -> Result<Outcome> {
    let report = Report::begin("wait", arguments)?;
    run(arguments, None, report)
}

/// Runs `stream`.
pub(crate) fn run_streams(arguments: &StreamArguments) -> Result<Outcome> {
    let report = Report::begin("stream", arguments)?;
    run(&arguments.fanout, Some(arguments.format), report)
}

fn run(
    arguments: &FanoutArguments,
    format: Option<StreamFormat>,
    report: Report,
) -> Result<Outcome> {
    let common = &arguments.common;
    let targets = Targets::resolve(&common.urls, &common.access()?)?;
    let append_target = match &arguments.append_url {
        Some(url) => Target::resolve(url, &common.access()?)?,
        None => targets.first().clone(),
    };
    let payload = Payload::new(run_id(), DATA_BYTES_MIN)?;
    let mut appender = Control::new(&append_target, common.client.timeout);
    let since = appender.newest("/changes")?;
    let block_time = Duration::from_secs(arguments.block.into()) + BLOCK_GRACE;
    let fleet = Fleet {
        targets: targets.clone(),
        connections: arguments.connections,
        threads: common.client.threads,
        timeout: match format {
            Some(_) => STREAM_TIME_MAX,
            None => common.client.timeout.max(block_time),
        },
        label: (!common.client.quiet).then_some(if format.is_some() { "stream" } else { "wait" }),
    };
    let questions = targets.all().iter().map(|target| Control::new(target, common.client.timeout));
    let shared = Shared {
        arguments,
        format,
        targets: &targets,
        span: Span::open(Instant::now()),
        barrier: Barrier::new(common.client.threads),
        posted_ns: AtomicU64::new(0),
        since: AtomicU64::new(since),
        over: AtomicBool::new(false),
        failure: Mutex::default(),
        appender: Mutex::new(Appender {
            control: appender,
            request: PostRequest::new(
                &payload,
                &append_target.fields,
                &append_target.path("/changes")?,
                1,
                &[],
            )?,
            payload: payload.clone(),
            appended: 0,
            acknowledged: Vec::new(),
            questions: questions.collect(),
            tally: Tally::new()?,
        }),
    };
    let span = shared.span;
    let parts = fleet.run(|crew| shared.run_crew(crew))?;
    if let Some(failure) = lock(&shared.failure).take() {
        bail!("append failed: {failure}");
    }
    let appender = shared.appender.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (tally, mut control, ledger) = appender.into_parts();
    let findings = figures::findings(&span, parts, &common.urls, tally)?;
    let verification = match arguments.verify {
        true => Some(verify(&mut control, &payload, ledger, since)?),
        false => None,
    };
    report.finish(&findings.verified(verification), &common.client.output)
}

/// What the threads of a run share.
#[derive(Debug)]
struct Shared<'a> {
    arguments: &'a FanoutArguments,
    /// Streams of this format, or else long-polls.
    format: Option<StreamFormat>,
    targets: &'a Targets,
    /// Moments are passed between threads as nanoseconds since its beginning.
    span: Span,
    barrier: Barrier,
    /// When the change of this round was sent; 0 before.
    posted_ns: AtomicU64,
    /// Newest id that is known to be no news: what follows is waited for.
    since: AtomicU64,
    /// The append failed, or the run was stopped: no further round makes sense.
    over: AtomicBool,
    failure: Mutex<Option<String>>,
    appender: Mutex<Appender>,
}

/// What appends the change of each round.
#[derive(Debug)]
struct Appender {
    control: Control,
    request: PostRequest,
    payload: Payload,
    /// How many changes were sent, and which of them were acknowledged.
    appended: u32,
    acknowledged: Vec<Acknowledged>,
    /// One for each server that is waited at.
    questions: Vec<Control>,
    tally: Tally,
}

impl Appender {
    fn into_parts(self) -> (Tally, Control, Ledger) {
        let ledger = Ledger {
            acknowledged: self.acknowledged,
            unknown: Vec::new(),
            sent: vec![(0, self.appended)],
        };
        (self.tally, self.control, ledger)
    }
}

/// What a thread saw of one server in one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// Polls or streams that stood before the append.
    waiting: u64,
    arrived: u64,
    /// From the append to the last arrival.
    last: Duration,
    /// When the change was sent.
    posted: Option<Instant>,
}

/// What a thread saw of one server.
#[derive(Debug)]
struct AtTarget {
    rounds: Vec<Round>,
    arrivals: Tally,
}

/// What a thread brought.
#[derive(Debug)]
struct Waited {
    targets: Vec<AtTarget>,
    /// Changes that came before the append: other writers are at work.
    early: u64,
    errors: Errors,
}

impl Shared<'_> {
    fn run_crew(&self, crew: Crew<'_>) -> Result<Waited> {
        let mut engine = crew.engine;
        let mut waiters = Waiters::new(self, crew.indices, crew.progress)?;
        if self.format.is_some() {
            engine.streaming();
        }
        let mut outcome = Ok(());
        for _ in 0..self.arguments.rounds {
            // Every thread passes every barrier, also one that failed: else the others would wait.
            outcome = outcome.and_then(|()| waiters.stand(&mut engine));
            self.barrier.wait();
            outcome = outcome.and_then(|()| waiters.settle(&mut engine));
            if outcome.is_err() || stop::requested() {
                self.over.store(true, Ordering::Relaxed);
            }
            self.barrier.wait();
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            outcome = self.append_and_collect(crew.thread == 0, &mut waiters, &mut engine);
            self.barrier.wait();
            if crew.thread == 0 {
                self.posted_ns.store(0, Ordering::Relaxed);
            }
            self.barrier.wait();
            if self.over.load(Ordering::Relaxed) {
                break;
            }
        }
        outcome.map(|()| waiters.finish())
    }

    /// The first thread has a helper append, so that its own arrivals are not read late.
    fn append_and_collect(
        &self,
        first: bool,
        waiters: &mut Waiters<'_>,
        engine: &mut Engine,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            if first {
                scope.spawn(|| {
                    if let Err(error) = self.append() {
                        *lock(&self.failure) = Some(format!("{error:#}"));
                        self.over.store(true, Ordering::Relaxed);
                    }
                });
            }
            waiters.collect(engine)
        })
    }

    fn append(&self) -> Result<()> {
        let mut appender = lock(&self.appender);
        let Appender { control, request, payload, appended, acknowledged, questions, tally } =
            &mut *appender;
        // The answer to a question shows that a server has come through what arrived before it.
        for question in questions {
            question.newest("/changes")?;
        }
        control.connect()?;
        let first = Origin { worker: 0, sequence: *appended };
        *appended += 1;
        let request = request.fill(payload, first, 0);
        let begin = Instant::now();
        self.posted_ns.store(self.nanoseconds(begin), Ordering::Release);
        let body = control.send(request)?;
        tally.success(&self.span, begin, Instant::now(), 1, payload.size() as u64);
        let id = acknowledgement::first_id(body, 1).context("the answer names no id")?;
        acknowledged.push(Acknowledged::new(id, Sent { first, count: 1 }));
        self.since.fetch_max(id, Ordering::Relaxed);
        Ok(())
    }

    fn nanoseconds(&self, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.span.measure).as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
    }

    /// When the change of this round was sent, once it was.
    fn posted(&self) -> Option<Instant> {
        match self.posted_ns.load(Ordering::Acquire) {
            0 => None,
            ns => Some(self.span.measure + Duration::from_nanos(ns)),
        }
    }
}
