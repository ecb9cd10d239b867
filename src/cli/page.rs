//! One page of a list, its changes as the bytes that they came in.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;

/// A page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
    /// Nothing follows the last change.
    pub(super) at_end: bool,
    /// What to ask after next.
    pub(super) last: u64,
}

impl<'a> Page<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|error| Failure::Other(format!("the node sent a page that is none: {error}")))
    }

    /// Each change with its id, as one line.
    pub(super) fn changes(&self) -> impl Iterator<Item = Result<(u64, Cow<'a, [u8]>), Failure>> {
        self.changes.iter().map(|change| {
            let text = change.get().as_bytes();
            Ok((id(text)?, one_line(text)))
        })
    }
}

/// The id of a change.
pub(super) fn id(change: &[u8]) -> Result<u64, Failure> {
    head(change).map(|head| head.id)
}

/// One line of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A change, by its id.
    Change(u64),
    /// Everything up to that id was sent.
    Cursor(u64),
}

/// What a line of a stream is.
pub(super) fn line(text: &[u8]) -> Result<Line, Failure> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cursor {
        last: u64,
    }
    // Every change begins with its id.
    match serde_json::from_slice(text) {
        Ok(Cursor { last }) => Ok(Line::Cursor(last)),
        Err(_) => id(text).map(Line::Change),
    }
}

/// What makes a change the one that it is.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Head {
    #[serde(rename = "_id")]
    pub(super) id: u64,
    #[serde(rename = "_ts")]
    pub(super) time: u64,
}

/// Id and time of a change.
pub(super) fn head(change: &[u8]) -> Result<Head, Failure> {
    serde_json::from_slice(change).map_err(|error| {
        let text = String::from_utf8_lossy(change);
        let start: String = text.chars().take(60).collect();
        Failure::Other(format!("this is not a change ({error}): {start}"))
    })
}

/// JSON without line breaks: between its tokens they mean nothing, and within a
/// string there are none.
fn one_line(json: &[u8]) -> Cow<'_, [u8]> {
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if json.iter().any(breaks) {
        json.iter().copied().filter(|byte| !breaks(byte)).collect::<Vec<u8>>().into()
    } else {
        json.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_keep_their_bytes() {
        let deep = format!("{}1.0{}", "[".repeat(500), "]".repeat(500));
        let one =
            format!(r#"{{"_id":7,"_ts":1,"data":{{"a":1e400,"a":0.10,"b":"\u00e9","c":{deep}}}}}"#);
        let text = format!(
            "{{\"changes\":[{one}, {{\"_id\":8,\n\"_ts\":2}}],\"atStart\":true,\"atEnd\":false,\"last\":9}}"
        );
        let page = Page::parse(text.as_bytes()).unwrap();
        let changes: Vec<_> = page.changes().map(Result::unwrap).collect();
        assert_eq!(changes[0], (7, one.as_bytes().into()));
        assert_eq!(changes[1], (8, br#"{"_id":8,"_ts":2}"#.as_slice().into()));
        assert!(!page.at_end && page.last == 9);
    }

    #[test]
    fn a_line_is_a_change_or_a_cursor() {
        assert_eq!(line(br#"{"last":7}"#).unwrap(), Line::Cursor(7));
        let change = br#"{"_id":8,"_ts":2,"data":{"last":7}}"#;
        assert_eq!(line(change).unwrap(), Line::Change(8));
        assert!(line(br#"{"last":7,"data":1}"#).is_err());
    }

    #[test]
    fn what_is_no_page_or_no_change_is_said_to_be_none() {
        for text in ["", "[]", "{}", r#"{"changes":[{"_id":1}"#] {
            assert!(Page::parse(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["", "{}", r#"{"_id":"1"}"#, r#"{"_id":1,"_ts":2"#] {
            assert!(head(text.as_bytes()).is_err(), "{text}");
        }
    }
}
