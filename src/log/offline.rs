//! Reading sealed segments again, apart from the log that is being written.

use bytes::Bytes;

use super::{
    Entry, OpenError, Place,
    format::{HeaderBlock, SegmentHeader},
    recover::{Recovery, Stop},
    segment::file_name,
};
use crate::io::{BLOCK, Files};

/// Hands the committed entries of consecutive segments to `replay`, in order,
/// but for those up to the index `skip_upto`. Entries whose commitment only a later segment tells are left out.
///
/// # Errors
/// [`OpenError`]: a segment is damaged or cannot be read, or `replay` refused.
pub fn replay(
    files: &impl Files,
    segments: impl Iterator<Item = u64>,
    skip_upto: Option<u64>,
    replay: &mut impl FnMut(&Entry, Place) -> Result<(), String>,
) -> Result<(), OpenError> {
    let mut recovery: Option<Recovery> = None;
    for sequence in segments {
        let file = file_name(sequence);
        let corrupt = |offset: usize, reason: &str| OpenError::Corrupt {
            file: file.clone(),
            offset: offset as u64,
            reason: reason.into(),
        };
        let what = format!("reading {file}");
        let bytes = files.read(&file).map_err(|source| OpenError::Io { what, source })?;
        let bytes = Bytes::from(bytes);
        let header = match SegmentHeader::decode(bytes.get(..BLOCK).unwrap_or_default()) {
            HeaderBlock::Used(header) if header.sequence == sequence => header,
            _ => return Err(corrupt(0, "the header is missing or damaged")),
        };
        let recovery = recovery.get_or_insert_with(|| Recovery::new(&header, skip_upto));
        if !recovery.continues(&header) {
            return Err(corrupt(0, "the segment does not continue the one before it"));
        }
        recovery.segment(&header, &bytes, false, replay).map_err(|stop| match stop {
            Stop::Damage { offset, reason } => corrupt(offset, reason),
            Stop::Refused { id, reason } => OpenError::Replay { id, reason },
        })?;
    }
    Ok(())
}
