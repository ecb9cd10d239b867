//! The polls or streams of one thread.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{AtTarget, Round, Shared, Waited};
use crate::answers::page;
use crate::answers::stream::{StreamFormat, StreamReader};
use crate::base::stop;
use crate::http::connection::Failure;
use crate::http::engine::Engine;
use crate::http::response::Response;
use crate::http::workload::{Census, Workload};
use crate::measure::errors::Errors;
use crate::measure::progress::Progress;
use crate::measure::tally::Tally;

/// How long it may take until all polls or streams stand, besides a share for each of them.
const STAND_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until every connection has a poll in flight, or a stream that stands.
    Stand,
    /// Until the time to settle is over.
    Settle,
    /// Until the change has arrived everywhere.
    Collect,
}

/// Where one connection stands.
#[derive(Debug)]
struct Waiter {
    /// Which server it is connected to.
    target: usize,
    /// It has asked; a stream is open, and has caught up where it tells so.
    is_waiting: bool,
    /// What its stream has sent; none for a poll.
    stream: Option<StreamReader>,
}

/// The polls or streams of one thread.
#[derive(Debug)]
pub(super) struct Waiters<'a> {
    shared: &'a Shared<'a>,
    /// By the target.
    requests: Vec<Vec<u8>>,
    waiters: Vec<Waiter>,
    /// How many of them wait.
    waiting: usize,
    phase: Phase,
    deadline: Instant,
    /// Of this round, by the target.
    rounds: Vec<Round>,
    waited: Waited,
    progress: &'a Progress,
}

impl<'a> Waiters<'a> {
    /// Those of the connections with these numbers.
    pub(super) fn new(
        shared: &'a Shared<'a>,
        indices: Range<usize>,
        progress: &'a Progress,
    ) -> Result<Self> {
        let targets = shared.targets.all().len();
        let waiters = indices.map(|index| Waiter {
            target: shared.targets.index_of(index),
            is_waiting: false,
            stream: None,
        });
        let at_target = |_| Ok(AtTarget { rounds: Vec::new(), arrivals: Tally::new()? });
        Ok(Self {
            shared,
            requests: Vec::new(),
            waiters: waiters.collect(),
            waiting: 0,
            phase: Phase::Stand,
            deadline: Instant::now(),
            rounds: vec![Round::default(); targets],
            waited: Waited {
                targets: (0..targets).map(at_target).collect::<Result<_>>()?,
                early: 0,
                errors: Errors::default(),
            },
            progress,
        })
    }

    /// Waits until all stand.
    pub(super) fn stand(&mut self, engine: &mut Engine) -> Result<()> {
        self.phase = Phase::Stand;
        let share = Duration::from_millis(self.waiters.len() as u64);
        self.deadline = Instant::now() + STAND_TIME + share;
        self.build_requests()?;
        engine.run(self)
    }

    /// Lets the servers come to rest, and counts who waits.
    pub(super) fn settle(&mut self, engine: &mut Engine) -> Result<()> {
        self.phase = Phase::Settle;
        self.deadline = Instant::now() + self.shared.arguments.settle;
        engine.run(self)?;
        self.rounds.fill(Round::default());
        for waiter in self.waiters.iter().filter(|waiter| waiter.is_waiting) {
            self.rounds[waiter.target].waiting += 1;
        }
        Ok(())
    }

    /// Collects what arrives of the appended change.
    pub(super) fn collect(&mut self, engine: &mut Engine) -> Result<()> {
        self.phase = Phase::Collect;
        self.deadline = Instant::now() + self.shared.arguments.common.client.timeout;
        engine.run(self)?;
        self.waited.errors.add_many("not arrived in time", self.waiting as u64);
        for (target, round) in self.waited.targets.iter_mut().zip(&self.rounds) {
            target.rounds.push(*round);
        }
        // Streams go on waiting; polls have to ask again.
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.stream.is_some()) {
            self.waiting += usize::from(!std::mem::replace(&mut waiter.is_waiting, true));
        }
        Ok(())
    }

    /// What all rounds brought.
    pub(super) fn finish(self) -> Waited {
        self.waited
    }

    fn build_requests(&mut self) -> Result<()> {
        let since = self.shared.since.load(Ordering::Relaxed);
        let block = self.shared.arguments.block;
        let (path, accept) = match self.shared.format {
            None => (format!("/changes?since={since}&block={block}"), ""),
            Some(StreamFormat::EventStream) => {
                (format!("/changes?since={since}"), "Accept: text/event-stream\r\n")
            }
            Some(StreamFormat::Ndjson) => (
                format!("/changes?since={since}&block={block}&cursors=true"),
                "Accept: application/x-ndjson\r\n",
            ),
        };
        let requests = self.shared.targets.all().iter().map(|target| {
            let path = target.path(&path)?;
            let fields = &target.fields;
            Ok(format!("GET {path} HTTP/1.1\r\n{fields}{accept}\r\n").into_bytes())
        });
        self.requests = requests.collect::<Result<_>>()?;
        Ok(())
    }

    fn wait(&mut self, connection: usize, waits: bool) {
        let before = std::mem::replace(&mut self.waiters[connection].is_waiting, waits);
        self.waiting = self.waiting + usize::from(waits) - usize::from(before);
    }

    /// Changes came, of which the newest is `last`.
    fn arrive(&mut self, connection: usize, now: Instant, changes: u64, last: u64) -> bool {
        self.progress.success(changes);
        let Some(posted) = self.shared.posted() else {
            // Somebody else wrote, or the poll ran out: what follows is waited for.
            self.waited.early += 1;
            let newest = self.shared.since.fetch_max(last, Ordering::Relaxed);
            return last <= newest || self.build_requests().is_ok();
        };
        if changes == 0 {
            self.waited.errors.add("answer without a change");
        } else if self.waiters[connection].is_waiting {
            let target = self.waiters[connection].target;
            let latency = now.saturating_duration_since(posted);
            let arrivals = &mut self.waited.targets[target].arrivals;
            arrivals.success(&self.shared.span, posted, now, changes, 0);
            let round = &mut self.rounds[target];
            round.arrived += 1;
            round.last = round.last.max(latency);
            round.posted = Some(posted);
            self.wait(connection, false);
        }
        true
    }

    fn error(&mut self, code: String) {
        self.waited.errors.add(code);
        self.progress.error();
    }
}

impl Workload for Waiters<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        (self.phase != Phase::Collect).then_some(now)
    }

    fn request(&mut self, connection: usize) -> &[u8] {
        let stream = self.shared.format.map(StreamReader::new);
        // A poll waits when it is asked, a stream later.
        self.wait(connection, stream.is_none());
        let waiter = &mut self.waiters[connection];
        waiter.stream = stream;
        &self.requests[waiter.target]
    }

    fn answered(
        &mut self,
        connection: usize,
        _intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        let page = match page::summary(response.body, false) {
            Some(page) if response.is_success() && self.shared.format.is_none() => page,
            page => {
                self.wait(connection, false);
                match page {
                    _ if !response.is_success() => self.waited.errors.add_answer(response),
                    Some(_) => self.waited.errors.add("a page, not a stream"),
                    None => self.waited.errors.add("not a list of changes"),
                }
                self.progress.error();
                return false;
            }
        };
        let goes_on = self.arrive(connection, now, page.changes, page.last);
        self.wait(connection, false);
        goes_on
    }

    fn streamed(&mut self, connection: usize, now: Instant, bytes: &[u8]) -> bool {
        let stream = self.waiters[connection].stream.as_mut();
        let Some(arrived) = stream.and_then(|stream| stream.take(bytes)) else { return false };
        if arrived.changes > 0 {
            self.arrive(connection, now, arrived.changes, arrived.last);
        }
        // A stream of events tells that it has caught up; one of lines is only known to be open.
        let stands = arrived.caught_up || self.shared.format == Some(StreamFormat::Ndjson);
        if stands && self.phase != Phase::Collect {
            self.wait(connection, true);
        }
        !arrived.ends
    }

    fn failed(&mut self, connection: usize, failure: &Failure, _in_flight: bool) {
        self.wait(connection, false);
        self.waiters[connection].stream = None;
        self.error(failure.to_string());
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        (now < self.deadline).then_some(self.deadline)
    }

    fn finished(&mut self, now: Instant, census: Census) -> bool {
        let done = match self.phase {
            Phase::Stand => self.waiting == census.total,
            Phase::Settle => false,
            Phase::Collect => {
                (self.waiting == 0 && self.shared.posted().is_some())
                    || self.shared.over.load(Ordering::Relaxed)
            }
        };
        done || now >= self.deadline || stop::requested()
    }
}
