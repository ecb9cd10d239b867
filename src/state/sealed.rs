//! A sealed segment as readers see it: mapped bytes and the place of each
//! committed batch in them. Immutable, shared by all cores.

use std::{fmt::Display, ops::Range, sync::Arc};

use crate::{
    base::{
        batch::{Batch, NumberedBatch, Skips},
        ids::ChangeId,
        planted::planted,
    },
    io::map::Mapping,
    log::{
        Place, file_name,
        format::{FRAME_HEAD_BYTES, checked_payload, frame_range},
    },
};

use super::Damaged;

/// One committed batch within a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// The id of its first change.
    pub first: ChangeId,
    /// Where its bytes start in the file.
    pub offset: u32,
    /// How many they are.
    pub bytes: u32,
    /// The index of its entry in the log, which its bytes must name.
    pub index: u64,
}

impl SealedBatch {
    /// The batch of the entry `index`, which starts with the change `first` and lies at `place`.
    #[must_use]
    pub fn new(index: u64, first: ChangeId, place: Place) -> Self {
        Self { first, offset: place.offset, bytes: place.bytes, index }
    }
}

/// A segment that is written no more, with the places of its batches.
pub struct SealedSegment {
    /// Its number in the log.
    pub sequence: u64,
    /// Invariant: not empty, `first` ascends.
    batches: Vec<SealedBatch>,
    /// What was refused of batches, by their number. Invariant: sorted by it;
    /// batches that are not in it were accepted whole.
    skips: Vec<(u32, Skips)>,
    last: ChangeId,
    map: Arc<Mapping>,
}

impl SealedSegment {
    /// A segment that holds `batches`, the last of which ends with the change
    /// `last`. `skips` says what was refused of some, by their number.
    ///
    /// # Panics
    /// If `batches` is empty or does not ascend.
    #[must_use]
    pub fn new(
        sequence: u64,
        batches: Vec<SealedBatch>,
        skips: Vec<(u32, Skips)>,
        last: ChangeId,
        map: Mapping,
    ) -> Self {
        assert!(batches.is_sorted_by_key(|batch| batch.first), "batches ascend");
        assert!(skips.is_sorted_by_key(|(n, _)| *n), "so does what was refused");
        assert!(batches.last().is_some_and(|batch| batch.first <= last), "there is a batch");
        Self { sequence, batches, skips, last, map: Arc::new(map) }
    }

    /// The id of its first change.
    #[must_use]
    pub fn first(&self) -> ChangeId {
        self.batches[0].first
    }

    /// The id of its last change.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.last
    }

    /// The number of the batch that holds `id`, or `None` outside of it.
    #[must_use]
    pub fn batch_of(&self, id: ChangeId) -> Option<usize> {
        if id > self.last {
            return None;
        }
        self.batches.partition_point(|batch| batch.first <= id).checked_sub(1)
    }

    /// How many batches it holds.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// The byte range that reading batch `n` touches: its frame.
    #[must_use]
    pub fn range(&self, n: usize) -> Range<usize> {
        frame_range(self.place(n))
    }

    fn place(&self, n: usize) -> Place {
        let SealedBatch { offset, bytes, .. } = self.batches[n];
        Place { segment: self.sequence, offset, bytes }
    }

    /// The mapped file, for residency and advice.
    #[must_use]
    pub fn map(&self) -> &Arc<Mapping> {
        &self.map
    }

    fn numbered<'s>(&self, n: usize, batch: Batch<&'s [u8]>) -> NumberedBatch<&'s [u8]> {
        let skips = match self.skips.binary_search_by_key(&(n as u32), |(n, _)| *n) {
            Ok(at) => self.skips[at].1.clone(),
            Err(_) => Skips::default(),
        };
        NumberedBatch { first: self.batches[n].first, batch, skips }
    }

    /// The id of the last change of batch `n`.
    #[must_use]
    pub fn last_of(&self, n: usize) -> ChangeId {
        self.batches.get(n + 1).map_or(self.last, |next| ChangeId(next.first.0 - 1))
    }

    /// What to say of batch `n`, which cannot be read for that reason.
    #[must_use]
    pub fn damaged(&self, n: usize, reason: &dyn Display) -> Damaged {
        let SealedBatch { first, offset, .. } = self.batches[n];
        let (file, reason) = (file_name(self.sequence), reason.to_string());
        Damaged { file, offset: offset.into(), first, last: self.last_of(n), reason }
    }

    /// Batch `n` with its ids. Touches the pages of
    /// [`range`](Self::range): see that they are resident.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not those that were written.
    pub fn batch(&self, n: usize) -> Result<NumberedBatch<&[u8]>, Damaged> {
        // A disk may rot after the start.
        let frame = self.map.get(self.range(n));
        let bytes = frame
            .and_then(|frame| match planted!(ServeUnverified) {
                true => frame.get(FRAME_HEAD_BYTES..),
                false => checked_payload(frame, self.batches[n].index),
            })
            .ok_or_else(|| self.damaged(n, &"it does not match its checksum and its entry"))?;
        let batch = Batch::parse(bytes).map_err(|error| self.damaged(n, &error))?;
        let batch = self.numbered(n, batch);
        match batch.last() == self.last_of(n) {
            true => Ok(batch),
            false => Err(self.damaged(n, &"another batch stands there")),
        }
    }

    /// The same of a batch that was given before, without looking at the
    /// checksum again: for bytes that have stayed in memory since.
    pub(super) fn batch_checked_before(&self, n: usize) -> Option<NumberedBatch<&[u8]>> {
        let SealedBatch { offset, bytes, .. } = self.batches[n];
        let payload = self.map.get(offset as usize..offset as usize + bytes as usize)?;
        Some(self.numbered(n, Batch::parsed_before(payload)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{SealedFile, batch, frame};
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_frame_of_another_entry_is_damage_although_it_is_sound() {
        let file = SealedFile::new(1, 1, &[batch(1, b'a'), batch(1, b'b')]);
        let range = file.segment.range(1);
        let mut moved = frame(&batch(1, b'c'));
        assert_eq!(moved.len(), range.len());
        file.open().write_all_at(&moved, range.start as u64).unwrap();
        assert_eq!(file.segment.batch(1).unwrap().change(ChangeId(2)).suffix, b"c");
        moved[16] += 1;
        let checksum = crc32c::crc32c(&moved[4..]);
        moved[..4].copy_from_slice(&checksum.to_le_bytes());
        file.open().write_all_at(&moved, range.start as u64).unwrap();
        let damaged = file.segment.batch(1).map(drop).unwrap_err();
        assert_eq!((damaged.first, damaged.last), (ChangeId(2), ChangeId(2)));
        assert!(file.segment.batch(0).is_ok());
    }

    #[test]
    fn a_batch_with_another_number_of_changes_is_damage() {
        let file = SealedFile::new(1, 1, &[batch(3, b'a'), batch(1, b'b')]);
        let start = file.segment.range(0).start as u64;
        let mut other = frame(&batch(2, b'c'));
        other.resize(file.segment.range(0).len(), 0);
        file.open().write_all_at(&other, start).unwrap();
        assert!(file.segment.batch(0).is_err());
        assert_eq!(file.segment.last_of(0), ChangeId(3));
        assert_eq!(file.segment.last_of(1), ChangeId(4));
    }
}
