//! openraft's state machine on our state: applies committed batches in order,
//! publishes each to the serving cores, and turns sealed segments of the log
//! into what readers use.
//!
//! The state itself is never written: it is rebuilt from the log at a start.
//! Snapshots hold no changes yet, only what openraft needs to name a position;
//! they become sets of sealed segments when nodes join a cluster.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, sync::Arc};

use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, RaftSnapshotBuilder,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine, SnapshotMeta},
};

use super::{
    replay::Replay,
    types::{Applied, Entry, RaftLogId, StoredMembership, TypeConfig},
};
use crate::{
    base::{
        batch::Skips,
        ids::{ChangeId, Timestamp},
    },
    feed::Fanout,
    io::{Disk, cores, map::Mapping},
    log::{Log, Sealed},
    state::{Position, SealedBatch, SealedSegment, State},
};

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;
type Meta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// A position of the log.
#[derive(Clone, Debug)]
pub struct SnapshotData(Position);

/// Makes the bytes of a sealed segment readable, by file name.
pub type OpenMapping = Box<dyn Fn(&str) -> io::Result<Mapping>>;

/// An applied batch with accepted changes that no published segment holds yet.
pub(super) struct Unsealed {
    /// Its index in the Raft log.
    pub(super) index: u64,
    pub(super) first: ChangeId,
    pub(super) last: ChangeId,
    pub(super) skips: Skips,
}

struct Inner {
    state: State,
    applied: Option<RaftLogId>,
    membership: StoredMembership,
    /// Invariant: ascending, without a gap, up to the newest batch applied.
    unsealed: VecDeque<Unsealed>,
    /// Sealed segments whose last entry is not applied yet, or which could not
    /// be mapped yet.
    sealed: VecDeque<Sealed>,
    snapshot: Option<Snapshot>,
}

/// See the module. Clones share the state.
pub struct StateMachine<D: Disk> {
    inner: Rc<RefCell<Inner>>,
    log: Log<D>,
    fanout: Fanout,
    open_mapping: Rc<OpenMapping>,
}

impl<D: Disk> Clone for StateMachine<D> {
    fn clone(&self) -> Self {
        Self {
            inner: Rc::clone(&self.inner),
            log: self.log.clone(),
            fanout: self.fanout.clone(),
            open_mapping: Rc::clone(&self.open_mapping),
        }
    }
}

impl<D: Disk> StateMachine<D> {
    /// The state machine of a node whose log was read to the end of what it
    /// knew to be committed.
    pub fn new(log: Log<D>, replay: Replay, fanout: Fanout, open_mapping: OpenMapping) -> Self {
        let inner = Inner {
            applied: replay.applied(),
            membership: replay.membership().clone(),
            unsealed: replay.unsealed().collect(),
            state: replay.into_state(),
            sealed: VecDeque::new(),
            snapshot: None,
        };
        let inner = Rc::new(RefCell::new(inner));
        Self { inner, log, fanout, open_mapping: Rc::new(open_mapping) }
    }

    /// The timestamp of the newest change applied.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.inner.borrow().state.last_at()
    }

    fn apply_entry(&self, entry: Entry) -> Applied {
        let mut inner = self.inner.borrow_mut();
        let id = entry.log_id();
        let mut outcome = Applied { first: ChangeId::ZERO, decisions: None };
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                inner.membership = StoredMembership::new(Some(id), membership);
            }
            EntryPayload::Normal(command) => {
                let applied = inner.state.apply(command.0);
                let batch = applied.batch;
                outcome = Applied { first: batch.first, decisions: applied.decisions };
                if batch.changes() > 0 {
                    inner.unsealed.push_back(Unsealed {
                        index: id.index,
                        first: batch.first,
                        last: batch.last(),
                        skips: batch.skips.clone(),
                    });
                    self.fanout.publish(&batch);
                }
                if !applied.removed.is_empty() {
                    // A collection may have held millions of keys.
                    let removed = applied.removed;
                    cores::off_core_detached(move || drop(removed));
                }
            }
        }
        inner.applied = Some(id);
        outcome
    }

    /// Publishes the segments that are sealed and wholly applied.
    fn publish_sealed(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.sealed.extend(self.log.take_sealed());
        while let Some(sealed) = inner.sealed.front() {
            let applied = inner.applied.as_ref().map(|id| id.index);
            if applied < sealed.indexes.map(|(_, last)| last) {
                return;
            }
            let (batches, skips, last) = self.batches_of(sealed.sequence, &inner.unsealed);
            if !batches.is_empty() {
                let map = match (self.open_mapping)(&sealed.file) {
                    Ok(map) => map,
                    Err(error) => {
                        // The batches stay in memory until it works.
                        tracing::warn!(segment = sealed.file, %error, "cannot map a sealed segment");
                        return;
                    }
                };
                inner.unsealed.drain(..batches.len());
                let segment = SealedSegment::new(sealed.sequence, batches, skips, last, map);
                self.fanout.seal(&Arc::new(segment));
            }
            if let Some((_, last)) = sealed.indexes {
                self.log.release(last);
            }
            inner.sealed.pop_front();
        }
    }

    /// The places of the oldest unsealed batches, as far as they lie in the
    /// segment `sequence`, what was refused of them, and the last change in them.
    fn batches_of(
        &self,
        sequence: u64,
        unsealed: &VecDeque<Unsealed>,
    ) -> (Vec<SealedBatch>, Vec<(u32, Skips)>, ChangeId) {
        let (mut batches, mut skips, mut last) = (Vec::new(), Vec::new(), ChangeId::ZERO);
        for batch in unsealed {
            let place = self.log.place(batch.index).filter(|place| place.segment == sequence);
            let Some(place) = place else { break };
            if batch.skips.refused() > 0 {
                skips.push((batches.len() as u32, batch.skips.clone()));
            }
            batches.push(SealedBatch::new(batch.first, place));
            last = batch.last;
        }
        (batches, skips, last)
    }
}

impl<D: Disk> RaftStateMachine<TypeConfig> for StateMachine<D> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        let inner = self.inner.borrow();
        Ok((inner.applied, inner.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let applied = self.apply_entry(entry);
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        self.publish_sealed();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: SnapshotData) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        if snapshot.0 != inner.state.position() {
            // It names a position and holds no change.
            return Err(io::Error::other("a snapshot of another position cannot be installed"));
        }
        inner.applied = meta.last_log_id;
        inner.membership = meta.last_membership.clone();
        inner.snapshot = Some(Snapshot { meta: meta.clone(), snapshot });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.inner.borrow().snapshot.clone())
    }
}

impl<D: Disk> RaftSnapshotBuilder<TypeConfig> for StateMachine<D> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let mut inner = self.inner.borrow_mut();
        let meta =
            SnapshotMeta { last_log_id: inner.applied, last_membership: inner.membership.clone() };
        let snapshot = Snapshot { meta, snapshot: SnapshotData(inner.state.position()) };
        inner.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }
}
