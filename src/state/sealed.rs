//! A sealed segment as readers see it: mapped bytes and the place of each
//! committed batch in them. Immutable, shared by all cores.

use std::{ops::Range, sync::Arc};

use crate::{
    base::{
        batch::{Batch, BatchError},
        ids::ChangeId,
    },
    io::map::Mapping,
    log::{
        Place,
        format::{checked_payload, frame_range},
    },
};

/// One committed batch within a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// The id of its first change.
    pub first: ChangeId,
    /// Where its bytes start in the file.
    pub offset: u32,
    /// How many they are.
    pub bytes: u32,
}

impl SealedBatch {
    /// The batch that starts with the change `first` and lies at `place`.
    #[must_use]
    pub fn new(first: ChangeId, place: Place) -> Self {
        Self { first, offset: place.offset, bytes: place.bytes }
    }
}

/// See the module.
pub struct SealedSegment {
    /// Its number in the log.
    pub sequence: u64,
    /// Invariant: not empty, `first` ascends.
    batches: Vec<SealedBatch>,
    last: ChangeId,
    map: Arc<Mapping>,
}

/// A batch on disk that is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("segment {sequence} is damaged at byte {offset}: {reason}")]
pub struct Damaged {
    /// The segment's number.
    pub sequence: u64,
    /// Where the batch starts in it.
    pub offset: u32,
    reason: String,
}

impl SealedSegment {
    /// A segment that holds `batches`, the last of which ends with the change
    /// `last`.
    ///
    /// # Panics
    /// If `batches` is empty or does not ascend.
    #[must_use]
    pub fn new(sequence: u64, batches: Vec<SealedBatch>, last: ChangeId, map: Mapping) -> Self {
        assert!(batches.is_sorted_by_key(|batch| batch.first), "batches ascend");
        assert!(batches.last().is_some_and(|batch| batch.first <= last), "there is a batch");
        Self { sequence, batches, last, map: Arc::new(map) }
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

    /// Batch `n` with the id of its first change. Touches the pages of
    /// [`range`](Self::range): see that they are resident.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not those that were written.
    pub fn batch(&self, n: usize) -> Result<(ChangeId, Batch<&[u8]>), Damaged> {
        let SealedBatch { first, offset, .. } = self.batches[n];
        let damaged = |reason: String| Damaged { sequence: self.sequence, offset, reason };
        // A disk may rot after the start.
        let frame = self.map.get(self.range(n));
        let bytes = frame
            .and_then(checked_payload)
            .ok_or_else(|| damaged("it does not match its checksum".into()))?;
        let batch = Batch::parse(bytes).map_err(|error: BatchError| damaged(error.to_string()))?;
        Ok((first, batch))
    }

    /// The same of a batch that was given before, without looking at the
    /// checksum again: for bytes that have stayed in memory since.
    pub(super) fn batch_checked_before(&self, n: usize) -> Option<(ChangeId, Batch<&[u8]>)> {
        let SealedBatch { first, offset, bytes } = self.batches[n];
        let payload = self.map.get(offset as usize..offset as usize + bytes as usize)?;
        Some((first, Batch::parsed_before(payload)?))
    }
}
