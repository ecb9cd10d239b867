//! The byte form of a batch of commands: the payload of one Raft entry, what a
//! segment holds on disk, and what a read copies from.
//!
//! All integers are little-endian; the layout is stable and versioned.
//!
//! ```text
//!  0  u8   version (5)
//!  1  u8   bit 0: plain, nothing in it concerns an index; else zero
//!  2  u16  zero
//!  4  u32  number of commands
//!  8  u32  number of changes
//! 12  u32  length of the arguments
//! 16  u64  timestamp of every change in it, microseconds since 1970 UTC
//! 24  commands: u8 kind, u8 flags, u16 zero, u32 number of changes,
//!               u32 length of its arguments                      12 bytes each
//!  .  changes: u32 end of its suffix, u16 tags at, u16 tags length,
//!               u16 key length, u16 flags                        12 bytes each
//!  .  arguments of the commands, one after the other
//!  .  suffixes of the changes, one after the other
//! ```
//!
//! Kinds of command and their arguments: 1 append; 2 create a tenant: UUID,
//! name; 3 create a collection: UUID of the tenant, UUID, name; 4 redact: the u64
//! id of a change; 5 say what a tenant keeps: UUID, u64 changes, u64 seconds, 0 for
//! none; 6 have its lists begin later: the same, u64 id of their first change; 7 create a token: u64 id, u64
//! id of the token that it is created with, 0 for the root token, 2^64-1 for none at all, u64 microsecond from when on it is good for nothing, 0 for
//! never, its rights in 34 bytes ([`Rights`](super::tokens::Rights::to_bytes)), SHA-256 of the token, name; 8 revoke
//! a token: u64 id; 9 say what requests without a token may do: rights in 34 bytes; 10 say how much a tenant may use: UUID, u64
//! writes, u64 reads, u64 waits, u64 bytes, 0 for none; 11 say what requests without a token may do, and who says so: u64 as of
//! a token's creator, rights in 34 bytes. With flag 1 the arguments begin with an idempotency key's two
//! digests of 16 bytes, with flag 2 conditions follow ([`Conditions`]).
//!
//! A *suffix* is a change as the API shows it without its head: a change reads
//! `{"_id":N,"_ts":T` followed by its suffix, for example
//! `,"tags":["a"],"data":{"x":1}}`. Its members stand in one order: `tenant`,
//! `collection`, `key`, `ttl`, `tags`, then `data`, or `deleted` and, of a key whose
//! time to live is over, `expired`; flags say which there are ([`flag`]), so the
//! UUIDs, the key and its time to live lie at known places. `tags at` is
//! where the text between the brackets of `tags` starts, counted from the start
//! of the suffix, 0 when there are no tags. Keys and tags are stored in one
//! canonical spelling ([`write_json_string`](super::json_string)), so comparing
//! bytes compares them.
//!
//! A change that was redacted may be *erased*: what follows `key` and `ttl` in its
//! suffix is zeros then, and its tags are none in the table. It is read as a change that
//! ends with `,"redacted":true}`. No JSON ends with a zero, so the last byte tells.
//!
//! Ids stand nowhere in it: they are given when the batch is applied.
//!
//! From version 5 on a change that takes the place of a version of its key is shown with the id of that,
//! as `prev` after its timestamp. Like ids, it stands nowhere in the batch: it follows from what was applied
//! before. Version 4, still read, is laid out alike, and its changes are shown without.
//!
//! Version 6 is a *part* of a batch, in a copy of some tenants alone: `Selection`. It is laid out like
//! version 5 but for a longer header, which says what ids went to others.
//!
//! Version 7 is laid out like version 5, and has a command of the kinds 7 to 9, which no earlier version has; a part
//! with such a command has version 8. Version 9 and its part, version 10, are laid out likewise and have commands of the kinds 10 and 11,
//! and tokens that were created without one, too. What kind 9 says was accepted, whoever said it.
//!
//! Version 3, still read, is laid out alike and has no `ttl` and no `expired`.
//!
//! In version 3 a command that is refused because a tenant or collection is not
//! there leaves its idempotency key unused, as now; in version 2, still read and laid out
//! alike, the refusal is remembered.
//!
//! Version 1, still read, has commands of 8 bytes (no arguments), all of kind 1,
//! and changes of 8 bytes (no key length and flags).

mod change_ref;
mod check;
mod command;
mod command_ref;
mod cut;
mod encode;
mod erase;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gaps;
mod layout;
mod numbered;
mod part;
mod previous;
mod read;
mod suffix;
#[cfg(test)]
mod tests;

pub use change_ref::{ChangeRef, Text};
pub use command::{Action, Append, ChangeSpan, Command, Conditions, Idempotency, Versions, flag};
pub use command_ref::{ActionRef, CommandRef};
pub use encode::encode;
pub use erase::Erasure;
pub use layout::{HEADER_BYTES, NEWEST_VERSION, member};
pub use numbered::{NumberedBatch, Skips};
pub use part::Selection;
pub use previous::{Previous, Replaced};
pub use read::{Batch, BatchError};
pub use suffix::{
    HEAD_BYTES_MAX, SUFFIX_OVERHEAD_BYTES, SuffixMembers, SuffixParts, put_change, redacted_change,
    suffix_parts, tenant_of,
};
