//! A complete segment laid out anew of its entries, where more of it rotted than some of those: its
//! header, the heads of its groups, what should be zeros, or the whole file.
//!
//! Entries stay where the index of the segment says that they lie; its number and its nonce stay, and
//! what it continues and what continues it: so the index fits as before, and so do the segments around
//! it. Which group an entry was in, and what marks stood between the first and the last, nobody needs
//! to know any more. Such a segment is one that was written anew, as its header says.

use bytes::Bytes;

use super::{
    Entry, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    format::{
        FRAME_HEAD_BYTES, Frame, FrameRef, GROUP_HEAD_BYTES, GroupPlace, HardState, HeaderBlock,
        Rewritten, SegmentHeader, decode_frame, encode_group, frame_range, group_bytes,
    },
    index::Indexed,
    recover::Recovery,
};
use crate::{base::planted::planted, io::BLOCK};

/// What stands in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// The entry at this index.
    Entry(u64),
    /// Nothing, where something was that is part of the log no more: a frame that removes what
    /// follows the last entry, which is none.
    Filler(Option<u64>),
}

/// A group as it is to be written.
#[derive(Debug)]
struct Planned {
    /// Where it begins.
    start: usize,
    pieces: Vec<Piece>,
    /// Where its last frame ends.
    end: usize,
}

impl Planned {
    fn at(start: usize) -> Self {
        Self { start, pieces: Vec::new(), end: start + GROUP_HEAD_BYTES }
    }

    /// Where the next group begins at the earliest.
    fn next(&self) -> usize {
        self.start + group_bytes(self.end - self.start - GROUP_HEAD_BYTES)
    }

    /// Fills it up to the byte `to`, unless no frames fit there.
    fn fill(&mut self, to: usize, after: Option<u64>) -> Option<()> {
        let bytes = to.checked_sub(self.end).filter(|gap| gap.is_multiple_of(FRAME_HEAD_BYTES))?;
        let fillers = std::iter::repeat_n(Piece::Filler(after), bytes / FRAME_HEAD_BYTES);
        self.pieces.extend(fillers);
        self.end = to;
        Some(())
    }

    /// A group without entries, in the place of whatever was between `start` and `end`, both multiples
    /// of a block. It removes what follows the last entry where `removes` says that something does.
    fn filler(start: usize, end: usize, after: Option<u64>, removes: bool) -> Option<Self> {
        let mut group = Self::at(start);
        // What reaches into the last of its blocks.
        let mut bytes = (end - start - BLOCK).next_multiple_of(FRAME_HEAD_BYTES);
        if removes {
            bytes = bytes.max(FRAME_HEAD_BYTES);
        }
        group.fill(group.end + bytes, after)?;
        Some(group)
    }
}

/// Up to which index the log went when the segment after that of `index` was begun.
fn next_index(index: &Indexed) -> Option<u64> {
    match index.run.first() < index.run.next() {
        true => Some(index.run.next()),
        false => index.kept.map(|kept| kept + 1),
    }
}

/// The groups that a segment is to have, of which the first entry is not removed from those before
/// when they go up to `begun`. Nothing when its entries do not lie as groups have them.
fn plan(index: &Indexed, begun: u64) -> Option<Vec<Planned>> {
    let run = &index.run;
    let mut groups: Vec<Planned> = Vec::new();
    let mut last = match run.first() < run.next() {
        true => run.first().checked_sub(1),
        false => index.kept,
    };
    for entry in run.first()..run.next() {
        let frame = frame_range(run.place(entry).ok()?);
        // The latest place where its group can begin.
        let latest = frame.start.checked_sub(GROUP_HEAD_BYTES)? / BLOCK * BLOCK;
        let earliest = groups.last().map_or(BLOCK, Planned::next);
        if groups.is_empty() || latest >= earliest {
            let gap = latest.checked_sub(earliest)?;
            if gap > 0 {
                let removes = groups.is_empty() && begun > run.first();
                groups.push(Planned::filler(earliest, latest, last, removes)?);
            }
            groups.push(Planned::at(latest));
        }
        let group = groups.last_mut()?;
        group.fill(frame.start, last)?;
        group.pieces.push(Piece::Entry(entry));
        group.end = frame.end;
        last = Some(entry);
    }
    if run.first() == run.next() && next_index(index).is_some_and(|next| next < begun) {
        // All that it had of the log is that something before it was removed.
        groups.push(Planned::filler(BLOCK, 2 * BLOCK, last, true)?);
    }
    Some(groups)
}

/// The complete segment with this index, laid out anew of the entries that stand in `segment` where they
/// belong: all of them must. `before` is the index of the segment before, which the oldest has none of.
/// Nothing when that cannot be, or comes to something else than the index says.
#[must_use]
pub fn lay_out(segment: &Bytes, index: &Indexed, before: Option<&Indexed>) -> Option<Bytes> {
    let begun = before.map_or(Some(index.run.first()), next_index)?;
    let mut groups = plan(index, begun)?;
    let first_group = match before {
        Some(before) => before.next_group,
        // Nobody continues what is purged.
        None => index.next_group.checked_sub(groups.len().max(1) as u64)?,
    };
    let count = index.next_group.checked_sub(first_group).filter(|count| *count > 0)?;
    // Those that were among others have no place any more, and stand behind them.
    let lacking = usize::try_from(count).ok()?.checked_sub(groups.len())?;
    for _ in 0..lacking {
        groups.push(Planned::at(groups.last().map_or(BLOCK, Planned::next)));
    }
    let end = groups.last().map_or(BLOCK, Planned::next) as u64;
    let segment_bytes = end.max(SEGMENT_BYTES_MIN);
    if segment_bytes > SEGMENT_BYTES_MAX {
        return None;
    }
    let mut header = SegmentHeader {
        cluster: index.identity.cluster,
        node: index.identity.node,
        sequence: index.run.segment(),
        nonce: index.nonce,
        segment_bytes,
        first_group,
        first_index: begun,
        chain: before.map_or(0, |before| before.chain),
        rewritten: None,
    };
    let mut bytes = vec![0; usize::try_from(segment_bytes).ok()?];
    let state = before.map_or_else(HardState::default, |before| before.state);
    let ends = put_groups(&mut bytes, &header, &groups, (segment, index), state)?;
    let continues = if planted!(LayOutAsLast) { ends } else { index.chain };
    header.rewritten = Some(Rewritten { ends, continues });
    header.encode(bytes.get_mut(..BLOCK)?);
    let bytes = Bytes::from(bytes);
    (planted!(LayOutAsLast) || is_in_place(&bytes, index, before)).then_some(bytes)
}

/// Writes groups, each with the marks of `state`, but for the last one, which has those of the index.
/// Gives the checksum of that.
fn put_groups(
    bytes: &mut [u8],
    header: &SegmentHeader,
    groups: &[Planned],
    (segment, index): (&Bytes, &Indexed),
    state: HardState,
) -> Option<u32> {
    let (mut number, mut previous) = (header.first_group, header.chain);
    for (n, group) in groups.iter().enumerate() {
        let entry = |piece: &Piece| match piece {
            Piece::Entry(at) => entry(segment, index, *at).map(Some),
            Piece::Filler(_) => Some(None),
        };
        let entries: Vec<Option<Entry>> = group.pieces.iter().map(entry).collect::<Option<_>>()?;
        let frames = group.pieces.iter().zip(&entries).map(|(piece, entry)| match (piece, entry) {
            (Piece::Filler(after), _) => FrameRef::Truncate(*after),
            (Piece::Entry(_), Some(entry)) => FrameRef::Entry(entry),
            (Piece::Entry(_), None) => unreachable!("an entry was read for it"),
        });
        let offset = u32::try_from(group.start).ok()?;
        let place = GroupPlace { offset, nonce: header.nonce, number, previous };
        let state = if n + 1 == groups.len() { index.state } else { state };
        let out = bytes.get_mut(group.start..group.next())?;
        previous = encode_group(out, &place, &state, frames);
        number += 1;
    }
    Some(previous)
}

/// The entry at an index, if it stands in its place.
fn entry(segment: &Bytes, index: &Indexed, at: u64) -> Option<Entry> {
    let (id, place) = (index.run.id(at), index.run.place(at).ok()?);
    match decode_frame(segment, frame_range(place).start) {
        Some((Frame::Entry(entry, offset), _))
            if entry.id == id
                && (offset, entry.payload.len()) == (place.offset, place.bytes as usize) =>
        {
            Some(entry)
        }
        _ => None,
    }
}

/// Whether a segment is what its index says, behind the one `before`.
fn is_in_place(segment: &Bytes, index: &Indexed, before: Option<&Indexed>) -> bool {
    let header = match SegmentHeader::decode(segment.get(..BLOCK).unwrap_or_default()) {
        HeaderBlock::Used(header) if index.is_of(&header) => header,
        _ => return false,
    };
    let mut recovery = match before {
        None => Recovery::new(&header, None),
        Some(before) => {
            let is_empty = before.run.first() == before.run.next();
            let first_index = if is_empty { header.first_index } else { before.run.first() };
            let mut recovery = Recovery::new(&SegmentHeader { first_index, ..header }, None);
            // What is before that nobody knows here.
            let alone = Indexed { kept: None, ..before.clone() };
            if recovery.indexed(alone).is_err() {
                return false;
            }
            recovery
        }
    };
    let is_read = recovery.segment(&header, segment, false, &mut |_, _| Ok(())).is_ok();
    let found = recovery.sealed(&header);
    let run = &index.run;
    is_read
        && next_index(index).is_none_or(|next| recovery.table.next() == next)
        && header.segment_bytes == segment.len() as u64
        && (found.next_group, found.chain, found.state)
            == (index.next_group, index.chain, index.state)
        && found.entries.iter().map(|(id, _)| id.index).eq(run.first()..run.next())
        && found.entries.iter().all(|(id, place)| {
            run.id(id.index) == *id && run.place(id.index).is_ok_and(|wanted| wanted == *place)
        })
}
