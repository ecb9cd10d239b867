//! openraft's state machine on our state: applies committed batches in order,
//! and publishes each to the serving cores.
//!
//! The state itself is never written: it is rebuilt from the log at a start.
//! Its snapshots are the segments that have an index, and the checkpoint that stands for
//! purged history.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt};
use openraft::{
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};
use tokio::sync::{Mutex, watch};

use super::{
    compact::Compacted,
    feeding::Feeding,
    fold::{Fold, Folded},
    indexing::Indexing,
    replay::Replay,
    sealing::{Later, Sealing, SegmentEnd},
    segment_index::{Complete, SegmentIndex},
    snapshot::{Meta, Purged, Snapshot, SnapshotData},
    types::{Applied, Entry, RaftLogId, StoredMembership, TypeConfig, from_raft_id, to_raft_id},
};
use crate::{
    base::{
        ids::{ChangeId, LogId, NodeId, Timestamp},
        planted::planted,
    },
    feed::Fanout,
    io::{Disk, cores, map::Mapping},
    log::Log,
    snapshot::Staging,
    state::{Index, Position},
};

mod erasable;
mod snapshots;

/// What a serving core may have to take in before more is applied. The sequencer
/// of a leader holds up writes before.
const BACKLOG_BYTES: usize = 128 << 20;
/// How often it is looked whether it has.
const BACKLOG_PAUSE: Duration = Duration::from_millis(1);

struct Inner {
    fold: Fold,
    /// What is applied and not published yet, and what is.
    sealing: Sealing,
    snapshot: Option<Snapshot>,
    /// What stands for purged entries.
    checkpoint: Option<Purged>,
}

impl Inner {
    /// The last entry that the checkpoint stands for.
    fn checkpoint_index(&self) -> Option<u64> {
        self.checkpoint.as_ref().map(|purged| purged.last.index)
    }
}

/// The state of a node and what readers are told of it. Clones share it.
pub struct StateMachine<D: Disk> {
    inner: Rc<RefCell<Inner>>,
    /// Told when an entry that says who the members are is applied.
    members: watch::Sender<()>,
    /// The last entry applied.
    progress: watch::Sender<Option<LogId>>,
    log: Log<D>,
    fanout: Fanout,
    /// What takes in snapshots of other nodes.
    staging: Rc<Staging<D::Files>>,
    /// A snapshot from another node takes the place of the log.
    superseded: watch::Sender<bool>,
    /// Told when a segment has got its index.
    sealed: watch::Sender<()>,
    /// Whether other nodes are sent snapshots.
    feeding: Rc<Feeding>,
    indexing: Rc<Indexing>,
    /// Held while a checkpoint is made.
    making_checkpoint: Rc<Mutex<()>>,
}

impl<D: Disk> Clone for StateMachine<D> {
    fn clone(&self) -> Self {
        Self {
            inner: Rc::clone(&self.inner),
            members: self.members.clone(),
            progress: self.progress.clone(),
            log: self.log.clone(),
            fanout: self.fanout.clone(),
            staging: Rc::clone(&self.staging),
            superseded: self.superseded.clone(),
            sealed: self.sealed.clone(),
            feeding: Rc::clone(&self.feeding),
            indexing: Rc::clone(&self.indexing),
            making_checkpoint: Rc::clone(&self.making_checkpoint),
        }
    }
}

impl<D: Disk> StateMachine<D> {
    /// The state machine of a node whose log was read to the end of what it
    /// knew to be committed.
    pub fn new(log: Log<D>, mut replay: Replay<D::Files>, fanout: Fanout) -> Self {
        let checkpoint = replay.checkpoint().map(|(last, membership)| Purged {
            last,
            membership,
            position: replay.begun(),
            file: replay.checkpointed(),
        });
        let replay_runs = replay.take_runs();
        let (fold, unsealed, weights) = replay.into_parts();
        let sealing = Sealing::new(unsealed);
        let mut inner = Inner { fold, sealing, checkpoint, snapshot: None };
        // openraft must know of one as long as entries are purged.
        if inner.checkpoint.is_some() {
            inner.snapshot = inner.newest_snapshot(log.oldest_segment()).ok().flatten();
        }
        let progress = watch::Sender::new(inner.fold.applied().as_ref().map(from_raft_id));
        replay_runs.iter().for_each(|run| log.adopt(run));
        let inner = Rc::new(RefCell::new(inner));
        let (members, superseded) = (watch::Sender::new(()), watch::Sender::new(false));
        let staging = Staging::new(log.files(), log.identity());
        let (indexing, sealed) = (Rc::new(Indexing::new(weights)), watch::Sender::new(()));
        let making_checkpoint = Rc::default();
        Self {
            inner,
            members,
            progress,
            log,
            fanout,
            staging,
            superseded,
            sealed,
            feeding: Rc::default(),
            indexing,
            making_checkpoint,
        }
    }

    /// The sealed segments that are wholly applied, in order, with how far the
    /// list goes in them, and how far it goes now.
    pub(super) fn ended(&self) -> (Vec<SegmentEnd>, Position) {
        let inner = self.inner.borrow();
        (inner.sealing.ended().collect(), inner.fold.position())
    }

    /// Where the first change is that is stamped later than `at`.
    pub(super) fn first_later(&self, at: Timestamp) -> Later {
        let inner = self.inner.borrow();
        inner.sealing.first_later(at, inner.fold.position().last)
    }

    /// What all entries so far amount to.
    #[cfg(test)]
    pub(super) fn with_fold<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.inner.borrow().fold)
    }

    /// The batches that no published segment holds.
    #[cfg(test)]
    pub(super) fn unsealed(&self) -> Vec<u64> {
        self.inner.borrow().sealing.unsealed().map(|(index, _)| index).collect()
    }

    /// The last entry applied, as it changes.
    pub(super) fn progress(&self) -> watch::Receiver<Option<LogId>> {
        self.progress.subscribe()
    }

    /// What takes in snapshots of other nodes.
    pub(super) fn staging(&self) -> Rc<Staging<D::Files>> {
        Rc::clone(&self.staging)
    }

    /// Changes when a segment has got its index.
    pub(super) fn sealed(&self) -> watch::Receiver<()> {
        self.sealed.subscribe()
    }

    /// Resolves when a snapshot from another node takes the place of the log.
    pub(super) async fn was_superseded(&self) {
        // Its sender is here.
        let _ = self.superseded.subscribe().wait_for(|superseded| *superseded).await;
    }

    /// Notes that something else takes the place of the log.
    pub(super) fn supersede(&self) {
        self.superseded.send_replace(true);
    }

    /// Tells when that has happened.
    pub(super) fn superseded(&self) -> watch::Receiver<bool> {
        self.superseded.subscribe()
    }

    /// Whether that has happened.
    pub(super) fn is_superseded(&self) -> bool {
        *self.superseded.borrow()
    }

    /// The index of the last entry applied.
    pub(super) fn applied_index(&self) -> u64 {
        self.progress.borrow().map_or(0, |id| id.index)
    }

    /// Changes when who the members are does.
    pub(super) fn membership_changed(&self) -> watch::Receiver<()> {
        self.members.subscribe()
    }

    /// Whether a node is a member as of the last entry applied.
    pub(super) fn has_member(&self, node: NodeId) -> bool {
        self.inner.borrow().fold.membership().membership().get_node(&node).is_some()
    }

    /// Where the members reach one of them.
    pub(super) fn cluster_address(&self, node: NodeId) -> Option<String> {
        let inner = self.inner.borrow();
        let member = inner.fold.membership().membership().get_node(&node);
        member.map(|member| member.cluster_address.clone())
    }

    /// The highest number that a member ever had.
    pub(super) fn highest(&self) -> NodeId {
        self.inner.borrow().fold.highest()
    }

    /// Whether nothing was ever written to it.
    pub(super) fn is_empty(&self) -> bool {
        !self.inner.borrow().fold.is_written()
    }

    /// What changes are found by.
    pub(super) fn index(&self) -> Arc<Index> {
        Arc::clone(self.inner.borrow().fold.state().index())
    }

    /// Takes up a checkpoint as what stands for purged entries, and tells readers that those
    /// are purged.
    pub(super) fn purge(&self, compacted: &Compacted) {
        let mut inner = self.inner.borrow_mut();
        inner.checkpoint = Some(Purged {
            last: to_raft_id(compacted.log_id),
            membership: compacted.membership.clone(),
            position: compacted.position,
            file: Some(Arc::clone(&compacted.checkpointed)),
        });
        let (last, held) = (compacted.position.last, &compacted.checkpointed);
        let first = last.next();
        // It may have been made of what was erased only then.
        let redactions = &inner.fold.state().index().redactions;
        redactions.look_again(last, |id| held.range(id).is_some() && !planted!(ForgetToLookAgain));
        inner.sealing.purge(compacted.log_id.index);
        self.fanout.purge(first, &compacted.checkpointed);
    }

    /// The last entry applied, and how far the list goes with it.
    #[must_use]
    pub fn applied(&self) -> (Option<LogId>, Position) {
        let inner = self.inner.borrow();
        (inner.fold.applied().as_ref().map(from_raft_id), inner.fold.position())
    }

    /// The checkpoint that stands for purged entries: the last of them, and its file.
    #[must_use]
    pub fn checkpoint(&self) -> Option<(LogId, Arc<Mapping>)> {
        let inner = self.inner.borrow();
        let Purged { last, file, .. } = inner.checkpoint.as_ref()?;
        Some((from_raft_id(last), Arc::clone(file.as_ref()?.map())))
    }

    /// The last entry that is purged; or is about to be, since a checkpoint stands for it.
    pub(super) fn purged(&self) -> Option<LogId> {
        let inner = self.inner.borrow();
        let checkpoint = inner.checkpoint.as_ref().map(|purged| from_raft_id(&purged.last));
        checkpoint.max(self.log.purged())
    }

    /// The timestamp of the newest change applied.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.inner.borrow().fold.position().last_at
    }

    fn apply_entry(&self, entry: Entry) -> Applied {
        let inner = &mut *self.inner.borrow_mut();
        let index = entry.log_id().index;
        // What an adopted checkpoint stands for is in no segment any more.
        let segment = self.log.segment(index).unwrap_or_else(|| self.log.active_segment());
        let folded = inner.fold.entry(entry, segment);
        let Folded { batch, decisions, removed, is_membership } = folded;
        if is_membership {
            self.members.send_replace(());
        }
        if !removed.is_empty() {
            // A collection may have held millions of keys.
            cores::off_core_detached(move || drop(removed));
        }
        let Some(batch) = batch else { return Applied { first: ChangeId::ZERO, decisions: None } };
        let first = batch.first;
        if batch.changes() > 0 {
            self.fanout.publish(&batch);
        }
        inner.sealing.push(index, batch);
        Applied { first, decisions }
    }

    /// The oldest segment that is wholly applied and has no index.
    pub(super) fn next_complete(&self) -> Option<Arc<Complete>> {
        let inner = &mut *self.inner.borrow_mut();
        inner.sealing.next(&self.log, &mut inner.fold)
    }

    /// Publishes that segment, which has got this index.
    pub(super) fn publish_sealed(&self, index: &SegmentIndex) {
        let inner = &mut *self.inner.borrow_mut();
        let purged = inner.checkpoint_index();
        inner.sealing.publish(index, &self.log, &inner.fold, &self.fanout, purged);
        self.sealed.send_replace(());
    }

    /// What makes the indexes of segments.
    pub(super) fn indexing(&self) -> &Rc<Indexing> {
        &self.indexing
    }

    pub(super) fn log(&self) -> &Log<D> {
        &self.log
    }
}

impl<D: Disk> RaftStateMachine<TypeConfig> for StateMachine<D> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        let inner = self.inner.borrow();
        Ok((inner.fold.applied(), inner.fold.membership().clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            if *self.superseded.borrow() {
                // The state that it belongs to is built when the node starts anew;
                // whoever waits for it is told that nobody knows.
                continue;
            }
            // A quorum may have it before this node does; what was shown here
            // must still be here after a crash.
            if !planted!(ShowUndurable) {
                self.log.durable(entry.log_id().index).await?;
            }
            while self.fanout.backlog_bytes() > BACKLOG_BYTES {
                // A serving core is far behind.
                cores::sleep(BACKLOG_PAUSE).await;
            }
            let id = from_raft_id(&entry.log_id());
            let applied = self.apply_entry(entry);
            // Whoever hears of it may ask how far this node is.
            self.progress.send_replace(Some(id));
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        self.indexing.wake();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: SnapshotData) -> io::Result<()> {
        let known = self.inner.borrow().fold.position();
        if let Some(transmission) = snapshot.received {
            self.staging.install(transmission).await?;
            self.superseded.send_replace(true);
        } else if snapshot.position != known {
            // It names a position and holds no change.
            return Err(io::Error::other("a snapshot of another position cannot be installed"));
        }
        let mut inner = self.inner.borrow_mut();
        inner.fold.covered(meta.last_log_id, meta.last_membership.clone());
        inner.snapshot = Some(Snapshot { meta: meta.clone(), snapshot });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.inner.borrow().snapshot.clone())
    }
}
