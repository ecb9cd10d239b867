//! Applied batches on their way into sealed segments with an index, where readers find them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Weak},
};

use super::{
    fold::Fold,
    segment_index::{Complete, SegmentIndex},
    standing::Standing,
};
use crate::{
    base::{
        batch::{Erasure, NumberedBatch, Previous, Skips},
        ids::{ChangeId, LogId, Timestamp},
    },
    feed::Fanout,
    io::Disk,
    log::{Log, Sealed},
    state::{Position, SealedSegment, index::Redactions},
};

/// The last entry of a segment, and how far the list goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    pub(super) sequence: u64,
    pub(super) index: u64,
    pub(super) position: Position,
}

/// What was refused of a batch, and what its changes replaced; nothing where none was accepted.
pub(super) type Decided = Option<(Skips, Previous)>;

/// Where the first change stamped later is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// It is, or would be, this one.
    At(ChangeId),
    /// It is in the segment of that number.
    In(u64),
}

/// What a start leaves to be done.
#[derive(Default)]
pub(super) struct Unsealed {
    /// Applied batches, with the indexes of their entries.
    pub(super) batches: VecDeque<(u64, NumberedBatch)>,
    /// Segments whose last entries were not applied.
    pub(super) sealed: VecDeque<Sealed>,
    /// Segments whose index could not be written.
    pub(super) complete: VecDeque<Arc<Complete>>,
    /// Those that have one.
    pub(super) ended: VecDeque<SegmentEnd>,
    /// What readers are given of them.
    pub(super) given: Vec<Weak<SealedSegment>>,
    /// Where Raft stands after the newest of them.
    pub(super) newest: Option<(SegmentEnd, Standing)>,
}

/// Applied batches that wait for their segments to have an index, and the segments that have.
pub(super) struct Sealing {
    /// Invariant: indices ascend, up to that of the newest batch applied.
    batches: VecDeque<(u64, NumberedBatch)>,
    /// Sealed segments whose last entry is not applied yet.
    sealed: VecDeque<Sealed>,
    /// Sealed segments that are wholly applied, and have no index yet.
    complete: VecDeque<Arc<Complete>>,
    /// Sealed segments that have an index, in order.
    ended: VecDeque<SegmentEnd>,
    /// What readers are given of those with changes, by their numbers.
    given: BTreeMap<u64, Weak<SealedSegment>>,
    /// The newest of them, and where Raft stands after it.
    newest: Option<(SegmentEnd, Standing)>,
}

impl Sealing {
    pub(super) fn new(unsealed: Unsealed) -> Self {
        let Unsealed { batches, sealed, complete, ended, given, newest } = unsealed;
        let given = given.into_iter().filter_map(|weak| Some((weak.upgrade()?.sequence, weak)));
        let given = given.collect();
        Self { batches, sealed, complete, ended, given, newest }
    }

    /// What readers are given of a segment that has an index and changes.
    pub(super) fn given(&self, sequence: u64) -> Option<Arc<SealedSegment>> {
        self.given.get(&sequence)?.upgrade()
    }

    /// Takes note that readers are given this.
    pub(super) fn give(&mut self, segment: &Arc<SealedSegment>) {
        self.given.insert(segment.sequence, Arc::downgrade(segment));
    }

    /// The newest segment that has an index, and where Raft stands after it.
    pub(super) fn newest(&self) -> Option<(SegmentEnd, &Standing)> {
        self.newest.as_ref().map(|(end, standing)| (*end, standing))
    }

    /// Sealed segments that have an index, in order.
    pub(super) fn ended(&self) -> impl Iterator<Item = SegmentEnd> {
        self.ended.iter().copied()
    }

    /// Whether something complete has no index yet.
    pub(super) fn awaits_index(&self) -> bool {
        !self.sealed.is_empty() || !self.complete.is_empty()
    }

    /// What is to be erased of batches that no published segment holds, of entries in that range.
    pub(super) fn erasures(
        &self,
        entries: &RangeInclusive<u64>,
        redactions: &Redactions,
    ) -> Vec<(u64, Erasure)> {
        let complete = self.complete.iter().flat_map(|complete| &complete.batches);
        let asked = complete.chain(&self.batches).filter(|(index, _)| entries.contains(index));
        let erasure = |(index, batch): &(u64, NumberedBatch)| {
            let redacted = redactions.within(batch.first, batch.last());
            let number = |id: ChangeId| batch.place(id);
            let numbers: Vec<u32> = redacted.into_iter().filter_map(number).collect();
            (!numbers.is_empty()).then_some((*index, Erasure(numbers)))
        };
        asked.filter_map(erasure).collect()
    }

    /// How batches that no published segment holds were decided, of entries in that range.
    pub(super) fn decided(&self, entries: &RangeInclusive<u64>) -> HashMap<u64, Decided> {
        let complete = self.complete.iter().flat_map(|complete| &complete.batches);
        let asked = complete.chain(&self.batches).filter(|(index, _)| entries.contains(index));
        let decided = |batch: &NumberedBatch| {
            (batch.changes() > 0).then(|| (batch.skips.clone(), batch.previous.clone()))
        };
        asked.map(|(index, batch)| (*index, decided(batch))).collect()
    }

    /// Where the first change is that is stamped later than `at`, in a list that goes to `last`.
    pub(super) fn first_later(&self, at: Timestamp, last: ChangeId) -> Later {
        if let Some(end) = self.ended.iter().find(|end| end.position.last_at > at) {
            return Later::In(end.sequence);
        }
        let complete = self.complete.iter().flat_map(|complete| &complete.batches);
        let mut batches = complete.chain(&self.batches).map(|(_, batch)| batch);
        let later = batches.find(|batch| batch.changes() > 0 && batch.batch.at() > at);
        Later::At(later.map_or(last.next(), |batch| batch.first))
    }

    /// The batches that no published segment holds.
    #[cfg(test)]
    pub(super) fn unsealed(&self) -> impl Iterator<Item = (u64, &NumberedBatch)> {
        let complete = self.complete.iter().flat_map(|complete| &complete.batches);
        complete.chain(&self.batches).map(|(index, batch)| (*index, batch))
    }

    /// Takes in a batch that was applied.
    pub(super) fn push(&mut self, index: u64, batch: NumberedBatch) {
        let ascends = self.batches.back().is_none_or(|(before, _)| *before < index);
        assert!(ascends, "batches are sealed in the order of the log");
        self.batches.push_back((index, batch));
    }

    /// Forgets the segments whose entries are purged up to `index`. One that has entries
    /// beyond is needed for the next checkpoint.
    pub(super) fn purge(&mut self, index: u64) {
        while self.ended.front().is_some_and(|end| end.index <= index) {
            self.ended.pop_front();
        }
        self.given.retain(|_, segment| segment.strong_count() > 0);
    }

    /// The oldest segment without an index that is wholly applied, if there is one.
    pub(super) fn next<D: Disk>(&mut self, log: &Log<D>, fold: &mut Fold) -> Option<Arc<Complete>> {
        self.sealed.extend(log.take_sealed());
        if self.complete.is_empty()
            && let Some(sealed) = self.sealed.front()
        {
            // Of its last entries some may have been removed since it was sealed, and
            // stand in a later segment with other content.
            let last = last_in(log, sealed).map(|id| id.index);
            if fold.applied().map(|id| id.index) < last {
                return None;
            }
            let sealed = self.sealed.pop_front()?;
            let mut batches = Vec::new();
            while let Some(batch) = self.batches.pop_front_if(|(index, _)| Some(*index) <= last) {
                batches.push(batch);
            }
            let (noted, standing) = fold.take_ended(sealed.sequence);
            let identity = log.identity();
            let complete = Complete { identity, sealed, batches, noted, standing };
            self.complete.push_back(Arc::new(complete));
        }
        self.complete.front().cloned()
    }

    /// Publishes the oldest segment without an index, which has got this one. Entries are purged
    /// up to `purged`.
    pub(super) fn publish<D: Disk>(
        &mut self,
        index: &SegmentIndex,
        log: &Log<D>,
        fold: &Fold,
        fanout: &Fanout,
        purged: Option<u64>,
    ) {
        let Some(complete) = self.complete.pop_front() else { return };
        let sequence = complete.sealed.sequence;
        assert_eq!(sequence, index.log.run.segment(), "segments get their index in order");
        match &index.segment {
            Some(segment) => {
                fanout.publish_segment(segment);
                fold.seal(segment);
                self.give(segment);
            }
            None => fold.state().index().forget_segment(sequence),
        }
        let last = last_in(log, &complete.sealed).map(|id| id.index);
        log.adopt(&index.log.run);
        // One without entries has nothing to purge.
        let Some(last) = last else { return };
        log.release(last);
        let known = self.ended.back().map(|end| end.index).max(purged);
        if known.is_none_or(|known| known < last) {
            let end = SegmentEnd { sequence, index: last, position: index.position };
            self.ended.push_back(end);
            self.newest = Some((end, index.standing.clone()));
        }
    }
}

/// The last entry of the log that a sealed segment holds now.
pub(super) fn last_in<D: Disk>(log: &Log<D>, sealed: &Sealed) -> Option<LogId> {
    let mut held = sealed.entries.iter().rev().map(|(id, _)| *id);
    held.find(|id| log.id(id.index) == Some(*id) && log.segment(id.index) == Some(sealed.sequence))
}
