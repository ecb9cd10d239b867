//! From sealed segments that are to be purged to a checkpoint of the state at
//! their end: everything that later entries, and readers of keys, need of them.
//!
//! The state is made of the checkpoint before and of the indexes of the segments, apart from
//! the one that goes on being written, so this runs beside everything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    ops::RangeInclusive,
    sync::Arc,
};

use super::{
    fold::Fold,
    segment_index::SegmentIndex,
    types::{StoredMembership, from_raft_id, highest_member, membership_to_json},
    whole_state::{self, Begun, CheckpointRead},
};
use crate::{
    base::{
        batch::{put_change, redacted_change},
        ids::{ChangeId, ClusterId, LogId},
        planted::planted,
    },
    checkpoint::{CheckpointFile, format, redact, store},
    io::Files,
    state::{
        CheckpointedChanges, History, Located, Position, checkpointed::Line, index::Redactions,
    },
};

/// A checkpoint that was written.
#[derive(Clone)]
pub struct Compacted {
    /// Its file.
    pub file: CheckpointFile,
    /// The last entry that is in it.
    pub log_id: LogId,
    /// How far the list goes in it: what is up to there may be purged.
    pub position: Position,
    pub(super) membership: StoredMembership,
    pub(super) checkpointed: Arc<CheckpointedChanges>,
}

/// Writes the checkpoint of `cluster` that stands for `segments`, which have an index, and all before
/// them, of which entries up to `purged` are purged; nothing when the checkpoint before does. Durable
/// on return.
///
/// # Errors
/// When an index or the checkpoint before is damaged or missing, or the disk fails.
pub fn compact(
    files: &impl Files,
    cluster: ClusterId,
    segments: RangeInclusive<u64>,
    purged: Option<LogId>,
) -> io::Result<Option<Compacted>> {
    let Begun { fold, checkpoint, found, .. } = whole_state::upto(files, *segments.end(), purged)?;
    let before = checkpoint.as_ref().map(|checkpoint| checkpoint.standing.0.index);
    let applied = fold.applied().filter(|id| Some(id.index) > before);
    let Some(applied) = applied else { return Ok(None) };
    let history = history(checkpoint, found);
    let (log_id, fold) = (from_raft_id(&applied), &fold);
    #[cfg(test)]
    {
        if planted!(ForgetTombstone) {
            restore_deleted(files, fold)?;
        }
    }
    let (lines, map) =
        store::write(files, log_id.index, |out| put(out, cluster, log_id, fold, &history))?;
    let name = store::file_name(log_id.index);
    let file = CheckpointFile { name, bytes: map.len() as u64, log_id, cluster };
    let (membership, position) = (fold.membership().clone(), fold.position());
    let checkpointed = Arc::new(CheckpointedChanges::new(file.name.clone(), lines, map));
    Ok(Some(Compacted { file, log_id, position, membership, checkpointed }))
}

/// Writes what `fold` amounts to after the entry `log_id` as a checkpoint, with changes of `history`.
pub(super) fn put(
    out: impl Write,
    cluster: ClusterId,
    log_id: LogId,
    fold: &Fold,
    history: &History,
) -> io::Result<Vec<Line>> {
    let mut highest = fold.highest();
    if planted!(ForgetHighestMember) {
        highest = highest_member(fold.membership());
    }
    let raft = membership_to_json(fold.membership(), highest)?;
    let redactions = &fold.state().index().redactions;
    format::write(out, fold.state(), cluster, log_id, raft, |id| sent(history, redactions, id))
}

/// Restores keys of the checkpoint before that were deleted since: a planted bug.
#[cfg(test)]
fn restore_deleted(files: &impl Files, fold: &Fold) -> io::Result<()> {
    let Some((_, before, map)) = store::load(files, None)? else { return Ok(()) };
    for line in before.lines {
        let range = line.offset as usize..line.offset as usize + line.bytes as usize;
        let parts = map.get(range).and_then(crate::base::batch::suffix_parts);
        let Some(parts) = parts else { continue };
        let Some(collection) = fold.state().index().catalog.collection(parts.collection) else {
            continue;
        };
        if collection.current(&parts.key).is_none() {
            collection.restore_key(&parts.key, line.id);
        }
    }
    Ok(())
}

/// The change `id` as it is sent.
pub(super) fn sent(
    history: &History,
    redactions: &Redactions,
    id: ChangeId,
) -> io::Result<Vec<u8>> {
    let is_redacted = redactions.contains(id);
    let missing = || io::Error::other(format!("change {id} is missing"));
    let mut out = Vec::new();
    match history.locate(id).ok_or_else(missing)? {
        Located::Recent(batch) => {
            put_change(&mut out, id, batch.batch.at(), batch.change(id).shown(is_redacted).text());
        }
        Located::Sealed(segment) => {
            let sealed = segment.find_on_disk(id)?;
            let batch = segment.batch(&sealed).map_err(io::Error::other)?;
            put_change(&mut out, id, batch.batch.at(), batch.change(id).shown(is_redacted).text());
        }
        Located::Checkpointed(checkpointed, _) => {
            let whole = checkpointed.change(id).map_err(io::Error::other)?;
            let redacted = is_redacted.then(|| redacted_change(whole)).flatten();
            out.extend_from_slice(redacted.as_deref().unwrap_or(whole));
        }
    }
    Ok(out)
}

/// Writes the checkpoint `held`, of the entries up to `index`, anew without the data and tags of
/// `ids`; nothing when it has none. Durable on return.
///
/// # Errors
/// When it is damaged, or the disk fails.
pub(super) fn erase(
    files: &impl Files,
    index: u64,
    held: &CheckpointedChanges,
    ids: &[ChangeId],
) -> io::Result<Option<Arc<CheckpointedChanges>>> {
    let mut left = BTreeSet::new();
    for id in ids {
        let Some(range) = held.range(*id) else { continue };
        held.map().populate(range)?;
        let change = held.change(*id).map_err(io::Error::other)?;
        if redacted_change(change).is_some_and(|redacted| redacted != change) {
            left.insert(*id);
        }
    }
    if left.is_empty() {
        return Ok(None);
    }
    let map = held.map();
    map.populate(0..map.len())?;
    let bytes = map.get(0..map.len()).unwrap_or_default();
    let (lines, map) = store::replace(files, index, |out| redact(out, bytes, &left))?;
    Ok(Some(Arc::new(CheckpointedChanges::new(store::file_name(index), lines, map))))
}

/// Writes the checkpoint `held`, of the entries up to `index`, anew, of what is in memory of it or was
/// left of its file. Durable on return.
///
/// # Errors
/// When that is damaged, too, or the disk fails.
pub(super) fn again(
    files: &impl Files,
    index: u64,
    held: &CheckpointedChanges,
) -> io::Result<Arc<CheckpointedChanges>> {
    let map = held.map();
    map.populate(0..map.len())?;
    let bytes = map.get(0..map.len()).unwrap_or_default();
    // Each line is read, and the checksum of all of them with it.
    let (lines, map) = store::replace(files, index, |out| redact(out, bytes, &BTreeSet::new()))?;
    Ok(Arc::new(CheckpointedChanges::new(store::file_name(index), lines, map)))
}

/// The changes of a checkpoint and of segments.
pub(super) fn history(
    checkpoint: Option<CheckpointRead>,
    found: BTreeMap<u64, SegmentIndex>,
) -> History {
    let mut history = History::default();
    let begun = checkpoint.as_ref().map_or(ChangeId::ZERO, |it| it.position.last);
    history.begin_after(begun, checkpoint.map(|checkpoint| checkpoint.changes));
    let segments = found.into_values().filter_map(|index| index.segment);
    let held = segments.filter(|segment| segment.last() > begun);
    held.for_each(|segment| history.add_segment(segment));
    history
}
