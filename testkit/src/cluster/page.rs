//! A page of the list, its changes as they came.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Answer;

/// One page.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
    last: u64,
    #[serde(rename = "atEnd")]
    at_end: bool,
}

/// The changes of a page after `since`, which must be dense, and where the next
/// one begins.
pub fn page(since: u64, answer: &Answer) -> (Vec<String>, u64) {
    assert_eq!(answer.status, 200, "{answer:?} {}", answer.text());
    let Page { changes, last, at_end } = serde_json::from_slice(&answer.body).expect("a page");
    let changes: Vec<String> = changes.iter().map(|change| change.get().to_owned()).collect();
    for (change, id) in changes.iter().zip(since + 1..) {
        assert_eq!(id_of(change), id, "{change}");
    }
    assert_eq!(since + changes.len() as u64, last);
    assert!(at_end || !changes.is_empty());
    (changes, last)
}

/// The id of a change as it came.
pub fn id_of(change: &str) -> u64 {
    let rest = change.strip_prefix("{\"_id\":").expect("a change begins with its id");
    let end = rest.find(|c: char| !c.is_ascii_digit()).expect("more than an id");
    rest[..end].parse().expect("an id")
}
