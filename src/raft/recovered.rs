//! What serving cores start with.

use std::sync::Arc;

use crate::{
    base::{
        batch::{Batch, NumberedBatch},
        ids::ChangeId,
    },
    state::{CheckpointedChanges, History, Index, SealedSegment},
};

/// What a serving core starts with; may be sent to it.
#[derive(Clone, Default)]
pub struct Recovered {
    pub(super) sealed: Vec<Arc<SealedSegment>>,
    pub(super) recent: Vec<NumberedBatch>,
    pub(super) index: Arc<Index>,
    pub(super) begun: ChangeId,
    pub(super) checkpointed: Option<Arc<CheckpointedChanges>>,
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

/// The batch in memory of its own: what was replayed is a part of a whole
/// segment, which it would keep.
pub(super) fn detached(batch: &NumberedBatch) -> NumberedBatch {
    let bytes = bytes::Bytes::copy_from_slice(batch.batch.bytes());
    let copy = Batch::parsed_before(bytes).expect("a copy of a batch has its header");
    NumberedBatch { batch: copy, ..batch.clone() }
}
