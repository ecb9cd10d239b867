//! Where changes are read from: batches in memory, mapped segments, a mapped
//! checkpoint; and what must be brought into memory first.

use std::{borrow::Cow, io, ops::Range, sync::Arc, time::Instant};

use crate::{
    base::{
        batch::{ChangeRef, NumberedBatch, redacted_change},
        ids::{ChangeId, Timestamp},
        limits::READ_AHEAD_BYTES,
    },
    io::{cores, is_bad_place, map::Mapping},
    sections::Missing,
    state::{
        CheckpointedChanges, Damaged, History, Index, Located, SealedBatch, SealedSegment,
        Verified, Wanted, unread::Unread,
    },
};

/// What a page is read from, the same for all its turns.
pub(super) struct Source<'s> {
    /// Where changes are.
    pub(super) history: &'s History,
    /// What was checked of it.
    pub(super) verified: &'s mut Verified,
    /// What changes of a part are found by.
    pub(super) index: &'s Index,
    /// The time of this turn.
    pub(super) now: Instant,
}

/// Reads single changes, wherever they are.
#[derive(Default)]
pub(super) struct Places {
    /// Where batches are known to be in memory.
    resident: Option<Resident>,
    /// What follows a batch is not worth having in memory with it.
    scattered: bool,
    /// Some batches that follow one another, and the segment that they are in.
    near: (u64, Vec<SealedBatch>),
}

impl Places {
    /// For changes that do not follow each other.
    pub(super) fn scattered() -> Self {
        Self { scattered: true, ..Self::default() }
    }

    /// Hands the change `id` to `take`, or gives back what must be loaded before.
    ///
    /// # Errors
    /// [`Damaged`] when a stored batch is not what was written.
    pub(super) fn read<T>(
        &mut self,
        source: &mut Source<'_>,
        id: ChangeId,
        take: impl FnOnce(Stored<'_>) -> T,
    ) -> Result<Looked<T>, Damaged> {
        let is_redacted = source.index.redactions.contains(id);
        Ok(match source.history.locate(id) {
            Some(Located::Recent(batch)) => {
                Looked::Found(take(Stored::new(batch, id, is_redacted)))
            }
            Some(Located::Checkpointed(checkpointed, range)) => {
                if !checkpointed.map().is_resident(range.clone()) {
                    let what = What::Line(Arc::clone(checkpointed), id);
                    return Ok(Looked::Cold(Cold { what, ahead: range.clone(), own: range }));
                }
                let whole = checkpointed.change(id)?;
                let redacted = is_redacted.then(|| redacted_change(whole)).flatten();
                Looked::Found(take(Stored::Whole(redacted.map_or(whole.into(), Into::into))))
            }
            Some(Located::Sealed(segment)) => {
                let batch = match self.batch_of(segment, id) {
                    Ok(batch) => batch,
                    Err(Unread::Missing(missing, damaged)) => {
                        return Ok(Looked::Cold(Cold::index(missing, damaged)));
                    }
                    Err(Unread::Damaged(damaged)) => return Err(damaged),
                };
                if !self.find(segment, &batch) {
                    return Ok(Looked::Cold(self.cold(segment, batch)));
                }
                let wanted = Wanted { first: id, last: id, bytes_max: 0 };
                let read = source.verified.batch(segment, &batch, wanted, source.now)?;
                Looked::Found(take(Stored::new(&read.batch, id, is_redacted)))
            }
            None => Looked::Gone,
        })
    }

    /// Says that what was missing is in memory now.
    pub(super) fn loaded(&mut self, resident: Resident) {
        self.resident = Some(resident);
    }

    /// The batch of a segment that holds `id`.
    pub(super) fn batch_of(
        &mut self,
        segment: &SealedSegment,
        id: ChangeId,
    ) -> Result<SealedBatch, Unread> {
        let (sequence, near) = &self.near;
        let known = near.get(near.partition_point(|batch| batch.last < id));
        if let Some(batch) = known.filter(|it| it.first <= id && *sequence == segment.sequence) {
            return Ok(batch.clone());
        }
        let count = if self.scattered { 1 } else { BATCHES_AT_ONCE };
        self.near = (segment.sequence, segment.find_some(id, count)?);
        Ok(self.near.1[0].clone())
    }

    /// Whether a batch is in memory.
    pub(super) fn find(&mut self, segment: &Arc<SealedSegment>, batch: &SealedBatch) -> bool {
        if !self.resident.as_ref().is_some_and(|resident| resident.holds(segment, batch)) {
            self.resident = Resident::find(segment, batch, self.scattered);
        }
        self.resident.is_some()
    }

    /// A batch that must be loaded first.
    pub(super) fn cold(&self, segment: &Arc<SealedSegment>, batch: SealedBatch) -> Cold {
        let own = batch.range();
        let ahead = match self.scattered {
            true => own.clone(),
            false => ahead(segment, &batch, READ_AHEAD_BYTES),
        };
        Cold { what: What::Batch(Arc::clone(segment), batch), ahead, own }
    }
}

/// A stretch of a sealed segment that was found in memory, or brought there.
pub(super) struct Resident {
    sequence: u64,
    range: Range<usize>,
}

impl Resident {
    /// A stretch that starts with a batch, or nothing when that is not in
    /// memory.
    fn find(segment: &SealedSegment, batch: &SealedBatch, scattered: bool) -> Option<Self> {
        let (batch, ahead) = (batch.range(), ahead(segment, batch, ASKED_BYTES));
        let mut ranges = [ahead, batch].into_iter().skip(usize::from(scattered));
        let range = ranges.find(|range| segment.map().is_resident(range.clone()))?;
        Some(Self { sequence: segment.sequence, range })
    }

    fn holds(&self, segment: &SealedSegment, batch: &SealedBatch) -> bool {
        let batch = batch.range();
        self.sequence == segment.sequence
            && self.range.start <= batch.start
            && batch.end <= self.range.end
    }
}

/// What came of looking for a change.
pub(super) enum Looked<T> {
    /// It was there.
    Found(T),
    /// It must be loaded first.
    Cold(Cold),
    /// It is not held, or no more.
    Gone,
}

/// A change as it is stored.
pub(super) enum Stored<'s> {
    /// Without its head.
    Change {
        /// Its id.
        id: ChangeId,
        /// Its timestamp.
        at: Timestamp,
        /// The change, as it is shown.
        change: ChangeRef<'s>,
    },
    /// As it is sent.
    Whole(Cow<'s, [u8]>),
}

impl<'s> Stored<'s> {
    /// The change `id` of its batch.
    fn new<B: AsRef<[u8]>>(batch: &'s NumberedBatch<B>, id: ChangeId, is_redacted: bool) -> Self {
        Self::Change { id, at: batch.batch.at(), change: batch.change(id).shown(is_redacted) }
    }
}

/// Bytes that are asked about at once whether they are in memory: a page of 100 small changes, and not more than
/// the kernel goes through in a moment.
const ASKED_BYTES: usize = 64 << 10;
/// Batches that are looked up in an index at once.
const BATCHES_AT_ONCE: usize = 32;
/// Stands for the checkpoint among the numbers of segments, which are from 1.
const CHECKPOINT: u64 = 0;
/// Stands for the indexes of segments.
const INDEX: u64 = u64::MAX;

/// Why something stored is not read yet.
pub(super) enum Unready {
    /// It must be loaded first.
    Cold(Cold),
    /// It is not what was written.
    Damaged(Damaged),
}

impl From<Unread> for Unready {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Missing(missing, damaged) => Self::Cold(Cold::index(missing, damaged)),
            Unread::Damaged(damaged) => Self::Damaged(damaged),
        }
    }
}

/// Something stored that is on disk and not in memory.
pub(super) struct Cold {
    what: What,
    /// What of its file is wanted.
    ahead: Range<usize>,
    /// What of that is needed.
    own: Range<usize>,
}

/// What is stored.
enum What {
    Batch(Arc<SealedSegment>, SealedBatch),
    /// A change in a checkpoint.
    Line(Arc<CheckpointedChanges>, ChangeId),
    /// A part of an index, and what to say when the disk does not give it.
    Index(Arc<Mapping>, Damaged),
}

impl What {
    fn map(&self) -> &Arc<Mapping> {
        match self {
            Self::Batch(segment, _) => segment.map(),
            Self::Line(checkpointed, _) => checkpointed.map(),
            Self::Index(map, _) => map,
        }
    }

    fn sequence(&self) -> u64 {
        match self {
            Self::Batch(segment, _) => segment.sequence,
            Self::Line(..) => CHECKPOINT,
            Self::Index(..) => INDEX,
        }
    }

    fn damaged(&self, reason: &io::Error) -> Damaged {
        match self {
            Self::Batch(segment, batch) => segment.damaged(batch, reason),
            Self::Line(checkpointed, id) => checkpointed.damaged(*id, reason),
            Self::Index(_, damaged) => {
                let reason = format!("{}: {reason}", damaged.reason);
                Damaged { reason, ..damaged.clone() }
            }
        }
    }
}

/// Why something stored is not in memory.
pub(super) enum LoadError {
    /// The disk does not give it.
    Damaged(Damaged),
    /// Nothing is known of it.
    Io(io::Error),
}

impl Cold {
    /// A part of an index that must be loaded first.
    pub(super) fn index(Missing { map, range }: Missing, damaged: Damaged) -> Self {
        Self { what: What::Index(map, damaged), ahead: range.clone(), own: range }
    }

    /// Brings it, and what is worth having with it, into memory. To be verified
    /// anew then.
    ///
    /// # Errors
    /// [`LoadError`]
    pub(super) async fn load(self) -> Result<Resident, LoadError> {
        let Self { what, ahead, own } = self;
        let map = Arc::clone(what.map());
        let populate = move || match map.populate(ahead.clone()) {
            // It may be what follows that cannot be read.
            Err(error) if is_bad_place(&error) && ahead != own => {
                map.populate(own.clone()).map(|()| own)
            }
            loaded => loaded.map(|()| ahead),
        };
        match cores::off_core(populate).await {
            Ok(range) => Ok(Resident { sequence: what.sequence(), range }),
            Err(error) if is_bad_place(&error) => Err(LoadError::Damaged(what.damaged(&error))),
            Err(error) => Err(LoadError::Io(error)),
        }
    }
}

/// A batch and what follows it, so many bytes in all as far as they are there.
fn ahead(segment: &SealedSegment, batch: &SealedBatch, bytes: usize) -> Range<usize> {
    let range = batch.range();
    let end = range.end.max(range.start + bytes);
    range.start..segment.map().len().min(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{SealedFile, batch as batch_of};

    #[test]
    fn residency_is_asked_for_by_the_stretch() {
        let file = SealedFile::new(1, 1, &vec![batch_of(1, b'}'); 100]);
        let mut places = Places::default();
        let batch = |file: &SealedFile, id| file.segment.find_on_disk(ChangeId(id)).unwrap();
        assert!(places.find(&file.segment, &batch(&file, 4)));
        let found = places.resident.as_ref().unwrap();
        assert!((4..=100).all(|id| found.holds(&file.segment, &batch(&file, id))));
        assert!(!found.holds(&file.segment, &batch(&file, 3)));
        let other = SealedFile::new(2, 101, &vec![batch_of(1, b'}'); 100]);
        assert!(!found.holds(&other.segment, &batch(&other, 104)));
        let mut places = Places::scattered();
        assert!(places.find(&file.segment, &batch(&file, 4)));
        let found = places.resident.as_ref().unwrap();
        let holds = |id| found.holds(&file.segment, &batch(&file, id));
        assert!(holds(4) && !holds(5));
    }
}
