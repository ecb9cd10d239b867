//! A piece of a log as it comes from an origin.

use bytes::Bytes;

use crate::{
    base::ids::LogId,
    log::{Entry, Frame, decode_frame, format::FRAME_HEAD_BYTES},
};

/// A segment is completed early when it spans more ids: far fewer than its index can tell apart by 32
/// bits, since it is not known how many a process before this one put there.
pub(super) const SEGMENT_IDS: u64 = 1 << 28;

/// Entries that follow one another, each sound.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What they are, one behind the other.
    pub(super) bytes: Bytes,
    /// Which entries they are.
    pub(super) ids: Vec<LogId>,
    /// Where each of them ends.
    ///
    /// Invariant: `ends` has as many as `ids` has.
    ends: Vec<usize>,
}

impl Frames {
    /// Reads a piece that begins with the entry `from`; nothing when it is not sound.
    pub(super) fn read(bytes: Bytes, from: u64) -> Option<Self> {
        let (mut ids, mut ends, mut at): (Vec<LogId>, _, _) = (Vec::new(), Vec::new(), 0);
        while at < bytes.len() {
            let (Frame::Entry(entry, _), end) = decode_frame(&bytes, at)? else { return None };
            let before = ids.last();
            let index = before.map_or(Some(from), |before| before.index.checked_add(1));
            let term = before.map_or(0, |before| before.term);
            if Some(entry.id.index) != index || entry.id.term < term {
                return None;
            }
            ids.push(entry.id);
            ends.push(end);
            at = end;
        }
        assert_eq!(ids.len(), ends.len(), "each frame has its id and its end");
        Some(Self { bytes, ids, ends })
    }

    /// All of them.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let mut at = 0;
        std::iter::from_fn(move || match decode_frame(&self.bytes, at)? {
            (Frame::Entry(entry, _), end) => {
                at = end;
                Some(entry)
            }
            _ => None,
        })
    }

    /// The longest payload of them, in bytes.
    pub(super) fn longest_payload(&self) -> usize {
        let starts = [0].iter().chain(&self.ends);
        let frames = self.ends.iter().zip(starts).map(|(end, start)| end - start);
        frames.max().unwrap_or(0).saturating_sub(FRAME_HEAD_BYTES)
    }

    /// Without the first one.
    pub(super) fn rest(mut self) -> Self {
        if self.ids.is_empty() {
            return self;
        }
        self.ids.remove(0);
        let end = self.ends.remove(0);
        self.ends.iter_mut().for_each(|at| *at -= end);
        self.bytes = self.bytes.slice(end..);
        self
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::log::entry_head;

    fn piece(ids: &[(u64, u64)]) -> Bytes {
        let mut out = BytesMut::new();
        for &(term, index) in ids {
            let payload = Bytes::from(vec![7; index as usize]);
            let entry = Entry { id: LogId { term, index }, kind: 0, payload };
            out.extend_from_slice(&entry_head(&entry));
            out.extend_from_slice(&entry.payload);
        }
        out.freeze()
    }

    #[test]
    fn entries_follow_one_another_from_the_one_that_was_asked_for() {
        let bytes = piece(&[(1, 4), (1, 5), (3, 6)]);
        let frames = Frames::read(bytes.clone(), 4).unwrap();
        assert_eq!(frames.ids.last(), Some(&LogId { term: 3, index: 6 }));
        assert_eq!(frames.longest_payload(), 6, "a frame has a head, too");
        assert!(frames.entries().map(|entry| entry.id).eq(frames.ids.clone()));
        let rest = frames.rest();
        assert_eq!((rest.ids.len(), &rest.bytes), (2, &piece(&[(1, 5), (3, 6)])));
        assert!(rest.rest().rest().rest().bytes.is_empty());
        assert!(Frames::read(bytes.clone(), 5).is_none(), "it is another entry");
        assert!(Frames::read(bytes.slice(1..), 4).is_none());
        assert!(Frames::read(bytes.slice(..bytes.len() - 1), 4).is_none());
        assert!(Frames::read(piece(&[(1, 4), (1, 6)]), 4).is_none(), "there is a gap");
        assert!(Frames::read(piece(&[(2, 4), (1, 5)]), 4).is_none(), "terms never decrease");
    }
}
