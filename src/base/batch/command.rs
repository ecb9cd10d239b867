//! What a client asks to have written, as it travels to the log: commands, each
//! decided as a whole when the batch that holds it is applied.

use bytes::Bytes;
use smallvec::SmallVec;
use uuid::Uuid;

use super::layout::{
    CHANGE_BYTES, COMMAND_BYTES, QUOTA_BYTES, QUOTAS_VERSION, TOKEN_BYTES, TOKENS_VERSION, VERSION,
    member,
};
use crate::base::{
    ids::ChangeId,
    planted::planted,
    quota::TenantQuota,
    retention::{Beginning, TenantRetention},
    tokens::{Grantor, Rights, Token, TokenId},
};

/// One write request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What it does.
    pub action: Action,
    /// How a repeat of it is recognised.
    pub idempotency: Option<Idempotency>,
}

impl From<Action> for Command {
    fn from(action: Action) -> Self {
        Self { action, idempotency: None }
    }
}

impl From<Append> for Command {
    fn from(append: Append) -> Self {
        Action::Append(append).into()
    }
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Appends changes.
    Append(Append),
    /// Creates a tenant. No change records it.
    CreateTenant {
        /// The UUID it gets.
        tenant: Uuid,
        /// Its name.
        name: Box<str>,
    },
    /// Creates a collection. No change records it.
    CreateCollection {
        /// The tenant that it belongs to.
        tenant: Uuid,
        /// The UUID it gets.
        collection: Uuid,
        /// Its name.
        name: Box<str>,
    },
    /// Takes the data and the tags of a change away, for ever. No change records it.
    Redact(ChangeId),
    /// Says how much of its history a tenant keeps.
    SetRetention(Uuid, TenantRetention),
    /// Has the lists of a tenant begin later.
    BeginAt(Uuid, Beginning),
    /// Creates a token. No change records it.
    CreateToken(Box<Token>),
    /// Revokes a token. No change records it.
    RevokeToken(TokenId),
    /// Says what requests without a token may do, and who says so; nobody where that was decided before, elsewhere or by an
    /// earlier build. No change records it.
    SetAnonymous(Option<Rights>, Option<Grantor>),
    /// Says how much a tenant may use. No change records it.
    SetQuota(Uuid, TenantQuota),
}

impl Action {
    /// The version of a batch that it needs: earlier ones do not know it.
    pub(super) fn version(&self) -> u8 {
        match self {
            Self::CreateToken(token) => token_version(token),
            Self::RevokeToken(_) | Self::SetAnonymous(_, None) => TOKENS_VERSION,
            Self::SetAnonymous(_, Some(_)) | Self::SetQuota(..) => QUOTAS_VERSION,
            _ => VERSION,
        }
    }
}

/// The version of a batch that the creation of that token needs.
pub(super) fn token_version(token: &Token) -> u8 {
    match token.creator {
        Grantor::Root | Grantor::Token(_) => TOKENS_VERSION,
        Grantor::Anonymous => QUOTAS_VERSION,
    }
}

/// Changes that get consecutive ids, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// One for each change, in order. Invariant: not empty, ends ascend, the
    /// last equals `suffixes.len()`.
    pub spans: SmallVec<[ChangeSpan; 1]>,
    /// The suffixes of all changes, one after the other.
    pub suffixes: Bytes,
    /// What must hold of the key that its only change names.
    pub conditions: Conditions,
}

impl Append {
    /// Checks that its spans are those of its suffixes.
    ///
    /// # Panics
    /// If they are not.
    pub(super) fn assert_whole(&self) {
        let ascend = self.spans.is_sorted_by_key(|span| span.end);
        let end = self.spans.last().map_or(0, |last| last.end as usize);
        assert!(ascend && end == self.suffixes.len(), "spans ascend to the end of the suffixes");
    }

    /// The tenant of its first change.
    #[must_use]
    pub fn tenant(&self) -> Option<Uuid> {
        let first = self.spans.first().filter(|span| span.flags & flag::TENANT != 0)?;
        let member = self.suffixes.get(..first.end as usize)?.get(..member::TENANT_BYTES - 1)?;
        Uuid::try_parse_ascii(&member[member::TENANT.len()..]).ok()
    }
}

/// Where a change's suffix ends and its members lie; the suffix starts where the
/// one before it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeSpan {
    /// End of the suffix, from the start of the first suffix.
    pub end: u32,
    /// Start of the text inside the brackets of `tags`, from the start of this
    /// suffix; 0 without tags.
    pub tags_at: u16,
    /// Length of that text.
    pub tags_bytes: u16,
    /// Length of the text of `key`, quotes included; 0 without a key.
    pub key_bytes: u16,
    /// Which members the suffix has: of [`flag`].
    pub flags: u16,
}

/// The bits of [`ChangeSpan::flags`]. Stable: they are on disk.
pub mod flag {
    /// The suffix begins with `tenant`.
    pub const TENANT: u16 = 1;
    /// `collection` follows. Never without `TENANT`.
    pub const COLLECTION: u16 = 2;
    /// `key` follows. Never without `COLLECTION`.
    pub const KEY: u16 = 4;
    /// It records a deletion: of the key, else of the collection, else of the
    /// tenant.
    pub const DELETED: u16 = 8;
    /// `ttl` follows the key: this version of it expires. Never without `KEY`, nor with
    /// `DELETED`. From version 4 of a batch on.
    pub const TTL: u16 = 16;
    /// It records that a key expired. Never without `KEY` and `DELETED`. From version 4 of a
    /// batch on.
    pub const EXPIRED: u16 = 32;
    /// All that versions before 4 know.
    pub const BEFORE_4: u16 = TENANT | COLLECTION | KEY | DELETED;
    /// All that are known.
    pub const ALL: u16 = BEFORE_4 | TTL | EXPIRED;
}

/// What must hold of the current version of a key for a write of it to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`
    pub if_match: Option<Versions>,
    /// `If-None-Match`
    pub if_none_match: Option<Versions>,
}

/// Versions of a key, each named by the id of the change that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Any there may be.
    Any,
    /// One of these; of none, nothing matches.
    Of(SmallVec<[ChangeId; 1]>),
}

impl Versions {
    fn matches(&self, current: Option<ChangeId>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Of(ids), Some(id)) => ids.contains(&id),
        }
    }
}

impl Conditions {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether they hold of a key whose current version is `current`.
    #[must_use]
    pub fn hold(&self, current: Option<ChangeId>) -> bool {
        self.if_match.as_ref().is_none_or(|versions| versions.matches(current))
            && (planted!(IgnoreIfNoneMatch)
                || !self.if_none_match.as_ref().is_some_and(|versions| versions.matches(current)))
    }

    /// Bytes of their byte form.
    pub(super) fn encoded_bytes(&self) -> usize {
        [&self.if_match, &self.if_none_match]
            .into_iter()
            .map(|versions| match versions {
                Some(Versions::Of(ids)) => 2 + 8 * ids.len(),
                Some(Versions::Any) | None => 2,
            })
            .sum()
    }

    /// Their byte form: of each header u16, 0xffff for none, 0xfffe for `*`,
    /// else the number of versions that follow, u64 each.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for versions in [&self.if_match, &self.if_none_match] {
            match versions {
                None => out.extend_from_slice(&NO_HEADER.to_le_bytes()),
                Some(Versions::Any) => out.extend_from_slice(&ANY_VERSION.to_le_bytes()),
                Some(Versions::Of(ids)) => {
                    debug_assert!(ids.len() < usize::from(ANY_VERSION), "the API bounds them");
                    out.extend_from_slice(&(ids.len() as u16).to_le_bytes());
                    ids.iter().for_each(|id| out.extend_from_slice(&id.0.to_le_bytes()));
                }
            }
        }
    }

    /// Reads their byte form off the start of `raw`.
    pub(super) fn decode(raw: &mut &[u8]) -> Option<Self> {
        let mut one = || {
            let (count, rest) = raw.split_first_chunk()?;
            *raw = rest;
            Some(match u16::from_le_bytes(*count) {
                NO_HEADER => None,
                ANY_VERSION => Some(Versions::Any),
                count => {
                    let mut ids = SmallVec::new();
                    for _ in 0..count {
                        let (id, rest) = raw.split_first_chunk()?;
                        *raw = rest;
                        ids.push(ChangeId(u64::from_le_bytes(*id)));
                    }
                    Some(Versions::Of(ids))
                }
            })
        };
        Some(Self { if_match: one()?, if_none_match: one()? })
    }
}

const NO_HEADER: u16 = 0xffff;
const ANY_VERSION: u16 = 0xfffe;

/// How a repeat of a request is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Digest of the client's `Idempotency-Key`.
    pub key: [u8; 16],
    /// Digest of all else that the request asks for.
    pub request: [u8; 16],
}

impl Command {
    /// How many changes it appends if it is accepted.
    #[must_use]
    pub fn changes(&self) -> u32 {
        match &self.action {
            Action::Append(append) => append.spans.len() as u32,
            _ => 0,
        }
    }

    /// Bytes it adds to a batch.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let idempotency = if self.idempotency.is_some() { 32 } else { 0 };
        let action = match &self.action {
            Action::Append(append) => {
                let conditions = match append.conditions.is_empty() {
                    true => 0,
                    false => append.conditions.encoded_bytes(),
                };
                conditions + CHANGE_BYTES * append.spans.len() + append.suffixes.len()
            }
            Action::CreateTenant { name, .. } => 16 + name.len(),
            Action::CreateCollection { name, .. } => 32 + name.len(),
            Action::Redact(_) => 8,
            Action::SetRetention(..) => 16 + TenantRetention::BYTES,
            Action::BeginAt(..) => 16 + TenantRetention::BYTES + 8,
            Action::CreateToken(token) => TOKEN_BYTES + token.name.len(),
            Action::RevokeToken(_) => 8,
            Action::SetAnonymous(_, None) => Rights::BYTES,
            Action::SetAnonymous(_, Some(_)) => 8 + Rights::BYTES,
            Action::SetQuota(..) => QUOTA_BYTES,
        };
        COMMAND_BYTES + idempotency + action
    }
}
