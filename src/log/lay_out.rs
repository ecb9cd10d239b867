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
use crate::{
    base::{ids::LogId, planted::planted},
    io::BLOCK,
};

/// What stands in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// The entry at this index.
    Entry(u64),
    /// Nothing, where something was that is part of the log no more: a frame that removes what
    /// follows the last entry, which is none.
    Filler(Option<u64>),
    /// The same with so many bytes of payload: an entry that follows the last one, and that a filler
    /// removes.
    Void(Option<u64>, usize),
}

/// A group as it is to be written.
#[derive(Debug)]
struct Planned {
    /// Where it begins.
    start: usize,
    pieces: Vec<Piece>,
    /// Where its last frame ends.
    end: usize,
    /// The last entry of the log once it is written.
    last: Option<u64>,
}

impl Planned {
    /// One that begins at `start`, behind the entry `last`.
    fn at(start: usize, last: Option<u64>) -> Self {
        Self { start, pieces: Vec::new(), end: start + GROUP_HEAD_BYTES, last }
    }

    /// Where the next group begins at the earliest.
    fn next(&self) -> usize {
        self.start + group_bytes(self.end - self.start - GROUP_HEAD_BYTES)
    }

    /// Whether frames fit in so many bytes.
    fn is_filled(bytes: usize) -> bool {
        matches!(bytes, 0 | FRAME_HEAD_BYTES) || bytes >= 2 * FRAME_HEAD_BYTES
    }

    /// Fills it up to the byte `to`, with something that removes first of all where that has room for
    /// it; unless no frames fit there.
    fn fill(&mut self, to: usize) -> Option<()> {
        const HEAD: usize = FRAME_HEAD_BYTES;
        let (filler, void) = (Piece::Filler(self.last), |bytes| Piece::Void(self.last, bytes));
        match to.checked_sub(self.end)? {
            0 => {}
            HEAD => self.pieces.push(filler),
            bytes if bytes == 2 * HEAD => self.pieces.extend([filler, filler]),
            bytes if bytes >= 3 * HEAD => {
                self.pieces.extend([filler, void(bytes - 3 * HEAD), filler]);
            }
            bytes if bytes > 2 * HEAD => self.pieces.extend([void(bytes - 2 * HEAD), filler]),
            _ => return None,
        }
        self.end = to;
        Some(())
    }

    /// A group without entries, in the place of whatever was between `start` and `end`, both multiples
    /// of a block. It removes what follows the last entry where `removes` says that something does.
    fn filler(start: usize, end: usize, last: Option<u64>, removes: bool) -> Option<Self> {
        let mut group = Self::at(start, last);
        // What reaches into the last of its blocks.
        let mut bytes = (end - start - BLOCK).next_multiple_of(FRAME_HEAD_BYTES);
        if removes {
            bytes = bytes.max(FRAME_HEAD_BYTES);
        }
        group.fill(group.end + bytes)?;
        Some(group)
    }

    /// Goes on with what is in the next group.
    fn join(&mut self, next: Self) -> Option<()> {
        self.fill(next.start + GROUP_HEAD_BYTES)?;
        self.pieces.extend(next.pieces);
        (self.end, self.last) = (next.end, next.last);
        Some(())
    }
}

/// Makes no more than `most` of groups: where something long was removed, one may look as if it had
/// been two.
fn join(mut groups: Vec<Planned>, most: usize) -> Option<Vec<Planned>> {
    while groups.len() > most {
        // Each with its next, so that none becomes much longer than others.
        let mut excess = groups.len() - most;
        let mut joined: Vec<Planned> = Vec::with_capacity(groups.len());
        let mut all = groups.into_iter();
        while let Some(mut group) = all.next() {
            if excess > 0
                && let Some(next) = all.next()
            {
                group.join(next)?;
                excess -= 1;
            }
            joined.push(group);
        }
        groups = joined;
    }
    Some(groups)
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
        let earliest = groups.last().map_or(BLOCK, Planned::next);
        // The latest place where its group can begin, or the one before.
        let latest = frame.start.checked_sub(GROUP_HEAD_BYTES)? / BLOCK * BLOCK;
        let places = [Some(latest), latest.checked_sub(BLOCK)];
        let mut places = places.into_iter().flatten().filter(|at| *at >= earliest);
        let start = places.find(|at| Planned::is_filled(frame.start - at - GROUP_HEAD_BYTES));
        if let Some(start) = start {
            if start > earliest {
                let removes = groups.is_empty() && begun > run.first();
                groups.push(Planned::filler(earliest, start, last, removes)?);
            }
            groups.push(Planned::at(start, last));
        }
        let group = groups.last_mut()?;
        group.fill(frame.start)?;
        group.pieces.push(Piece::Entry(entry));
        last = Some(entry);
        (group.end, group.last) = (frame.end, last);
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
    // Nobody continues what is purged, so the oldest may begin with any group.
    let before_it = before.map_or(0, |before| before.next_group);
    let most = index.next_group.checked_sub(before_it).filter(|most| *most > 0)?;
    let most = usize::try_from(most).ok()?;
    let mut groups = join(plan(index, begun)?, most)?;
    let count = if before.is_some() { most } else { groups.len().max(1) };
    // Those that were among others have no place any more, and stand behind them.
    while groups.len() < count {
        let last = groups.last().and_then(|group| group.last);
        groups.push(Planned::at(groups.last().map_or(BLOCK, Planned::next), last));
    }
    let first_group = index.next_group - count as u64;
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
        let entry = |piece: &Piece| match *piece {
            Piece::Entry(at) => entry(segment, index, at).map(Some),
            Piece::Filler(_) => Some(None),
            Piece::Void(after, bytes) => {
                let id = LogId { term: 0, index: after.map_or(0, |after| after + 1) };
                Some(Some(Entry::void(id, u32::try_from(bytes).ok()?)))
            }
        };
        let entries: Vec<Option<Entry>> = group.pieces.iter().map(entry).collect::<Option<_>>()?;
        let frames = group.pieces.iter().zip(&entries).map(|(piece, entry)| match (piece, entry) {
            (Piece::Filler(after), _) => FrameRef::Truncate(*after),
            (_, Some(entry)) => FrameRef::Entry(entry),
            (_, None) => unreachable!("an entry was read, or made, for it"),
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
