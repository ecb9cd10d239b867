//! What the state machine tells whoever erases what is redacted, and is told by it.

use std::{collections::HashMap, ops::RangeInclusive, rc::Rc, sync::Arc};

use tokio::sync::Mutex;

use super::StateMachine;
use crate::{
    base::{
        batch::Erasure,
        ids::{ChangeId, LogId},
        planted::planted,
    },
    io::Disk,
    raft::{sealing::Decided, segment_index::SegmentIndex, snapshot::Purged, types::from_raft_id},
    state::{CheckpointedChanges, Position, SealedSegment},
};

impl<D: Disk> StateMachine<D> {
    /// The checkpoint that stands for purged entries: the last of them, and the changes of keys that
    /// it holds.
    pub(in crate::raft) fn checkpointed(&self) -> Option<(LogId, Arc<CheckpointedChanges>)> {
        let inner = self.inner.borrow();
        let purged = inner.checkpoint.as_ref()?;
        Some((from_raft_id(&purged.last), Arc::clone(purged.file.as_ref()?)))
    }

    /// The last entry that the checkpoint stands for.
    pub(in crate::raft) fn checkpoint_id(&self) -> Option<LogId> {
        let inner = self.inner.borrow();
        inner.checkpoint.as_ref().map(|purged| from_raft_id(&purged.last))
    }

    /// Whether the checkpoint holds what is redacted and not erased yet.
    pub(in crate::raft) fn awaits_erasure_of_checkpoint(&self) -> bool {
        let Some((_, changes)) = self.checkpointed() else { return false };
        let waiting = self.index().redactions.waiting();
        waiting.iter().any(|id| changes.range(*id).is_some()) && !planted!(CopyRedactedCheckpoint)
    }

    /// Has the checkpoint of the entries up to `id`, if that is still the one, read by this file.
    pub(in crate::raft) fn replace_checkpoint(
        &self,
        id: LogId,
        changes: &Arc<CheckpointedChanges>,
    ) {
        let inner = &mut *self.inner.borrow_mut();
        let same = |purged: &&mut Purged| purged.last.index == id.index;
        let Some(purged) = inner.checkpoint.as_mut().filter(same) else { return };
        purged.file = Some(Arc::clone(changes));
        self.fanout.purge(purged.position.last.next(), changes);
    }

    /// Has it looked for what is redacted in the checkpoint: other bytes took the place of its own.
    pub(in crate::raft) fn look_again_in_checkpoint(&self) {
        let Some((_, held)) = self.checkpointed() else { return };
        let redactions = &self.index().redactions;
        redactions.look_again(self.purged_upto(), |id| held.range(id).is_some());
    }

    /// How far the list is purged; nothing when none of it is.
    pub(in crate::raft) fn purged_position(&self) -> Option<Position> {
        self.inner.borrow().checkpoint.as_ref().map(|purged| purged.position)
    }

    /// The newest change that is purged; [`ChangeId::ZERO`] when none is.
    pub(in crate::raft) fn purged_upto(&self) -> ChangeId {
        self.purged_position().map_or(ChangeId::ZERO, |purged| purged.last)
    }

    /// To be held by whoever makes a checkpoint.
    pub(in crate::raft) fn making_checkpoint(&self) -> &Rc<Mutex<()>> {
        &self.making_checkpoint
    }

    /// Whether a complete segment has no index yet.
    pub(in crate::raft) fn awaits_index(&self) -> bool {
        self.inner.borrow().sealing.awaits_index()
    }

    /// What is to be erased of entries in that range that are in no published segment.
    pub(in crate::raft) fn unsealed_erasures(
        &self,
        entries: &RangeInclusive<u64>,
    ) -> Vec<(u64, Erasure)> {
        let inner = self.inner.borrow();
        inner.sealing.erasures(entries, &inner.fold.state().index().redactions)
    }

    /// How entries in that range were decided that are in no published segment.
    pub(in crate::raft) fn unsealed_decided(
        &self,
        entries: &RangeInclusive<u64>,
    ) -> HashMap<u64, Decided> {
        self.inner.borrow().sealing.decided(entries)
    }

    /// Whether a segment has an index and is not purged.
    pub(in crate::raft) fn has_ended(&self, sequence: u64) -> bool {
        self.inner.borrow().sealing.ended().any(|end| end.sequence == sequence)
    }

    /// What readers are given of a segment that has an index and changes.
    pub(in crate::raft) fn given(&self, sequence: u64) -> Option<Arc<SealedSegment>> {
        self.inner.borrow().sealing.given(sequence)
    }

    /// Has readers find the changes of a segment by this index, and in the file that goes with it;
    /// `false` when it is purged.
    pub(in crate::raft) fn replace_sealed(&self, index: &SegmentIndex) -> bool {
        let sequence = index.log.run.segment();
        if !self.has_ended(sequence) {
            return false;
        }
        if let Some(segment) = &index.segment {
            let mut inner = self.inner.borrow_mut();
            self.fanout.publish_segment(segment);
            inner.fold.seal(segment);
            inner.sealing.give(segment);
        }
        self.log.adopt(&index.log.run);
        true
    }
}
