//! What openraft is told of snapshots.

use std::{io, rc::Rc};

use openraft::{RaftSnapshotBuilder, storage::SnapshotMeta};

use super::{Inner, StateMachine};
use crate::{
    io::Disk,
    raft::{
        feeding::Feeding,
        snapshot::{Snapshot, SnapshotData, newest},
        types::TypeConfig,
    },
};

impl Inner {
    /// The newest snapshot that other nodes can be sent; `oldest` is the first segment that is held.
    pub(super) fn newest_snapshot(&self, oldest: u64) -> io::Result<Option<Snapshot>> {
        newest(&self.sealing, self.checkpoint.as_ref(), self.fold.highest(), oldest)
    }
}

impl<D: Disk> StateMachine<D> {
    /// Whether other nodes are sent snapshots.
    pub(in crate::raft) fn feeding(&self) -> &Rc<Feeding> {
        &self.feeding
    }
}

impl<D: Disk> RaftSnapshotBuilder<TypeConfig> for StateMachine<D> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let mut inner = self.inner.borrow_mut();
        if let Some(snapshot) = inner.newest_snapshot(self.log.oldest_segment())? {
            inner.snapshot = Some(snapshot.clone());
            return Ok(snapshot);
        }
        let fold = &inner.fold;
        let (last_log_id, last_membership) = (fold.applied(), fold.membership().clone());
        let meta = SnapshotMeta { last_log_id, last_membership };
        let position = fold.position();
        let snapshot = SnapshotData { position, held: None, received: None };
        let snapshot = Snapshot { meta, snapshot };
        inner.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }
}
