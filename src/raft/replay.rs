//! The start of a node: committed entries, as the log hands them over in
//! order, folded into the state and into what the serving cores start with.

use std::{io, sync::Arc};

use openraft::entry::RaftEntry;

use super::{
    fold::Fold,
    sealing::{SegmentBatches, SegmentEnd, Unsealed},
    types::{
        RaftLogId, StoredMembership, from_log, from_raft_id, membership_from_json, only_member,
        to_log, to_raft_id,
    },
};
use crate::{
    base::{
        batch::{Batch, NumberedBatch},
        ids::{ChangeId, LogId, NodeId},
        planted::planted,
    },
    checkpoint::{Checkpoint, CheckpointFile, store},
    io::{Files, map::Mapping},
    log::{self, Place},
    state::{CheckpointedChanges, History, Index, Position, SealedSegment},
};

/// A batch of the segment that is being read.
struct Open {
    unsealed: Unsealed,
    batch: NumberedBatch,
    place: Place,
}

/// A node's start so far. Holds the batches of one segment at a time in memory.
#[derive(Default)]
pub struct Replay {
    fold: Fold,
    /// The segments read to their ends.
    complete: Vec<(u64, SegmentBatches)>,
    open: Vec<Open>,
    /// The segments that entries came from, in order.
    segments: Vec<SegmentEnd>,
    /// The position that it began at.
    begun: Position,
    checkpoint: Option<(RaftLogId, StoredMembership)>,
    checkpointed: Option<Arc<CheckpointedChanges>>,
}

impl Replay {
    /// Takes in the next committed entry.
    ///
    /// # Errors
    /// When its payload cannot be read by this program.
    pub fn entry(&mut self, entry: &log::Entry, place: Place) -> io::Result<()> {
        if self.open.last().is_some_and(|open| open.place.segment != place.segment) {
            self.complete_segment();
        }
        let entry = from_log(entry)?;
        let id = entry.log_id();
        // What a checkpoint holds is not applied again.
        let is_held = self.fold.applied().is_some_and(|applied| id.index <= applied.index);
        if is_held && !planted!(ApplyTwiceAfterCheckpoint) {
            return Ok(());
        }
        let batch = self.fold.entry(entry).batch;
        let position = self.fold.position();
        if let Some(batch) = batch {
            let unsealed = Unsealed::new(id.index, &batch, position);
            self.open.push(Open { unsealed, batch, place });
        }
        let end = SegmentEnd { sequence: place.segment, index: id.index, position };
        match self.segments.last_mut() {
            Some(last) if last.sequence == place.segment => *last = end,
            _ => self.segments.push(end),
        }
        Ok(())
    }

    fn complete_segment(&mut self) {
        let Some(sequence) = self.open.first().map(|open| open.place.segment) else { return };
        let batches = self.open.iter().map(|open| (&open.unsealed, open.place));
        self.complete.push((sequence, SegmentBatches::of(batches)));
        self.open.clear();
    }

    /// What every serving core starts with. `active` is the segment that the
    /// log goes on writing; those before it are mapped.
    ///
    /// # Errors
    /// When a segment cannot be mapped.
    pub fn finish(&mut self, active: u64, files: &impl Files) -> io::Result<Recovered> {
        if self.open.last().is_some_and(|open| open.place.segment != active) {
            self.complete_segment();
        }
        let complete = self.complete.drain(..).filter(|(_, batches)| !batches.is_empty());
        let sealed = complete.map(|(sequence, batches)| {
            let map = files.map(&log::file_name(sequence))?;
            Ok(batches.into_segment(sequence, map).map(Arc::new))
        });
        let sealed: Vec<_> = sealed.collect::<io::Result<_>>()?;
        let recent = self.open.iter().filter(|open| open.batch.changes() > 0);
        Ok(Recovered {
            sealed: sealed.into_iter().flatten().collect(),
            recent: recent.map(|open| detached(&open.batch)).collect(),
            index: Arc::clone(self.fold.state().index()),
            begun: self.begun.last,
            checkpointed: self.checkpointed.clone(),
        })
    }

    /// What a node goes on from: the newest checkpoint of its directory.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn load(files: &impl Files) -> io::Result<Option<(CheckpointFile, Self)>> {
        let Some((file, checkpoint, map)) = store::load(files)? else { return Ok(None) };
        let name = file.name.clone();
        let replay = Self::from_checkpoint(name, checkpoint, map).map_err(|error| {
            let text = format!("the checkpoint {} cannot be used: {error}", file.name);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(Some((file, replay)))
    }

    fn from_checkpoint(file: String, checkpoint: Checkpoint, map: Mapping) -> io::Result<Self> {
        let Checkpoint { head, state, lines } = checkpoint;
        let (membership, highest) = membership_from_json(&head.raft)?;
        let applied = to_raft_id(head.log_id());
        let checkpoint = Some((applied, membership.clone()));
        let begun = state.position();
        let checkpointed = Some(Arc::new(CheckpointedChanges::new(file, lines, map)));
        let fold = Fold::from_checkpoint(state, applied, membership, highest);
        Ok(Self { fold, begun, checkpoint, checkpointed, ..Self::default() })
    }

    /// An entry that makes `node`, which must be a member, the only one.
    ///
    /// # Errors
    /// When it is none.
    pub fn only_member(&self, node: NodeId, id: LogId) -> io::Result<log::Entry> {
        let membership = self.fold.membership().membership();
        let address = membership.get_node(&node).cloned().ok_or_else(|| {
            io::Error::other(format!("node {node} is not a member of its cluster"))
        })?;
        to_log(only_member(node, address, to_raft_id(id))?)
    }

    /// The last entry taken in, those that the checkpoint stands for included.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.fold.applied().as_ref().map(from_raft_id)
    }

    /// The oldest change held; one past [`last`](Self::last) when there is none.
    #[must_use]
    pub fn first(&self) -> ChangeId {
        self.begun.last.next()
    }

    /// The newest change; [`ChangeId::ZERO`] before the first.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.fold.position().last
    }

    /// The entry and the membership of the checkpoint that it began from.
    pub(super) fn checkpoint(&self) -> Option<(RaftLogId, StoredMembership)> {
        self.checkpoint.clone()
    }

    /// The checkpoint that it began from, as a file.
    pub(super) fn checkpointed(&self) -> Option<Arc<CheckpointedChanges>> {
        self.checkpointed.clone()
    }

    /// The position that it began at.
    pub(super) fn begun(&self) -> Position {
        self.begun
    }

    /// The segments that entries came from, in order.
    pub(super) fn segments(&self) -> &[SegmentEnd] {
        &self.segments
    }

    /// What the entries amount to.
    pub(super) fn fold(&self) -> &Fold {
        &self.fold
    }

    /// The same, taken out, with the batches of the active segment.
    pub(super) fn into_parts(self) -> (Fold, impl Iterator<Item = Unsealed>) {
        (self.fold, self.open.into_iter().map(|open| open.unsealed))
    }
}

/// The batch in memory of its own: what was replayed is a part of a whole
/// segment, which it would keep.
fn detached(batch: &NumberedBatch) -> NumberedBatch {
    let bytes = bytes::Bytes::copy_from_slice(batch.batch.bytes());
    let copy = Batch::parsed_before(bytes).expect("a copy of a batch has its header");
    NumberedBatch { first: batch.first, batch: copy, skips: batch.skips.clone() }
}

/// What a serving core starts with; may be sent to it.
#[derive(Clone, Default)]
pub struct Recovered {
    sealed: Vec<Arc<SealedSegment>>,
    recent: Vec<NumberedBatch>,
    index: Arc<Index>,
    begun: ChangeId,
    checkpointed: Option<Arc<CheckpointedChanges>>,
}

impl Recovered {
    /// The history that it describes.
    #[must_use]
    pub fn history(self) -> History {
        let mut history = History::default();
        history.begin_after(self.begun, self.checkpointed);
        self.sealed.into_iter().for_each(|segment| history.add_segment(segment));
        self.recent.into_iter().for_each(|batch| history.push(batch));
        history
    }

    /// What changes are found by.
    #[must_use]
    pub fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }
}
