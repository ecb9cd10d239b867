//! A complete segment read by itself, as what its index is made of.

use bytes::Bytes;

use super::{
    Entry, Identity, OpenError, Sealed,
    error::corrupt,
    format::{HeaderBlock, SegmentHeader},
    recover::{Recovery, Stop},
};
use crate::io::BLOCK;

/// What a complete segment is, by its bytes.
#[derive(Debug)]
pub struct Reread {
    /// Whose it is.
    pub identity: Identity,
    /// How it was left.
    pub sealed: Sealed,
    /// Its entries that are part of the log now, in order.
    pub entries: Vec<Entry>,
}

/// Reads the complete segment that is number `sequence`, of which the entries up to `last` are part
/// of the log now, and committed.
///
/// # Errors
/// [`OpenError`]: it is damaged, or by itself does not say how it was left.
pub fn reread(sequence: u64, bytes: &Bytes, last: Option<u64>) -> Result<Reread, OpenError> {
    let header = match SegmentHeader::decode(bytes.get(..BLOCK).unwrap_or_default()) {
        HeaderBlock::Used(header)
            if header.sequence == sequence && header.segment_bytes == bytes.len() as u64 =>
        {
            header
        }
        _ => return Err(corrupt(sequence, 0, "the header is missing or damaged")),
    };
    let mut entries = Vec::new();
    let mut take = |entry: &Entry, _| {
        entries.push(entry.clone());
        Ok(())
    };
    let mut recovery = Recovery::new(&header, None);
    recovery.segment(&header, bytes, false, &mut take).map_err(|stop| match stop {
        Stop::Damage { offset, reason } => corrupt(sequence, offset as u64, reason),
        Stop::Refused { id, reason } => OpenError::Replay { id, reason },
    })?;
    if recovery.next_group == header.first_group {
        return Err(corrupt(sequence, BLOCK as u64, "it has no group that says how it was left"));
    }
    // That the last ones are committed, a later segment tells.
    entries.extend(recovery.recent.drain(..));
    entries.retain(|entry| Some(entry.id.index) <= last);
    let mut sealed = recovery.sealed(&header);
    // Of what was before, the segment knows where it ends.
    let first = sealed.entries.first().map_or(recovery.table.next(), |(id, _)| id.index);
    sealed.kept = first.checked_sub(1);
    let identity = Identity { cluster: header.cluster, node: header.node };
    Ok(Reread { identity, sealed, entries })
}
