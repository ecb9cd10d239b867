//! One core's view of all changes: sealed segments, shared by every core, and
//! the newest batches in memory. It is brought up to date by messages and read
//! without locks.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use crate::base::{batch::NumberedBatch, ids::ChangeId};

use super::{CheckpointedChanges, SealedSegment};

/// The newest batches stay in memory up to this many bytes, and longer while
/// their segment is not sealed.
pub const RECENT_BYTES: usize = 32 << 20;

/// All changes as one core sees them.
pub struct History {
    /// Invariant: ascending and without a gap from `first` on.
    sealed: Vec<Arc<SealedSegment>>,
    /// Invariant: ascending, without a gap, up to `last`; together with
    /// `sealed` it covers every change held.
    recent: VecDeque<NumberedBatch>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    first: ChangeId,
    last: ChangeId,
    /// Changes below `first` that are current versions of keys.
    checkpointed: Option<Arc<CheckpointedChanges>>,
}

/// The batch that holds a change.
pub enum Located<'a> {
    /// In memory.
    Recent(&'a NumberedBatch),
    /// In a sealed segment.
    Sealed(&'a Arc<SealedSegment>),
    /// In a checkpoint, as it is sent: there.
    Checkpointed(&'a Arc<CheckpointedChanges>, Range<usize>),
}

impl Default for History {
    fn default() -> Self {
        Self::new(RECENT_BYTES)
    }
}

impl History {
    /// An empty history that keeps `recent_bytes_max` bytes of sealed batches
    /// in memory.
    #[must_use]
    pub fn new(recent_bytes_max: usize) -> Self {
        Self {
            sealed: Vec::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_bytes_max,
            first: ChangeId(1),
            last: ChangeId::ZERO,
            checkpointed: None,
        }
    }

    /// Begins after the change `last`, of those before it with `checkpointed` alone.
    ///
    /// # Panics
    /// If there is something in it.
    pub fn begin_after(&mut self, last: ChangeId, checkpointed: Option<Arc<CheckpointedChanges>>) {
        assert!(self.last == ChangeId::ZERO, "only an empty history has no beginning yet");
        (self.first, self.last, self.checkpointed) = (last.next(), last, checkpointed);
    }

    /// Forgets the changes below `first`, but for those in `checkpointed`.
    pub fn purge(&mut self, first: ChangeId, checkpointed: Arc<CheckpointedChanges>) {
        let gone = self.sealed.partition_point(|segment| segment.last() < first);
        self.sealed.drain(..gone);
        self.first = self.first.max(first);
        self.checkpointed = Some(checkpointed);
    }

    /// The oldest change held; one past [`last`](Self::last) when there is none.
    #[must_use]
    pub fn first(&self) -> ChangeId {
        self.first
    }

    /// The newest change that is gone once one more segment is purged.
    #[must_use]
    pub fn purged_next(&self) -> ChangeId {
        let purged = ChangeId(self.first.0 - 1);
        self.sealed.first().map_or(purged, |oldest| oldest.last().max(purged))
    }

    /// The newest change; [`ChangeId::ZERO`] before the first.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.last
    }

    /// Adds a batch that has accepted changes.
    ///
    /// # Panics
    /// If it does not follow the newest change, or has none.
    pub fn push(&mut self, batch: NumberedBatch) {
        assert_eq!(batch.first, self.last.next(), "batches arrive in order");
        assert!(batch.changes() > 0, "a batch without changes is found by none");
        let follows = self.recent.back().is_none_or(|before| before.last() == self.last);
        assert!(follows, "the newest batch in memory ends with the newest change");
        self.last = batch.last();
        self.recent_bytes += batch.batch.bytes().len();
        self.recent.push_back(batch);
        self.evict();
    }

    /// Takes in a segment that was sealed. On a start, segments arrive before
    /// any batch; later, after the batches that they hold. One that was written anew
    /// takes the place of the one before.
    ///
    /// # Panics
    /// If it does not follow the segment before it.
    pub fn add_segment(&mut self, segment: Arc<SealedSegment>) {
        let at = self.sealed.partition_point(|held| held.sequence < segment.sequence);
        if let Some(held) = self.sealed.get_mut(at) {
            // It was purged meanwhile when another stands there.
            if held.sequence == segment.sequence {
                *held = segment;
            }
            return;
        }
        if let Some(before) = self.sealed.last() {
            assert_eq!(segment.first(), before.last().next(), "segments arrive in order");
        } else {
            // The first one may begin before what is held.
            assert!(segment.first() <= self.first, "no change is missing");
        }
        self.last = self.last.max(segment.last());
        self.sealed.push(segment);
        self.evict();
    }

    /// Drops the oldest batches beyond the memory bound, as far as they are
    /// found in a sealed segment.
    fn evict(&mut self) {
        let sealed_last = self.sealed.last().map_or(ChangeId::ZERO, |segment| segment.last());
        while self.recent_bytes > self.recent_bytes_max
            && let Some(oldest) = self.recent.front()
            && oldest.first <= sealed_last
        {
            self.recent_bytes -= oldest.batch.bytes().len();
            self.recent.pop_front();
        }
    }

    /// Where `id` is found; `None` when it is not held.
    #[must_use]
    pub fn locate(&self, id: ChangeId) -> Option<Located<'_>> {
        if id < self.first {
            let checkpointed = self.checkpointed.as_ref()?;
            return Some(Located::Checkpointed(checkpointed, checkpointed.range(id)?));
        }
        if id > self.last {
            return None;
        }
        if let Some(n) = self.recent.partition_point(|batch| batch.first <= id).checked_sub(1) {
            return Some(Located::Recent(&self.recent[n]));
        }
        let n = self.sealed.partition_point(|segment| segment.last() < id);
        Some(Located::Sealed(self.sealed.get(n)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::batch::Batch,
        state::testing::{SealedFile, batch, numbered},
    };
    use std::os::unix::fs::FileExt;

    fn sealed(sequence: u64, first: u64, batches: &[Batch]) -> Arc<SealedSegment> {
        SealedFile::new(sequence, first, batches).segment
    }

    fn mark(history: &History, id: u64) -> Option<u8> {
        let id = ChangeId(id);
        Some(match history.locate(id)? {
            Located::Recent(batch) => batch.change(id).suffix[0],
            Located::Sealed(segment) => {
                let found = segment.find_on_disk(id).unwrap();
                segment.batch(&found).unwrap().change(id).suffix[0]
            }
            Located::Checkpointed(checkpointed, _) => checkpointed.change(id).unwrap()[0],
        })
    }

    #[test]
    fn each_change_is_found_before_and_after_its_segment_is_sealed() {
        let batches = [batch(2, b'a'), batch(3, b'b'), batch(1, b'c')];
        let mut history = History::new(0);
        assert_eq!(mark(&history, 1), None);
        for (first, batch) in [1, 3, 6].into_iter().zip(&batches) {
            history.push(numbered(first, batch.clone()));
        }
        let all = |history: &History| (0..=7).map(|id| mark(history, id)).collect::<Vec<_>>();
        let want = [b'a', b'a', b'b', b'b', b'b', b'c'].map(Some);
        assert_eq!(all(&history)[1..7], want);
        history.add_segment(sealed(1, 1, &batches[..2]));
        assert_eq!(history.recent.len(), 1, "sealed batches leave memory");
        assert_eq!(all(&history)[1..7], want);
        assert_eq!((all(&history)[0], all(&history)[7]), (None, None));
    }

    #[test]
    fn a_start_from_sealed_segments_goes_on_where_they_end() {
        let mut history = History::default();
        history.add_segment(sealed(1, 1, &[batch(2, b'a')]));
        history.add_segment(sealed(2, 3, &[batch(1, b'b')]));
        history.push(numbered(4, batch(1, b'c')));
        assert_eq!([1, 3, 4].map(|id| mark(&history, id)), [b'a', b'b', b'c'].map(Some));
        assert_eq!((history.first(), history.last()), (ChangeId(1), ChangeId(4)));
    }

    #[test]
    fn damage_in_a_sealed_segment_is_noticed_when_read() {
        let file = SealedFile::new(9, 1, &[batch(1, b'a')]);
        let segment = &file.segment;
        let found = segment.find_on_disk(ChangeId(1)).unwrap();
        let range = found.range();
        file.open().write_all_at(b"x", range.end as u64 - 1).unwrap();
        let offset = range.end - batch(1, b'a').bytes().len();
        let error = segment.batch(&found).map(drop).unwrap_err().to_string();
        let file = crate::log::file_name(9);
        let want = format!(
            "{file} is damaged at byte {offset}: it does not match its checksum and its entry"
        );
        assert_eq!(error, want);
    }
}
