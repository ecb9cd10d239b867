//! Identifiers as types of their own, so that a Raft index is never taken for a
//! change id.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of a change in the one global list: dense, from 1.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
pub struct ChangeId(pub u64);

impl ChangeId {
    /// The id before the first change: what `since=0` means.
    pub const ZERO: Self = Self(0);

    /// The id that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member of the cluster, unique for the cluster's life.
pub type NodeId = u64;

/// The identity of one history: two clusters never share it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub uuid::Uuid);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A moment as the API shows it: microseconds since 1970-01-01 UTC.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

/// The place of an entry in the Raft log, with the term it was proposed in.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// The entry's index, consecutive from 0.
    pub index: u64,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.term, self.index)
    }
}
