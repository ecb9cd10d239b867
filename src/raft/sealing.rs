//! Applied batches on their way into sealed segments, where readers find them.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    base::{
        batch::{NumberedBatch, Skips},
        ids::ChangeId,
    },
    feed::Fanout,
    io::{Disk, Files, map::Mapping},
    log::{Log, Place, Sealed},
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
                found.batches.push(SealedBatch::new(batch.index, batch.first, place));
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

/// Applied batches that wait for their segments to be sealed, and the segments that were.
pub(super) struct Sealing {
    /// Invariant: indices ascend, up to that of the newest batch applied.
    unsealed: VecDeque<Unsealed>,
    /// Sealed segments whose last entry is not applied yet, or which could not
    /// be mapped yet.
    sealed: VecDeque<Sealed>,
    /// Sealed segments that are wholly applied, in order.
    ended: VecDeque<SegmentEnd>,
    /// How far the list goes with the newest of them, purged or not.
    ended_at: Position,
}

impl Sealing {
    /// At a start, when the segments before the active one `ended`, the active one has the
    /// batches `unsealed`, and the list began to be read at `begun`.
    pub(super) fn new(
        unsealed: VecDeque<Unsealed>,
        ended: VecDeque<SegmentEnd>,
        begun: Position,
    ) -> Self {
        let ended_at = ended.back().map_or(begun, |end| end.position);
        Self { unsealed, sealed: VecDeque::new(), ended, ended_at }
    }

    /// Sealed segments that are wholly applied, in order.
    pub(super) fn ended(&self) -> impl Iterator<Item = SegmentEnd> {
        self.ended.iter().copied()
    }

    /// The batches that no published segment holds.
    #[cfg(test)]
    pub(super) fn unsealed(&self) -> impl Iterator<Item = &Unsealed> {
        self.unsealed.iter()
    }

    /// Takes in a batch that was applied.
    pub(super) fn push(&mut self, batch: Unsealed) {
        let ascends = self.unsealed.back().is_none_or(|before| before.index < batch.index);
        assert!(ascends, "batches are sealed in the order of the log");
        self.unsealed.push_back(batch);
    }

    /// Forgets the segments whose entries are purged up to `index`. One that has entries
    /// beyond is needed for the next checkpoint.
    pub(super) fn purge(&mut self, index: u64) {
        while self.ended.front().is_some_and(|end| end.index <= index) {
            self.ended.pop_front();
        }
    }

    /// Publishes the segments that are sealed and wholly applied, as far as one can be
    /// mapped. Entries are applied up to `applied`, and purged up to `purged`.
    pub(super) fn publish<D: Disk>(
        &mut self,
        log: &Log<D>,
        fanout: &Fanout,
        applied: Option<u64>,
        purged: Option<u64>,
    ) {
        self.sealed.extend(log.take_sealed());
        while let Some(sealed) = self.sealed.front() {
            // Of its last entries some may have been removed since it was sealed, and
            // stand in a later segment with other content.
            let last_index = last_index_in(log, sealed);
            if applied < last_index {
                return;
            }
            let batches = batches_of(log, sealed.sequence, &self.unsealed);
            let (count, position) = (batches.count(), batches.position());
            if !batches.is_empty() {
                let map = match log.files().map(&sealed.file) {
                    Ok(map) => map,
                    Err(error) => {
                        // The batches stay in memory until it works.
                        tracing::warn!(segment = sealed.file, %error, "cannot map a sealed segment");
                        return;
                    }
                };
                if let Some(segment) = batches.into_segment(sealed.sequence, map) {
                    fanout.publish_segment(&Arc::new(segment));
                }
            }
            self.unsealed.drain(..count);
            if let Some(last) = last_index {
                log.release(last);
            }
            // After a start, those that were replayed come once more. One without
            // entries has nothing to purge.
            let known = self.ended.back().map(|end| end.index).max(purged);
            if let Some(index) = last_index
                && known.is_none_or(|known| known < index)
            {
                self.ended_at = position.unwrap_or(self.ended_at);
                let (sequence, position) = (sealed.sequence, self.ended_at);
                self.ended.push_back(SegmentEnd { sequence, index, position });
            }
            self.sealed.pop_front();
        }
    }
}

/// The last entry of the log that a sealed segment holds now.
fn last_index_in<D: Disk>(log: &Log<D>, sealed: &Sealed) -> Option<u64> {
    let (first, last) = sealed.indexes?;
    let holds =
        |index: &u64| log.place(*index).is_some_and(|place| place.segment == sealed.sequence);
    (first..=last).rev().find(holds)
}

/// The oldest unsealed batches, as far as they lie in the segment `sequence`.
fn batches_of<D: Disk>(
    log: &Log<D>,
    sequence: u64,
    unsealed: &VecDeque<Unsealed>,
) -> SegmentBatches {
    let place = |batch: &Unsealed| log.place(batch.index).filter(|place| place.segment == sequence);
    SegmentBatches::of(unsealed.iter().map_while(|batch| Some((batch, place(batch)?))))
}
