//! Segments made in memory of entries that are committed already: a log that nobody writes to
//! any more, as a backup is, or that a node goes on from, as what is restored is.
//!
//! Each segment is as long as what is in it, up to a bound, and ends with a group without frames,
//! so that damage to the data before is told from a torn write. A segment is handed out once it is
//! complete and never changed, so files of them are whole or not there.

use super::{
    Entry, Identity, Vote,
    contents::Contents,
    format::{
        FRAME_HEAD_BYTES, FrameRef, GroupPlace, HardState, SegmentHeader, encode_group, group_bytes,
    },
    index::Indexed,
    types::SEGMENT_BYTES_MIN,
};
use crate::{
    base::ids::LogId,
    io::{BLOCK, cores},
};

/// A group is closed when the next entry would make it longer than this, or than that part of a
/// segment.
const GROUP_BYTES: usize = 1 << 20;
const GROUPS_IN_SEGMENT: usize = 4;

/// A segment that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// Its number.
    pub sequence: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Makes segments of entries that follow one another.
pub struct Composer {
    identity: Identity,
    /// A segment is closed when the next group would make it longer than this.
    segment_bytes: usize,
    /// The hard state of the last group.
    state: HardState,
    sequence: u64,
    next_group: u64,
    chain: u32,
    /// The index of the next entry.
    next: u64,
    /// Entries of the next group, and the bytes of their frames.
    waiting: Vec<Entry>,
    waiting_bytes: usize,
    /// Entries after this one are removed first.
    removed: Option<u64>,
    /// The segment under way: where its header goes, then groups.
    segment: Option<Open>,
}

struct Open {
    header: SegmentHeader,
    bytes: Vec<u8>,
}

impl Composer {
    /// Begins the log of `identity`, with segments of about `segment_bytes`. Where a
    /// checkpoint stands for what is before, `purged` is the last entry of that.
    #[must_use]
    pub fn begin(identity: Identity, segment_bytes: usize, purged: Option<LogId>) -> Self {
        let mut composer = Self {
            identity,
            segment_bytes,
            state: HardState::default(),
            sequence: 1,
            next_group: 1,
            chain: 0,
            next: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            removed: None,
            segment: None,
        };
        if let Some(purged) = purged {
            composer.state.purged = Some(purged);
            composer.state.committed = Some(purged);
            composer.open();
            // Marks count after frames: what follows may leave a gap.
            composer.put_group();
            composer.next = purged.index + 1;
        }
        composer
    }

    /// Goes on with a new segment after those in `contents`, which are complete.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn after(contents: &Contents, segment_bytes: usize) -> Self {
        let (identity, recovery) = contents.end().expect("there is something to go on from");
        Self {
            identity,
            segment_bytes,
            state: recovery.state,
            sequence: contents.next_sequence(),
            next_group: recovery.next_group,
            chain: recovery.chain,
            next: recovery.table.next(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            removed: None,
            segment: None,
        }
    }

    /// Goes on with a new segment after one that has the index `after`, as the log of a node whose
    /// hard state is `state`. Entries of it beyond the committed mark of that are removed.
    #[must_use]
    pub fn following(after: &Indexed, identity: Identity, state: HardState) -> Self {
        let last = state.committed.map(|id| id.index);
        let held = after.run.next().checked_sub(1);
        let mut composer = Self {
            identity,
            segment_bytes: 0,
            state,
            sequence: after.run.segment() + 1,
            next_group: after.next_group,
            chain: after.chain,
            next: after.run.next(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            removed: last.filter(|_| last < held),
            segment: None,
        };
        composer.open();
        composer.put_group();
        composer
    }

    /// The index of the entry that comes next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a vote, which stands from the next group on.
    pub fn vote(&mut self, vote: Vote) {
        self.state.vote = Some(vote);
    }

    /// Adds a committed entry; gives the segment that has no room for more.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn push(&mut self, entry: Entry) -> Option<Composed> {
        assert_eq!(entry.id.index, self.next, "entries follow one another");
        let bytes = FRAME_HEAD_BYTES + entry.payload.len();
        let group_max = GROUP_BYTES.min(self.segment_bytes / GROUPS_IN_SEGMENT);
        let is_full = !self.waiting.is_empty() && self.waiting_bytes + bytes > group_max;
        let complete = if is_full { self.flush() } else { None };
        self.next += 1;
        self.waiting_bytes += bytes;
        self.waiting.push(entry);
        complete
    }

    /// Writes the group that waits; gives the segment that had no room for it.
    fn flush(&mut self) -> Option<Composed> {
        let needed = group_bytes(self.waiting_bytes) + BLOCK;
        let is_full = |open: &mut Open| {
            open.bytes.len() > BLOCK && open.bytes.len() + needed > self.segment_bytes
        };
        let full = self.segment.take_if(is_full).map(|open| self.seal(open));
        if self.segment.is_none() {
            self.open();
        }
        self.state.committed = self.waiting.last().map(|entry| entry.id).or(self.state.committed);
        self.put_group();
        full
    }

    /// Ends the log: the last segments.
    #[must_use]
    pub fn finish(mut self) -> Vec<Composed> {
        self.end_segment()
    }

    /// Ends the segment under way, however short it is; gives what is complete by that. The next entry
    /// begins another one.
    #[must_use]
    pub fn end_segment(&mut self) -> Vec<Composed> {
        let mut complete = Vec::new();
        if !self.waiting.is_empty() {
            complete.extend(self.flush());
        }
        if let Some(open) = self.segment.take() {
            complete.push(self.seal(open));
        }
        complete
    }

    fn open(&mut self) {
        let first = self.waiting.first().map_or(self.next, |entry| entry.id.index);
        let header = SegmentHeader {
            cluster: self.identity.cluster,
            node: self.identity.node,
            sequence: self.sequence,
            nonce: cores::random(),
            segment_bytes: 0,
            first_group: self.next_group,
            // A log begins at 0, whatever its first entry is.
            first_index: if self.next_group == 1 { 0 } else { first },
            chain: self.chain,
            rewritten: None,
        };
        self.sequence += 1;
        // It is not touched before it is needed.
        let mut bytes = Vec::with_capacity(self.segment_bytes);
        bytes.resize(BLOCK, 0);
        self.segment = Some(Open { header, bytes });
    }

    /// Adds a group of what waits to the segment that is open.
    fn put_group(&mut self) {
        let Some(open) = &mut self.segment else { unreachable!("a segment is open") };
        let at = open.bytes.len();
        let removed = self.removed.take().map(|after| FrameRef::Truncate(Some(after)));
        let removed_bytes = removed.as_ref().map_or(0, FrameRef::encoded_bytes);
        open.bytes.resize(at + group_bytes(removed_bytes + self.waiting_bytes), 0);
        let place = GroupPlace {
            offset: u32::try_from(at).unwrap_or_else(|_| unreachable!("bounded by its entries")),
            nonce: open.header.nonce,
            number: self.next_group,
            previous: self.chain,
        };
        let out = open.bytes.get_mut(at..).unwrap_or_default();
        let frames = removed.into_iter().chain(self.waiting.iter().map(FrameRef::Entry));
        self.chain = encode_group(out, &place, &self.state, frames);
        self.next_group += 1;
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    fn seal(&mut self, open: Open) -> Composed {
        let waiting = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.waiting_bytes));
        self.segment = Some(open);
        self.put_group();
        (self.waiting, self.waiting_bytes) = waiting;
        let Some(Open { mut header, mut bytes }) = self.segment.take() else {
            unreachable!("it was put there")
        };
        bytes.resize(bytes.len().max(SEGMENT_BYTES_MIN as usize), 0);
        header.segment_bytes = bytes.len() as u64;
        header.encode(bytes.get_mut(..BLOCK).unwrap_or_default());
        Composed { sequence: header.sequence, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::ids::ClusterId,
        io::simulated::disk::SimDisk,
        log::{
            Log, Options, file_name,
            testing::{Harness, entry, id},
        },
    };
    use bytes::Bytes;
    use proptest::prelude::*;

    fn identity() -> Identity {
        Identity { cluster: ClusterId(uuid::Uuid::from_u128(5)), node: 3 }
    }

    /// Segments of entries from `first` on, of these sizes.
    fn composed(mut composer: Composer, sizes: &[usize]) -> Vec<Composed> {
        let first = composer.next();
        let mut all = Vec::new();
        for (index, size) in (first..).zip(sizes) {
            all.extend(composer.push(entry(2, index, vec![index as u8; *size])));
        }
        all.extend(composer.finish());
        all
    }

    fn read(segments: &[Composed], skip: Option<u64>) -> (Contents, Vec<Entry>) {
        let (mut contents, mut found) = (Contents::skipping(skip), Vec::new());
        for segment in segments {
            let bytes = Bytes::from(segment.bytes.clone());
            found.extend(contents.segment(segment.sequence, &bytes).unwrap());
        }
        (contents, found)
    }

    proptest! {
        #[test]
        fn what_is_composed_in_several_runs_is_read_back_and_opened_as_a_log(
            runs in prop::collection::vec(prop::collection::vec(0usize..20_000, 1..20), 1..4),
            purged in prop::option::of(1u64..100),
        ) {
            let purged = purged.map(|index| id(1, index));
            let mut all = Vec::new();
            let mut composer = Composer::begin(identity(), 40_000, purged);
            let mut wanted = Vec::new();
            for sizes in &runs {
                let first = composer.next();
                wanted.extend((first..).zip(sizes).map(|(n, size)| (n, *size)));
                all.extend(composed(composer, sizes));
                composer = Composer::after(&read(&all, purged.map(|id| id.index)).0, 40_000);
            }
            let (contents, found) = read(&all, purged.map(|id| id.index));
            let found: Vec<_> = found.iter().map(|entry| (entry.id.index, entry.payload.len())).collect();
            prop_assert_eq!(&found, &wanted);
            prop_assert_eq!(contents.last().map(|id| id.index), wanted.last().map(|(n, _)| *n));
            prop_assert!(all.iter().all(|segment| segment.bytes.len().is_multiple_of(BLOCK)));

            let disk = SimDisk::new(1);
            for segment in &all {
                disk.put(&file_name(segment.sequence), segment.bytes.clone());
            }
            let mut replayed = Vec::new();
            let options = Options { segment_bytes: 64 * 1024, ..Options::new(identity()) };
            let opened = Log::open(disk, options, |entry, _| {
                replayed.push((entry.id.index, entry.payload.len()));
                Ok(())
            });
            let log = Harness::new().pool.run_until(opened).unwrap();
            prop_assert_eq!(&replayed, &wanted);
            prop_assert_eq!(log.purged(), purged);
            prop_assert_eq!(log.committed().map(|id| id.index), wanted.last().map(|(n, _)| *n));
        }

        #[test]
        fn any_byte_that_is_another_is_found(at in 0usize..60_000, bit in 0u8..8) {
            let all = composed(Composer::begin(identity(), 40_000, None), &[9_000; 5]);
            let at = at % all.iter().map(|segment| segment.bytes.len()).sum::<usize>();
            let (mut contents, mut begin, mut refused) = (Contents::skipping(None), 0, false);
            for segment in &all {
                let mut bytes = segment.bytes.clone();
                let end = begin + bytes.len();
                if (begin..end).contains(&at) {
                    bytes[at - begin] ^= 1 << bit;
                }
                begin = end;
                refused |= contents.segment(segment.sequence, &Bytes::from(bytes)).is_err();
            }
            prop_assert!(refused);
        }
    }

    #[test]
    fn a_vote_stands_in_the_log() {
        let mut composer = Composer::begin(identity(), 40_000, None);
        let vote = Vote { term: 9, node: 3, committed: false };
        composer.vote(vote);
        let (contents, _) = read(&composed(composer, &[1]), None);
        assert_eq!(contents.end().unwrap().1.state.vote, Some(vote));
    }

    #[test]
    fn a_segment_that_is_ended_early_is_followed_by_another() {
        let mut composer = Composer::begin(identity(), 40_000, None);
        let mut all = Vec::new();
        for index in 0..9 {
            all.extend(composer.push(entry(2, index, vec![7; 100])));
            if index % 3 == 2 {
                let ended = composer.end_segment();
                assert_eq!(ended.len(), 1);
                all.extend(ended);
                assert!(composer.end_segment().is_empty(), "nothing is under way");
            }
        }
        assert!(composer.finish().is_empty());
        assert_eq!(all.len(), 3);
        let (contents, found) = read(&all, None);
        assert_eq!((found.len(), contents.last()), (9, Some(id(2, 8))));
    }

    #[test]
    fn an_entry_larger_than_a_segment_has_one_of_its_own() {
        let all = composed(Composer::begin(identity(), 40_000, None), &[10, 2_000_000, 10]);
        assert_eq!(all.len(), 3);
        assert_eq!(read(&all, None).1.len(), 3);
    }
}
