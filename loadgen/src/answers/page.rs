//! What a reader needs to know of a page of changes, without parsing all of it where the list's
//! own promises (dense ids, the order of members) allow that. Where the very bytes of `data` are wanted, serde_json
//! reads: simd-json keeps no raw text.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::answers::json;

/// How far from its end the envelope's members behind the changes are looked for, in bytes.
const TAIL_BYTES_MAX: usize = 80;

/// The envelope of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageSummary {
    /// How many changes it holds.
    pub(crate) changes: u64,
    /// The `since` of the next page.
    pub(crate) last: u64,
    /// Nothing follows at present.
    pub(crate) at_end: bool,
}

/// A page with its changes.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<'a> {
    #[serde(borrow)]
    pub(crate) changes: Vec<Change<'a>>,
    #[serde(rename = "atEnd")]
    pub(crate) at_end: bool,
    pub(crate) last: u64,
}

/// A change, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct Change<'a> {
    #[serde(rename = "_id")]
    pub(crate) id: u64,
    #[serde(rename = "_ts")]
    pub(crate) ts: u64,
    #[serde(borrow, default)]
    pub(crate) key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Change<'_> {
    /// The very bytes of its data; none for a deletion.
    pub(crate) fn data(&self) -> &[u8] {
        self.data.map_or(&b""[..], |data| data.get().as_bytes())
    }
}

/// A page of the current changes of keys.
#[derive(Debug, Deserialize)]
pub(crate) struct KeysPage<'a> {
    #[serde(borrow)]
    pub(crate) keys: Vec<Change<'a>>,
    #[serde(rename = "atEnd")]
    pub(crate) at_end: bool,
}

/// A page of tenants or collections.
#[derive(Debug, Deserialize)]
pub(crate) struct NamesPage<'a> {
    #[serde(borrow, alias = "tenants", alias = "collections")]
    pub(crate) entries: Vec<NamedEntry<'a>>,
    #[serde(rename = "atEnd")]
    pub(crate) at_end: bool,
}

/// A tenant or a collection.
#[derive(Debug, Deserialize)]
pub(crate) struct NamedEntry<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
}

/// Reads a page of tenants or collections.
pub(crate) fn parse_names(body: &[u8]) -> serde_json::Result<NamesPage<'_>> {
    serde_json::from_slice(body)
}

/// Reads a page of keys.
pub(crate) fn parse_keys(body: &[u8]) -> serde_json::Result<KeysPage<'_>> {
    serde_json::from_slice(body)
}

/// Reads a single change.
pub(crate) fn parse_change(body: &[u8]) -> serde_json::Result<Change<'_>> {
    serde_json::from_slice(body)
}

/// Reads a page.
pub(crate) fn parse(body: &[u8]) -> serde_json::Result<Page<'_>> {
    serde_json::from_slice(body)
}

/// Sums up a page. `dense` tells that the list is the global one, whose ids have no gaps, so that
/// the first and last id give the count. `None` for anything that is no page.
pub(crate) fn summary(body: &[u8], dense: bool) -> Option<PageSummary> {
    if dense && let Some(summary) = dense_summary(body) {
        return Some(summary);
    }
    #[derive(Deserialize)]
    struct Page {
        changes: Vec<IgnoredAny>,
        #[serde(rename = "atEnd")]
        at_end: bool,
        last: u64,
    }
    let page: Page = json::read(body)?;
    Some(PageSummary { changes: page.changes.len() as u64, last: page.last, at_end: page.at_end })
}

/// Reads both ends of the text only.
fn dense_summary(body: &[u8]) -> Option<PageSummary> {
    let tail = body.get(body.len().saturating_sub(TAIL_BYTES_MAX)..)?;
    let envelope = tail.get(memmem::rfind(tail, b"\"atStart\":")?..)?;
    let at_end = memmem::find(envelope, b"\"atEnd\":true").is_some();
    let last_start = memmem::find(envelope, b"\"last\":")? + b"\"last\":".len();
    let last = leading_number(envelope.get(last_start..)?)?;
    let Some(first) = body.strip_prefix(b"{\"changes\":[{\"_id\":") else {
        let empty = body.starts_with(b"{\"changes\":[]");
        return empty.then_some(PageSummary { changes: 0, last, at_end });
    };
    let changes = last.checked_sub(leading_number(first)?)? + 1;
    Some(PageSummary { changes, last, at_end })
}

/// The number that the text begins with, if something else follows it.
fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(text.get(..digits)?).ok()?.parse().ok()
}

/// Adds parameters to a path that may have some already.
pub(crate) fn query(path: &str, parameters: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_reading_agree() {
        let pages = [
            (r#"{"changes":[],"atStart":false,"atEnd":true,"last":125}"#, 0, 125, true),
            (
                r#"{"changes":[{"_id":9,"_ts":1,"data":{}},{"_id":10,"_ts":1,"data":1}],"atStart":true,"atEnd":false,"last":10}"#,
                2,
                10,
                false,
            ),
        ];
        for (text, changes, last, at_end) in pages {
            let expected = Some(PageSummary { changes, last, at_end });
            assert_eq!(dense_summary(text.as_bytes()), expected, "{text}");
            assert_eq!(summary(text.as_bytes(), false), expected, "{text}");
        }
    }

    #[test]
    fn another_order_of_members_is_read_the_long_way() {
        let text = br#"{ "last":4, "atEnd":true, "changes":[{"_id":4}], "atStart":true }"#;
        assert_eq!(dense_summary(text), None);
        let expected = PageSummary { changes: 1, last: 4, at_end: true };
        assert_eq!(summary(text, true), Some(expected));
        assert_eq!(summary(b"{}", true), None);
        assert_eq!(summary(b"", true), None);
    }

    #[test]
    fn parameters_are_added_to_those_already_there() {
        assert_eq!(query("/changes", "limit=1"), "/changes?limit=1");
        assert_eq!(query("/changes?tag=a", "limit=1"), "/changes?tag=a&limit=1");
    }
}
