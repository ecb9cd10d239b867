//! The requests of one thread.

use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::model::{Effect, Held, Key, wrong};
use super::{KEY, KINDS, Keys};
use crate::answers::{acknowledgement, page};
use crate::args::Mix;
use crate::base::random::Random;
use crate::base::stop;
use crate::http::connection::Failure;
use crate::http::response::Response;
use crate::http::workload::{Census, Workload};
use crate::load::pace::Pace;
use crate::load::payload::Origin;
use crate::load::verify::{Acknowledged, Ledger, Sent};
use crate::measure::progress::Progress;
use crate::measure::span::Span;
use crate::measure::tally::Tally;
use crate::measure::verification::Verification;

/// A kind of request: its place in [`KINDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    PutIf,
    Get,
    Delete,
}

/// What a connection has asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    kind: Kind,
    /// Which of the connection's keys.
    key: usize,
    /// What it writes; nothing for a read.
    effect: Option<Effect>,
}

/// One connection and its keys.
#[derive(Debug)]
struct Owner {
    /// The `n`-th has the number of the connection and `n` times their count.
    keys: Vec<Key>,
    /// Sequence number of its next put.
    next: u32,
    asked: Option<Asked>,
}

/// What one thread brought.
#[derive(Debug)]
pub(super) struct Mixed {
    /// By their number among all.
    pub(super) keys: Vec<(usize, Key)>,
    pub(super) tallies: [Tally; KINDS.len()],
    pub(super) ledger: Ledger,
    pub(super) verification: Verification,
    pub(super) span: Span,
}

/// The load of one thread.
#[derive(Debug)]
pub(super) struct Mixing<'a> {
    load: &'a Keys,
    /// Number of this thread's first connection among all of this load.
    first: usize,
    owners: Vec<Owner>,
    random: Random,
    pace: Pace,
    request: Vec<u8>,
    body: Vec<u8>,
    scratch: Vec<u8>,
    mixed: Mixed,
    progress: &'a Progress,
}

impl<'a> Mixing<'a> {
    /// The load of the connections with these numbers.
    pub(super) fn new(
        load: &'a Keys,
        indices: Range<usize>,
        span: Span,
        pace: Pace,
        progress: &'a Progress,
    ) -> Result<Self> {
        let connections = load.fleet.connections;
        let owners = indices.clone().map(|index| Owner {
            keys: vec![Key::UNUSED; (load.count - index).div_ceil(connections)],
            next: 0,
            asked: None,
        });
        let [put, put_if, get, delete] =
            [Tally::new()?, Tally::new()?, Tally::new()?, Tally::new()?];
        Ok(Self {
            load,
            first: indices.start,
            owners: owners.collect(),
            random: Random::new(load.seed ^ indices.start as u64),
            pace,
            request: Vec::new(),
            body: Vec::new(),
            scratch: Vec::new(),
            mixed: Mixed {
                keys: Vec::new(),
                tallies: [put, put_if, get, delete],
                ledger: Ledger::default(),
                verification: Verification::default(),
                span,
            },
            progress,
        })
    }

    /// What the thread brought.
    pub(super) fn finish(mut self) -> Mixed {
        for connection in 0..self.owners.len() {
            if self.owners[connection].asked.is_some() {
                self.doubt(connection, "no answer before the end".to_owned());
            }
            let worker = self.worker(connection);
            let owner = &self.owners[connection];
            self.mixed.ledger.sent.push((worker, owner.next));
            let numbers = (self.first + connection..).step_by(self.load.fleet.connections);
            self.mixed.keys.extend(numbers.zip(owner.keys.iter().copied()));
        }
        self.mixed.tallies[0].never_sent = self.pace.overdue(self.mixed.span.end);
        self.mixed
    }

    fn worker(&self, connection: usize) -> u16 {
        self.load.worker_base + (self.first + connection) as u16
    }

    /// A key of this connection, from a random one on: one that is not in doubt, if there is any.
    fn choose(&mut self, connection: usize) -> usize {
        let keys = &self.owners[connection].keys;
        let from = self.random.below(keys.len() as u64) as usize;
        let mut numbers = (from..keys.len()).chain(0..from);
        numbers.find(|&number| keys[number].in_doubt.is_none()).unwrap_or(from)
    }

    fn kind(&mut self) -> Kind {
        let Mix { put, put_if, get, delete } = self.load.mix;
        let mut drawn = self.random.below(u64::from(put + put_if + get + delete)) as u32;
        for (kind, share) in [(Kind::Put, put), (Kind::PutIf, put_if), (Kind::Get, get)] {
            if drawn < share {
                return kind;
            }
            drawn -= share;
        }
        Kind::Delete
    }

    /// Draws the next request of a connection.
    fn draw(&mut self, connection: usize) -> Asked {
        let key = self.choose(connection);
        let mut kind = self.kind();
        let worker = self.worker(connection);
        let owner = &mut self.owners[connection];
        if owner.keys[key].in_doubt.is_some() {
            // What it holds after another write would be in doubt still.
            kind = Kind::Get;
        } else if kind == Kind::Delete && owner.keys[key].held == Held::Absent {
            // There is nothing to delete.
            kind = Kind::Put;
        }
        let effect = match kind {
            Kind::Get => None,
            Kind::Delete => Some(Effect::Delete),
            Kind::Put | Kind::PutIf => {
                let sequence = owner.next;
                owner.next += 1;
                Some(Effect::Put(Origin { worker, sequence }))
            }
        };
        Asked { kind, key, effect }
    }

    fn write_request(&mut self, connection: usize, asked: Asked) -> std::io::Result<()> {
        let Keys { fleet, path, payload, .. } = self.load;
        let number = self.first + connection;
        let target = &fleet.targets.all()[fleet.targets.index_of(number)];
        let key = number + asked.key * fleet.connections;
        let method = match asked.kind {
            Kind::Put | Kind::PutIf => "PUT",
            Kind::Get => "GET",
            Kind::Delete => "DELETE",
        };
        let (prefix, fields) = (&target.prefix, &target.fields);
        self.request.clear();
        let out = &mut self.request;
        write!(out, "{method} {prefix}{path}/{KEY}{key:08} HTTP/1.1\r\n{fields}")?;
        if asked.kind == Kind::PutIf {
            match self.owners[connection].keys[asked.key].held {
                Held::Absent => write!(out, "If-None-Match: *\r\n")?,
                Held::Version { id, .. } => write!(out, "If-Match: \"{id}\"\r\n")?,
            }
        }
        if let Some(Effect::Put(origin)) = asked.effect {
            self.body.clear();
            self.body.extend_from_slice(b"{\"data\":");
            payload.write(&mut self.body, origin);
            self.body.push(b'}');
            let length = self.body.len();
            write!(out, "Content-Type: application/json\r\nContent-Length: {length}\r\n")?;
        } else {
            self.body.clear();
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        Ok(())
    }

    /// The outcome of what a connection has asked is not known.
    fn doubt(&mut self, connection: usize, code: String) {
        let owner = &mut self.owners[connection];
        let Some(asked) = owner.asked.take() else { return };
        if asked.effect.is_some() {
            owner.keys[asked.key].in_doubt = asked.effect;
        }
        if let Some(Effect::Put(first)) = asked.effect {
            self.mixed.ledger.unknown.push(Sent { first, count: 1 });
        }
        self.mixed.tallies[asked.kind as usize].errors.add(code);
        self.progress.error();
    }

    /// Holds what was read of a key against what it must hold; false for an answer that is
    /// neither a change nor that there is none.
    fn check_read(&mut self, number: usize, key: &Key, response: &Response<'_>) -> bool {
        let change = match response.status {
            404 => None,
            200 => match page::parse_change(response.body) {
                Ok(change) => Some(change),
                Err(_) => return false,
            },
            _ => return false,
        };
        if !key.allows(change.as_ref(), &self.load.payload, &mut self.scratch) {
            wrong(&mut self.mixed.verification, number, key, change.as_ref());
        }
        true
    }

    /// Takes in the answer to a write; false for one that is no success.
    fn check_write(
        &mut self,
        number: usize,
        key: &mut Key,
        effect: Effect,
        response: &Response<'_>,
    ) -> bool {
        if matches!(response.status, 404 | 412) {
            // Under these the server has another version than it acknowledged last.
            wrong(&mut self.mixed.verification, number, key, None);
        }
        let id = match response.is_success() {
            true => acknowledgement::first_id(response.body, 1),
            false => None,
        };
        let Some(id) = id else { return false };
        key.held = match effect {
            Effect::Delete => Held::Absent,
            Effect::Put(first) => {
                let sent = Sent { first, count: 1 };
                self.mixed.ledger.acknowledged.push(Acknowledged::new(id, sent));
                Held::Version { id, origin: first }
            }
        };
        true
    }
}

impl Workload for Mixing<'_> {
    fn next(&mut self, _connection: usize, now: Instant) -> Option<Instant> {
        if now >= self.mixed.span.end { None } else { self.pace.take(now) }
    }

    fn request(&mut self, connection: usize) -> &[u8] {
        let asked = self.draw(connection);
        self.owners[connection].asked = Some(asked);
        // Writing into a vector cannot fail.
        let _ = self.write_request(connection, asked);
        &self.request
    }

    fn answered(
        &mut self,
        connection: usize,
        intended: Instant,
        now: Instant,
        response: &Response<'_>,
    ) -> bool {
        let Some(asked) = self.owners[connection].asked else { return false };
        let number = self.first + connection + asked.key * self.load.fleet.connections;
        let mut key = self.owners[connection].keys[asked.key];
        let success = match asked.effect {
            None => self.check_read(number, &key, response),
            Some(effect) => self.check_write(number, &mut key, effect, response),
        };
        if !success {
            let code = crate::answers::problem::code(response.status, response.body);
            self.doubt(connection, code);
            return false;
        }
        let owner = &mut self.owners[connection];
        owner.asked = None;
        owner.keys[asked.key] = key;
        let changes = u64::from(asked.effect.is_some());
        let bytes = match asked.effect {
            Some(Effect::Put(_)) => self.load.payload.size() as u64,
            Some(Effect::Delete) => 0,
            None => response.body.len() as u64,
        };
        let span = self.mixed.span;
        self.mixed.tallies[asked.kind as usize].success(&span, intended, now, changes, bytes);
        self.progress.success(changes);
        true
    }

    fn failed(&mut self, connection: usize, failure: &Failure, in_flight: bool) {
        if in_flight {
            return self.doubt(connection, failure.to_string());
        }
        self.mixed.tallies[0].errors.add(failure.to_string());
        self.progress.error();
    }

    fn sent_late(&mut self, now: Instant, lateness: Duration) {
        let span = self.mixed.span;
        self.mixed.tallies[0].sent_late(&span, now, lateness);
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let end = self.mixed.span.end;
        (now < end).then(|| self.pace.due().map_or(end, |due| due.min(end)))
    }

    fn finished(&mut self, now: Instant, census: Census) -> bool {
        let span = &mut self.mixed.span;
        if stop::requested() {
            span.end_by(now);
        }
        span.is_over(now, census.busy > 0, self.load.fleet.timeout)
    }
}
