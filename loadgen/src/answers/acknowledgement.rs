//! The answer to an append: one id, or those of a batch.

use serde::Deserialize;

use crate::answers::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Acknowledgement {
    #[serde(rename = "_id")]
    id: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
    count: Option<u64>,
}

/// The first of `count` consecutive ids, if the answer says exactly that.
pub(crate) fn first_id(body: &[u8], count: u64) -> Option<u64> {
    match json::read(body)? {
        Acknowledgement { id: Some(id), first: None, last: None, count: None } if count == 1 => {
            Some(id)
        }
        Acknowledgement {
            id: None,
            first: Some(first),
            last: Some(last),
            count: Some(counted),
        } => {
            let dense = first.checked_add(count - 1) == Some(last);
            (dense && counted == count).then_some(first)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_exact_acknowledgements_are_taken() {
        let first = |body: &str, count| super::first_id(body.as_bytes(), count);
        assert_eq!(first(r#"{"_id":123}"#, 1), Some(123));
        assert_eq!(first(r#"{"first":5,"last":7,"count":3}"#, 3), Some(5));
        assert_eq!(first(r#"{"first":5,"last":5,"count":1}"#, 1), Some(5));
        assert_eq!(first(r#"{"first":5,"last":8,"count":3}"#, 3), None);
        assert_eq!(first(r#"{"first":5,"last":7,"count":3}"#, 4), None);
        assert_eq!(first(r#"{"_id":123}"#, 2), None);
        assert_eq!(first(r#"{"_id":-1}"#, 1), None);
        assert_eq!(first("", 1), None);
    }
}
