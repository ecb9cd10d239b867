//! The sizes and numbers of the byte form of a batch.

use crate::base::{quota::TenantQuota, tokens::Rights};

/// The version written by this build, but for batches that need a later one. Stable: it is on disk.
pub const VERSION: u8 = 5;
/// The version of a batch with a command about tokens. Stable: it is on disk.
pub(super) const TOKENS_VERSION: u8 = 7;
/// The version of a batch with a command about quotas, or one that gives rights and says who does. Stable: it is on
/// disk.
pub(super) const QUOTAS_VERSION: u8 = 9;
/// The latest one that is known.
pub const NEWEST_VERSION: u8 = part_version(QUOTAS_VERSION);

/// The version of a part of a batch of that version. Stable: it is on disk.
pub(super) const fn part_version(version: u8) -> u8 {
    version + 1
}

/// Whether that is the version of a part of a batch.
pub(super) const fn is_part(version: u8) -> bool {
    version > VERSION && version.is_multiple_of(2)
}
pub const HEADER_BYTES: usize = 24;
pub(super) const COMMAND_BYTES: usize = 12;
pub(super) const CHANGE_BYTES: usize = 12;
/// The header of a part of a batch.
pub(super) const PART_HEADER_BYTES: usize = 32;
/// One of its gaps.
pub(super) const GAP_BYTES: usize = 8;
/// What one of its changes replaced.
pub(super) const REPLACED_BYTES: usize = 12;
/// What a command that sets a quota has.
pub(super) const QUOTA_BYTES: usize = 16 + TenantQuota::BYTES;
/// What a command that creates a token has before its name.
pub(super) const TOKEN_BYTES: usize = 24 + Rights::BYTES + 32;
/// The flag of a batch that concerns no index.
pub(super) const PLAIN: u8 = 1;

/// What stands in the place of what was erased of a suffix. Stable: it is on disk. No JSON ends
/// with it.
pub(super) const ERASED: u8 = 0;

/// The kinds of a command. Stable: they are on disk.
pub(super) mod kind {
    pub(in crate::base::batch) const APPEND: u8 = 1;
    pub(in crate::base::batch) const CREATE_TENANT: u8 = 2;
    pub(in crate::base::batch) const CREATE_COLLECTION: u8 = 3;
    pub(in crate::base::batch) const REDACT: u8 = 4;
    pub(in crate::base::batch) const SET_RETENTION: u8 = 5;
    pub(in crate::base::batch) const BEGIN_AT: u8 = 6;
    pub(in crate::base::batch) const CREATE_TOKEN: u8 = 7;
    pub(in crate::base::batch) const REVOKE_TOKEN: u8 = 8;
    pub(in crate::base::batch) const SET_ANONYMOUS: u8 = 9;
    pub(in crate::base::batch) const SET_QUOTA: u8 = 10;
    pub(in crate::base::batch) const GRANT_ANONYMOUS: u8 = 11;
}

/// The flags of a command. Stable: they are on disk.
pub(super) mod command_flag {
    pub(in crate::base::batch) const IDEMPOTENCY: u8 = 1;
    pub(in crate::base::batch) const CONDITIONS: u8 = 2;
}

/// The members that a suffix may begin with, as they are spelled.
pub mod member {
    /// Before the version of its key that a change replaced; it is in the head, and so in no suffix.
    pub const PREVIOUS: &[u8] = b",\"prev\":";
    /// Before the UUID of a tenant.
    pub const TENANT: &[u8] = b",\"tenant\":\"";
    /// Before the UUID of a collection.
    pub const COLLECTION: &[u8] = b",\"collection\":\"";
    /// Before a key, which has its own quotes.
    pub const KEY: &[u8] = b",\"key\":";
    /// Before the seconds of a time to live.
    pub const TTL: &[u8] = b",\"ttl\":";
    /// A UUID in its usual form.
    pub const UUID_BYTES: usize = 36;
    /// A tenant's member with its closing quote.
    pub const TENANT_BYTES: usize = TENANT.len() + UUID_BYTES + 1;
    /// A collection's member with its closing quote.
    pub const COLLECTION_BYTES: usize = COLLECTION.len() + UUID_BYTES + 1;
}

/// What takes the place of the tags and the data, and of how a deletion ends.
pub(super) const REDACTED: &[u8] = b",\"redacted\":true}";
pub(super) const REDACTED_DELETION: &[u8] = b",\"deleted\":true,\"redacted\":true}";
pub(super) const REDACTED_EXPIRY: &[u8] = b",\"deleted\":true,\"expired\":true,\"redacted\":true}";
