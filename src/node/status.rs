//! The node's condition, as every core may read it without asking.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use super::{Scrubbed, copy::CopyAge};
use crate::base::{
    cluster::{ClusterView, Gathering, Seen},
    ids::NodeId,
    outcome::StorageProblem,
    times::Times,
};

/// Whether the log has a further segment to go on in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum NextSegment {
    /// There is one, or it is being prepared.
    #[default]
    Ready,
    /// The disk has no room for it.
    NoRoom,
    /// It could not be prepared for another reason.
    Failed,
}

impl NextSegment {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::NoRoom,
            2 => Self::Failed,
            _ => Self::Ready,
        }
    }
}

/// The node's condition. Written by the Raft core, read by every core.
#[derive(Debug, Default)]
pub struct Status {
    ready: AtomicBool,
    recovered: AtomicBool,
    failed: AtomicBool,
    claimed: AtomicBool,
    halted: OnceLock<String>,
    stalled: AtomicBool,
    next_segment: AtomicU8,
    refusing: AtomicBool,
    cluster: Mutex<ClusterView>,
    /// What a leader said of the members.
    seen: Mutex<Option<(NodeId, Vec<Seen>)>>,
    copy: OnceLock<Arc<CopyAge>>,
    /// How long writes of the log took, from submission until they were durable.
    pub log_writes: Times,
    /// What is known to be damaged on the disk.
    pub scrub: Scrubbed,
}

impl Status {
    /// Whether the node knows a leader and has caught up, can store changes,
    /// and is where it belongs.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_current = match self.copy() {
            Some(copy) => self.has_recovered() && copy.staleness().is_none(),
            None => self.ready.load(Ordering::Acquire),
        };
        is_current
            && self.storage_problem().is_none()
            && !self.is_claimed()
            && self.halted().is_none()
    }

    /// Why the node stores no changes at the moment, whatever their size.
    #[must_use]
    pub fn storage_problem(&self) -> Option<StorageProblem> {
        if self.has_failed() {
            Some(StorageProblem::Failed)
        } else if self.stalled.load(Ordering::Acquire) {
            Some(StorageProblem::Stalled)
        } else if self.refusing.load(Ordering::Acquire) {
            self.segment_problem()
        } else {
            None
        }
    }

    /// Why the log has no further segment.
    #[must_use]
    pub fn segment_problem(&self) -> Option<StorageProblem> {
        match NextSegment::of(self.next_segment.load(Ordering::Acquire)) {
            NextSegment::Ready => None,
            NextSegment::NoRoom => Some(StorageProblem::Full),
            NextSegment::Failed => Some(StorageProblem::NoSegment),
        }
    }

    /// Whether what it has applied is no older than what it may have shown before
    /// it was started. Until then nothing is read from it.
    #[must_use]
    pub fn has_recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// Whether a write to the log failed: the node acknowledges nothing more
    /// until it is started again, and still serves what it has.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Why the node must not go on with what it holds, if so: it serves nothing
    /// more.
    #[must_use]
    pub fn halted(&self) -> Option<&str> {
        self.halted.get().map(String::as_str)
    }

    /// Whether the disk has no room for another log segment.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.segment_problem() == Some(StorageProblem::Full)
    }

    /// Whether nodes of another cluster take this one, which is alone, for a member
    /// of theirs: it takes no writes, which would be lost to them.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Acquire)
    }

    /// How old what is here may be, where this node is a copy.
    #[must_use]
    pub fn copy(&self) -> Option<&CopyAge> {
        self.copy.get().map(|copy| &**copy)
    }

    /// Notes that this node is a copy; once.
    pub fn set_copy(&self, copy: Arc<CopyAge>) {
        let _ = self.copy.set(copy);
    }

    /// The cluster as its leader knows it, where that told; else as this node knows it.
    #[must_use]
    pub fn cluster_as_led(&self) -> ClusterView {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((leader, seen)) => self.cluster().seen_by(*leader, seen),
            None => self.cluster(),
        }
    }

    /// Notes what a leader said of the members, or that none does any more.
    pub fn set_seen(&self, seen: Option<(NodeId, Vec<Seen>)>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is known of the cluster; of others that it is to found one with, what was known.
    pub fn set_cluster(&self, view: ClusterView) {
        let mut known = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let gathering = known.gathering.take();
        *known = ClusterView { gathering, ..view };
    }

    /// Notes what this empty node knows of others that it is to found a cluster with.
    pub fn set_gathering(&self, gathering: Gathering) {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).gathering = Some(gathering);
    }

    /// Tells of a part of the log that is damaged, once for each place.
    pub fn tell_damaged(&self, file: &str, offset: u64, reason: &str) {
        if self.scrub.set_damaged(file, offset) {
            tracing::error!(file, offset, reason, "a part of the log is damaged on the disk");
        }
    }

    /// Notes that a file is not there, and tells the operator once.
    pub fn tell_missing(&self, file: &str) {
        if self.scrub.set_damaged(file, 0) {
            tracing::error!(file, "a part of the log is missing on the disk");
        }
    }

    /// Notes whether the log has a further segment.
    pub fn set_next_segment(&self, next: NextSegment) {
        self.next_segment.store(next as u8, Ordering::Release);
    }

    /// Notes whether the disk leaves what is written without an answer.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Notes whether the log has too little room left for any write.
    pub fn set_refusing(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::Release);
    }

    /// Notes whether others take this node for a member of theirs.
    pub fn set_claimed(&self, claimed: bool) {
        self.claimed.store(claimed, Ordering::Release);
    }

    /// Notes whether a leader is known and caught up with.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Notes that what it may have shown before it was started is applied.
    pub fn set_recovered(&self) {
        self.recovered.store(true, Ordering::Release);
    }

    /// Notes why the node must not go on, for good.
    pub fn set_halted(&self, why: String) {
        // The first reason stands.
        let _ = self.halted.set(why);
    }

    /// Notes that the log failed, for good.
    pub fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }
}
