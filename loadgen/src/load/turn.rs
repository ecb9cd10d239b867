//! A closed loop of requests that something else writes.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::base::stop;
use crate::http::connection::Failure;
use crate::http::response::Response;
use crate::http::workload::{Census, Workload};
use crate::load::fleet::{Crew, Fleet};
use crate::load::payload::Origin;
use crate::measure::progress::Progress;
use crate::measure::span::Span;
use crate::measure::tally::Tally;

/// Writes the request that begins with the change of this origin.
pub(crate) type Write<'a> = &'a (dyn Fn(&mut Vec<u8>, Origin) + Sync);

/// The loop.
pub(crate) struct Turn<'a> {
    pub(crate) fleet: Fleet,
    pub(crate) write: Write<'a>,
    /// Changes that a request writes or brings.
    pub(crate) changes: u16,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// Each connection ends when it has sent so many requests, also before the time is over.
    pub(crate) requests_max: u32,
}

/// What it brought.
pub(crate) struct Turned {
    pub(crate) tally: Tally,
    pub(crate) measured: Duration,
    /// Changes of all answers, also of those that were not measured.
    pub(crate) done: u64,
}

impl Turn<'_> {
    /// Runs it on all threads.
    pub(crate) fn run(&self) -> Result<Turned> {
        let parts = self.fleet.run(|mut crew: Crew<'_>| {
            let mut turning = Turning {
                turn: self,
                first: crew.indices.start,
                sent: vec![0; crew.indices.len()],
                request: Vec::new(),
                span: Span::new(crew.start, self.warmup, self.duration),
                tally: Tally::new()?,
                done: 0,
                progress: crew.progress,
            };
            crew.engine.run(&mut turning)?;
            Ok(Turned {
                tally: turning.tally,
                measured: turning.span.measured(),
                done: turning.done,
            })
        })?;
        let mut all = Turned { tally: Tally::new()?, measured: Duration::ZERO, done: 0 };
        for part in parts {
            all.tally.merge(part.tally)?;
            all.measured = all.measured.max(part.measured);
            all.done += part.done;
        }
        Ok(all)
    }
}

/// The loop of one thread.
struct Turning<'a> {
    turn: &'a Turn<'a>,
    first: usize,
    /// Requests of each connection.
    sent: Vec<u32>,
    request: Vec<u8>,
    span: Span,
    tally: Tally,
    done: u64,
    progress: &'a Progress,
}

impl Workload for Turning<'_> {
    fn next(&mut self, connection: usize, now: Instant) -> Option<Instant> {
        let goes_on = now < self.span.end && self.sent[connection] < self.turn.requests_max;
        goes_on.then_some(now)
    }

    fn request(&mut self, connection: usize) -> &[u8] {
        let changes = u32::from(self.turn.changes);
        let sequence = self.sent[connection].saturating_mul(changes);
        self.sent[connection] += 1;
        self.request.clear();
        let worker = (self.first + connection) as u16;
        (self.turn.write)(&mut self.request, Origin { worker, sequence });
        &self.request
    }

    fn answered(
        &mut self,
        _connection: usize,
        intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        if !response.is_success() {
            self.tally.errors.add_answer(response);
            self.progress.error();
            return false;
        }
        let changes = u64::from(self.turn.changes);
        self.done += changes;
        self.progress.success(changes);
        self.tally.success(&self.span, intended, now, changes, response.body.len() as u64);
        true
    }

    fn failed(&mut self, _connection: usize, failure: &Failure, _in_flight: bool) {
        self.tally.errors.add(failure.to_string());
        self.progress.error();
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        (now < self.span.end).then_some(self.span.end)
    }

    fn finished(&mut self, now: Instant, census: Census) -> bool {
        let is_done = self.sent.iter().all(|sent| *sent >= self.turn.requests_max);
        if stop::requested() || (is_done && census.busy == 0) {
            self.span.end_by(now);
        }
        self.span.is_over(now, census.busy > 0, self.turn.fleet.timeout)
    }
}
