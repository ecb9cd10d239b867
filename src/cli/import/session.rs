//! One run of an import: from where the journal says, to the end of the file.

use serde::Deserialize;
use ureq::http::Method;
use uuid::Uuid;

use super::{
    super::{
        failure::{Failure, WriteFailure, tell},
        node::{Node, Write},
        progress::Progress,
    },
    batch::{Batch, Limits, Lines},
    change::{Rewrite, Step},
    journal::{Doubtful, Journal, Record},
    request::Request,
    source::{Position, Source},
    stored,
};
use crate::io::cores;

/// For so long a node surely knows the key of a request, though its clock and
/// this machine's differ: it keeps keys for 24 hours.
const KEY_KEPT_MS: u64 = 23 * 3600 * 1000;
/// It keeps the last 1,000,000 keys, and there are hardly more of them than
/// changes.
const KEY_KEPT_CHANGES: u64 = 500_000;

/// Where changes go.
pub(super) struct Target {
    /// Where they are posted.
    pub(super) path: String,
    /// The same list, by UUID.
    pub(super) list: String,
    /// The newest id in the cluster, as the node knew it at the start.
    pub(super) newest: u64,
}

/// An import at work.
pub(super) struct Session<'a> {
    node: &'a Node,
    source: Source,
    journal: Journal,
    rewrite: &'a Rewrite,
    target: Target,
    limits: Limits,
    /// What has been acknowledged, and the request after it if that may have been
    /// sent.
    record: Record,
    /// Lines that were read, blank ones aside.
    read: u64,
    progress: Progress,
}

/// The answer to a batch.
#[derive(Debug, Deserialize)]
struct Range {
    first: u64,
    last: u64,
    count: u64,
}

/// The answer to a deletion.
#[derive(Debug, Deserialize)]
struct Recorded {
    #[serde(rename = "_id")]
    id: u64,
}

impl<'a> Session<'a> {
    /// Goes to where an earlier run has got to.
    ///
    /// # Errors
    /// What that run has imported is not what the file holds, or went elsewhere.
    pub(super) fn begin(
        node: &'a Node,
        mut source: Source,
        journal: Journal,
        rewrite: &'a Rewrite,
        target: Target,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let mut record = journal.record().cloned().unwrap_or_else(Record::new);
        let cluster = node.cluster().map(str::to_owned);
        if record.cluster.is_some() && record.cluster != cluster {
            return Err(Failure::Other(format!(
                "the import was begun in cluster {}, but {} is of cluster {}",
                record.cluster.unwrap_or_default(),
                node.url(),
                cluster.unwrap_or_default()
            )));
        }
        record.cluster = cluster;
        if let Some(list) = record.list.as_ref().filter(|list| **list != target.list) {
            return Err(Failure::Other(format!(
                "the import was begun into {list}, not into {}; another --journal begins another",
                target.list
            )));
        }
        record.list = Some(target.list.clone());
        // Where nothing is in doubt, what was refused before is asked for anew.
        if record.doubtful.is_none() {
            record.import = Uuid::new_v4().to_string();
        }
        let read = source.skip_to(&record.position)?;
        if read != record.tally.lines() {
            return Err(Failure::Other(format!(
                "the journal counts {} lines where the file has {read}",
                record.tally.lines()
            )));
        }
        let progress = Progress::of_bytes(source.size);
        Ok(Self { node, source, journal, rewrite, target, limits, record, read, progress })
    }

    pub(super) fn run(mut self) -> Result<(), Failure> {
        let before = self.record.tally.lines();
        let outcome = self.resolve_doubt().and_then(|()| self.lines());
        // It says now whether anything is in doubt.
        let kept = self.journal.write(&self.record);
        drop(self.progress);
        outcome.and(kept)?;
        let tally = &self.record.tally;
        if tally.lines() != self.read {
            return Err(Failure::Other(format!(
                "{} lines were read, but {} acknowledged",
                self.read,
                tally.lines()
            )));
        }
        let earlier = if before == self.read && before > 0 { " by an earlier run" } else { "" };
        eprintln!("{}; every line acknowledged{earlier}", tally.summary());
        Ok(())
    }

    /// Finishes the request that an earlier run left in doubt: exactly that one,
    /// with its key.
    fn resolve_doubt(&mut self) -> Result<(), Failure> {
        let Some(doubtful) = self.record.doubtful.clone() else { return Ok(()) };
        let Doubtful { sent_ms, after, end, digest } = doubtful;
        let (mut batch, mut skipped, mut deletion) = (Batch::default(), 0, None);
        while let Some(step) = self.step(end.bytes)? {
            match step {
                Step::Skip => skipped += 1,
                Step::Store(change) => batch.add(&change, self.source.place()),
                Step::Delete(target) => deletion = Some(self.deletion(target, false)),
                Step::Expire(target) => deletion = Some(self.deletion(target, true)),
            }
        }
        self.source.check(&end)?;
        let request = match deletion {
            Some(deletion) if batch.is_empty() => deletion,
            _ => self.batch(batch),
        };
        if request.digest() != digest {
            return Err(request.sent_otherwise());
        }
        let forgotten = now_ms().checked_sub(sent_ms).is_none_or(|age| age > KEY_KEPT_MS)
            || self.target.newest.saturating_sub(after) > KEY_KEPT_CHANGES;
        if forgotten {
            let name = request.lines.named(None);
            let found = stored::find(self.node, &self.target.list, after, &request);
            if let Some(first) = found.map_err(|failure| failure.at(&name))? {
                let last = first + request.lines.count() - 1;
                tell(&format!("{name}: an earlier run stored them, as ids {first} to {last}"));
                return self.acknowledge(&request, first, last, end, skipped);
            }
            // From now on the node knows its key again.
            self.record.doubtful = Some(Doubtful { sent_ms: now_ms(), after, end, digest });
        }
        self.send(&request, end, skipped)
    }

    /// The next line that is not blank, up to that byte of the file.
    fn step(&mut self, end: u64) -> Result<Option<Step>, Failure> {
        loop {
            let Some(line) = self.source.next_before(end)? else { return Ok(None) };
            if line.is_empty() {
                continue;
            }
            let step = self.rewrite.step(line);
            self.read += 1;
            let place = Lines::one(self.source.place());
            return step.map(Some).map_err(|failure| failure.at(place.named(None)));
        }
    }

    fn lines(&mut self) -> Result<(), Failure> {
        let mut batch = Batch::default();
        // Where the lines before the next one end.
        let mut end = self.source.position;
        let mut skipped = 0;
        while let Some(step) = self.step(u64::MAX)? {
            let (here, place) = (self.source.position, self.source.place());
            match step {
                Step::Skip => skipped += 1,
                Step::Store(change) => {
                    if !batch.has_room(self.limits, change.len()) {
                        self.post(std::mem::take(&mut batch), end, &mut skipped)?;
                    }
                    batch.add(&change, place);
                }
                Step::Delete(ref target) | Step::Expire(ref target) => {
                    self.post(std::mem::take(&mut batch), end, &mut skipped)?;
                    let may_be_gone = matches!(step, Step::Expire(_));
                    let deletion = self.deletion(target.clone(), may_be_gone);
                    self.send(&deletion, here, 0)?;
                }
            }
            end = here;
        }
        // Blank lines at the end are dealt with as well.
        self.post(batch, self.source.position, &mut skipped)
    }

    fn batch(&self, batch: Batch) -> Request {
        let (body, lines) = batch.close();
        let (method, target) = (Method::POST, self.target.path.clone());
        Request { method, target, body: Some(body), lines, may_be_gone: false }
    }

    fn deletion(&self, target: String, may_be_gone: bool) -> Request {
        let lines = Lines::one(self.source.place());
        Request { method: Method::DELETE, target, body: None, lines, may_be_gone }
    }

    /// Posts a batch; then everything before `end` is dealt with.
    fn post(&mut self, batch: Batch, end: Position, skipped: &mut u64) -> Result<(), Failure> {
        let skipped = std::mem::take(skipped);
        if batch.is_empty() {
            self.record.tally.skipped += skipped;
            self.reach(end);
            return Ok(());
        }
        let request = self.batch(batch);
        self.send(&request, end, skipped)
    }

    /// Sends a request until its outcome is known. The journal knows it before it
    /// is sent, and with it everything that was acknowledged so far.
    fn send(&mut self, request: &Request, end: Position, skipped: u64) -> Result<(), Failure> {
        let was_in_doubt = self.record.doubtful.is_some();
        if !was_in_doubt {
            self.record.doubtful = Some(Doubtful {
                sent_ms: now_ms(),
                after: self.target.newest.max(self.record.tally.last),
                end,
                digest: request.digest(),
            });
        }
        self.journal.write(&self.record)?;
        let key = format!("{}-{}", self.record.import, self.record.position.bytes);
        let Request { method, target, body, lines, may_be_gone } = request;
        let write = Write { method: method.clone(), target, key: &key, body: body.as_deref() };
        let answer = match self.node.write(&write) {
            Ok(answer) => answer,
            Err(WriteFailure { failure, .. }) if *may_be_gone && failure.is("not-found") => {
                self.record.tally.skipped += skipped + lines.count();
                self.reach(end);
                return Ok(());
            }
            Err(WriteFailure { failure, doubtful }) => {
                if !doubtful && !was_in_doubt {
                    self.record.doubtful = None;
                }
                let known = failure.may_pass().then_some(match doubtful || was_in_doubt {
                    true => "it may have happened: the same command settles it",
                    false => "it did not happen",
                });
                let told = request.failed(failure);
                return Err(match known {
                    Some(known) => told.and(known),
                    None => told,
                });
            }
        };
        let (first, last) = if body.is_some() {
            let Range { first, last, count } = understood(&answer, lines)?;
            if count != lines.count() {
                return Err(Failure::Other(format!(
                    "{}: {} changes were sent, but {count} acknowledged",
                    lines.named(None),
                    lines.count(),
                )));
            }
            (first, last)
        } else {
            let Recorded { id } = understood(&answer, lines)?;
            (id, id)
        };
        self.acknowledge(request, first, last, end, skipped)
    }

    fn acknowledge(
        &mut self,
        request: &Request,
        first: u64,
        last: u64,
        end: Position,
        skipped: u64,
    ) -> Result<(), Failure> {
        let (tally, count) = (&mut self.record.tally, request.lines.count());
        tally.acknowledge(first, last, count)?;
        match request.body {
            Some(_) => tally.stored += count,
            None => tally.deleted += count,
        }
        tally.skipped += skipped;
        self.reach(end);
        Ok(())
    }

    /// Everything before `end` is dealt with. The journal is told with the next
    /// request, or at the end: until then a repetition does no harm.
    fn reach(&mut self, end: Position) {
        self.record.position = end;
        self.record.doubtful = None;
        self.progress.reach(end.bytes);
        self.progress.say(format!("line {}", end.lines));
    }
}

fn now_ms() -> u64 {
    cores::wall_micros() / 1000
}

fn understood<'a, T: Deserialize<'a>>(answer: &'a [u8], lines: &Lines) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| {
        Failure::Other(format!("{}: an answer that says nothing: {error}", lines.named(None)))
    })
}
