//! Frames: what a group holds besides its state.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    base::ids::LogId,
    log::{
        Entry, Place,
        cursor::{Reader, Writer, has_next},
    },
};

/// Bytes before the payload of a frame.
pub const FRAME_HEAD_BYTES: usize = 32;

/// The kinds of frame. Stable: they are on disk.
const FRAME_ENTRY: u8 = 1;
const FRAME_TRUNCATE_AFTER: u8 = 2;
const FRAME_TRUNCATE_ALL: u8 = 3;

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

/// A frame as it was read.
#[derive(Clone, Debug)]
pub enum Frame {
    /// An entry, and the offset of its payload in the segment.
    Entry(Entry, u32),
    /// Removes the entries after an index, or all.
    Truncate(Option<u64>),
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

/// Writes a frame at `at`, takes its head into the group's `checksum`, and says where it
/// ends.
pub(super) fn encode_frame(
    out: &mut [u8],
    at: usize,
    frame: FrameRef<'_>,
    checksum: &mut u32,
) -> usize {
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

pub(super) fn len_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or_else(|_| unreachable!("bounded by the segment size"))
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

/// The payload of the whole frame of the entry `index`, or `None` when it does not match its
/// checksum, or is that of another entry: a write may have gone elsewhere than it should.
#[must_use]
pub fn checked_payload(frame: &[u8], index: u64) -> Option<&[u8]> {
    let (checksum, rest) = frame.split_first_chunk::<4>()?;
    let is_sound = crc32c::crc32c(rest) == u32::from_le_bytes(*checksum);
    let is_it = frame.get(16..24)? == index.to_le_bytes();
    frame.get(FRAME_HEAD_BYTES..).filter(|_| is_sound && is_it)
}
