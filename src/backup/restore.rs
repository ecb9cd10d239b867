//! Makes of a backup what a node starts on: a cluster of one with the same history, or with a part
//! of it.

use std::io::{self, Write};

use bytes::Bytes;

use super::{
    manifest::{FileEntry, MANIFEST, Manifest, TEMPORARY},
    verify::{RestoreError, read},
};
use crate::{
    base::{
        batch::{Batch, NumberedBatch},
        ids::{ChangeId, ClusterId, LogId, NodeId, Timestamp},
    },
    checkpoint::{self, format, store},
    io::{Files, Output},
    log::{self, Composed, Composer, Contents, Entry, Identity, Vote},
    raft::prefix::{self, Prefix},
};

/// Bytes of a segment of what is made.
const SEGMENT_BYTES: usize = 64 << 20;

/// Where a history ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// With the last change that has no higher id.
    Change(ChangeId),
    /// With the last change that is not younger.
    Time(Timestamp),
}

/// What is to be made of a backup.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The cluster that it becomes; without one it stays what it was.
    pub cluster: Option<ClusterId>,
    /// Where the history ends; without it, where the backup does.
    pub until: Option<Until>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The number of its only member, which no member ever had.
    pub node: NodeId,
    /// The oldest change.
    pub first: ChangeId,
    /// The newest change.
    pub last: ChangeId,
}

/// Writes to `to`, which is empty, what `from` holds: durable on return, but for the name of `to`
/// itself. Every byte of the backup is verified, also of what is left out. The first segment gets its
/// name last, and a log without it is none: what is interrupted is nothing that a node starts on.
///
/// # Errors
/// [`RestoreError`]. What is in `to` by then is of no use.
pub fn restore(
    from: &impl Files,
    to: &impl Files,
    request: Request,
) -> Result<Restored, RestoreError> {
    restore_in(from, to, request, SEGMENT_BYTES)
}

/// The same with segments of about `segment_bytes`.
pub(super) fn restore_in(
    from: &impl Files,
    to: &impl Files,
    request: Request,
    segment_bytes: usize,
) -> Result<Restored, RestoreError> {
    let manifest = Manifest::read(from)?;
    let end = manifest.entry.ok_or(RestoreError::Incomplete)?;
    let cluster = request.cluster.unwrap_or(manifest.cluster());
    let (prefix, purged) = match manifest.files.iter().find(|file| is_checkpoint(file)) {
        None => (Prefix::default(), None),
        Some(file) => {
            let (prefix, id) = put_checkpoint(from, to, file, cluster, request.until)?;
            (prefix, Some(id))
        }
    };
    let identity = Identity { cluster, node: manifest.highest + 1 };
    let first = prefix.position().last.next();
    let mut restoring = Restoring {
        to,
        until: request.until,
        composer: Composer::begin(identity, segment_bytes, purged),
        last_change: prefix.position().last,
        prefix,
        last: purged,
        is_over: false,
    };
    let mut contents = Contents::skipping(purged.map(|id| id.index));
    let segments = manifest.files.iter().filter(|file| !is_checkpoint(file));
    for (file, sequence) in segments.zip(1..) {
        let entries = contents.segment(sequence, &Bytes::from(read(from, file)?))?;
        for entry in entries {
            restoring.entry(entry)?;
        }
    }
    let (found, changes) = (contents.last(), restoring.prefix.position().last.0);
    if found != Some(end) || changes != manifest.last {
        let text = format!("it ends with change {changes}, and not with {}", manifest.last);
        return Err(RestoreError::Damaged("what it holds".into(), text));
    }
    if restoring.prefix.highest() > manifest.highest {
        let text = "a member has a higher number than it says".to_owned();
        return Err(RestoreError::Damaged(MANIFEST.into(), text));
    }
    let last = restoring.last_change;
    restoring.finish(identity)?;
    Ok(Restored { cluster, node: identity.node, first, last })
}

fn is_checkpoint(file: &FileEntry) -> bool {
    store::is_checkpoint(&file.name)
}

/// Writes the checkpoint as one of `cluster`; gives what it stands for, up to which entry.
fn put_checkpoint(
    from: &impl Files,
    to: &impl Files,
    file: &FileEntry,
    cluster: ClusterId,
    until: Option<Until>,
) -> Result<(Prefix, LogId), RestoreError> {
    let damaged = |error: String| RestoreError::Damaged(file.name.clone(), error);
    let bytes = read(from, file)?;
    let found = format::read(&bytes).map_err(damaged)?;
    let (id, position) = (found.head.log_id(), found.head.position());
    let is_over = match until {
        None => false,
        Some(Until::Change(last)) => position.last > last,
        Some(Until::Time(last)) => position.last_at > last,
    };
    if is_over {
        return Err(RestoreError::Before { first: position.last.0 + 1 });
    }
    let given = checkpoint::given_to(&bytes, cluster).map_err(damaged)?;
    write(to, &file.name, &given)?;
    let prefix = Prefix::from_checkpoint(found).map_err(|error| damaged(error.to_string()))?;
    Ok((prefix, id))
}

/// Writes a file: durable on return, but for its name.
fn write(to: &impl Files, name: &str, bytes: &[u8]) -> Result<(), RestoreError> {
    let written = to.create(name).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync()
    });
    written.map_err(|error| RestoreError::Io(name.to_owned(), error))
}

/// A history that is being written.
struct Restoring<'t, F> {
    to: &'t F,
    until: Option<Until>,
    composer: Composer,
    /// All that was read, also what is left out.
    prefix: Prefix,
    /// The last entry that was kept.
    last: Option<LogId>,
    /// The last change that was kept.
    last_change: ChangeId,
    /// What comes now is left out.
    is_over: bool,
}

impl<F: Files> Restoring<'_, F> {
    fn entry(&mut self, entry: Entry) -> Result<(), RestoreError> {
        let unreadable = |error: io::Error| {
            RestoreError::Damaged(format!("entry {}", entry.id), error.to_string())
        };
        let batch = self.prefix.entry(&entry).map_err(unreadable)?;
        if self.is_over {
            return Ok(());
        }
        let kept = match (&batch, self.until) {
            (Some(batch), Some(until)) => kept_of(batch, until),
            _ => Kept::All,
        };
        self.is_over = !matches!(kept, Kept::All);
        match kept {
            Kept::All => self.keep(entry, self.prefix.position().last),
            Kept::Part(part, last) => self.keep(prefix::with_batch(&entry, &part), last),
            Kept::Nothing => Ok(()),
        }
    }

    fn keep(&mut self, entry: Entry, last_change: ChangeId) -> Result<(), RestoreError> {
        (self.last, self.last_change) = (Some(entry.id), last_change);
        match self.composer.push(entry) {
            Some(complete) => put(self.to, &complete),
            None => Ok(()),
        }
    }

    /// Makes the node the only member, of a term that nobody has voted in yet.
    fn finish(mut self, identity: Identity) -> Result<(), RestoreError> {
        let last = self.last.unwrap_or_default();
        let id = LogId { term: last.term, index: self.composer.next() };
        let failed = |error| RestoreError::Io("the log".into(), error);
        let alone = prefix::alone(identity.node, id).map_err(failed)?;
        self.composer.vote(Vote { term: last.term, node: identity.node, committed: false });
        let full = self.composer.push(alone);
        for complete in full.into_iter().chain(self.composer.finish()) {
            put(self.to, &complete)?;
        }
        self.to.sync_directory().map_err(failed)?;
        self.to.rename(TEMPORARY, &log::file_name(FIRST)).map_err(failed)?;
        self.to.sync_directory().map_err(failed)
    }
}

/// The number of the first segment.
const FIRST: u64 = 1;

fn put(to: &impl Files, complete: &Composed) -> Result<(), RestoreError> {
    match complete.sequence {
        FIRST => write(to, TEMPORARY, &complete.bytes),
        other => write(to, &log::file_name(other), &complete.bytes),
    }
}

/// What is kept of a batch.
enum Kept {
    All,
    /// This, and the last change is that.
    Part(Batch, ChangeId),
    Nothing,
}

/// What of a batch comes before the first change that is left out.
fn kept_of(batch: &NumberedBatch, until: Until) -> Kept {
    match until {
        Until::Time(last) if batch.batch.at() <= last => Kept::All,
        Until::Time(_) => Kept::Nothing,
        Until::Change(last) if batch.changes() == 0 || batch.last() <= last => Kept::All,
        Until::Change(last) => {
            assert!(batch.first <= last.next(), "what was before is kept");
            let place = batch.skips.place((last.next().0 - batch.first.0) as u32);
            batch.batch.before(place).map_or(Kept::Nothing, |part| Kept::Part(part, last))
        }
    }
}
