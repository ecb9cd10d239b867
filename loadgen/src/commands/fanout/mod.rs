//! `loadgen wait` and `loadgen stream`: many clients wait for one change, by long-polls or
//! streams, on one server or several. A round is: wait until all of them stand, let the servers
//! settle, append one change, and measure how long it takes to arrive at each.

mod waiters;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::answers::acknowledgement;
use crate::answers::stream::StreamFormat;
use crate::args::{FanoutArguments, StreamArguments};
use crate::base::stop;
use crate::http::control::Control;
use crate::http::engine::Engine;
use crate::http::target::{Target, Targets};
use crate::load::fleet::{Crew, Fleet, lock};
use crate::measure::report::{FanoutReport, Outcome, Report, TargetArrivals};
use crate::measure::tally::{Errors, Latencies};
use waiters::Waiters;

/// How much longer than the server's `block` a poll may take before it is given up.
const BLOCK_GRACE: Duration = Duration::from_secs(15);
/// How long a stream may stand: longer than any run.
const STREAM_TIME_MAX: Duration = Duration::from_secs(1_000_000_000);
/// The change that is appended.
const APPENDED: &str = r#"{"data":{"loadgen":"wait"}}"#;

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
    let targets = Targets::resolve(&common.urls)?;
    let append_target = match &arguments.append_url {
        Some(url) => Target::resolve(url)?,
        None => targets.first().clone(),
    };
    let mut appender = Control::new(&append_target, common.timeout);
    let since = appender.newest("/changes")?;
    let block_time = Duration::from_secs(arguments.block.into()) + BLOCK_GRACE;
    let fleet = Fleet {
        targets: targets.clone(),
        connections: arguments.connections,
        threads: common.threads,
        timeout: match format {
            Some(_) => STREAM_TIME_MAX,
            None => common.timeout.max(block_time),
        },
        label: (!common.quiet).then_some(if format.is_some() { "stream" } else { "wait" }),
    };
    let questions = targets.all().iter().map(|target| Control::new(target, common.timeout));
    let shared = Shared {
        arguments,
        format,
        targets: &targets,
        epoch: Instant::now(),
        barrier: Barrier::new(common.threads),
        posted_ns: AtomicU64::new(0),
        since: AtomicU64::new(since),
        over: AtomicBool::new(false),
        failure: Mutex::default(),
        appender: Mutex::new(Appender {
            control: appender,
            request: append_request(&append_target)?,
            questions: questions.collect(),
            latencies: Latencies::new()?,
        }),
    };
    let parts = fleet.run(|crew| shared.run_crew(crew))?;
    if let Some(failure) = lock(&shared.failure).take() {
        bail!("append failed: {failure}");
    }
    let figures = summarize(&parts, &common.urls, &lock(&shared.appender).latencies)?;
    report.finish(&figures, common.json.as_deref())
}

fn append_request(target: &Target) -> Result<String> {
    Ok(format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{APPENDED}",
        target.path("/changes")?,
        target.host,
        APPENDED.len()
    ))
}

/// What the threads of a run share.
#[derive(Debug)]
struct Shared<'a> {
    arguments: &'a FanoutArguments,
    /// Streams of this format, or else long-polls.
    format: Option<StreamFormat>,
    targets: &'a Targets,
    /// Moments are passed between threads as nanoseconds since this one.
    epoch: Instant,
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
    request: String,
    /// One for each server that is waited at.
    questions: Vec<Control>,
    latencies: Latencies,
}

/// What a thread saw of one server in one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// Polls or streams that stood before the append.
    waiting: u64,
    arrived: u64,
    /// From the append to the last arrival.
    last: Duration,
}

/// What a thread saw of one server.
#[derive(Debug)]
struct AtTarget {
    rounds: Vec<Round>,
    arrivals: Latencies,
}

/// What a thread brought.
#[derive(Debug)]
struct Waited {
    targets: Vec<AtTarget>,
    /// Changes that came before the append: other writers are at work.
    early: u64,
    errors: Errors,
}

/// Adds up the threads: a round lasts until the last arrival on any of them.
fn summarize(parts: &[Waited], urls: &[String], appends: &Latencies) -> Result<FanoutReport> {
    let count = |part: &Waited| part.targets.iter().map(|target| target.rounds.len()).min();
    let rounds = parts.iter().filter_map(count).min().unwrap_or_default();
    let mut all = Sum::new(rounds)?;
    let mut targets = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        let mut here = Sum::new(rounds)?;
        for target in parts.iter().filter_map(|part| part.targets.get(at)) {
            here.add(target)?;
            all.add(target)?;
        }
        targets.push(here.figures(url)?);
    }
    let mut errors = Errors::default();
    for part in parts {
        errors.merge(&part.errors);
    }
    Ok(FanoutReport {
        rounds: rounds as u64,
        early: parts.iter().map(|part| part.early).sum(),
        append: appends.summary(),
        all: all.figures("all")?,
        targets,
        errors,
    })
}

/// Rounds added up over threads, or over servers too.
struct Sum {
    rounds: Vec<Round>,
    arrivals: Latencies,
}

impl Sum {
    fn new(rounds: usize) -> Result<Self> {
        Ok(Self { rounds: vec![Round::default(); rounds], arrivals: Latencies::new()? })
    }

    fn add(&mut self, target: &AtTarget) -> Result<()> {
        for (sum, round) in self.rounds.iter_mut().zip(&target.rounds) {
            sum.waiting += round.waiting;
            sum.arrived += round.arrived;
            sum.last = sum.last.max(round.last);
        }
        self.arrivals.merge(&target.arrivals)
    }

    fn figures(&self, url: &str) -> Result<TargetArrivals> {
        let mut last = Latencies::new()?;
        for round in self.rounds.iter().filter(|round| round.arrived > 0) {
            last.record(round.last);
        }
        let missing = self.rounds.iter().map(|round| round.waiting.saturating_sub(round.arrived));
        Ok(TargetArrivals {
            url: url.to_owned(),
            waiting_min: self.rounds.iter().map(|round| round.waiting).min().unwrap_or_default(),
            missing: missing.sum(),
            append_to_arrival: self.arrivals.summary(),
            append_to_last_arrival: last.summary(),
        })
    }
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
        let Appender { control, request, questions, latencies } = &mut *appender;
        // The answer to a question shows that a server has come through what arrived before it.
        for question in questions {
            question.newest("/changes")?;
        }
        control.connect()?;
        let begin = Instant::now();
        self.posted_ns.store(self.nanoseconds(begin), Ordering::Release);
        let body = control.send(request.as_bytes())?;
        latencies.record(begin.elapsed());
        let id = acknowledgement::first_id(body, 1).context("the answer names no id")?;
        self.since.fetch_max(id, Ordering::Relaxed);
        Ok(())
    }

    fn nanoseconds(&self, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
    }

    /// When the change of this round was sent, once it was.
    fn posted(&self) -> Option<Instant> {
        match self.posted_ns.load(Ordering::Acquire) {
            0 => None,
            ns => Some(self.epoch + Duration::from_nanos(ns)),
        }
    }
}
