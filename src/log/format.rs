//! The bytes of a segment: how its header and its groups are written and how
//! they are told from damage. Pure; the whole account, with recovery, is in
//! `docs/disk-format.md`. All integers are little-endian, all layouts stable.
//!
//! ```text
//! segment   | header | group | group | group | zeros ...            |
//!           0        4096    each starts and ends at a block        segment_bytes
//!
//! group     | head, 96 bytes | frame | frame | ... | zeros to block |
//! frame     | head, 32 bytes | payload |
//! ```
//!
//! - *Sync.* A group is one aligned durable write, with one in flight at a
//!   time; a block that holds acknowledged data is never written again.
//! - *Recovery.* Each group names its place, its number and the checksum of the
//!   group before it, so a group that fails its checks can only be the torn
//!   last write, or damage; what stands behind it tells which.
//! - *Purging.* The purge mark is made durable in a group, then whole segments
//!   are removed, oldest first.

use super::{
    Entry, Place, Vote,
    cursor::{Reader, Writer},
};
use crate::base::ids::{ClusterId, LogId, NodeId};
use crate::io::BLOCK;
use bytes::Bytes;
use std::ops::Range;
use uuid::Uuid;

/// The format this build writes and reads. Stable: it is on disk.
pub const VERSION: u32 = 1;
/// Bytes before the first frame of a group.
pub const GROUP_HEAD_BYTES: usize = 96;
/// Bytes before the payload of a frame.
pub const FRAME_HEAD_BYTES: usize = 32;

/// The head of a group proves that the groups before it are whole, so it must
/// lie in one sector and never tear by itself.
const _: () = assert!(GROUP_HEAD_BYTES <= 512);

const SEGMENT_MAGIC: [u8; 8] = *b"CAGTLOG\n";
const GROUP_MAGIC: [u8; 4] = *b"CAg\x01";
/// The kinds of frame. Stable: they are on disk.
const FRAME_ENTRY: u8 = 1;
const FRAME_TRUNCATE_AFTER: u8 = 2;
const FRAME_TRUNCATE_ALL: u8 = 3;
/// What of the hard state a group bears. Stable: they are on disk.
const HAS_VOTE: u32 = 1;
const VOTE_COMMITTED: u32 = 2;
const HAS_COMMITTED: u32 = 4;
const HAS_PURGED: u32 = 8;
const FLAGS: u32 = HAS_VOTE | VOTE_COMMITTED | HAS_COMMITTED | HAS_PURGED;

/// Block 0 of a segment that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster whose history this is.
    pub cluster: ClusterId,
    /// The node that wrote it.
    pub node: NodeId,
    /// The segment's number, consecutive from 1; its file name says the same.
    pub sequence: u64,
    /// A random number that every group of this segment repeats, so that no
    /// bytes a client sends can pass for a group.
    pub nonce: u64,
    /// The length of the file.
    pub segment_bytes: u64,
    /// The number of the first group.
    pub first_group: u64,
    /// The Raft index that the next entry would have had.
    pub first_index: u64,
    /// The checksum of the group before the first one; 0 for the very first.
    pub chain: u32,
}

/// What block 0 of a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderBlock {
    /// Zeros: the segment is prepared but not used.
    Unused,
    /// A sound header.
    Used(SegmentHeader),
    /// A sound preamble of another format.
    OtherVersion(u32),
    /// Neither: torn or damaged.
    Invalid,
}

impl SegmentHeader {
    /// Writes the header into a zero-filled block.
    pub fn encode(&self, block: &mut [u8]) {
        let mut w = Writer { out: block, at: 0 };
        w.put(&SEGMENT_MAGIC);
        w.u32(VERSION);
        let preamble = crc32c::crc32c(w.written());
        w.u32(preamble);
        w.put(self.cluster.0.as_bytes());
        w.u64(self.node);
        w.u64(self.sequence);
        w.u64(self.nonce);
        w.u64(self.segment_bytes);
        w.u64(self.first_group);
        w.u64(self.first_index);
        w.u32(self.chain);
        let checksum = crc32c::crc32c(w.written());
        w.u32(checksum);
    }

    /// Reads a block; [`BLOCK`] bytes are expected.
    #[must_use]
    pub fn decode(block: &[u8]) -> HeaderBlock {
        if is_zero(block) {
            return HeaderBlock::Unused;
        }
        Self::read(block).unwrap_or(HeaderBlock::Invalid)
    }

    fn read(block: &[u8]) -> Option<HeaderBlock> {
        let mut r = Reader { bytes: block, at: 0 };
        if r.take(8)? != SEGMENT_MAGIC {
            return None;
        }
        let version = r.u32()?;
        let preamble = crc32c::crc32c(r.seen());
        if r.u32()? != preamble {
            return None;
        }
        if version != VERSION {
            return Some(HeaderBlock::OtherVersion(version));
        }
        let cluster = ClusterId(Uuid::from_slice(r.take(16)?).ok()?);
        let header = Self {
            cluster,
            node: r.u64()?,
            sequence: r.u64()?,
            nonce: r.u64()?,
            segment_bytes: r.u64()?,
            first_group: r.u64()?,
            first_index: r.u64()?,
            chain: r.u32()?,
        };
        let checksum = crc32c::crc32c(r.seen());
        let sound = r.u32()? == checksum && is_zero(block.get(r.at..)?);
        let sound = sound && has_next(header.first_index) && has_next(header.first_group);
        sound.then_some(HeaderBlock::Used(header))
    }
}

/// What Raft must find again besides its entries; every group bears all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The vote, if one was ever saved.
    pub vote: Option<Vote>,
    /// The last entry known to be committed. Lazy: it may lag.
    pub committed: Option<LogId>,
    /// The last entry that was purged. Invariant: `purged <= committed`.
    pub purged: Option<LogId>,
}

impl HardState {
    /// Whether its marks contradict each other.
    pub(super) fn is_sound(&self) -> bool {
        self.purged.map(|id| id.index) <= self.committed.map(|id| id.index)
    }
}

/// What a group holds besides its state.
#[derive(Clone, Copy, Debug)]
pub enum FrameRef<'a> {
    /// An entry of the Raft log.
    Entry(&'a Entry),
    /// Removes the entries after an index, or all.
    Truncate(Option<u64>),
}

impl FrameRef<'_> {
    /// Bytes the frame takes.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        FRAME_HEAD_BYTES
            + match self {
                Self::Entry(entry) => entry.payload.len(),
                Self::Truncate(_) => 0,
            }
    }
}

/// Where a group stands and what it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    /// Its offset in the segment, a multiple of [`BLOCK`].
    pub offset: u32,
    /// The segment's nonce.
    pub nonce: u64,
    /// Its number, continuous over all segments, from 1.
    pub number: u64,
    /// The checksum of the group before it.
    pub previous: u32,
}

/// Bytes on disk of a group whose frames take `body` bytes.
#[must_use]
pub const fn group_bytes(body: usize) -> usize {
    (GROUP_HEAD_BYTES + body).next_multiple_of(BLOCK)
}

/// Writes a group into `out`, which has [`group_bytes`] of the frames' lengths,
/// padding included, and returns the group's checksum.
pub fn encode_group<'a>(
    out: &mut [u8],
    place: &GroupPlace,
    state: &HardState,
    frames: impl Iterator<Item = FrameRef<'a>>,
) -> u32 {
    assert!(state.is_sound(), "what is purged is committed: {state:?}");
    put_group(out, place, state, frames)
}

/// The same, whatever the state says.
pub(super) fn put_group<'a>(
    out: &mut [u8],
    place: &GroupPlace,
    state: &HardState,
    frames: impl Iterator<Item = FrameRef<'a>>,
) -> u32 {
    let mut checksum = 0;
    let mut count = 0_u32;
    let mut at = GROUP_HEAD_BYTES;
    for frame in frames {
        at = encode_frame(out, at, frame, &mut checksum);
        count += 1;
    }
    if let Some(padding) = out.get_mut(at..) {
        padding.fill(0);
    }
    let body = at - GROUP_HEAD_BYTES;
    encode_group_head(out, place, state, body, count);
    // The head is last in the checksum, since it is written last.
    checksum = crc32c::crc32c_append(checksum, out.get(8..GROUP_HEAD_BYTES).unwrap_or(&[]));
    let mut w = Writer { out, at: 4 };
    w.u32(checksum);
    checksum
}

fn encode_frame(out: &mut [u8], at: usize, frame: FrameRef<'_>, checksum: &mut u32) -> usize {
    let mut w = Writer { out, at: at + 4 };
    match frame {
        FrameRef::Entry(entry) => {
            put_entry_head(&mut w, entry);
            w.put(&entry.payload);
        }
        FrameRef::Truncate(after) => {
            w.u32(0);
            w.u64(0);
            w.u64(after.unwrap_or(0));
            let kind = if after.is_some() { FRAME_TRUNCATE_AFTER } else { FRAME_TRUNCATE_ALL };
            w.put(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
    let end = w.at;
    let crc = crc32c::crc32c(out.get(at + 4..end).unwrap_or(&[]));
    let mut w = Writer { out, at };
    w.u32(crc);
    let head = out.get(at..at + FRAME_HEAD_BYTES).unwrap_or(&[]);
    *checksum = crc32c::crc32c_append(*checksum, head);
    end
}

fn encode_group_head(
    out: &mut [u8],
    place: &GroupPlace,
    state: &HardState,
    body: usize,
    frames: u32,
) {
    let HardState { vote, committed, purged } = state;
    let mut flags = 0;
    if let Some(vote) = vote {
        flags |= HAS_VOTE | if vote.committed { VOTE_COMMITTED } else { 0 };
    }
    flags |= if committed.is_some() { HAS_COMMITTED } else { 0 };
    flags |= if purged.is_some() { HAS_PURGED } else { 0 };
    let mut w = Writer { out, at: 0 };
    w.put(&GROUP_MAGIC);
    w.u32(0);
    w.u32(VERSION);
    w.u32(place.offset);
    w.u64(place.nonce);
    w.u64(place.number);
    w.u32(len_u32(body));
    w.u32(frames);
    w.u32(place.previous);
    w.u32(flags);
    w.u64(vote.map_or(0, |vote| vote.term));
    w.u64(vote.map_or(0, |vote| vote.node));
    for id in [committed, purged] {
        let id = id.unwrap_or_default();
        w.u64(id.term);
        w.u64(id.index);
    }
}

fn len_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or_else(|_| unreachable!("bounded by the segment size"))
}

/// A frame as it was read.
#[derive(Clone, Debug)]
pub enum Frame {
    /// An entry, and the offset of its payload in the segment.
    Entry(Entry, u32),
    /// Removes the entries after an index, or all.
    Truncate(Option<u64>),
}

/// A group that passed all of its own checks; whether it continues the chain is
/// the reader's to check.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its number and what it continues.
    pub place: GroupPlace,
    /// The hard state after it.
    pub state: HardState,
    /// Its frames in order.
    pub frames: Vec<Frame>,
    /// Its checksum, which the next group repeats.
    pub checksum: u32,
    /// The offset of the block after it.
    pub end: usize,
}

/// Why a group is not sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    /// Its head or frames fail a check, as a torn write's do.
    #[error("the group fails its checksum")]
    Checksum,
    /// Bytes behind its frames are not zero though its checksum holds, which no
    /// torn write brings about.
    #[error("the padding of the group is not zero")]
    Padding,
}

/// Whether a number can be followed by another: whoever counts on from what was
/// read here need not ask.
const fn has_next(number: u64) -> bool {
    number < u64::MAX
}

/// The number of the group that claims to start at `at`, if the first sector of
/// one is there: its magic, nonce and own offset are right. Such a sector
/// proves that every group with a lower number was written whole.
#[must_use]
pub fn claimed_group(segment: &[u8], at: usize, nonce: u64) -> Option<u64> {
    let mut r = Reader { bytes: segment, at };
    if r.take(4)? != GROUP_MAGIC {
        return None;
    }
    r.u64()?;
    let here = r.u32()? as usize == at && r.u64()? == nonce;
    let number = r.u64()?;
    here.then_some(number)
}

/// Reads the group at `at`. Payloads are slices of `segment`.
///
/// # Errors
/// [`GroupFault`], telling what may be a torn write from what cannot be.
pub fn decode_group(segment: &Bytes, at: usize, nonce: u64) -> Result<Group, GroupFault> {
    let group = read_group(segment, at, nonce).ok_or(GroupFault::Checksum)?;
    let body = group.frames_end;
    let padding = segment.get(body..group.group.end).ok_or(GroupFault::Checksum)?;
    if is_zero(padding) { Ok(group.group) } else { Err(GroupFault::Padding) }
}

struct ReadGroup {
    group: Group,
    frames_end: usize,
}

fn read_group(segment: &Bytes, at: usize, nonce: u64) -> Option<ReadGroup> {
    claimed_group(segment, at, nonce)?;
    let mut r = Reader { bytes: segment, at: at + 4 };
    let expected = r.u32()?;
    if r.u32()? != VERSION {
        return None;
    }
    let place = GroupPlace { offset: r.u32()?, nonce: r.u64()?, number: r.u64()?, previous: 0 };
    let body = r.u32()? as usize;
    let count = r.u32()?;
    let place = GroupPlace { previous: r.u32()?, ..place };
    if !has_next(place.number) {
        return None;
    }
    let state = read_state(&mut r)?;
    let frames_end = r.at.checked_add(body)?;
    let end = at.checked_add(group_bytes(body))?;
    if end > segment.len() {
        return None;
    }
    let (frames, checksum) = read_frames(segment, r.at, frames_end, count)?;
    let head = segment.get(at + 8..at + GROUP_HEAD_BYTES)?;
    let checksum = crc32c::crc32c_append(checksum, head);
    (checksum == expected)
        .then_some(ReadGroup { group: Group { place, state, frames, checksum, end }, frames_end })
}

fn read_state(r: &mut Reader<'_>) -> Option<HardState> {
    let flags = r.u32()?;
    if flags & !FLAGS != 0 {
        return None;
    }
    let vote = Vote { term: r.u64()?, node: r.u64()?, committed: flags & VOTE_COMMITTED != 0 };
    let committed = LogId { term: r.u64()?, index: r.u64()? };
    let purged = LogId { term: r.u64()?, index: r.u64()? };
    if ![committed, purged].iter().all(|id| has_next(id.index)) {
        return None;
    }
    Some(HardState {
        vote: (flags & HAS_VOTE != 0).then_some(vote),
        committed: (flags & HAS_COMMITTED != 0).then_some(committed),
        purged: (flags & HAS_PURGED != 0).then_some(purged),
    })
}

fn read_frames(segment: &Bytes, start: usize, end: usize, count: u32) -> Option<(Vec<Frame>, u32)> {
    let most = (end - start) / FRAME_HEAD_BYTES;
    if count as usize > most {
        return None;
    }
    let mut frames = Vec::with_capacity(count as usize);
    let mut checksum = 0;
    let mut at = start;
    for _ in 0..count {
        let (frame, next) = decode_frame(segment, at)?;
        if next > end {
            return None;
        }
        checksum = crc32c::crc32c_append(checksum, segment.get(at..at + FRAME_HEAD_BYTES)?);
        frames.push(frame);
        at = next;
    }
    (at == end).then_some((frames, checksum))
}

/// The head of an entry's frame, which its payload follows: for those who have
/// the payload elsewhere.
#[must_use]
pub fn entry_head(entry: &Entry) -> [u8; FRAME_HEAD_BYTES] {
    let mut head = [0; FRAME_HEAD_BYTES];
    put_entry_head(&mut Writer { out: &mut head, at: 4 }, entry);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[4..]), &entry.payload);
    head[..4].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn put_entry_head(w: &mut Writer<'_>, entry: &Entry) {
    w.u32(len_u32(entry.payload.len()));
    w.u64(entry.id.term);
    w.u64(entry.id.index);
    w.put(&[FRAME_ENTRY, entry.kind, 0, 0, 0, 0, 0, 0]);
}

/// Reads the frame at `at` and says where it ends; `None` when it is not sound.
/// The payload is a slice of `bytes`.
#[must_use]
pub fn decode_frame(bytes: &Bytes, at: usize) -> Option<(Frame, usize)> {
    let mut r = Reader { bytes, at };
    let expected = r.u32()?;
    let payload_bytes = r.u32()? as usize;
    let id = LogId { term: r.u64()?, index: r.u64()? };
    let &[frame, kind, 0, 0, 0, 0, 0, 0] = r.take(8)? else { return None };
    if !has_next(id.index) {
        return None;
    }
    let payload_at = r.at;
    let end = payload_at.checked_add(payload_bytes)?;
    if crc32c::crc32c(bytes.get(at + 4..end)?) != expected {
        return None;
    }
    let frame = match frame {
        FRAME_ENTRY => {
            let payload = bytes.slice(payload_at..end);
            Frame::Entry(Entry { id, kind, payload }, u32::try_from(payload_at).ok()?)
        }
        FRAME_TRUNCATE_AFTER => Frame::Truncate(Some(id.index)),
        FRAME_TRUNCATE_ALL => Frame::Truncate(None),
        _ => return None,
    };
    Some((frame, end))
}

/// Where the frame of a payload lies in its segment.
#[must_use]
pub fn frame_range(payload: Place) -> Range<usize> {
    let start = payload.offset as usize;
    start.saturating_sub(FRAME_HEAD_BYTES)..start + payload.bytes as usize
}

/// The payload of a whole frame, or `None` when it does not match its checksum.
#[must_use]
pub fn checked_payload(frame: &[u8]) -> Option<&[u8]> {
    let (checksum, rest) = frame.split_first_chunk::<4>()?;
    let sound = crc32c::crc32c(rest) == u32::from_le_bytes(*checksum);
    frame.get(FRAME_HEAD_BYTES..).filter(|_| sound)
}

/// Whether every byte is zero.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| *chunk == [0; 64]) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
