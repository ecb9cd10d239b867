//! Long-polls at the lists of many tenants.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::answers::page;
use crate::base::stop;
use crate::http::connection::Failure;
use crate::http::response::Response;
use crate::http::workload::{Census, Workload};
use crate::load::fleet::{Crew, Fleet};
use crate::load::payload::{LIST_DIGITS, Payload};
use crate::load::sends::Sends;
use crate::measure::progress::Progress;
use crate::measure::tally::Tally;

/// Those who wait.
#[derive(Debug)]
pub(crate) struct Waiters {
    pub(super) fleet: Fleet,
    pub(super) payload: Payload,
    /// What the names of the tenants begin with.
    pub(super) prefix: String,
    pub(super) lists: u64,
    /// How many wait at each list.
    pub(super) each: u16,
    /// `block` of each poll, in seconds.
    pub(super) block: u32,
    /// How long after the end arrivals are still waited for.
    pub(super) drain: Duration,
    pub(super) sends: Arc<Sends>,
}

impl Waiters {
    /// Waits until nothing more is sent and everything has arrived: the arrivals.
    pub(super) fn run(&self) -> Result<Tally> {
        let parts = self.fleet.run(|crew: Crew<'_>| {
            let mut engine = crew.engine;
            let mut polls = Polls {
                waiters: self,
                first: crew.indices.start,
                since: vec![None; crew.indices.len()],
                request: Vec::new(),
                over: None,
                tally: Tally::new()?,
                progress: crew.progress,
            };
            engine.run(&mut polls)?;
            Ok(polls.tally)
        })?;
        Tally::sum(parts)
    }
}

/// The polls of one thread.
#[derive(Debug)]
struct Polls<'a> {
    waiters: &'a Waiters,
    /// Number of this thread's first connection among all.
    first: usize,
    /// Where each connection reads next, once it has asked.
    since: Vec<Option<u64>>,
    request: Vec<u8>,
    /// When it was first seen that nothing more is sent.
    over: Option<Instant>,
    tally: Tally,
    progress: &'a Progress,
}

impl Polls<'_> {
    fn error(&mut self, code: String) -> bool {
        self.tally.errors.add(code);
        self.progress.error();
        false
    }
}

impl Workload for Polls<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        Some(now)
    }

    fn request(&mut self, connection: usize) -> &[u8] {
        let Waiters { fleet, prefix, lists, block, sends, .. } = self.waiters;
        let number = self.first + connection;
        let target = &fleet.targets.all()[fleet.targets.index_of(number)];
        let since = *self.since[connection].get_or_insert_with(|| {
            sends.stand();
            0
        });
        let list = number as u64 % lists;
        self.request.clear();
        // Writing into a vector cannot fail.
        let _ = write!(
            self.request,
            "GET {}/tenants/{prefix}-{list:0LIST_DIGITS$}/changes?since={since}&block={block} \
             HTTP/1.1\r\n{}\r\n",
            target.prefix, target.fields
        );
        &self.request
    }

    fn answered(
        &mut self,
        connection: usize,
        _intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        if !response.is_success() {
            self.tally.errors.add_answer(response);
            self.progress.error();
            return false;
        }
        let Ok(page) = page::parse(response.body) else {
            return self.error("not a list of changes".to_owned());
        };
        self.since[connection] = Some(page.last);
        self.progress.success(page.changes.len() as u64);
        for change in &page.changes {
            let Some(origin) = self.waiters.payload.origin(change.data()) else { continue };
            self.waiters.sends.arrive(1);
            let bytes = change.data().len() as u64;
            if let (Some(span), Some(intended)) =
                (self.waiters.sends.span(), self.waiters.sends.intended(origin))
            {
                self.tally.success(span, intended, now, 1, bytes);
            }
        }
        true
    }

    fn failed(&mut self, _connection: usize, failure: &Failure, _in_flight: bool) {
        self.error(failure.to_string());
    }

    fn wake_at(&self, _now: Instant) -> Option<Instant> {
        None
    }

    fn finished(&mut self, now: Instant, _census: Census) -> bool {
        let sends = &self.waiters.sends;
        if !sends.is_over() {
            return false;
        }
        let over = *self.over.get_or_insert(now);
        let has_all = sends.missing(u64::from(self.waiters.each)) == 0;
        has_all || now >= over + self.waiters.drain || stop::requested()
    }
}
