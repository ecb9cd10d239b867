//! Entries of a complete segment that rotted, and the segment with the same entries in their place:
//! byte for byte what it was.

use bytes::Bytes;

use super::{
    Entry, Log, OpenError, Place,
    error::failed,
    format::{Frame, HeaderBlock, SegmentHeader, decode_frame, entry_head, frame_range},
    index::{Indexed, Run},
    recover::Recovery,
    segment::{file_name, temporary_name},
};
use crate::{
    base::{ids::LogId, planted::planted},
    io::{BLOCK, Disk, Files, Output, cores},
    sections::Fault,
};
use std::io::{self, Write};

/// The entries of a complete segment that are not sound in its `bytes`.
///
/// # Errors
/// Its index is damaged.
pub fn unsound(bytes: &Bytes, run: &Run) -> Result<Vec<(LogId, Place)>, Fault> {
    let mut found = Vec::new();
    for index in run.first()..run.next() {
        let (id, place) = (run.id(index), run.place(index)?);
        let is_it = |entry: &Entry| entry.id == id && entry.payload.len() == place.bytes as usize;
        match decode_frame(bytes, frame_range(place).start) {
            Some((Frame::Entry(entry, _), _)) if is_it(&entry) => {}
            _ => found.push((id, place)),
        }
    }
    Ok(found)
}

/// Where the last entry of a segment ends.
///
/// # Errors
/// Its index is damaged.
pub fn entries_end(run: &Run) -> Result<usize, Fault> {
    match run.first() < run.next() {
        true => Ok(frame_range(run.place(run.next() - 1)?).end),
        false => Ok(BLOCK),
    }
}

/// Puts an entry where it lay in a segment; whether it fits.
#[must_use]
pub fn put_entry(segment: &mut [u8], place: Place, entry: &Entry) -> bool {
    let Some(frame) = segment.get_mut(frame_range(place)) else { return false };
    let head = entry_head(entry);
    if frame.len() != head.len() + entry.payload.len() {
        return false;
    }
    let (start, rest) = frame.split_at_mut(head.len());
    start.copy_from_slice(&head);
    rest.copy_from_slice(&entry.payload);
    true
}

/// Whether these are the bytes of the complete segment that has this index, each of them.
#[must_use]
pub fn is_whole(segment: &Bytes, index: &Indexed) -> bool {
    let header = match SegmentHeader::decode(segment.get(..BLOCK).unwrap_or_default()) {
        HeaderBlock::Used(header) if index.is_of(&header) => header,
        _ => return false,
    };
    let mut recovery = Recovery::new(&header, None);
    header.segment_bytes == segment.len() as u64
        && recovery.segment(&header, segment, false, &mut |_, _| Ok(())).is_ok()
        && (recovery.next_group, recovery.chain) == (index.next_group, index.chain)
}

impl<D: Disk> Log<D> {
    /// Puts these bytes in the place of the complete segment `sequence`. Durable on return; `false`
    /// when it cannot be done at the moment, or the segment is purged. Nobody may be writing it anew.
    ///
    /// # Errors
    /// What the disk reports; the segment is as before then, or has these bytes.
    pub async fn put_anew(&self, sequence: u64, bytes: Bytes) -> Result<bool, OpenError> {
        assert!(sequence < self.active_segment(), "what is written to is not put anew");
        let (name, temporary) = (file_name(sequence), temporary_name(sequence));
        let (files, own) = (self.files(), temporary.clone());
        let write = move || -> io::Result<()> {
            let mut out = files.create(&own)?;
            out.write_all(&bytes)?;
            if planted!(SkipMendSync) { Ok(()) } else { out.sync() }
        };
        let written = cores::in_background("mend", write).await.flatten();
        let done = match written {
            Ok(()) => self.put_in_place(sequence, &temporary, &name).await,
            Err(error) => Err(failed(format!("writing {temporary}"))(error)),
        };
        if !matches!(done, Ok(true)) {
            // The first error is the one to tell; what is left goes at the next start.
            let _ = self.shared.disk.remove(&temporary).await;
        }
        done
    }
}
