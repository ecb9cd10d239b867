//! The whole state after a segment, as a file of its own: so that a start need not go through what
//! each segment since the beginning changes of it.
//!
//! It is made anew when what segments changed since is as large as it is. So all of these files
//! together are at most about twice as large as what the indexes of segments say of the state.

use std::{collections::BTreeMap, io, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    fold::Fold,
    segment_index::{SegmentIndex, WHOLE_SUFFIX as SUFFIX, WHOLE_TEMPORARY as TEMPORARY, remove},
    standing::{put_standing, standing},
    types::{RaftLogId, StoredMembership, membership_from_json, to_raft_id},
};
use crate::{
    base::{
        ids::{ChangeId, LogId},
        planted::planted,
    },
    checkpoint::{Checkpoint, CheckpointFile, store},
    io::{BLOCK, Files, put_file},
    log::{
        self,
        format::{HeaderBlock, SegmentHeader},
        number,
    },
    sections::{Builder, Fault, Sections},
    state::{CheckpointedChanges, Damaged, Position, State, delta},
};

/// The section that says which segment it is the state after: `After`, in postcard.
const AFTER: u32 = 17;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct After {
    sequence: u64,
    nonce: u64,
}

/// A checkpoint that was read.
pub(super) struct CheckpointRead {
    pub(super) file: CheckpointFile,
    pub(super) position: Position,
    /// The last entry that it stands for, and the members then.
    pub(super) standing: (RaftLogId, StoredMembership),
    pub(super) changes: Arc<CheckpointedChanges>,
}

/// What is to be gone on from.
#[derive(Default)]
pub(super) struct Begun {
    pub(super) fold: Fold,
    pub(super) checkpoint: Option<CheckpointRead>,
    /// Indexes that were looked at, those of the segments that the state is after among them.
    pub(super) found: BTreeMap<u64, SegmentIndex>,
    /// The segment that the whole state is after, if one is gone on from.
    pub(super) whole: Option<u64>,
    /// The length of that.
    pub(super) bytes: u64,
}

/// What the newest checkpoint stands for, if there is one; that `before` another one, where it is said.
///
/// # Errors
/// It cannot be read, or is damaged.
pub(super) fn checkpoint(files: &impl Files, before: Option<&str>) -> io::Result<Begun> {
    let Some((file, checkpoint, map)) = store::load(files, before)? else {
        return Ok(Begun::default());
    };
    let Checkpoint { head, state, lines } = checkpoint;
    let (membership, highest) = membership_from_json(&head.raft).map_err(|error| {
        let text = format!("the checkpoint {} cannot be used: {error}, at byte 0", file.name);
        io::Error::new(io::ErrorKind::InvalidData, text)
    })?;
    let (id, position) = (to_raft_id(head.log_id()), state.position());
    let fold = Fold::from_checkpoint(state, id, membership.clone(), highest);
    let changes = Arc::new(CheckpointedChanges::new(file.name.clone(), lines, map));
    let checkpoint = CheckpointRead { file, position, standing: (id, membership), changes };
    Ok(Begun { fold, checkpoint: Some(checkpoint), ..Begun::default() })
}

/// The same, with the newest whole state up to the segment `upto` in its place where that is newer
/// and fits the segments.
///
/// # Errors
/// The checkpoint cannot be read, or is damaged.
pub(super) fn newest(files: &impl Files, upto: u64, before: Option<&str>) -> io::Result<Begun> {
    let mut begun = checkpoint(files, before)?;
    let mut states: Vec<u64> =
        files.list()?.iter().filter_map(|file| number(&file.name, SUFFIX)).collect();
    states.retain(|segment| *segment <= upto);
    states.sort_unstable();
    for segment in states.into_iter().rev() {
        match read(files, segment, &begun) {
            Ok(Some(Whole { fold, found, bytes })) => {
                (begun.fold, begun.found, begun.bytes) = (fold, found, bytes);
                begun.whole = Some(segment);
                break;
            }
            Ok(None) => {}
            Err(fault) => {
                let file = file_name(segment);
                tracing::warn!(file, %fault, "a state that is not sound is made anew");
            }
        }
    }
    Ok(begun)
}

/// What the indexes up to that of the segment `upto` say of the state. Entries up to `purged` are
/// purged, so a checkpoint stands for them.
///
/// # Errors
/// The checkpoint, an index or a segment cannot be read, is damaged or missing.
pub(super) fn upto(files: &impl Files, upto: u64, purged: Option<LogId>) -> io::Result<Begun> {
    let mut begun = newest(files, upto, None)?;
    check_checkpoint(&begun, purged)?;
    let mut held = None;
    for segment in log::segments(files)?.into_iter().filter(|segment| *segment <= upto) {
        if begun.found.contains_key(&segment) {
            continue;
        }
        let wrong = |Fault { offset, reason }| {
            let (file, offset) = (log::index::file_name(segment), offset as u64);
            let (first, last) = (ChangeId::ZERO, ChangeId::ZERO);
            io::Error::other(Damaged { file, offset, first, last, reason })
        };
        let applied = begun.fold.applied().map(|id| id.index);
        let Some(index) = fitting(files, segment)? else {
            if is_held(files, segment, applied)? {
                // It is purged, and still there.
                held = Some(segment);
                continue;
            }
            return Err(wrong(Fault { offset: 0, reason: "it is missing or not sound".into() }));
        };
        let before = begun.found.last_key_value().map(|(before, _)| *before);
        begun.check_next(before, segment, &index)?;
        if index.last() > begun.fold.applied().map(|id| id.index) {
            begun.fold.absorb(&index).map_err(wrong)?;
        }
        begun.found.insert(segment, index);
    }
    let last = begun.found.last_key_value().map(|(last, _)| *last).max(held);
    let applied = begun.fold.applied().map(|id| id.index);
    // Those that are not there are purged, up to what the next one goes on from.
    let is_whole = last.unwrap_or(0) >= upto || is_held(files, upto, applied)?;
    match is_whole || planted!(SkipMissingSegment) {
        true => begun.check_segments().map(|()| begun),
        false => Err(missing_segment(last.map_or(upto, |last| last + 1))),
    }
}

/// What to say of a segment that is not there.
fn missing_segment(sequence: u64) -> io::Error {
    let (file, reason) = (log::file_name(sequence), "it is missing".to_owned());
    let (first, last) = (ChangeId::ZERO, ChangeId::ZERO);
    io::Error::other(Damaged { file, offset: 0, first, last, reason })
}

impl Begun {
    /// Whether each segment after the checkpoint is there, up to the last one: without one of them, the
    /// others would amount to a state that lacks what is in it, and to a list with a gap.
    fn check_segments(&self) -> io::Result<()> {
        let mut before = None;
        for (segment, index) in &self.found {
            self.check_next(before, *segment, index)?;
            before = Some(*segment);
        }
        Ok(())
    }

    /// The same of `segment`, before which `before` was found.
    fn check_next(
        &self,
        before: Option<u64>,
        segment: u64,
        index: &SegmentIndex,
    ) -> io::Result<()> {
        let purged = self.checkpoint.as_ref().map(|checkpoint| checkpoint.standing.0.index);
        let next = purged.map_or(0, |purged| purged.saturating_add(1));
        let follows = segment == before.map_or(1, |before| before + 1)
            || index.log.run.first() <= next
            || planted!(GoOnWithoutCheckpoint);
        match follows || planted!(SkipMissingSegment) {
            true => Ok(()),
            false => Err(missing_segment(before.map_or(segment - 1, |before| before + 1))),
        }
    }
}

/// Whether the checkpoint that stands for entries up to `purged` is there: without it, the indexes
/// would amount to a state that lacks what it holds.
fn check_checkpoint(begun: &Begun, purged: Option<LogId>) -> io::Result<()> {
    let found = begun.checkpoint.as_ref().map(|checkpoint| checkpoint.standing.0.index);
    match purged {
        Some(purged) if found < Some(purged.index) && !planted!(GoOnWithoutCheckpoint) => {
            let (file, reason) = (store::file_name(purged.index), "it is missing".to_owned());
            let (first, last) = (ChangeId::ZERO, ChangeId::ZERO);
            Err(io::Error::other(Damaged { file, offset: 0, first, last, reason }))
        }
        _ => Ok(()),
    }
}

/// Writes the whole state after the segment `segment`, all segments up to which have an index, and
/// removes older ones; gives its length. Entries up to `purged` are purged. Durable on return.
///
/// # Errors
/// What the disk reports, or an index or the checkpoint is damaged or missing.
pub fn write(files: &impl Files, segment: u64, purged: Option<LogId>) -> io::Result<u64> {
    let begun = upto(files, segment, purged)?;
    let last = begun.found.get(&segment);
    let last = last.ok_or_else(|| io::Error::other(format!("segment {segment} has no index")))?;
    let mut builder = Builder::default();
    delta::put_whole(&mut builder, begun.fold.state());
    put_standing(&mut builder, begun.fold.standing())?;
    let after = After { sequence: segment, nonce: last.log.nonce() };
    builder.add(AFTER, postcard::to_allocvec(&after).map_err(io::Error::other)?);
    let bytes = builder.finish();
    put_file(files, TEMPORARY, &file_name(segment), &bytes)?;
    remove(files, |name| number(name, SUFFIX).is_some_and(|older| older < segment))?;
    Ok(bytes.len() as u64)
}

fn file_name(segment: u64) -> String {
    format!("{segment:020}{SUFFIX}")
}

fn after(sections: &Sections) -> Result<After, Fault> {
    postcard::from_bytes(sections.all(AFTER)?)
        .map_err(|_| Fault { offset: 0, reason: "it does not say what it follows".into() })
}

/// Whether it is the state after this segment.
pub(super) fn is_after(sections: &Sections, segment: &SegmentHeader) -> Result<bool, Fault> {
    let SegmentHeader { sequence, nonce, .. } = *segment;
    Ok(after(sections)? == After { sequence, nonce })
}

/// A whole state that was read.
struct Whole {
    fold: Fold,
    /// The indexes of the segments that it is the state after.
    found: BTreeMap<u64, SegmentIndex>,
    /// Its length.
    bytes: u64,
}

/// The state after a segment, with the indexes of the segments up to it; nothing when some of those are
/// missing, or it is older than what is begun with.
fn read(files: &impl Files, segment: u64, begun: &Begun) -> Result<Option<Whole>, Fault> {
    let fault = |error: io::Error| Fault { offset: 0, reason: error.to_string() };
    let sections = Sections::open(files.map(&file_name(segment)).map_err(fault)?)?;
    sections.verify()?;
    let standing = standing(&sections)?;
    if standing.applied.map(|id| id.index) <= begun.fold.applied().map(|id| id.index) {
        return Ok(None);
    }
    let after = after(&sections)?;
    let misplaced = |reason: &str| Fault { offset: 0, reason: reason.into() };
    let mut found = BTreeMap::new();
    for sequence in log::segments(files).map_err(fault)? {
        if sequence > segment {
            break;
        }
        let Some(index) = fitting(files, sequence).map_err(fault)? else { return Ok(None) };
        found.insert(sequence, index);
    }
    // Its segment is not there: where that is wrong, the log says so.
    let Some(last) = found.get(&segment) else { return Ok(None) };
    let of = After { sequence: segment, nonce: last.log.nonce() };
    if after != of || last.standing.applied != standing.applied {
        return Err(misplaced("it is of another segment"));
    }
    let mut state = State::default();
    delta::absorb(&mut state, &sections, None)?;
    let (fold, bytes) = (Fold::whole(state, standing), sections.map().len() as u64);
    Ok(Some(Whole { fold, found, bytes }))
}

/// Whether entries up to `applied` are all that a segment holds.
fn is_held(files: &impl Files, segment: u64, applied: Option<u64>) -> io::Result<bool> {
    let next = files.map(&log::file_name(segment + 1))?;
    Ok(match SegmentHeader::decode(next.get(0..BLOCK).unwrap_or_default()) {
        // It says which entry comes after those of the segments before.
        HeaderBlock::Used(header) => {
            applied.is_some_and(|applied| header.first_index <= applied.saturating_add(1))
        }
        _ => false,
    })
}

/// The index of a segment, if it is sound so far and of this segment.
fn fitting(files: &impl Files, sequence: u64) -> io::Result<Option<SegmentIndex>> {
    let Ok(index) = SegmentIndex::open(files, sequence) else { return Ok(None) };
    let map = files.map(&log::file_name(sequence))?;
    Ok(match SegmentHeader::decode(map.get(0..BLOCK).unwrap_or_default()) {
        HeaderBlock::Used(header) if index.log.is_of(&header) => Some(index),
        _ => None,
    })
}
