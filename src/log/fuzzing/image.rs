//! The segments of a log, made by the rules of the format and, where that is asked
//! for, against them.

use bytes::Bytes;
use uuid::Uuid;

use super::super::{
    Entry, Identity, SEGMENT_BYTES_MIN, Vote,
    format::{FrameRef, GroupPlace, HardState, SegmentHeader, group_bytes, put_group},
    segment::file_name,
};
use super::disk::HeldDisk;
use crate::{
    base::ids::{ClusterId, LogId},
    io::BLOCK,
};

pub(super) const IDENTITY: Identity =
    Identity { cluster: ClusterId(Uuid::from_u128(0xC1)), node: 7 };
const SEGMENT_BYTES: usize = SEGMENT_BYTES_MIN as usize;
/// More segments are not made.
const SEGMENTS_MAX: usize = 4;

/// Bytes that are taken one after the other; zeros when there are no more.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl Choices<'_> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(super) fn word(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// A number near zero, mostly zero.
    fn slip(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..224 => u64::from(byte / 223),
            byte => (i64::from(byte) - 240).cast_unsigned(),
        }
    }
}

/// A group that was written.
pub(super) struct Written {
    /// The segment that it stands in.
    pub(super) segment: usize,
    /// Where it stands there.
    pub(super) offset: usize,
    /// Bytes that it takes there.
    pub(super) bytes: usize,
    /// The hard state with it.
    pub(super) state: HardState,
    /// The entries of the log with it, purged ones too.
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Image {
    /// The segments' bytes, from number 1 on.
    pub(super) segments: Vec<Vec<u8>>,
    pub(super) groups: Vec<Written>,
    state: HardState,
    entries: Vec<Entry>,
    header: SegmentHeader,
    /// Where the next group goes.
    offset: usize,
    next_group: u64,
    chain: u32,
}

/// What a group bears besides its state.
enum Frame {
    Entry(Entry),
    Truncate(Option<u64>),
}

impl Frame {
    fn by_ref(&self) -> FrameRef<'_> {
        match self {
            Self::Entry(entry) => FrameRef::Entry(entry),
            Self::Truncate(after) => FrameRef::Truncate(*after),
        }
    }
}

impl Image {
    pub(super) fn new() -> Self {
        let header = SegmentHeader {
            cluster: IDENTITY.cluster,
            node: IDENTITY.node,
            sequence: 0,
            nonce: 0x5EED,
            segment_bytes: SEGMENT_BYTES as u64,
            first_group: 1,
            first_index: 0,
            chain: 0,
            rewritten: None,
        };
        let mut image = Self {
            segments: Vec::new(),
            groups: Vec::new(),
            state: HardState::default(),
            entries: Vec::new(),
            header,
            offset: 0,
            next_group: 1,
            chain: 0,
        };
        image.roll(header);
        image
    }

    /// Ends with a segment that is prepared and not used.
    pub(super) fn prepare(&mut self) {
        self.segments.push(vec![0; SEGMENT_BYTES]);
    }

    pub(super) fn disk(&self) -> HeldDisk {
        let disk = HeldDisk::default();
        for (segment, n) in self.segments.iter().zip(1..) {
            disk.put(&file_name(n), segment.clone());
        }
        disk
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.id)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |id| id.index + 1)
    }

    /// Adds a group as the log's writer would; false when there is no more room.
    pub(super) fn write(&mut self, choices: &mut Choices<'_>) -> bool {
        let frames = self.next_frames(choices);
        let body: usize = frames.iter().map(|frame| frame.by_ref().encoded_bytes()).sum();
        if self.offset + group_bytes(body) > SEGMENT_BYTES {
            if self.segments.len() == SEGMENTS_MAX {
                return false;
            }
            let (first_group, chain) = (self.next_group, self.chain);
            // The frames are not part of the log yet.
            let first_index = self
                .groups
                .last()
                .map_or(0, |group| group.entries.last().map_or(0, |entry| entry.id.index + 1));
            self.roll(SegmentHeader { first_group, first_index, chain, ..self.header });
        }
        let place = GroupPlace {
            offset: self.offset as u32,
            nonce: self.header.nonce,
            number: self.next_group,
            previous: self.chain,
        };
        self.put(place, self.state, &frames, body);
        true
    }

    /// One step of a log, done in memory, and what of it goes to disk.
    fn next_frames(&mut self, choices: &mut Choices<'_>) -> Vec<Frame> {
        let choice = choices.byte();
        let term = self.last().map_or(1, |id| id.term) + u64::from(choice >> 7);
        let committed = self.state.committed;
        match choice & 7 {
            0..=3 => {
                let entries = (0..=choice >> 3 & 3).map(|_| {
                    let id = LogId { term, index: self.next_index() };
                    let fill = choices.byte();
                    let payload = vec![fill; usize::from(fill) * 16];
                    let entry = Entry { id, kind: fill & 3, payload: payload.into() };
                    self.entries.push(entry.clone());
                    Frame::Entry(entry)
                });
                entries.collect()
            }
            4 => {
                let term = self.state.vote.map_or(1, |vote| vote.term + 1);
                let (node, committed) = (u64::from(choice >> 4), choice & 8 != 0);
                self.state.vote = Some(Vote { term, node, committed });
                Vec::new()
            }
            5 => {
                let first = committed.map_or(0, |id| id.index + 1);
                let upto = first + u64::from(choice >> 3);
                let entry = self.entries.iter().rfind(|entry| entry.id.index <= upto);
                self.state.committed = entry.map(|entry| entry.id).max(committed);
                Vec::new()
            }
            6 => {
                let kept = committed.map_or(0, |id| id.index + 1) + u64::from(choice >> 4);
                if kept >= self.next_index() {
                    return Vec::new();
                }
                self.entries.retain(|entry| entry.id.index < kept);
                vec![Frame::Truncate(self.last().map(|id| id.index))]
            }
            _ => {
                let upto = self.state.purged.map_or(0, |id| id.index + 1) + u64::from(choice >> 4);
                let found = self.entries.iter().find(|entry| entry.id.index == upto);
                if let Some(entry) = found.filter(|entry| Some(entry.id) <= committed) {
                    self.state.purged = Some(entry.id);
                }
                Vec::new()
            }
        }
    }

    /// Adds a group, a segment or any bytes, sound by themselves and slightly
    /// wrong where they follow on something; false when there is no more room.
    pub(super) fn goes_on(&mut self, choices: &mut Choices<'_>) -> bool {
        let choice = choices.byte();
        match choice & 7 {
            0 => {
                if self.segments.len() == SEGMENTS_MAX {
                    return false;
                }
                let header = SegmentHeader {
                    sequence: self.header.sequence.wrapping_add(choices.slip()),
                    nonce: self.header.nonce.wrapping_add(choices.slip()),
                    first_group: self.next_group.wrapping_add(choices.slip()),
                    first_index: self.next_index().wrapping_add(choices.slip()),
                    chain: self.chain.wrapping_add(choices.slip() as u32),
                    ..self.header
                };
                self.roll(header);
                true
            }
            1 => {
                let at = self.offset + choices.word();
                let (raw, rest) = choices.0.split_at(choices.0.len().min(usize::from(choice >> 3)));
                choices.0 = rest;
                let Some(segment) = self.segments.last_mut() else { return false };
                let to = segment.iter_mut().skip(at);
                to.zip(raw).for_each(|(to, from)| *to = *from);
                true
            }
            _ => self.wrong_group(choices),
        }
    }

    fn wrong_group(&mut self, choices: &mut Choices<'_>) -> bool {
        let mut frames = self.next_frames(choices);
        let flags = choices.byte();
        let mut slip = |on: u8| if flags & on == 0 { 0 } else { choices.slip() };
        for frame in &mut frames {
            match frame {
                Frame::Entry(entry) => {
                    entry.id.index = entry.id.index.wrapping_add(slip(1));
                    entry.id.term = entry.id.term.wrapping_add(slip(2));
                }
                Frame::Truncate(after) => {
                    *after = match *after {
                        None => (slip(1) > 0).then_some(0),
                        Some(after) => Some(after.wrapping_add(slip(2))),
                    };
                }
            }
        }
        let id = |id: LogId, index, term| LogId {
            index: id.index.wrapping_add(index),
            term: id.term.wrapping_add(term),
        };
        let last = self.last().unwrap_or_default();
        let mut state = self.state;
        if flags & 12 != 0 {
            state.committed = Some(id(state.committed.unwrap_or(last), slip(4), slip(8)));
        }
        if flags & 48 != 0 {
            state.purged = Some(id(state.purged.unwrap_or(last), slip(16), slip(32)));
        }
        let body: usize = frames.iter().map(|frame| frame.by_ref().encoded_bytes()).sum();
        if self.offset + group_bytes(body) > SEGMENT_BYTES {
            return false;
        }
        let place = GroupPlace {
            offset: (self.offset as u32).wrapping_add(slip(64) as u32),
            nonce: self.header.nonce.wrapping_add(slip(64)),
            number: self.next_group.wrapping_add(slip(128)),
            previous: self.chain.wrapping_add(slip(128) as u32),
        };
        self.put(place, state, &frames, body);
        true
    }

    fn roll(&mut self, header: SegmentHeader) {
        self.header = SegmentHeader { sequence: header.sequence.wrapping_add(1), ..header };
        let mut segment = vec![0; SEGMENT_BYTES];
        self.header.encode(&mut segment[..BLOCK]);
        self.segments.push(segment);
        self.offset = BLOCK;
    }

    fn put(&mut self, place: GroupPlace, state: HardState, frames: &[Frame], body: usize) {
        let (bytes, offset) = (group_bytes(body), self.offset);
        let Some(segment) = self.segments.last_mut() else { return };
        let out = &mut segment[offset..offset + bytes];
        self.chain = put_group(out, &place, &state, frames.iter().map(Frame::by_ref));
        self.next_group = place.number.wrapping_add(1);
        self.offset += bytes;
        let (segment, entries) = (self.segments.len() - 1, self.entries.clone());
        self.groups.push(Written { segment, offset, bytes, state, entries });
    }
}

impl Written {
    /// The entries that are not purged, up to `committed` and after it.
    pub(super) fn entries(&self) -> (Vec<Entry>, Vec<Entry>) {
        let HardState { committed, purged, .. } = self.state;
        let held = self.entries.iter().filter(|entry| Some(entry.id) > purged).cloned();
        held.partition(|entry| Some(entry.id) <= committed)
    }
}

/// Payloads are shared, so that a group's account of the log costs little.
const _: fn(&Entry) -> &Bytes = |entry| &entry.payload;
