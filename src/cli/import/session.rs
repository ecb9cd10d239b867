//! One run of an import: from where the journal says, to the end of the file.

use serde::Deserialize;
use ureq::http::Method;
use uuid::Uuid;

use super::{
    super::{
        failure::Failure,
        node::{Node, Write, WriteFailure},
        progress::Progress,
    },
    batch::{Batch, Limits, Lines},
    change::{Rewrite, Step},
    journal::{Journal, Record},
    source::{Position, Source},
};

/// An import at work.
pub(super) struct Session<'a> {
    node: &'a Node,
    source: Source,
    journal: Journal,
    rewrite: &'a Rewrite,
    /// Where changes are posted.
    target: String,
    limits: Limits,
    /// What has been acknowledged. Invariant: `in_doubt` says whether the next
    /// request may have been sent before, here or by an earlier run, with an
    /// unknown outcome.
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
        target: String,
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
        // Where nothing is in doubt, what was refused before is asked for anew.
        if !record.in_doubt {
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
        let outcome = self.lines();
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
        eprintln!("{}; every line acknowledged", tally.summary());
        Ok(())
    }

    fn lines(&mut self) -> Result<(), Failure> {
        let mut batch = Batch::default();
        // Where the lines before the next one end.
        let mut end = self.source.position;
        let mut skipped = 0;
        while let Some(line) = self.source.next()? {
            if line.is_empty() {
                end = self.source.position;
                continue;
            }
            let step = self.rewrite.step(line);
            let here = self.source.position;
            self.read += 1;
            match step.map_err(|failure| failure.at(format!("line {}", here.lines)))? {
                Step::Skip => skipped += 1,
                Step::Store(change) => {
                    if !batch.has_room(self.limits, change.len()) {
                        self.post(std::mem::take(&mut batch), end, &mut skipped)?;
                    }
                    batch.add(&change, here.lines);
                }
                Step::Delete(target) => {
                    self.post(std::mem::take(&mut batch), end, &mut skipped)?;
                    self.delete(&target, here)?;
                }
            }
            end = here;
        }
        self.post(batch, end, &mut skipped)
    }

    /// Posts a batch; then everything before `end` is dealt with.
    fn post(&mut self, batch: Batch, end: Position, skipped: &mut u64) -> Result<(), Failure> {
        if !batch.is_empty() {
            let (body, lines) = batch.close();
            let target = self.target.clone();
            let answer = self.send(Method::POST, &target, Some(&body), &lines)?;
            let range: Range = understood(&answer, &lines)?;
            if range.count != lines.count() {
                return Err(Failure::Other(format!(
                    "{}: {} changes were sent, but {} acknowledged",
                    lines.named(None),
                    lines.count(),
                    range.count
                )));
            }
            self.record.tally.acknowledge(range.first, range.last, range.count)?;
            self.record.tally.stored += range.count;
        }
        self.record.tally.skipped += std::mem::take(skipped);
        self.reach(end)
    }

    fn delete(&mut self, target: &str, end: Position) -> Result<(), Failure> {
        let lines = Lines::one(end.lines);
        let answer = self.send(Method::DELETE, target, None, &lines)?;
        let Recorded { id } = understood(&answer, &lines)?;
        self.record.tally.acknowledge(id, id, 1)?;
        self.record.tally.deleted += 1;
        self.reach(end)
    }

    fn reach(&mut self, end: Position) -> Result<(), Failure> {
        if end == self.record.position {
            return Ok(());
        }
        self.record.position = end;
        self.record.in_doubt = false;
        self.progress.reach(end.bytes);
        self.progress.say(format!("line {}", end.lines));
        // The next request follows at once.
        self.journal.write(&self.record.while_sending())
    }

    fn send(
        &mut self,
        method: Method,
        target: &str,
        body: Option<&[u8]>,
        lines: &Lines,
    ) -> Result<Vec<u8>, Failure> {
        self.journal.write(&self.record.while_sending())?;
        let key = format!("{}-{}", self.record.import, lines.first());
        let write = Write { method, target, key: &key, body };
        self.node.write(&write).map_err(|WriteFailure { failure, doubtful }| {
            self.record.in_doubt |= doubtful;
            refused(failure, body, lines)
        })
    }
}

fn understood<'a, T: Deserialize<'a>>(answer: &'a [u8], lines: &Lines) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| {
        Failure::Other(format!("{}: an answer that says nothing: {error}", lines.named(None)))
    })
}

/// The same failure, said of the line that it is about.
fn refused(failure: Failure, body: Option<&[u8]>, lines: &Lines) -> Failure {
    if failure.is("idempotency-mismatch") {
        return failure.at(format!(
            "{}: an earlier run sent them otherwise, and they may be stored: give the same \
             arguments as then",
            lines.named(None)
        ));
    }
    let offset = failure.problem().and_then(|problem| problem.offset);
    let place = lines.named(offset);
    let owner = body.zip(offset).and_then(|(body, offset)| owner(body, lines, offset));
    match owner.filter(|_| failure.is("not-found")) {
        Some(owner) => failure.at(format!("{place}: {owner} (--map OLD=NEW names another)")),
        None => failure.at(place),
    }
}

/// The tenant and collection of the change at a byte of the body.
fn owner(body: &[u8], lines: &Lines, offset: usize) -> Option<String> {
    #[derive(Deserialize)]
    struct Owner {
        tenant: Option<String>,
        collection: Option<String>,
    }
    let text = body.get(lines.start_of(offset)?..)?;
    let mut changes = serde_json::Deserializer::from_slice(text).into_iter::<Owner>();
    let Owner { tenant, collection } = changes.next()?.ok()?;
    let named = |kind: &str, name: Option<String>| name.map(|name| format!("{kind} {name}"));
    let names = [named("tenant", tenant), named("collection", collection)];
    let names: Vec<String> = names.into_iter().flatten().collect();
    (!names.is_empty()).then(|| names.join(", "))
}
