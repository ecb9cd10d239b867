//! How the batches of a sealed segment were decided, entry by entry.

use std::io;

use super::{
    SealedSegment,
    sealed::{FIRSTS, SKIPS, skips, word},
    unread::{Stop, Unread},
};
use crate::{
    base::batch::{Previous, Skips},
    sections::Missing,
};

/// What was refused of the batch that is the entry `index` of `segment`, and what its changes replaced;
/// nothing where none was accepted. Waits for the disk.
///
/// # Errors
/// What the disk reports, or the index is damaged.
pub fn decided(segment: &SealedSegment, index: u64) -> io::Result<Option<(Skips, Previous)>> {
    loop {
        match look_up(segment, index).map_err(|stop| segment.lists().unread(stop)) {
            Ok(decided) => return Ok(decided),
            Err(Unread::Missing(Missing { map, range }, _)) => map.populate(range)?,
            Err(Unread::Damaged(damaged)) => return Err(io::Error::other(damaged)),
        }
    }
}

fn look_up(segment: &SealedSegment, index: u64) -> Result<Option<(Skips, Previous)>, Stop> {
    assert!(index >= segment.entries.first(), "entry {index} in segment {}", segment.sequence);
    let number = (index - segment.entries.first()) as usize;
    let sections = segment.index();
    let (at, end) = (4 * number, sections.len(FIRSTS));
    let firsts = segment.read(FIRSTS, at..end.min(at + 8))?;
    let beyond = (segment.last().next().0 - segment.first().0) as u32;
    let next = firsts.get(4..).filter(|next| !next.is_empty());
    let changes = word(firsts, 0)..next.map_or(beyond, |next| word(next, 0));
    if changes.is_empty() {
        return Ok(None);
    }
    let all = segment.read(SKIPS, 0..sections.len(SKIPS))?;
    let previous = segment.previous.of(sections, changes)?;
    Ok(Some((skips(all, number as u32)?, previous)))
}
