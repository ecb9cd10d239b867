//! Rendering a suffix: the one place that knows the order and the spelling of a
//! change's members.

use std::borrow::Cow;

use uuid::Uuid;

use super::{
    ChangeSpan,
    change_ref::{Text, ttl_bytes, ttl_member},
    flag,
    layout::REDACTED,
    member,
};
use bytes::BufMut;

use crate::base::decimal;
use crate::base::ids::{ChangeId, Timestamp};
use crate::base::json_string::{read_json_string, write_json_string};
use crate::base::ttl::Ttl;

const ID: &[u8] = b"{\"_id\":";
const TS: &[u8] = b",\"_ts\":";
/// The longest that stands before a suffix.
pub const HEAD_BYTES_MAX: usize = ID.len() + TS.len() + 2 * decimal::DIGITS_MAX;

const TAGS_OPEN: &[u8] = b",\"tags\":[";
const TAGS_CLOSE: &[u8] = b"]";
const DATA: &[u8] = b",\"data\":";
const DELETED: &[u8] = b",\"deleted\":true";
const EXPIRED: &[u8] = b",\"expired\":true";
const CLOSE: &[u8] = b"}";
/// The digits of the longest time to live.
const TTL_DIGITS: usize = 10;

/// The most bytes that a suffix has besides its key, tags and data.
pub const SUFFIX_OVERHEAD_BYTES: usize = member::TENANT_BYTES
    + member::COLLECTION_BYTES
    + member::KEY.len()
    + member::TTL.len()
    + TTL_DIGITS
    + TAGS_OPEN.len()
    + TAGS_CLOSE.len()
    + DELETED.len()
    + EXPIRED.len()
    + CLOSE.len();

/// What stands before `data` in a suffix.
#[derive(Clone, Copy, Debug, Default)]
pub struct SuffixMembers<'m> {
    /// The tenant.
    pub tenant: Option<Uuid>,
    /// The collection, which has a tenant.
    pub collection: Option<Uuid>,
    /// The key, which has a collection.
    pub key: Option<&'m str>,
    /// How long this version of the key is to live.
    pub ttl: Option<Ttl>,
    /// Tags in their stored spelling, commas between them.
    pub tags: &'m [u8],
}

impl SuffixMembers<'_> {
    /// The most bytes that they and what follows them take, `data` aside.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let mut bytes = DATA.len() + DELETED.len() + EXPIRED.len() + CLOSE.len();
        if self.tenant.is_some() {
            bytes += member::TENANT_BYTES;
        }
        if self.collection.is_some() {
            bytes += member::COLLECTION_BYTES;
        }
        if let Some(key) = self.key {
            // Only control characters are spelled by as many as six.
            let controls = key.bytes().filter(u8::is_ascii_control).count();
            bytes += member::KEY.len() + 2 * key.len() + 4 * controls + 2;
        }
        if self.ttl.is_some() {
            bytes += member::TTL.len() + TTL_DIGITS;
        }
        if !self.tags.is_empty() {
            bytes += TAGS_OPEN.len() + self.tags.len() + TAGS_CLOSE.len();
        }
        bytes
    }

    /// Appends a suffix whose data `write` appends, and says where it lies.
    pub fn write(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> ChangeSpan {
        let span = self.open(out);
        out.extend_from_slice(DATA);
        write(out);
        close(out, span)
    }

    /// Appends the suffix of a deletion of what is named.
    pub fn write_deletion(&self, out: &mut Vec<u8>) -> ChangeSpan {
        let mut span = self.open(out);
        span.flags |= flag::DELETED;
        out.extend_from_slice(DELETED);
        close(out, span)
    }

    /// Appends the suffix of the deletion of a key whose time to live is over.
    pub fn write_expiry(&self, out: &mut Vec<u8>) -> ChangeSpan {
        assert!(self.key.is_some(), "only a key expires");
        let mut span = self.open(out);
        span.flags |= flag::DELETED | flag::EXPIRED;
        out.extend_from_slice(DELETED);
        out.extend_from_slice(EXPIRED);
        close(out, span)
    }

    fn open(&self, out: &mut Vec<u8>) -> ChangeSpan {
        let start = out.len();
        let mut span = ChangeSpan::default();
        if let Some(tenant) = self.tenant {
            span.flags |= flag::TENANT;
            put_uuid(out, member::TENANT, tenant);
        }
        if let Some(collection) = self.collection {
            span.flags |= flag::COLLECTION;
            put_uuid(out, member::COLLECTION, collection);
        }
        if let Some(key) = self.key {
            span.flags |= flag::KEY;
            out.extend_from_slice(member::KEY);
            let before = out.len();
            write_json_string(out, key);
            // The bound on keys keeps it far below.
            span.key_bytes = (out.len() - before) as u16;
        }
        if let Some(ttl) = self.ttl {
            span.flags |= flag::TTL;
            out.extend_from_slice(member::TTL);
            decimal::write(out, u64::from(ttl.seconds()));
        }
        if !self.tags.is_empty() {
            out.extend_from_slice(TAGS_OPEN);
            span.tags_at = (out.len() - start) as u16;
            span.tags_bytes = self.tags.len() as u16;
            out.extend_from_slice(self.tags);
            out.extend_from_slice(TAGS_CLOSE);
        }
        span
    }
}

fn close(out: &mut Vec<u8>, mut span: ChangeSpan) -> ChangeSpan {
    out.extend_from_slice(CLOSE);
    span.end = out.len() as u32;
    span
}

fn put_uuid(out: &mut Vec<u8>, name: &[u8], id: Uuid) {
    out.extend_from_slice(name);
    let mut text = [0; member::UUID_BYTES];
    out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
    out.push(b'"');
}

/// Appends one change as it is sent: its head, then its suffix.
pub fn put_change<'t>(
    out: &mut impl BufMut,
    id: ChangeId,
    at: Timestamp,
    text: impl Into<Text<'t>>,
) {
    let Text { previous, stored, rest } = text.into();
    out.put_slice(ID);
    decimal::write(out, id.0);
    out.put_slice(TS);
    decimal::write(out, at.0);
    if previous > ChangeId::ZERO {
        out.put_slice(member::PREVIOUS);
        decimal::write(out, previous.0);
    }
    out.put_slice(stored);
    out.put_slice(rest);
}

/// A change of a key, as it is sent, without its data and tags; nothing when it is no such change.
#[must_use]
pub fn redacted_change(change: &[u8]) -> Option<Vec<u8>> {
    let kept = change.len() - kept_of_key(change)?.1.len();
    Some([&change[..kept], REDACTED].concat())
}

/// What a change of a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuffixParts<'t> {
    /// Its collection.
    pub collection: Uuid,
    /// Its key.
    pub key: Cow<'t, str>,
    /// How long this version of it is to live.
    pub ttl: Option<Ttl>,
}

/// Reads what a change of a key names off the change as it is sent; `None` for
/// any other.
#[must_use]
pub fn suffix_parts(change: &[u8]) -> Option<SuffixParts<'_>> {
    Some(kept_of_key(change)?.0)
}

/// The tenant of a change, as it is sent.
#[must_use]
pub fn tenant_of(change: &[u8]) -> Option<Uuid> {
    let rest = after_head(change)?.strip_prefix(member::TENANT)?;
    Uuid::try_parse_ascii(rest.get(..member::UUID_BYTES)?).ok()
}

/// What follows the head of a change, and what it replaced.
fn after_head(change: &[u8]) -> Option<&[u8]> {
    let rest = change.strip_prefix(ID)?;
    let rest = &rest[rest.iter().position(|&byte| byte == b',')?..];
    let rest = rest.strip_prefix(TS)?;
    let rest = &rest[rest.iter().position(|&byte| byte == b',')?..];
    match rest.strip_prefix(member::PREVIOUS) {
        Some(previous) => Some(&previous[previous.iter().position(|&byte| byte == b',')?..]),
        None => Some(rest),
    }
}

/// What a change of a key names, and what follows that.
fn kept_of_key(change: &[u8]) -> Option<(SuffixParts<'_>, &[u8])> {
    let rest = after_head(change)?;
    let rest = rest.strip_prefix(member::TENANT)?.get(member::UUID_BYTES + 1..)?;
    let rest = rest.strip_prefix(member::COLLECTION)?;
    let collection = Uuid::try_parse_ascii(rest.get(..member::UUID_BYTES)?).ok()?;
    let rest = rest.get(member::UUID_BYTES + 1..)?.strip_prefix(member::KEY)?;
    let mut end = 1;
    while *rest.get(end)? != b'"' {
        end += if rest[end] == b'\\' { 2 } else { 1 };
    }
    let (key, rest) = rest.split_at(end + 1);
    let key = read_json_string(key)?;
    let (ttl, rest) = (ttl_member(rest), &rest[ttl_bytes(rest)..]);
    Some((SuffixParts { collection, key, ttl }, rest))
}
