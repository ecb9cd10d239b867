//! The bytes of answers that carry changes: heads written in front of suffixes
//! that are stored ready to send.

use crate::base::{
    batch::{HEAD_BYTES_MAX, Text, put_change},
    decimal::{self, DIGITS_MAX},
    ids::{ChangeId, ClusterId, Timestamp},
    limits::{READ_BYTES_MAX, READ_RESERVE_BYTES},
};
use bytes::{BufMut, Bytes, BytesMut};

const CLOSE_BYTES_MAX: usize = "],\"atStart\":false,\"atEnd\":false,\"last\":}".len() + DIGITS_MAX;
/// What a frame may put around a change.
const FRAME_BYTES_MAX: usize = "id: \ndata: \n\n".len() + DIGITS_MAX;

/// How changes stand in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `{"changes":[…` with a comma between them.
    Changes,
    /// `{"keys":[…` likewise.
    Keys,
    /// One a line.
    Lines,
    /// One an event, named by its id.
    Events,
}

impl Frame {
    const fn open(self) -> &'static [u8] {
        match self {
            Self::Changes => b"{\"changes\":[",
            Self::Keys => b"{\"keys\":[",
            Self::Lines | Self::Events => b"",
        }
    }
}

/// Changes under construction as an answer, or as a part of one.
#[derive(Debug)]
pub struct ListAnswer {
    out: BytesMut,
    frame: Frame,
    changes: usize,
    bytes_max: usize,
    /// How many changes to make room for.
    expected: usize,
}

impl ListAnswer {
    /// An empty list that takes [`READ_BYTES_MAX`] bytes of changes; with the
    /// first one, it makes room for `expected` like it.
    #[must_use]
    pub fn new(frame: Frame, expected: usize) -> Self {
        Self::with_bytes_max(frame, expected, READ_BYTES_MAX)
    }

    /// The same for a list that takes `bytes_max` bytes of changes.
    #[must_use]
    pub fn with_bytes_max(frame: Frame, expected: usize, bytes_max: usize) -> Self {
        let mut out = BytesMut::new();
        if !frame.open().is_empty() {
            out.reserve(frame.open().len() + CLOSE_BYTES_MAX);
            out.put_slice(frame.open());
        }
        Self { out, frame, changes: 0, bytes_max, expected }
    }

    /// Adds a change; `false` when the list is full and it was left out. The
    /// first change always finds room.
    #[must_use]
    pub fn push<'t>(&mut self, id: ChangeId, at: Timestamp, text: impl Into<Text<'t>>) -> bool {
        let text = text.into();
        let bytes = FRAME_BYTES_MAX + HEAD_BYTES_MAX + text.len();
        if self.changes > 0 && self.out.len() - self.frame.open().len() + bytes > self.bytes_max {
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
        match self.frame {
            Frame::Changes | Frame::Keys if self.changes > 0 => self.out.put_u8(b','),
            Frame::Changes | Frame::Keys | Frame::Lines => {}
            Frame::Events => {
                self.out.put_slice(b"id: ");
                decimal::write(&mut self.out, id.0);
                self.out.put_slice(b"\ndata: ");
            }
        }
        put_change(&mut self.out, id, at, text);
        match self.frame {
            Frame::Changes | Frame::Keys => {}
            Frame::Lines => self.out.put_u8(b'\n'),
            Frame::Events => self.out.put_slice(b"\n\n"),
        }
        self.changes += 1;
        true
    }

    /// Adds a change as it is sent, to a list of keys or of lines.
    #[must_use]
    pub fn push_whole(&mut self, change: &[u8]) -> bool {
        debug_assert!(matches!(self.frame, Frame::Keys | Frame::Lines), "no list of changes");
        let is_line = self.frame == Frame::Lines;
        let bytes = 1 + change.len();
        if self.changes > 0 && self.out.len() - self.frame.open().len() + bytes > self.bytes_max {
            return false;
        }
        self.out.reserve(bytes + CLOSE_BYTES_MAX);
        if self.changes > 0 && !is_line {
            self.out.put_u8(b',');
        }
        self.out.put_slice(change);
        if is_line {
            self.out.put_u8(b'\n');
        }
        self.changes += 1;
        true
    }

    /// Bytes of memory that it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// How many changes it holds.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// What there is, for a part of a stream.
    #[must_use]
    pub fn into_part(self) -> BytesMut {
        self.out
    }

    /// The whole answer for keys: `{"keys":[…],"atEnd":b}`.
    #[must_use]
    pub fn finish_keys(mut self, at_end: bool) -> Bytes {
        self.out.reserve(CLOSE_BYTES_MAX);
        self.out.put_slice(b"],\"atEnd\":");
        self.out.put_slice(spelling(at_end));
        self.out.put_u8(b'}');
        self.out.freeze()
    }

    /// The whole answer for keys that moved: `{"keys":[…],"atEnd":b,"last":n}`.
    #[must_use]
    pub fn finish_moved(mut self, at_end: bool, last: ChangeId) -> Bytes {
        self.out.reserve(CLOSE_BYTES_MAX);
        self.out.put_slice(b"],\"atEnd\":");
        self.out.put_slice(spelling(at_end));
        self.out.put_slice(b",\"last\":");
        decimal::write(&mut self.out, last.0);
        self.out.put_u8(b'}');
        self.out.freeze()
    }

    /// The whole answer for changes:
    /// `{"changes":[…],"atStart":b,"atEnd":b,"last":n}`.
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

/// Appends the event that says how far a stream has come in the history of
/// `cluster`. A client that comes back with its id goes on from there.
pub fn put_cursor_event(out: &mut BytesMut, last: ChangeId, cluster: ClusterId) {
    let text = format!(
        "event: cursor\nid: {last}\ndata: {{\"last\":{last},\"cluster\":\"{cluster}\"}}\n\n"
    );
    out.extend_from_slice(text.as_bytes());
}

/// Appends the same among lines.
pub fn put_cursor_line(out: &mut BytesMut, last: ChangeId) {
    out.extend_from_slice(format!("{{\"last\":{last}}}\n").as_bytes());
}

/// One change as an answer of its own.
#[must_use]
pub fn change(id: ChangeId, at: Timestamp, text: Text<'_>) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES_MAX + text.len());
    put_change(&mut out, id, at, text);
    out.freeze()
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
        let answer = ListAnswer::new(Frame::Changes, 0).finish(true, true, ChangeId::ZERO);
        assert_eq!(answer, r#"{"changes":[],"atStart":true,"atEnd":true,"last":0}"#);
    }

    #[test]
    fn a_list_and_a_single_change() {
        let mut list = ListAnswer::new(Frame::Changes, 0);
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
        let single = change(ChangeId(125), Timestamp(7), br#","data":[]}"#.into());
        assert_eq!(single, r#"{"_id":125,"_ts":7,"data":[]}"#);
    }

    #[test]
    fn a_full_list_leaves_a_change_out_but_never_the_first() {
        let suffix = [b' '; 100];
        let mut list = ListAnswer::with_bytes_max(Frame::Changes, 9, 400);
        assert!(list.push(ChangeId(1), Timestamp(1), &suffix));
        assert!(list.push(ChangeId(2), Timestamp(1), &suffix));
        assert!(!list.push(ChangeId(3), Timestamp(1), &suffix));
        assert_eq!(list.changes(), 2);
        let answer = list.finish(true, false, ChangeId(2));
        assert!(answer.ends_with(b" ],\"atStart\":true,\"atEnd\":false,\"last\":2}"));

        let mut list = ListAnswer::with_bytes_max(Frame::Changes, 9, 10);
        assert!(list.push(ChangeId(1), Timestamp(1), &suffix));
        assert!(!list.push(ChangeId(2), Timestamp(1), b""));
    }

    #[test]
    fn room_is_made_once_and_within_bounds() {
        let suffix = [b' '; 300];
        let mut list = ListAnswer::new(Frame::Changes, 100);
        assert!(list.push(ChangeId(1), Timestamp(1), &suffix));
        let room = list.out.capacity();
        assert!(room < 100 * (suffix.len() + HEAD_BYTES_MAX + FRAME_BYTES_MAX) + 500, "{room}");
        for id in 2..=100 {
            assert!(list.push(ChangeId(id), Timestamp(u64::MAX), &suffix));
        }
        assert_eq!(list.out.capacity(), room);
        for (expected, bytes_max, room_max) in [
            (1, READ_BYTES_MAX, 500),
            (usize::MAX, READ_BYTES_MAX, READ_RESERVE_BYTES + 500),
            (usize::MAX, 10_000, 10_500),
        ] {
            let mut list = ListAnswer::with_bytes_max(Frame::Changes, expected, bytes_max);
            assert!(list.push(ChangeId(1), Timestamp(1), &suffix));
            assert!(list.out.capacity() <= room_max, "{}", list.out.capacity());
        }
    }

    #[test]
    fn lines_events_and_keys() {
        let both = |frame| {
            let mut list = ListAnswer::new(frame, 2);
            assert!(list.push(ChangeId(1), Timestamp(7), br#","data":1}"#));
            assert!(list.push(ChangeId(12), Timestamp(8), br#","data":2}"#));
            list
        };
        let (one, two) = (r#"{"_id":1,"_ts":7,"data":1}"#, r#"{"_id":12,"_ts":8,"data":2}"#);
        assert_eq!(both(Frame::Lines).into_part(), format!("{one}\n{two}\n"));
        let events = format!("id: 1\ndata: {one}\n\nid: 12\ndata: {two}\n\n");
        assert_eq!(both(Frame::Events).into_part(), events);
        let keys = format!("{{\"keys\":[{one},{two}],\"atEnd\":false}}");
        assert_eq!(both(Frame::Keys).finish_keys(false), keys);
        assert!(ListAnswer::new(Frame::Lines, 9).into_part().is_empty());
    }

    proptest! {
        #[test]
        fn a_list_parses_as_what_was_put_in(
            suffixes in proptest::collection::vec("[a-z]{0,40}", 0..20), bytes_max in 1usize..2000,
        ) {
            let mut list = ListAnswer::with_bytes_max(Frame::Changes, 9, bytes_max);
            let mut kept = 0;
            for (n, text) in suffixes.iter().enumerate() {
                let suffix = format!(",\"data\":\"{text}\"}}");
                if !list.push(ChangeId(n as u64 + 1), Timestamp(9), suffix.as_bytes()) {
                    break;
                }
                kept += 1;
            }
            prop_assert_eq!(list.changes(), kept);
            prop_assert!(kept >= 1 || suffixes.is_empty());
            let answer = list.finish(true, false, ChangeId(3));
            let value: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            let changes = value["changes"].as_array().unwrap();
            prop_assert_eq!(changes.len(), kept);
            for (n, change) in changes.iter().enumerate() {
                prop_assert_eq!(change["_id"].as_u64(), Some(n as u64 + 1));
                prop_assert_eq!(change["data"].as_str(), Some(suffixes[n].as_str()));
            }
            let overhead = r#"{"changes":[],"atStart":true,"atEnd":false,"last":3}"#.len();
            prop_assert!(kept <= 1 || answer.len() - overhead <= bytes_max);
        }
    }
}
