//! Applied batches on their way into sealed segments, where readers find them.

use crate::{
    base::{
        batch::{NumberedBatch, Skips},
        ids::ChangeId,
    },
    io::map::Mapping,
    log::Place,
    state::{Position, SealedBatch, SealedSegment},
};

/// An applied batch that no published segment holds yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsealed {
    /// Its index in the Raft log.
    pub(super) index: u64,
    /// The id of its first change, if it has an accepted one.
    first: ChangeId,
    skips: Skips,
    /// How far the list goes with it.
    position: Position,
}

impl Unsealed {
    /// The batch of the entry `index`, after which the list goes to `position`.
    pub(super) fn new(index: u64, batch: &NumberedBatch, position: Position) -> Self {
        let (first, skips) = (batch.first, batch.skips.clone());
        assert_eq!(
            batch.last(),
            position.last,
            "the newest change is the last of the newest batch"
        );
        Self { index, first, skips, position }
    }

    /// Whether it has an accepted change.
    fn has_changes(&self) -> bool {
        self.first <= self.position.last
    }
}

/// The last entry of a segment, and how far the list goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    pub(super) sequence: u64,
    pub(super) index: u64,
    pub(super) position: Position,
}

/// The batches of one segment.
pub(super) struct SegmentBatches {
    /// Where those with changes lie.
    batches: Vec<SealedBatch>,
    /// What was refused of some, by their number.
    skips: Vec<(u32, Skips)>,
    /// How far the list goes with the last of all; nothing where there is none.
    position: Option<Position>,
    /// How many there are, those without changes included.
    count: usize,
}

impl SegmentBatches {
    /// Batches in order, each with its place.
    pub(super) fn of<'u>(all: impl IntoIterator<Item = (&'u Unsealed, Place)>) -> Self {
        let mut found = Self { batches: Vec::new(), skips: Vec::new(), position: None, count: 0 };
        for (batch, place) in all {
            if batch.has_changes() {
                if batch.skips.refused() > 0 {
                    found.skips.push((found.batches.len() as u32, batch.skips.clone()));
                }
                found.batches.push(SealedBatch::new(batch.first, place));
            }
            found.position = Some(batch.position);
            found.count += 1;
        }
        found
    }

    /// Whether readers find no change in them.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many there are, those without changes included.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How far the list goes with the last of them.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    /// The segment `sequence`, which is mapped; nothing when no change is in it.
    pub(super) fn into_segment(self, sequence: u64, map: Mapping) -> Option<SealedSegment> {
        let last = self.position?.last;
        let Self { batches, skips, .. } = self;
        (!batches.is_empty()).then(|| SealedSegment::new(sequence, batches, skips, last, map))
    }
}
