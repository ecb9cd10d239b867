//! One change of a batch, read where it lies.

use std::borrow::Cow;

use uuid::Uuid;

use super::{
    command::{ChangeSpan, flag},
    layout::{ERASED, REDACTED, REDACTED_DELETION, REDACTED_EXPIRY, member},
};
use crate::base::{decimal, ids::ChangeId, json_string::read_json_string, ttl::Ttl};

/// The longest that tells what a change replaced.
const PREVIOUS_BYTES_MAX: usize = member::PREVIOUS.len() + decimal::DIGITS_MAX;

/// The flags of a change that is left out. No batch has them.
const LEFT_OUT: u16 = 1 << 15;

/// One change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRef<'b> {
    /// What is stored of what follows `{"_id":N,"_ts":T`; see [`text`](Self::text).
    pub suffix: &'b [u8],
    /// The text inside the brackets of `tags`.
    pub tags: &'b [u8],
    flags: u16,
    key_bytes: u16,
    is_redacted: bool,
    /// The version of its key that it took the place of, as far as that is shown.
    previous: ChangeId,
}

/// What follows the head of a change as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'b> {
    /// The version of its key that it replaced; [`ChangeId::ZERO`] for none.
    pub previous: ChangeId,
    /// What is stored of it.
    pub stored: &'b [u8],
    /// What follows that.
    pub rest: &'static [u8],
}

impl Text<'_> {
    /// The most bytes that it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        let previous = if self.previous > ChangeId::ZERO { PREVIOUS_BYTES_MAX } else { 0 };
        previous + self.stored.len() + self.rest.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'b> From<&'b [u8]> for Text<'b> {
    fn from(stored: &'b [u8]) -> Self {
        Self { previous: ChangeId::ZERO, stored, rest: b"" }
    }
}

impl<'b, const N: usize> From<&'b [u8; N]> for Text<'b> {
    fn from(stored: &'b [u8; N]) -> Self {
        stored.as_slice().into()
    }
}

impl<'b> ChangeRef<'b> {
    /// Stands for a change of another tenant, of which a copy has nothing.
    pub const LEFT_OUT: Self = Self {
        suffix: b"}",
        tags: b"",
        flags: LEFT_OUT,
        key_bytes: 0,
        is_redacted: false,
        previous: ChangeId::ZERO,
    };

    /// Whether it only stands for a change that is not here.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.flags == LEFT_OUT
    }

    pub(super) fn new(suffix: &'b [u8], tags: &'b [u8], flags: u16, key_bytes: u16) -> Self {
        let (is_redacted, previous) = (false, ChangeId::ZERO);
        Self { suffix, tags, flags, key_bytes, is_redacted, previous }
    }

    /// The same, which took the place of that version of its key; [`ChangeId::ZERO`] for none.
    #[must_use]
    pub(super) fn after(self, previous: ChangeId) -> Self {
        Self { previous, ..self }
    }

    /// The version of its key that it took the place of, as far as that is shown;
    /// [`ChangeId::ZERO`] for none.
    #[must_use]
    pub fn previous(&self) -> ChangeId {
        self.previous
    }

    /// The same without data and tags.
    #[must_use]
    pub fn redacted(self) -> Self {
        // What does not reach as far was never checked, or its change is none of this API.
        let suffix = self.suffix.get(..self.kept_bytes()).unwrap_or_default();
        Self { suffix, tags: b"", is_redacted: true, ..self }
    }

    /// As it is shown when it `is_redacted`, or not.
    #[must_use]
    pub fn shown(self, is_redacted: bool) -> Self {
        if is_redacted { self.redacted() } else { self }
    }

    /// Whether its data and its tags were taken away.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.is_redacted
    }

    /// Bytes of the members that a redaction keeps, at the start of the suffix.
    pub(super) fn kept_bytes(&self) -> usize {
        let at = members_bytes(self.flags) as usize + usize::from(self.key_bytes);
        let has_ttl = self.flags & flag::TTL != 0;
        at + self.suffix.get(at..).filter(|_| has_ttl).map_or(0, ttl_bytes)
    }

    /// What follows its head as it is sent.
    #[must_use]
    pub fn text(&self) -> Text<'b> {
        let rest: &[u8] = match (self.is_redacted, self.is_deletion()) {
            (false, _) => b"",
            (true, false) => REDACTED,
            (true, true) if self.is_expiry() => REDACTED_EXPIRY,
            (true, true) => REDACTED_DELETION,
        };
        Text { previous: self.previous, stored: self.suffix, rest }
    }

    /// Whether it belongs to no list but the global one and has no tag.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.flags == 0 && self.tags.is_empty()
    }

    /// Its tenant.
    #[must_use]
    pub fn tenant(&self) -> Option<Uuid> {
        self.uuid(flag::TENANT, member::TENANT.len())
    }

    /// Its collection.
    #[must_use]
    pub fn collection(&self) -> Option<Uuid> {
        self.uuid(flag::COLLECTION, member::TENANT_BYTES + member::COLLECTION.len())
    }

    fn uuid(&self, flag: u16, at: usize) -> Option<Uuid> {
        if self.flags & flag == 0 {
            return None;
        }
        let text = self.suffix.get(at..at + member::UUID_BYTES)?;
        Uuid::try_parse_ascii(text).ok()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<Cow<'b, str>> {
        if self.flags & flag::KEY == 0 {
            return None;
        }
        let at = members_bytes(self.flags) as usize;
        read_json_string(self.suffix.get(at..at + usize::from(self.key_bytes))?)
    }

    /// How long the version of a key that it is is to live; for ever when there is none.
    #[must_use]
    pub fn ttl(&self) -> Option<Ttl> {
        if self.flags & flag::TTL == 0 {
            return None;
        }
        let at = members_bytes(self.flags) as usize + usize::from(self.key_bytes);
        ttl_member(self.suffix.get(at..)?)
    }

    /// Whether it should have a time to live that cannot be read.
    pub(super) fn lacks_ttl(&self) -> bool {
        self.flags & flag::TTL != 0 && self.ttl().is_none()
    }

    /// Whether it records a deletion because a time to live is over.
    #[must_use]
    pub fn is_expiry(&self) -> bool {
        self.flags & flag::EXPIRED != 0
    }

    /// Whether it records a deletion.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.flags & flag::DELETED != 0
    }
}

/// The time to live that `text` begins with, as a member of a change.
pub(super) fn ttl_member(text: &[u8]) -> Option<Ttl> {
    let (member, rest) = text.split_at(ttl_bytes(text));
    // What was erased is zeros.
    if !matches!(rest.first(), None | Some(&b',' | &ERASED)) {
        return None;
    }
    let digits = std::str::from_utf8(member.strip_prefix(member::TTL)?).ok()?;
    Ttl::new(digits.parse().ok()?)
}

/// The length of the time to live that `text` begins with, as a member of a change; 0 without one.
pub(super) fn ttl_bytes(text: &[u8]) -> usize {
    let Some(digits) = text.strip_prefix(member::TTL) else { return 0 };
    let digits = digits.iter().take(TTL_DIGITS_MAX).take_while(|byte| byte.is_ascii_digit());
    member::TTL.len() + digits.count()
}

/// More than the longest time to live has.
const TTL_DIGITS_MAX: usize = 12;

/// Whether the members that a span speaks of lie within `suffix_bytes`.
pub(super) fn fits(span: ChangeSpan, suffix_bytes: u32) -> bool {
    let flags = span.flags;
    let has = |bits: u16| flags & bits == bits;
    let ordered = !has(flag::COLLECTION) || has(flag::TENANT);
    let ordered = ordered && (!has(flag::KEY) || has(flag::COLLECTION));
    let ordered = ordered && (!has(flag::DELETED) || has(flag::TENANT));
    let ordered = ordered && (flags & (flag::TTL | flag::EXPIRED) == 0 || has(flag::KEY));
    let ordered = ordered && (!has(flag::EXPIRED) || has(flag::DELETED));
    let ordered = ordered && !has(flag::TTL | flag::DELETED);
    let before_tags = members_bytes(flags) + u32::from(span.key_bytes);
    let tags_end = u32::from(span.tags_at) + u32::from(span.tags_bytes);
    ordered && flags & !flag::ALL == 0 && before_tags <= suffix_bytes && tags_end <= suffix_bytes
}

/// Bytes of the members before tags, without the key itself.
fn members_bytes(flags: u16) -> u32 {
    let has = |bits: u16, bytes: usize| if flags & bits == 0 { 0 } else { bytes as u32 };
    has(flag::TENANT, member::TENANT_BYTES)
        + has(flag::COLLECTION, member::COLLECTION_BYTES)
        + has(flag::KEY, member::KEY.len())
}
