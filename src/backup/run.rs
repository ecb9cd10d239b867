//! Makes a backup, or goes on with one: what a node gives of its log becomes segments, and each is
//! durable before the manifest names it.

use bytes::Bytes;

use super::{
    checkpoint::Incoming,
    ends::{Piece, Source, Target},
    error::BackupError,
    held::Held,
    manifest::{FileEntry, Manifest},
};
use crate::{
    base::{
        ids::{LogId, Timestamp},
        moment,
    },
    checkpoint::store,
    io::cores,
    log::{self, Composed, Composer, Entry, Frame, Identity, decode_frame},
    raft::prefix,
};

/// What belongs to no node has this number.
const NOBODY: u64 = 0;

/// Backs up what `source` has applied now to `target`, which holds `held`; segments get about
/// `segment_bytes`. `told` hears which entry is reached, of which.
///
/// # Errors
/// [`BackupError`]
pub fn run<S: Source>(
    source: &mut S,
    target: &mut impl Target,
    held: Held,
    segment_bytes: usize,
    mut told: impl FnMut(u64, u64),
) -> Result<Manifest, BackupError<S::Error>> {
    let (mut run, first) = Run::begin(source, target, held, segment_bytes)?;
    let goal = first.applied;
    let (last, last_at, made_at) = (first.last, first.last_at, Timestamp(cores::wall_micros()));
    let mut piece = first;
    loop {
        run.take(&piece.frames, goal)?;
        told(run.composer.next().saturating_sub(1), goal);
        if run.composer.next() > goal {
            break;
        }
        piece = match run.source.entries(run.composer.next(), Some(goal), true) {
            Ok(Ok(piece)) => piece,
            Ok(Err(purged)) => {
                let held = run.last.unwrap_or_default();
                return Err(BackupError::Purged { held, purged });
            }
            Err(error) => return Err(BackupError::Source(error)),
        };
    }
    run.finish(last, last_at, made_at)
}

struct Run<'r, S, T> {
    source: &'r mut S,
    target: &'r mut T,
    manifest: Manifest,
    composer: Composer,
    /// The last entry.
    last: Option<LogId>,
}

impl<'r, S: Source, T: Target> Run<'r, S, T> {
    /// Finds out what is to be added to what is held; gives the first piece of it.
    fn begin(
        source: &'r mut S,
        target: &'r mut T,
        held: Held,
        segment_bytes: usize,
    ) -> Result<(Self, Piece), BackupError<S::Error>> {
        let found = source.cluster().map_err(BackupError::Source)?;
        if let Some(manifest) = held.manifest.as_ref().filter(|held| held.cluster() != found) {
            return Err(BackupError::OtherCluster { held: manifest.cluster(), found });
        }
        let last = held.last_id();
        let from = last.map_or(0, |id| id.index);
        let answer = source.entries(from, None, true).map_err(BackupError::Source)?;
        let manifest = held.manifest.unwrap_or_else(|| Manifest::begun(found));
        let (Some(contents), Some(last)) = (held.contents, last) else {
            return Self::anew(source, target, manifest, segment_bytes, answer);
        };
        let piece = match answer {
            Ok(piece) => without_first(piece, last, held.last.as_ref())?,
            Err(purged) if purged == last => {
                let next = source.entries(last.index + 1, None, false);
                let next = next.map_err(BackupError::Source)?;
                next.map_err(|purged| BackupError::Purged { held: last, purged })?
            }
            Err(purged) if purged.index == last.index => {
                return Err(BackupError::OtherHistory(last));
            }
            Err(purged) => return Err(BackupError::Purged { held: last, purged }),
        };
        let composer = Composer::after(&contents, segment_bytes);
        Ok((Self { source, target, manifest, composer, last: Some(last) }, piece))
    }

    /// Begins a backup, with the checkpoint of the node where it has purged history.
    fn anew(
        source: &'r mut S,
        target: &'r mut T,
        mut manifest: Manifest,
        segment_bytes: usize,
        answer: Result<Piece, LogId>,
    ) -> Result<(Self, Piece), BackupError<S::Error>> {
        target.begin(&manifest).map_err(|error| BackupError::Write("backup".into(), error))?;
        let identity = Identity { cluster: manifest.cluster(), node: NOBODY };
        let (purged, piece) = match answer {
            Ok(piece) => (None, piece),
            Err(_) => {
                let purged = put_checkpoint(source, target, &mut manifest)?;
                let next = source.entries(purged.index + 1, None, false);
                let next = next.map_err(BackupError::Source)?;
                (Some(purged), next.map_err(|_| BackupError::Overtaken)?)
            }
        };
        let composer = Composer::begin(identity, segment_bytes, purged);
        Ok((Self { source, target, manifest, composer, last: purged }, piece))
    }

    /// Takes the entries of a piece in, as far as they are wanted.
    fn take(&mut self, frames: &Bytes, goal: u64) -> Result<(), BackupError<S::Error>> {
        let mut at = 0;
        while at < frames.len() && self.composer.next() <= goal {
            let (entry, end) = entry_at(frames, at)?;
            if entry.id.index != self.composer.next()
                || self.last.is_some_and(|last| entry.id.term < last.term)
            {
                return Err(damaged(&format!("entry {} does not follow", entry.id)));
            }
            self.last = Some(entry.id);
            let highest =
                prefix::highest_in(&entry).map_err(|error| damaged(&error.to_string()))?;
            self.manifest.highest = self.manifest.highest.max(highest);
            if let Some(complete) = self.composer.push(entry) {
                put_segment(self.target, &mut self.manifest, &complete)?;
            }
            at = end;
        }
        Ok(())
    }

    fn finish(
        self,
        last: u64,
        last_at: Timestamp,
        made_at: Timestamp,
    ) -> Result<Manifest, BackupError<S::Error>> {
        let Self { target, mut manifest, composer, last: entry, .. } = self;
        for complete in composer.finish() {
            put_segment(target, &mut manifest, &complete)?;
        }
        manifest.entry = entry;
        manifest.last = last;
        (manifest.last_at, manifest.made_at) = (moment::text(last_at), moment::text(made_at));
        let ended = target.end(&manifest);
        ended.map_err(|error| BackupError::Write("the manifest".into(), error))?;
        Ok(manifest)
    }
}

fn damaged<E: std::error::Error>(what: &str) -> BackupError<E> {
    BackupError::Damaged(what.to_owned())
}

fn entry_at<E: std::error::Error>(
    frames: &Bytes,
    at: usize,
) -> Result<(Entry, usize), BackupError<E>> {
    match decode_frame(frames, at) {
        Some((Frame::Entry(entry, _), end)) => Ok((entry, end)),
        _ => Err(damaged("an entry does not match its checksum")),
    }
}

/// The rest of a piece that begins with the entry `last`, which must be the one that is held.
fn without_first<E: std::error::Error>(
    piece: Piece,
    last: LogId,
    held: Option<&Entry>,
) -> Result<Piece, BackupError<E>> {
    let (entry, end) = entry_at(&piece.frames, 0)?;
    if entry.id != last || held.is_some_and(|held| *held != entry) {
        return Err(BackupError::OtherHistory(last));
    }
    Ok(Piece { frames: piece.frames.slice(end..), ..piece })
}

fn put_segment<E: std::error::Error>(
    target: &mut impl Target,
    manifest: &mut Manifest,
    complete: &Composed,
) -> Result<(), BackupError<E>> {
    let (name, bytes) = (log::file_name(complete.sequence), complete.bytes.len() as u64);
    let put = target.put(&name, bytes, &mut complete.bytes.as_slice());
    put.map_err(|error| BackupError::Write(name.clone(), error))?;
    let crc32c = crc32c::crc32c(&complete.bytes);
    manifest.files.push(FileEntry { name, bytes, crc32c });
    Ok(())
}

/// Puts the checkpoint of the node there; gives the last entry that it stands for.
fn put_checkpoint<S: Source>(
    source: &mut S,
    target: &mut impl Target,
    manifest: &mut Manifest,
) -> Result<LogId, BackupError<S::Error>> {
    let first = source.checkpoint(None, 0).map_err(BackupError::Source)?;
    let first = first.ok_or(BackupError::Overtaken)?;
    let unsound = |error: String| BackupError::Damaged(format!("its checkpoint: {error}"));
    let name = store::file_name(first.index);
    let (mut incoming, head) = Incoming::new(source, first).map_err(unsound)?;
    if head.cluster != manifest.cluster().0 {
        return Err(unsound("it is that of another cluster".into()));
    }
    let bytes = incoming.total();
    let put = target.put(&name, bytes, &mut incoming);
    if let Some(error) = incoming.failure {
        return Err(BackupError::Source(error));
    }
    if incoming.is_gone {
        return Err(BackupError::Overtaken);
    }
    put.map_err(|error| BackupError::Write(name.clone(), error))?;
    let crc32c = incoming.checksum().map_err(unsound)?;
    manifest.files.push(FileEntry { name, bytes, crc32c });
    manifest.first = head.position().last.0 + 1;
    manifest.highest = prefix::highest_of(&head).map_err(|error| unsound(error.to_string()))?;
    Ok(head.log_id())
}
