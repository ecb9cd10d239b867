//! What becomes of a proposed write.
//!
//! The names of effects and refusals, and of what they hold, are stable: they
//! stand in checkpoints.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::{ids::ChangeId, tokens::TokenId};

/// What an accepted command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Its changes got the ids `first`, `first + 1`, and so on.
    Changes {
        /// The id of its first change.
        first: ChangeId,
        /// How many changes it has; at least 1.
        count: u32,
        /// Its only change took the place of an earlier version of its key.
        replaced: bool,
    },
    /// It created this tenant.
    Tenant(Uuid),
    /// It created a collection.
    Collection {
        /// The collection.
        collection: Uuid,
        /// Its tenant.
        tenant: Uuid,
    },
    /// The data and the tags of this change are gone.
    Redacted(ChangeId),
    /// A tenant keeps another part of its history than before.
    Retention,
    /// It created this token.
    Token(TokenId),
    /// It revoked this token.
    Revoked(TokenId),
    /// Requests without a token may do something else than before.
    Anonymous,
    /// A tenant may use another share than before.
    Quota,
}

/// Something that a command needs and that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The tenant.
    Tenant,
    /// The collection.
    Collection,
    /// The key.
    Key,
    /// The change.
    Change,
    /// The token.
    Token,
}

/// Why a command was refused when its turn came. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// What it writes to is not there, or no more.
    NotFound(Missing),
    /// The name is that of this tenant.
    TenantTaken(Uuid),
    /// The name is that of this collection.
    CollectionTaken(Uuid),
    /// Its conditions do not hold of the key, whose current version this is.
    PreconditionFailed(Option<ChangeId>),
    /// Its idempotency key was used before for another request.
    IdempotencyMismatch,
    /// The token that it was asked with may not do it, or is good for nothing any more.
    NoRight,
    /// There are as many tokens as there may be.
    TooManyTokens,
}

/// How a command was decided, the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What it did, or why it did nothing.
    pub result: Result<Effect, Refusal>,
    /// It repeats an earlier request, whose result this is.
    pub replayed: bool,
}

impl From<Result<Effect, Refusal>> for Decision {
    fn from(result: Result<Effect, Refusal>) -> Self {
        Self { result, replayed: false }
    }
}

/// Why a node cannot store changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StorageProblem {
    /// A write to its log failed.
    #[error("its log failed; see the node's own log")]
    Failed,
    /// Its disk is full.
    #[error("its disk is too full for another part of its log")]
    Full,
    /// It takes no entry that large.
    #[error("it takes no write that large: its segments are smaller than those of other nodes")]
    TooLarge,
    /// Its disk does not answer at the moment.
    #[error("its disk does not answer")]
    Stalled,
    /// It has no further segment for its log, though there is room.
    #[error("it cannot prepare another part of its log; see the node's own log")]
    NoSegment,
    /// It must not go on with what its disk holds.
    #[error("it must not go on; /ready says why")]
    Halted,
    /// Too few of the voters have room for it.
    #[error("the disks of a quorum are too full for a write that large")]
    Quorum,
}

/// Why a write was not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum WriteError {
    /// Nobody leads the cluster: it certainly did not happen.
    #[error("the cluster has no leader at the moment")]
    NoLeader,
    /// No room, or a disk that failed: it certainly did not happen.
    #[error("the node cannot store changes: {0}")]
    Storage(StorageProblem),
    /// Too many writes wait already: it certainly did not happen.
    #[error("the write waited too long on this node, or too many wait here")]
    Overloaded,
    /// It may or may not happen.
    #[error("the node cannot tell whether the write happened")]
    Unknown,
}

/// The outcome of one write.
pub type Outcome = Result<Decision, WriteError>;
