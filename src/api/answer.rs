//! The bytes of answers that carry changes: heads written in front of tails
//! that are stored ready to send.

use crate::base::ids::{ChangeId, Timestamp};
use crate::base::limits::READ_BYTES_MAX;
use bytes::{BufMut, Bytes, BytesMut};

const OPEN: &[u8] = b"{\"changes\":[";
const ID: &[u8] = b"{\"_id\":";
const TS: &[u8] = b",\"_ts\":";
/// The digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;
const HEAD_BYTES_MAX: usize = ID.len() + TS.len() + 2 * DIGITS_MAX;
const CLOSE_BYTES_MAX: usize = "],\"atStart\":false,\"atEnd\":false,\"last\":}".len() + DIGITS_MAX;

/// A list of changes under construction:
/// `{"changes":[…],"atStart":b,"atEnd":b,"last":n}`.
#[derive(Debug)]
pub struct ListAnswer {
    out: BytesMut,
    changes: usize,
    bytes_max: usize,
}

impl Default for ListAnswer {
    fn default() -> Self {
        Self::new()
    }
}

impl ListAnswer {
    /// An empty list that takes [`READ_BYTES_MAX`] bytes of changes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_bytes_max(READ_BYTES_MAX)
    }

    /// An empty list that takes `bytes_max` bytes of changes.
    #[must_use]
    pub fn with_bytes_max(bytes_max: usize) -> Self {
        let mut out = BytesMut::with_capacity(OPEN.len() + CLOSE_BYTES_MAX);
        out.put_slice(OPEN);
        Self { out, changes: 0, bytes_max }
    }

    /// Adds a change; `false` when the list is full and it was left out. The
    /// first change always finds room.
    #[must_use]
    pub fn push(&mut self, id: ChangeId, at: Timestamp, tail: &[u8]) -> bool {
        let bytes = 1 + HEAD_BYTES_MAX + tail.len();
        if self.changes > 0 && self.out.len() - OPEN.len() + bytes > self.bytes_max {
            return false;
        }
        self.out.reserve(bytes + CLOSE_BYTES_MAX);
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
        put_u64(&mut self.out, last.0);
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
    put_u64(out, id.0);
    out.put_slice(TS);
    put_u64(out, at.0);
    out.put_slice(tail);
}

fn spelling(truth: bool) -> &'static [u8] {
    if truth { b"true" } else { b"false" }
}

/// Appends `number` in decimal, two digits a step.
pub fn put_u64(out: &mut impl BufMut, mut number: u64) {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[b'0'; 2]; 100];
        let mut n = 0;
        while n < 100 {
            pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        pairs
    };
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    while number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number > 0 || at == DIGITS_MAX {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_list() {
        let answer = ListAnswer::new().finish(true, true, ChangeId::ZERO);
        assert_eq!(answer, r#"{"changes":[],"atStart":true,"atEnd":true,"last":0}"#);
    }

    #[test]
    fn a_list_and_a_single_change() {
        let mut list = ListAnswer::new();
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
        let mut list = ListAnswer::with_bytes_max(300);
        assert!(list.push(ChangeId(1), Timestamp(1), &tail));
        assert!(list.push(ChangeId(2), Timestamp(1), &tail));
        assert!(!list.push(ChangeId(3), Timestamp(1), &tail));
        assert_eq!(list.changes(), 2);
        let answer = list.finish(true, false, ChangeId(2));
        assert!(answer.ends_with(b" ],\"atStart\":true,\"atEnd\":false,\"last\":2}"));

        let mut list = ListAnswer::with_bytes_max(10);
        assert!(list.push(ChangeId(1), Timestamp(1), &tail));
        assert!(!list.push(ChangeId(2), Timestamp(1), b""));
    }

    proptest! {
        #[test]
        fn integers_are_written_as_the_standard_library_does(
            number in any::<u64>(), shift in 0u32..64,
        ) {
            for number in [number, number >> shift, u64::MAX >> shift, 10u64.pow(shift % 20)] {
                let mut out = Vec::new();
                put_u64(&mut out, number);
                prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
            }
        }

        #[test]
        fn a_list_parses_as_what_was_put_in(
            tails in proptest::collection::vec("[a-z]{0,40}", 0..20), bytes_max in 1usize..2000,
        ) {
            let mut list = ListAnswer::with_bytes_max(bytes_max);
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
