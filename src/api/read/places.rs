//! Where changes are read from: batches in memory, mapped segments, a mapped
//! checkpoint; and what must be brought into memory first.

use std::{io, ops::Range, sync::Arc};

use crate::{
    base::{
        ids::{ChangeId, Timestamp},
        limits::READ_AHEAD_BYTES,
    },
    io::{cores, map::Mapping},
    state::{History, Index, Located, SealedSegment, Verified, sealed::Damaged},
};

/// What a page is read from, the same for all its turns.
pub(super) struct Source<'s> {
    /// Where changes are.
    pub(super) history: &'s History,
    /// What was checked of it.
    pub(super) verified: &'s mut Verified,
    /// What changes of a part are found by.
    pub(super) index: &'s Index,
}

/// Reads single changes, wherever they are.
#[derive(Default)]
pub(super) struct Places {
    /// Where batches are known to be in memory.
    resident: Option<Resident>,
    /// What follows a batch is not worth having in memory with it.
    scattered: bool,
}

impl Places {
    /// For changes that do not follow each other.
    pub(super) fn scattered() -> Self {
        Self { resident: None, scattered: true }
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
        let suffix = |at, suffix| Stored::Suffix { id, at, suffix };
        Ok(match source.history.locate(id) {
            Some(Located::Recent(batch)) => {
                Looked::Found(take(suffix(batch.batch.at(), batch.change(id).suffix)))
            }
            Some(Located::Checkpointed(checkpointed, range)) => {
                if !checkpointed.map().is_resident(range.clone()) {
                    let (sequence, map) = (CHECKPOINT, Arc::clone(checkpointed.map()));
                    return Ok(Looked::Cold(Cold { sequence, map, range }));
                }
                match checkpointed.change(range.clone()) {
                    Some(change) => Looked::Found(take(Stored::Whole(change))),
                    None => unreachable!("the checkpoint was read to its end"),
                }
            }
            Some(Located::Sealed(segment, n)) => {
                if !self.find(segment, n) {
                    return Ok(Looked::Cold(self.cold(segment, n)));
                }
                let read = source.verified.batch(segment, n)?;
                Looked::Found(take(suffix(read.batch.batch.at(), read.batch.change(id).suffix)))
            }
            None => Looked::Gone,
        })
    }

    /// Says that what was missing is in memory now.
    pub(super) fn loaded(&mut self, resident: Resident) {
        self.resident = Some(resident);
    }

    /// Whether batch `n` is in memory.
    pub(super) fn find(&mut self, segment: &Arc<SealedSegment>, n: usize) -> bool {
        if !self.resident.as_ref().is_some_and(|resident| resident.holds(segment, n)) {
            self.resident = Resident::find(segment, n, self.scattered);
        }
        self.resident.is_some()
    }

    /// Batch `n`, which must be loaded first.
    pub(super) fn cold(&self, segment: &Arc<SealedSegment>, n: usize) -> Cold {
        let range = if self.scattered { segment.range(n) } else { ahead(segment, n) };
        Cold { sequence: segment.sequence, map: Arc::clone(segment.map()), range }
    }
}

/// A stretch of a sealed segment that was found in memory, or brought there.
pub(super) struct Resident {
    sequence: u64,
    range: Range<usize>,
}

impl Resident {
    /// A stretch that starts with batch `n`, or nothing when that is not in
    /// memory.
    fn find(segment: &SealedSegment, n: usize, scattered: bool) -> Option<Self> {
        let (batch, ahead) = (segment.range(n), ahead(segment, n));
        let mut ranges = [ahead, batch].into_iter().skip(usize::from(scattered));
        let range = ranges.find(|range| segment.map().is_resident(range.clone()))?;
        Some(Self { sequence: segment.sequence, range })
    }

    fn holds(&self, segment: &SealedSegment, n: usize) -> bool {
        let batch = segment.range(n);
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
    Suffix {
        /// Its id.
        id: ChangeId,
        /// Its timestamp.
        at: Timestamp,
        /// What follows them.
        suffix: &'s [u8],
    },
    /// As it is sent.
    Whole(&'s [u8]),
}

/// Stands for the checkpoint among the numbers of segments, which are from 1.
const CHECKPOINT: u64 = 0;

/// Something stored that is on disk and not in memory.
pub(super) struct Cold {
    /// The number of the segment.
    pub(super) sequence: u64,
    map: Arc<Mapping>,
    /// What of it is wanted.
    range: Range<usize>,
}

impl Cold {
    /// Brings it, and what is worth having with it, into memory. To be verified
    /// anew then.
    ///
    /// # Errors
    /// What the disk reports.
    pub(super) async fn load(self) -> io::Result<Resident> {
        let Self { sequence, map, range } = self;
        let wanted = range.clone();
        cores::off_core(move || map.populate(wanted)).await?;
        Ok(Resident { sequence, range })
    }
}

/// Batch `n` and what is worth having in memory with it.
fn ahead(segment: &SealedSegment, n: usize) -> Range<usize> {
    let range = segment.range(n);
    let end = range.end.max(range.start + READ_AHEAD_BYTES);
    range.start..segment.map().len().min(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{SealedFile, batch};

    #[test]
    fn residency_is_asked_for_by_the_stretch() {
        let file = SealedFile::new(1, 1, &vec![batch(1, b'}'); 100]);
        let mut places = Places::default();
        assert!(places.find(&file.segment, 3));
        let found = places.resident.as_ref().unwrap();
        assert!((3..100).all(|n| found.holds(&file.segment, n)));
        assert!(!found.holds(&file.segment, 2));
        let other = SealedFile::new(2, 101, &vec![batch(1, b'}'); 100]);
        assert!(!found.holds(&other.segment, 3));
        let mut places = Places::scattered();
        assert!(places.find(&file.segment, 3));
        let found = places.resident.as_ref().unwrap();
        assert!(found.holds(&file.segment, 3) && !found.holds(&file.segment, 4));
    }
}
