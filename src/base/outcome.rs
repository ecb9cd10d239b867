//! What becomes of a proposed write.

use crate::base::ids::ChangeId;

/// The ids a write was given: `first`, `first + 1`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The id of its first change.
    pub first: ChangeId,
    /// How many changes it has; at least 1.
    pub count: u32,
}

impl Accepted {
    /// The id of its last change.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        ChangeId(self.first.0 + u64::from(self.count) - 1)
    }
}

/// Why a write was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nobody leads the cluster: it certainly did not happen.
    #[error("the cluster has no leader at the moment")]
    NoLeader,
    /// No room, or a disk that failed: it certainly did not happen.
    #[error("the node cannot store changes: {0}")]
    Storage(&'static str),
    /// Too many writes wait already: it certainly did not happen.
    #[error("too many writes are waiting on this node")]
    Overloaded,
    /// It may or may not happen.
    #[error("the node cannot tell whether the write happened")]
    Unknown,
}

/// The outcome of one write.
pub type Outcome = Result<Accepted, WriteError>;
