//! The bytes of answers that carry changes: heads written in front of tails
//! that are stored ready to send.

use crate::base::{
    decimal::{self, DIGITS_MAX},
    ids::{ChangeId, Timestamp},
    limits::{READ_BYTES_MAX, READ_RESERVE_BYTES},
};
use bytes::{BufMut, Bytes, BytesMut};

const OPEN: &[u8] = b"{\"changes\":[";
const ID: &[u8] = b"{\"_id\":";
const TS: &[u8] = b",\"_ts\":";
const HEAD_BYTES_MAX: usize = ID.len() + TS.len() + 2 * DIGITS_MAX;
const CLOSE_BYTES_MAX: usize = "],\"atStart\":false,\"atEnd\":false,\"last\":}".len() + DIGITS_MAX;

/// A list of changes under construction:
/// `{"changes":[…],"atStart":b,"atEnd":b,"last":n}`.
#[derive(Debug)]
pub struct ListAnswer {
    out: BytesMut,
    changes: usize,
    bytes_max: usize,
    /// How many changes to make room for.
    expected: usize,
}

impl ListAnswer {
    /// An empty list that takes [`READ_BYTES_MAX`] bytes of changes; with the
    /// first one, it makes room for `expected` like it.
    #[must_use]
    pub fn new(expected: usize) -> Self {
        Self::with_bytes_max(expected, READ_BYTES_MAX)
    }

    /// The same for a list that takes `bytes_max` bytes of changes.
    #[must_use]
    pub fn with_bytes_max(expected: usize, bytes_max: usize) -> Self {
        let mut out = BytesMut::with_capacity(OPEN.len() + CLOSE_BYTES_MAX);
        out.put_slice(OPEN);
        Self { out, changes: 0, bytes_max, expected }
    }

    /// Adds a change; `false` when the list is full and it was left out. The
    /// first change always finds room.
    #[must_use]
    pub fn push(&mut self, id: ChangeId, at: Timestamp, tail: &[u8]) -> bool {
        let bytes = 1 + HEAD_BYTES_MAX + tail.len();
        if self.changes > 0 && self.out.len() - OPEN.len() + bytes > self.bytes_max {
            return false;
        }
        let room = match self.changes {
            0 => {
                let all = bytes.saturating_mul(self.expected);
                bytes.max(all.min(self.bytes_max).min(READ_RESERVE_BYTES))
            }
            _ => bytes,
        };
        self.out.reserve(room + CLOSE_BYTES_MAX);
        if self.changes > 0 {
            self.out.put_u8(b',');
        }
        put_change(&mut self.out, id, at, tail);
        self.changes += 1;
        true
    }

    /// How many changes it holds.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// The whole answer.
    #[must_use]
    pub fn finish(mut self, at_start: bool, at_end: bool, last: ChangeId) -> Bytes {
        self.out.reserve(CLOSE_BYTES_MAX);
        self.out.put_slice(b"],\"atStart\":");
        self.out.put_slice(spelling(at_start));
        self.out.put_slice(b",\"atEnd\":");
        self.out.put_slice(spelling(at_end));
        self.out.put_slice(b",\"last\":");
        decimal::write(&mut self.out, last.0);
        self.out.put_u8(b'}');
        self.out.freeze()
    }
}

/// One change as an answer of its own.
#[must_use]
pub fn change(id: ChangeId, at: Timestamp, tail: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES_MAX + tail.len());
    put_change(&mut out, id, at, tail);
    out.freeze()
}

/// Appends one change: its head, then its tail.
pub fn put_change(out: &mut impl BufMut, id: ChangeId, at: Timestamp, tail: &[u8]) {
    out.put_slice(ID);
    decimal::write(out, id.0);
    out.put_slice(TS);
    decimal::write(out, at.0);
    out.put_slice(tail);
}

fn spelling(truth: bool) -> &'static [u8] {
    if truth { b"true" } else { b"false" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_list() {
        let answer = ListAnswer::new(0).finish(true, true, ChangeId::ZERO);
        assert_eq!(answer, r#"{"changes":[],"atStart":true,"atEnd":true,"last":0}"#);
    }

    #[test]
    fn a_list_and_a_single_change() {
        let mut list = ListAnswer::new(0);
        assert!(list.push(ChangeId(1), Timestamp(1_784_873_643_123_456), br#","data":1}"#));
        assert!(list.push(ChangeId(u64::MAX), Timestamp(u64::MAX), br#","data":"x"}"#));
        assert_eq!(list.changes(), 2);
        assert_eq!(
            list.finish(false, false, ChangeId(u64::MAX)),
            concat!(
                r#"{"changes":[{"_id":1,"_ts":1784873643123456,"data":1},"#,
                r#"{"_id":18446744073709551615,"_ts":18446744073709551615,"data":"x"}],"#,
                r#""atStart":false,"atEnd":false,"last":18446744073709551615}"#
            )
        );
        let single = change(ChangeId(125), Timestamp(7), br#","data":[]}"#);
        assert_eq!(single, r#"{"_id":125,"_ts":7,"data":[]}"#);
    }

    #[test]
    fn a_full_list_leaves_a_change_out_but_never_the_first() {
        let tail = [b' '; 100];
        let mut list = ListAnswer::with_bytes_max(9, 300);
        assert!(list.push(ChangeId(1), Timestamp(1), &tail));
        assert!(list.push(ChangeId(2), Timestamp(1), &tail));
        assert!(!list.push(ChangeId(3), Timestamp(1), &tail));
        assert_eq!(list.changes(), 2);
        let answer = list.finish(true, false, ChangeId(2));
        assert!(answer.ends_with(b" ],\"atStart\":true,\"atEnd\":false,\"last\":2}"));

        let mut list = ListAnswer::with_bytes_max(9, 10);
        assert!(list.push(ChangeId(1), Timestamp(1), &tail));
        assert!(!list.push(ChangeId(2), Timestamp(1), b""));
    }

    #[test]
    fn room_is_made_once_and_within_bounds() {
        let tail = [b' '; 300];
        let mut list = ListAnswer::new(100);
        assert!(list.push(ChangeId(1), Timestamp(1), &tail));
        let room = list.out.capacity();
        assert!(room < 100 * (tail.len() + HEAD_BYTES_MAX) + 500, "{room}");
        for id in 2..=100 {
            assert!(list.push(ChangeId(id), Timestamp(u64::MAX), &tail));
        }
        assert_eq!(list.out.capacity(), room);
        for (expected, bytes_max, room_max) in [
            (1, READ_BYTES_MAX, 500),
            (usize::MAX, READ_BYTES_MAX, READ_RESERVE_BYTES + 500),
            (usize::MAX, 10_000, 10_500),
        ] {
            let mut list = ListAnswer::with_bytes_max(expected, bytes_max);
            assert!(list.push(ChangeId(1), Timestamp(1), &tail));
            assert!(list.out.capacity() <= room_max, "{}", list.out.capacity());
        }
    }

    proptest! {
        #[test]
        fn a_list_parses_as_what_was_put_in(
            tails in proptest::collection::vec("[a-z]{0,40}", 0..20), bytes_max in 1usize..2000,
        ) {
            let mut list = ListAnswer::with_bytes_max(9, bytes_max);
            let mut kept = 0;
            for (n, text) in tails.iter().enumerate() {
                let tail = format!(",\"data\":\"{text}\"}}");
                if !list.push(ChangeId(n as u64 + 1), Timestamp(9), tail.as_bytes()) {
                    break;
                }
                kept += 1;
            }
            prop_assert_eq!(list.changes(), kept);
            prop_assert!(kept >= 1 || tails.is_empty());
            let answer = list.finish(true, false, ChangeId(3));
            let value: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            let changes = value["changes"].as_array().unwrap();
            prop_assert_eq!(changes.len(), kept);
            for (n, change) in changes.iter().enumerate() {
                prop_assert_eq!(change["_id"].as_u64(), Some(n as u64 + 1));
                prop_assert_eq!(change["data"].as_str(), Some(tails[n].as_str()));
            }
            let overhead = r#"{"changes":[],"atStart":true,"atEnd":false,"last":3}"#.len();
            prop_assert!(kept <= 1 || answer.len() - overhead <= bytes_max);
        }
    }
}
