//! The node's condition, as every core may read it without asking.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::base::cluster::ClusterView;

/// See the module. Written by the Raft core.
#[derive(Debug, Default)]
pub struct Status {
    ready: AtomicBool,
    recovered: AtomicBool,
    failed: AtomicBool,
    full: AtomicBool,
    claimed: AtomicBool,
    halted: OnceLock<String>,
    cluster: Mutex<ClusterView>,
}

impl Status {
    /// Whether the node knows a leader and has caught up, its disk works, and it
    /// is where it belongs.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
            && !self.has_failed()
            && !self.is_claimed()
            && self.halted().is_none()
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
        self.full.load(Ordering::Acquire)
    }

    /// Whether nodes of another cluster take this one, which is alone, for a member
    /// of theirs: it takes no writes, which would be lost to them.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Acquire)
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is known of the cluster.
    pub fn set_cluster(&self, view: ClusterView) {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// Notes whether the disk has room.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Release);
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
