//! Complete segments that another node wrote, on their way into the log of this one: the groups of
//! one stay as they are, only its header says whose it is.

use std::io;

use bytes::Bytes;

use super::{
    Arriving, OpenError,
    check::segments,
    error::{corrupt, failed},
    format::{GroupFault, HardState, HeaderBlock, SegmentHeader, claimed_group, decode_group},
    scrub::PIECE_BYTES,
    segment::file_name,
};
use crate::{
    base::ids::NodeId,
    io::{BLOCK, Files, map::Mapping},
};

/// Makes the first block of a segment that of the same segment in the log of another node; gives
/// what it says then, unless it is no header.
pub fn give_to_node(segment: &mut [u8], node: NodeId) -> Option<SegmentHeader> {
    let block = segment.get_mut(..BLOCK)?;
    let HeaderBlock::Used(header) = SegmentHeader::decode(block) else { return None };
    let header = SegmentHeader { node, ..header };
    block.fill(0);
    header.encode(block);
    Some(header)
}

/// The header of a segment, if it is sound.
#[must_use]
pub fn header(segment: &Mapping) -> Option<SegmentHeader> {
    segment.populate(0..BLOCK).ok()?;
    header_of(segment.get(0..BLOCK)?)
}

/// The same of a segment in memory.
#[must_use]
pub fn header_of(segment: &[u8]) -> Option<SegmentHeader> {
    match SegmentHeader::decode(segment.get(..BLOCK)?) {
        HeaderBlock::Used(header) => Some(header),
        _ => None,
    }
}

/// Verifies every byte of the segment `sequence`, which is complete: by itself, not whether it
/// continues another. Waits for the disk.
///
/// # Errors
/// [`OpenError::Corrupt`]
pub fn verify_segment(map: &Mapping, sequence: u64) -> Result<SegmentHeader, OpenError> {
    let mut arriving = Arriving::new(sequence, map.len() as u64);
    for at in (0..map.len()).step_by(PIECE_BYTES) {
        let range = at..map.len().min(at + PIECE_BYTES);
        let unread =
            |error: io::Error| corrupt(sequence, at as u64, &format!("it cannot be read: {error}"));
        map.populate(range.clone()).map_err(unread)?;
        arriving.add(Bytes::copy_from_slice(map.get(range).unwrap_or_default()))?;
    }
    arriving.end()
}

/// The hard state that the log of a directory ends with. Nobody may be writing it.
///
/// # Errors
/// [`OpenError`]: its end is damaged, or cannot be read.
pub fn hard_state(files: &impl Files) -> Result<HardState, OpenError> {
    let segments = segments(files).map_err(failed("listing the data directory"))?;
    for sequence in segments.into_iter().rev() {
        let name = file_name(sequence);
        let bytes = Bytes::from(files.read(&name).map_err(failed(format!("reading {name}")))?);
        let HeaderBlock::Used(header) =
            SegmentHeader::decode(bytes.get(..BLOCK).unwrap_or_default())
        else {
            continue;
        };
        let (mut at, mut newest) = (BLOCK, None);
        let damaged = |at| corrupt(sequence, at as u64, "the end of the log is damaged");
        loop {
            match decode_group(&bytes, at, header.nonce) {
                Ok(group) => (at, newest) = (group.end, Some((group.place.number, group.state))),
                Err(GroupFault::Checksum) => break,
                Err(GroupFault::Padding) => return Err(damaged(at)),
            }
        }
        // What does not check was the last write, and torn, or else damage.
        let number = newest.map_or(header.first_group, |(number, _)| number + 1);
        let is_later = |block| claimed_group(&bytes, block, header.nonce) > Some(number);
        if (at..bytes.len()).step_by(BLOCK).any(is_later) {
            return Err(damaged(at));
        }
        if let Some((_, state)) = newest {
            return Ok(state);
        }
    }
    Ok(HardState::default())
}
