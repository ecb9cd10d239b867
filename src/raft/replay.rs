//! The start of a node: committed entries, as the log hands them over in
//! order, folded into the state and into what the serving cores start with.

use std::{io, sync::Arc};

use openraft::{EntryPayload, entry::RaftEntry};

use super::types::{
    RaftLogId, StoredMembership, from_log, highest_member, membership_from_json, to_raft_id,
};
use crate::{
    base::{
        batch::{Batch, NumberedBatch, Skips},
        ids::{ChangeId, NodeId, Timestamp},
    },
    checkpoint::{Checkpoint, CheckpointFile, store},
    io::{Files, map::Mapping},
    log::{self, Place},
    state::{Carried, History, Index, Position, SealedBatch, SealedSegment, State},
};

/// An applied batch with accepted changes that no published segment holds yet.
pub(super) struct Unsealed {
    /// The timestamp of its changes.
    pub(super) at: Timestamp,
    /// Its index in the Raft log.
    pub(super) index: u64,
    pub(super) first: ChangeId,
    pub(super) last: ChangeId,
    pub(super) skips: Skips,
}

/// A batch of the segment that is being read.
struct Open {
    index: u64,
    batch: NumberedBatch,
    place: Place,
}

/// A segment read to its end.
struct Complete {
    sequence: u64,
    batches: Vec<SealedBatch>,
    skips: Vec<(u32, Skips)>,
    last: ChangeId,
}

/// See the module. Holds the batches of one segment at a time in memory.
#[derive(Default)]
pub struct Replay {
    state: State,
    applied: Option<RaftLogId>,
    membership: StoredMembership,
    /// The highest number that a member ever had.
    highest: NodeId,
    /// A command was ever applied.
    is_written: bool,
    complete: Vec<Complete>,
    open: Vec<Open>,
    /// The segments that entries came from, in order.
    segments: Vec<SegmentEnd>,
    /// The position that it began at.
    begun: Position,
    checkpoint: Option<(RaftLogId, StoredMembership)>,
    carried: Option<Arc<Carried>>,
}

/// The last entry of a segment, and how far the list goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    pub(super) sequence: u64,
    pub(super) index: u64,
    pub(super) position: Position,
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
        if self.applied.is_some_and(|applied| id.index <= applied.index) {
            return Ok(());
        }
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                self.highest = self.highest.max(highest_member(&self.membership));
            }
            EntryPayload::Normal(command) => {
                self.is_written = true;
                let batch = self.state.apply(command.0).batch;
                if batch.changes() > 0 {
                    self.open.push(Open { index: id.index, batch, place });
                }
            }
        }
        self.applied = Some(id);
        let (sequence, position) = (place.segment, self.state.position());
        let end = SegmentEnd { sequence, index: id.index, position };
        match self.segments.last_mut() {
            Some(last) if last.sequence == place.segment => *last = end,
            _ => self.segments.push(end),
        }
        Ok(())
    }

    fn complete_segment(&mut self) {
        let Some(open) = self.open.last() else { return };
        let last = open.batch.last();
        let sequence = open.place.segment;
        let refused = self.open.iter().zip(0..).map(|(open, n)| (n, open.batch.skips.clone()));
        let skips = refused.filter(|(_, skips)| skips.refused() > 0).collect();
        let batches = self.open.drain(..);
        let batches = batches.map(|open| SealedBatch::new(open.batch.first, open.place)).collect();
        self.complete.push(Complete { sequence, batches, skips, last });
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
        let sealed = self.complete.drain(..).map(|segment| {
            let map = files.map(&log::file_name(segment.sequence))?;
            let Complete { sequence, batches, skips, last } = segment;
            Ok(Arc::new(SealedSegment::new(sequence, batches, skips, last, map)))
        });
        let sealed = sealed.collect::<io::Result<_>>()?;
        let recent = self.open.iter().map(|open| detached(&open.batch)).collect();
        let (begun, carried) = (self.begun.last, self.carried.clone());
        Ok(Recovered { sealed, recent, index: Arc::clone(self.state.index()), begun, carried })
    }

    /// What a node goes on from: the newest checkpoint of its directory.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn load(files: &impl Files) -> io::Result<Option<(CheckpointFile, Self)>> {
        let Some((file, checkpoint, map)) = store::load(files)? else { return Ok(None) };
        let replay = Self::from_checkpoint(checkpoint, map).map_err(|error| {
            let text = format!("the checkpoint {} cannot be used: {error}", file.name);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(Some((file, replay)))
    }

    fn from_checkpoint(checkpoint: Checkpoint, map: Mapping) -> io::Result<Self> {
        let Checkpoint { head, state, lines } = checkpoint;
        let (membership, highest) = membership_from_json(&head.raft)?;
        let applied = Some(to_raft_id(head.log_id()));
        let checkpoint = applied.map(|id| (id, membership.clone()));
        let begun = state.position();
        let carried = Some(Arc::new(Carried::new(lines, map)));
        let replay = Self { state, applied, membership, highest, begun, ..Self::default() };
        let is_written = true;
        Ok(Self { checkpoint, carried, is_written, ..replay })
    }

    /// The entry and the membership of the checkpoint that it began from.
    pub(super) fn checkpoint(&self) -> Option<(RaftLogId, StoredMembership)> {
        self.checkpoint.clone()
    }

    /// The checkpoint that it began from, as a file.
    pub(super) fn carried(&self) -> Option<Arc<Carried>> {
        self.carried.clone()
    }

    /// The position that it began at.
    pub(super) fn begun(&self) -> Position {
        self.begun
    }

    /// The segments that entries came from, in order.
    pub(super) fn segments(&self) -> &[SegmentEnd] {
        &self.segments
    }

    /// The state that the entries amount to.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The same, taken out.
    pub(super) fn into_state(self) -> State {
        self.state
    }

    pub(super) fn applied(&self) -> Option<RaftLogId> {
        self.applied
    }

    pub(super) fn membership(&self) -> &StoredMembership {
        &self.membership
    }

    /// The highest number that a member ever had.
    pub(super) fn highest(&self) -> NodeId {
        self.highest
    }

    /// Whether a command was ever applied.
    pub(super) fn is_written(&self) -> bool {
        self.is_written
    }

    /// The batches of the active segment.
    pub(super) fn unsealed(&self) -> impl Iterator<Item = Unsealed> + '_ {
        self.open.iter().map(|open| Unsealed {
            index: open.index,
            first: open.batch.first,
            last: open.batch.last(),
            skips: open.batch.skips.clone(),
            at: open.batch.batch.at(),
        })
    }
}

/// The batch in memory of its own: what was replayed is a part of a whole
/// segment, which it would keep.
fn detached(batch: &NumberedBatch) -> NumberedBatch {
    let bytes = bytes::Bytes::copy_from_slice(batch.batch.bytes());
    let copy = Batch::parse(bytes).expect("a copy of a batch can be read");
    NumberedBatch { first: batch.first, batch: copy, skips: batch.skips.clone() }
}

/// What a serving core starts with; may be sent to it.
#[derive(Clone, Default)]
pub struct Recovered {
    sealed: Vec<Arc<SealedSegment>>,
    recent: Vec<NumberedBatch>,
    index: Arc<Index>,
    begun: ChangeId,
    carried: Option<Arc<Carried>>,
}

impl Recovered {
    /// The history that it describes.
    #[must_use]
    pub fn history(self) -> History {
        let mut history = History::default();
        history.begin_after(self.begun, self.carried);
        self.sealed.into_iter().for_each(|segment| history.seal(segment));
        self.recent.into_iter().for_each(|batch| history.push(batch));
        history
    }

    /// What changes are found by.
    #[must_use]
    pub fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }
}
