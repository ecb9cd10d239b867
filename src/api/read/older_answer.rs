//! The bytes of a page that is collected from its newest change to its oldest, and sent in
//! ascending order.

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::{
    batch::{HEAD_BYTES_MAX, Text, put_change},
    decimal::{self, DIGITS_MAX},
    ids::{ChangeId, Timestamp},
};

const OPEN: &[u8] = b"{\"changes\":[";
const CLOSE_BYTES_MAX: usize =
    "],\"atStart\":false,\"atEnd\":false,\"last\":,\"before\":}".len() + 2 * DIGITS_MAX;

/// Changes under construction as a page that goes backwards.
pub(super) struct OlderAnswer {
    /// The changes, newest first.
    out: BytesMut,
    /// Where each of them ends.
    ends: Vec<usize>,
    bytes_max: usize,
}

/// What is told of a page besides its changes.
pub(super) struct OlderEnds {
    /// Nothing precedes it.
    pub(super) at_start: bool,
    /// Nothing follows it.
    pub(super) at_end: bool,
    /// Where to go on with what is newer.
    pub(super) last: ChangeId,
    /// Where to go on with what is older.
    pub(super) before: ChangeId,
}

impl OlderAnswer {
    /// An empty page that takes `bytes_max` bytes of changes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { out: BytesMut::new(), ends: Vec::new(), bytes_max }
    }

    /// Adds a change, older than those before; `false` when the page is full and it was left
    /// out. The first change always finds room.
    #[must_use]
    pub(super) fn push(&mut self, id: ChangeId, at: Timestamp, text: Text<'_>) -> bool {
        let bytes = 1 + HEAD_BYTES_MAX + text.len();
        if !self.ends.is_empty() && self.out.len() + self.ends.len() + bytes > self.bytes_max {
            return false;
        }
        self.out.reserve(bytes);
        put_change(&mut self.out, id, at, text);
        self.ends.push(self.out.len());
        true
    }

    /// How many changes it holds.
    pub(super) fn changes(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory that it holds, and will hold once it is finished.
    pub(super) fn held_bytes(&self) -> usize {
        self.out.capacity() + self.out.len() + self.ends.capacity() * size_of::<usize>()
    }

    /// The whole answer, oldest first:
    /// `{"changes":[…],"atStart":b,"atEnd":b,"last":n,"before":n}`.
    pub(super) fn finish(self, told: OlderEnds) -> Bytes {
        let bytes = OPEN.len() + self.out.len() + self.ends.len() + CLOSE_BYTES_MAX;
        let mut out = BytesMut::with_capacity(bytes);
        out.put_slice(OPEN);
        for (n, end) in self.ends.iter().enumerate().rev() {
            let start = n.checked_sub(1).map_or(0, |before| self.ends[before]);
            out.put_slice(&self.out[start..*end]);
            if n > 0 {
                out.put_u8(b',');
            }
        }
        let spelling = |truth: bool| if truth { &b"true"[..] } else { b"false" };
        out.put_slice(b"],\"atStart\":");
        out.put_slice(spelling(told.at_start));
        out.put_slice(b",\"atEnd\":");
        out.put_slice(spelling(told.at_end));
        out.put_slice(b",\"last\":");
        decimal::write(&mut out, told.last.0);
        out.put_slice(b",\"before\":");
        decimal::write(&mut out, told.before.0);
        out.put_u8(b'}');
        debug_assert!(out.len() <= bytes, "room was made for all of it");
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_is_in_ascending_order_whatever_fits(
            texts in proptest::collection::vec("[a-z]{0,40}", 0..20), bytes_max in 1usize..2000,
            at_start: bool, at_end: bool,
        ) {
            let mut page = OlderAnswer::new(bytes_max);
            let mut kept = 0;
            for (n, text) in texts.iter().enumerate() {
                let suffix = format!(",\"data\":\"{text}\"}}");
                if !page.push(ChangeId(100 - n as u64), Timestamp(9), suffix.as_bytes().into()) {
                    break;
                }
                kept += 1;
            }
            prop_assert_eq!(page.changes(), kept);
            prop_assert!(kept >= 1 || texts.is_empty());
            let (last, before) = (ChangeId(120), ChangeId(u64::MAX));
            let answer = page.finish(OlderEnds { at_start, at_end, last, before });
            let value: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            prop_assert_eq!(&value["atStart"], at_start);
            prop_assert_eq!(&value["atEnd"], at_end);
            prop_assert_eq!(value["last"].as_u64(), Some(120));
            prop_assert_eq!(value["before"].as_u64(), Some(u64::MAX));
            let changes = value["changes"].as_array().unwrap();
            prop_assert_eq!(changes.len(), kept);
            for (n, change) in changes.iter().rev().enumerate() {
                prop_assert_eq!(change["_id"].as_u64(), Some(100 - n as u64));
                prop_assert_eq!(change["data"].as_str(), Some(texts[n].as_str()));
            }
            prop_assert!(kept <= 1 || answer.len() - OPEN.len() - CLOSE_BYTES_MAX <= bytes_max);
        }
    }
}
