//! The start of a node: committed entries, as the log hands them over in
//! order, folded into the state and into what the serving cores start with.

use std::{io, sync::Arc};

use openraft::{EntryPayload, entry::RaftEntry};

use super::types::{RaftLogId, StoredMembership, from_log};
use crate::{
    base::{batch::Batch, ids::ChangeId},
    io::map::Mapping,
    log::{self, Place},
    state::{History, SealedBatch, SealedSegment, State},
};

/// A batch of the segment that is being read.
struct Open {
    index: u64,
    first: ChangeId,
    batch: Batch,
    place: Place,
}

/// A segment read to its end.
struct Complete {
    sequence: u64,
    batches: Vec<SealedBatch>,
    last: ChangeId,
}

/// See the module. Holds the batches of one segment at a time in memory.
#[derive(Default)]
pub struct Replay {
    state: State,
    applied: Option<RaftLogId>,
    membership: StoredMembership,
    complete: Vec<Complete>,
    open: Vec<Open>,
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
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
            }
            EntryPayload::Normal(command) => {
                let batch = command.0;
                let first = self.state.apply(&batch);
                self.open.push(Open { index: id.index, first, batch, place });
            }
        }
        self.applied = Some(id);
        Ok(())
    }

    fn complete_segment(&mut self) {
        let Some(open) = self.open.last() else { return };
        let last = last_of(open);
        let sequence = open.place.segment;
        let batches = self.open.drain(..).map(|open| SealedBatch::new(open.first, open.place));
        self.complete.push(Complete { sequence, batches: batches.collect(), last });
    }

    /// What every serving core starts with. `active` is the segment that the
    /// log goes on writing; `open_mapping` maps a segment by its number.
    ///
    /// # Errors
    /// When a segment cannot be mapped.
    pub fn finish(
        &mut self,
        active: u64,
        open_mapping: impl Fn(u64) -> io::Result<Mapping>,
    ) -> io::Result<Recovered> {
        if self.open.last().is_some_and(|open| open.place.segment != active) {
            self.complete_segment();
        }
        let sealed = self.complete.drain(..).map(|segment| {
            let map = open_mapping(segment.sequence)?;
            let segment = SealedSegment::new(segment.sequence, segment.batches, segment.last, map);
            Ok(Arc::new(segment))
        });
        let sealed = sealed.collect::<io::Result<_>>()?;
        let recent = self.open.iter().map(|open| (open.first, detached(&open.batch))).collect();
        Ok(Recovered { sealed, recent })
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn applied(&self) -> Option<RaftLogId> {
        self.applied
    }

    pub(super) fn membership(&self) -> &StoredMembership {
        &self.membership
    }

    /// The batches of the active segment: index, first and last change.
    pub(super) fn unsealed(&self) -> impl Iterator<Item = (u64, ChangeId, ChangeId)> + '_ {
        self.open.iter().map(|open| (open.index, open.first, last_of(open)))
    }
}

/// The batch in memory of its own: what was replayed is a part of a whole
/// segment, which it would keep.
fn detached(batch: &Batch) -> Batch {
    let bytes = bytes::Bytes::copy_from_slice(batch.bytes());
    Batch::parse(bytes).expect("a copy of a batch can be read")
}

fn last_of(open: &Open) -> ChangeId {
    ChangeId(open.first.0 + u64::from(open.batch.changes()) - 1)
}

/// What a serving core starts with; may be sent to it.
#[derive(Clone, Default)]
pub struct Recovered {
    sealed: Vec<Arc<SealedSegment>>,
    recent: Vec<(ChangeId, Batch)>,
}

impl Recovered {
    /// The history that it describes.
    #[must_use]
    pub fn history(self) -> History {
        let mut history = History::default();
        self.sealed.into_iter().for_each(|segment| history.seal(segment));
        self.recent.into_iter().for_each(|(first, batch)| history.push(first, batch));
        history
    }
}
