//! Groups: what one write of the log makes durable.

use bytes::Bytes;

use super::{
    frame::{FRAME_HEAD_BYTES, Frame, FrameRef, decode_frame, encode_frame, len_u32},
    header::VERSION,
};
use crate::{
    base::ids::LogId,
    io::BLOCK,
    log::{
        Vote,
        cursor::{Reader, Writer, has_next, is_zero},
    },
};

/// Bytes before the first frame of a group.
pub const GROUP_HEAD_BYTES: usize = 96;

/// The head of a group proves that the groups before it are whole, so it must
/// lie in one sector and never tear by itself.
const _: () = assert!(GROUP_HEAD_BYTES <= 512);

const GROUP_MAGIC: [u8; 4] = *b"CAg\x01";
/// What of the hard state a group bears. Stable: they are on disk.
const HAS_VOTE: u32 = 1;
const VOTE_COMMITTED: u32 = 2;
const HAS_COMMITTED: u32 = 4;
const HAS_PURGED: u32 = 8;
const FLAGS: u32 = HAS_VOTE | VOTE_COMMITTED | HAS_COMMITTED | HAS_PURGED;

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
pub(in crate::log) fn put_group<'a>(
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

/// The number of the group that claims to start at `at`, if the first sector of
/// one is there: its magic, nonce and own offset are right. Such a sector
/// proves that every group with a lower number was written whole.
#[must_use]
pub fn claimed_group(segment: &[u8], at: usize, nonce: u64) -> Option<u64> {
    claim(segment, at, at, nonce).map(|(number, _)| number)
}

/// How many bytes the group takes that claims to start at `at` of `part`, which is byte `offset`
/// of its segment.
#[must_use]
pub fn claimed_bytes(part: &[u8], at: usize, offset: usize, nonce: u64) -> Option<usize> {
    claim(part, at, offset, nonce).map(|(_, body)| group_bytes(body as usize))
}

/// The number of the group there, and the length of its frames.
fn claim(part: &[u8], at: usize, offset: usize, nonce: u64) -> Option<(u64, u32)> {
    let mut r = Reader { bytes: part, at };
    if r.take(4)? != GROUP_MAGIC {
        return None;
    }
    r.u64()?;
    let here = r.u32()? as usize == offset && r.u64()? == nonce;
    let claimed = (r.u64()?, r.u32()?);
    here.then_some(claimed)
}

/// Reads the group at `at`. Payloads are slices of `segment`.
///
/// # Errors
/// [`GroupFault`], telling what may be a torn write from what cannot be.
pub fn decode_group(segment: &Bytes, at: usize, nonce: u64) -> Result<Group, GroupFault> {
    decode_group_of(segment, at, at, nonce)
}

/// The same for a `part` of a segment, in which `at` is byte `offset` of that.
///
/// # Errors
/// [`GroupFault`]
pub fn decode_group_of(
    part: &Bytes,
    at: usize,
    offset: usize,
    nonce: u64,
) -> Result<Group, GroupFault> {
    let group = read_group(part, at, offset, nonce).ok_or(GroupFault::Checksum)?;
    let body = group.frames_end;
    let padding = part.get(body..group.group.end).ok_or(GroupFault::Checksum)?;
    if is_zero(padding) { Ok(group.group) } else { Err(GroupFault::Padding) }
}

struct ReadGroup {
    group: Group,
    frames_end: usize,
}

fn read_group(segment: &Bytes, at: usize, offset: usize, nonce: u64) -> Option<ReadGroup> {
    claim(segment, at, offset, nonce)?;
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
