//! `loadgen wait`: parks long-polls, appends one change and measures how long each answer takes
//! from that append. A round is: park all, let the server settle, append, collect the answers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::args::WaitArguments;
use crate::connection::Failure;
use crate::control::{Acknowledgement, Control};
use crate::engine::Engine;
use crate::fleet::{Crew, Fleet, lock};
use crate::page;
use crate::report::{Outcome, Report, WaitReport};
use crate::response::Response;
use crate::stop;
use crate::tally::{Errors, Latencies, Progress};
use crate::target::Target;
use crate::workload::{Census, Workload};

/// How much longer than the server's `block` a poll may take before it is given up.
const BLOCK_GRACE: Duration = Duration::from_secs(15);
/// How long parking all polls may take, besides a share for each of them.
const PARK_TIME: Duration = Duration::from_secs(10);
/// The change that is appended.
const APPENDED: &str = r#"{"data":{"loadgen":"wait"}}"#;

/// What the threads of a run share.
#[derive(Debug)]
struct Shared<'a> {
    arguments: &'a WaitArguments,
    target: Target,
    /// Moments are passed between threads as nanoseconds since this one.
    epoch: Instant,
    barrier: Barrier,
    /// When the change of this round was sent; 0 before.
    posted_ns: AtomicU64,
    /// Newest id that is known to be no news: polls ask for what follows.
    since: AtomicU64,
    /// The append failed, or the run was stopped: no further round makes sense.
    over: AtomicBool,
    failure: Mutex<Option<String>>,
    control: Mutex<Control>,
    appends: Mutex<Latencies>,
}

/// What a thread saw in one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    parked: u64,
    answered: u64,
    /// From the append to this thread's last answer.
    last: Duration,
}

/// What a thread brought.
#[derive(Debug)]
struct Waited {
    rounds: Vec<Round>,
    answers: Latencies,
    /// Answers that came before the append: other writers are at work.
    early: u64,
    errors: Errors,
}

/// Runs the command.
pub(crate) fn run(arguments: &WaitArguments) -> Result<Outcome> {
    let common = &arguments.common;
    let target = Target::resolve(&common.url)?;
    let mut control = Control::new(&target, common.timeout);
    let since = control.newest("/changes")?;
    let fleet = Fleet {
        target: target.clone(),
        connections: arguments.connections,
        threads: common.threads,
        timeout: common.timeout.max(Duration::from_secs(arguments.block.into()) + BLOCK_GRACE),
        label: (!common.quiet).then_some("wait"),
    };
    let shared = Shared {
        arguments,
        target,
        epoch: Instant::now(),
        barrier: Barrier::new(common.threads),
        posted_ns: AtomicU64::new(0),
        since: AtomicU64::new(since),
        over: AtomicBool::new(false),
        failure: Mutex::default(),
        control: Mutex::new(control),
        appends: Mutex::new(Latencies::new()?),
    };
    let report = Report::begin("wait", arguments)?;
    let parts = fleet.run(|crew| shared.run_crew(crew))?;
    if let Some(failure) = lock(&shared.failure).take() {
        bail!("append failed: {failure}");
    }
    let figures = summarize(&parts, &lock(&shared.appends))?;
    report.finish(&figures, common.json.as_deref())
}

/// Adds up the threads: a round lasts until the last answer on any of them.
fn summarize(parts: &[Waited], appends: &Latencies) -> Result<WaitReport> {
    let mut answers = Latencies::new()?;
    let mut last = Latencies::new()?;
    let mut errors = Errors::default();
    let rounds = parts.iter().map(|part| part.rounds.len()).min().unwrap_or_default();
    let mut sums = vec![Round::default(); rounds];
    for part in parts {
        answers.merge(&part.answers)?;
        errors.merge(&part.errors);
        for (sum, round) in sums.iter_mut().zip(&part.rounds) {
            sum.parked += round.parked;
            sum.answered += round.answered;
            sum.last = sum.last.max(round.last);
        }
    }
    for round in sums.iter().filter(|round| round.answered > 0) {
        last.record(round.last);
    }
    Ok(WaitReport {
        rounds: rounds as u64,
        parked_min: sums.iter().map(|round| round.parked).min().unwrap_or_default(),
        answers_missing: sums.iter().map(|round| round.parked.saturating_sub(round.answered)).sum(),
        answers_early: parts.iter().map(|part| part.early).sum(),
        append: appends.summary(),
        append_to_answer: answers.summary(),
        append_to_last_answer: last.summary(),
        errors,
    })
}

impl Shared<'_> {
    fn run_crew(&self, crew: Crew<'_>) -> Result<Waited> {
        let mut engine = crew.engine;
        let mut polls = Polls {
            shared: self,
            request: Vec::new(),
            phase: Phase::Park,
            deadline: crew.start,
            round: Round::default(),
            waited: Waited {
                rounds: Vec::new(),
                answers: Latencies::new()?,
                early: 0,
                errors: Errors::default(),
            },
            progress: crew.progress,
        };
        let mut outcome = Ok(());
        for _ in 0..self.arguments.rounds {
            // Every thread passes every barrier, also one that failed: else the others would wait.
            outcome = outcome.and_then(|()| polls.park(&mut engine));
            self.barrier.wait();
            outcome = outcome.and_then(|()| polls.settle(&mut engine));
            if outcome.is_err() || stop::requested() {
                self.over.store(true, Ordering::Relaxed);
            }
            self.barrier.wait();
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            outcome = self.append_and_collect(crew.thread == 0, &mut polls, &mut engine);
            self.barrier.wait();
            if crew.thread == 0 {
                self.posted_ns.store(0, Ordering::Relaxed);
            }
            self.barrier.wait();
            if self.over.load(Ordering::Relaxed) {
                break;
            }
        }
        outcome.map(|()| polls.waited)
    }

    /// The first thread has a helper append, so that its own answers are not read late.
    fn append_and_collect(
        &self,
        first: bool,
        polls: &mut Polls<'_>,
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
            polls.collect(engine)
        })
    }

    fn append(&self) -> Result<()> {
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{APPENDED}",
            self.target.path("/changes")?,
            self.target.host,
            APPENDED.len()
        );
        let mut control = lock(&self.control);
        // The answer to a question shows that the server has come through what arrived before it,
        // and leaves an open connection to append on.
        control.newest("/changes")?;
        control.connect()?;
        let begin = Instant::now();
        self.posted_ns.store(self.nanoseconds(begin), Ordering::Release);
        let body = control.send(request.as_bytes())?;
        lock(&self.appends).record(begin.elapsed());
        let id = Acknowledgement::first_id(body, 1).context("the answer names no id")?;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until every connection has a poll in flight.
    Park,
    /// Until the time to settle is over.
    Settle,
    /// Until every poll is answered.
    Collect,
}

/// The polls of one thread.
#[derive(Debug)]
struct Polls<'a> {
    shared: &'a Shared<'a>,
    request: Vec<u8>,
    phase: Phase,
    deadline: Instant,
    round: Round,
    waited: Waited,
    progress: &'a Progress,
}

impl Polls<'_> {
    fn park(&mut self, engine: &mut Engine) -> Result<()> {
        self.round = Round::default();
        self.phase = Phase::Park;
        let share = Duration::from_millis(engine.census().total as u64);
        self.deadline = Instant::now() + PARK_TIME + share;
        self.build_request()?;
        engine.run(self)
    }

    fn settle(&mut self, engine: &mut Engine) -> Result<()> {
        self.phase = Phase::Settle;
        self.deadline = Instant::now() + self.shared.arguments.settle;
        engine.run(self)?;
        self.round.parked = engine.census().busy as u64;
        Ok(())
    }

    fn collect(&mut self, engine: &mut Engine) -> Result<()> {
        self.phase = Phase::Collect;
        self.deadline = Instant::now() + self.shared.arguments.common.timeout;
        engine.run(self)?;
        self.waited.errors.add_many("not answered in time", engine.census().busy as u64);
        self.waited.rounds.push(self.round);
        Ok(())
    }

    fn build_request(&mut self) -> Result<()> {
        let since = self.shared.since.load(Ordering::Relaxed);
        let path = format!("/changes?since={since}&block={}", self.shared.arguments.block);
        self.request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.shared.target.path(&path)?,
            self.shared.target.host
        )
        .into_bytes();
        Ok(())
    }
}

impl Workload for Polls<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        (self.phase != Phase::Collect).then_some(now)
    }

    fn request(&mut self, _connection: usize) -> &[u8] {
        &self.request
    }

    fn answered(
        &mut self,
        _connection: usize,
        _intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        if !response.is_success() {
            self.waited.errors.add_answer(response);
            self.progress.error();
            return false;
        }
        let Some(page) = page::summary(response.body, false) else {
            self.waited.errors.add("not a list of changes");
            self.progress.error();
            return false;
        };
        self.progress.success(page.changes);
        match self.shared.posted() {
            Some(posted) if page.changes > 0 => {
                let latency = now.saturating_duration_since(posted);
                self.waited.answers.record(latency);
                self.round.answered += 1;
                self.round.last = self.round.last.max(latency);
            }
            Some(_) => self.waited.errors.add("answer without a change"),
            None => {
                // Somebody else wrote, or the poll ran out: it is parked again behind that.
                self.waited.early += 1;
                let newest = self.shared.since.fetch_max(page.last, Ordering::Relaxed);
                if page.last > newest && self.build_request().is_err() {
                    return false;
                }
            }
        }
        true
    }

    fn failed(&mut self, _connection: usize, failure: &Failure, _in_flight: bool) {
        self.waited.errors.add(failure.to_string());
        self.progress.error();
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        (now < self.deadline).then_some(self.deadline)
    }

    fn finished(&mut self, now: Instant, census: Census) -> bool {
        let done = match self.phase {
            Phase::Park => census.busy == census.total,
            Phase::Settle => false,
            Phase::Collect => {
                (census.busy == 0 && self.shared.posted().is_some())
                    || self.shared.over.load(Ordering::Relaxed)
            }
        };
        done || now >= self.deadline || stop::requested()
    }
}
