//! What is noted of a segment while its batches are applied, for its index file.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    index::{Known, ListKey, Tail},
    position::Position,
};
use crate::base::{
    ids::ChangeId,
    quota::TenantQuota,
    retention::TenantRetention,
    tokens::{Rights, Token, TokenId},
};

/// A change of what names stand for, or of who may do what. In index files by the numbers of the variants, so new ones
/// come last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Naming {
    /// A tenant was created.
    Tenant(Uuid, Box<str>),
    /// A collection of a tenant was created.
    Collection(Uuid, Uuid, Box<str>),
    /// A tenant was deleted, with its collections.
    NoTenant(Uuid),
    /// A collection was deleted.
    NoCollection(Uuid),
    /// A tenant is to keep that much of its history, in its byte form.
    Retention(Uuid, [u8; TenantRetention::BYTES]),
    /// The lists of a tenant begin at that change.
    Begins(Uuid, ChangeId),
    /// A token was created.
    Token(Box<Token>),
    /// A token was revoked, or is good for nothing any more.
    NoToken(TokenId),
    /// That is what requests without a token may do.
    Anonymous(Option<Rights>),
    /// A tenant may use that much, in its byte form.
    Quota(Uuid, [u8; TenantQuota::BYTES]),
}

/// What came of the batches of one segment, beside the batches.
#[derive(Debug)]
pub struct Noted {
    /// The segment's number.
    pub segment: u64,
    /// How far the list went with its last batch.
    pub position: Position,
    /// Idempotency keys that were known then.
    pub known: usize,
    pub(super) tail: Arc<Tail>,
    pub(super) names: Vec<Naming>,
    pub(super) requests: Vec<Known>,
    pub(super) redacted: Vec<ChangeId>,
}

impl Noted {
    pub(super) fn new(segment: u64, position: Position) -> Self {
        let tail = Arc::new(Tail::new(segment, position.last.next()));
        let (names, requests, redacted) = (Vec::new(), Vec::new(), Vec::new());
        Self { segment, position, known: 0, tail, names, requests, redacted }
    }

    /// What is noted of a segment without entries.
    #[must_use]
    pub fn nothing(segment: u64, position: Position, known: usize) -> Self {
        Self { known, ..Self::new(segment, position) }
    }

    /// Every list of its changes.
    #[must_use]
    pub fn lists(&self) -> Vec<(ListKey, Vec<ChangeId>)> {
        self.tail.all()
    }
}
