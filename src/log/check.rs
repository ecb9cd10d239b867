//! A log that nobody has open, verified as for a start, and what lies behind its damage.
//! Nothing is changed.

use bytes::Bytes;

use super::{
    Entry, OpenError, Options,
    format::{Frame, HeaderBlock, SegmentHeader, decode_group},
    open::{Reader, verify},
    segment::{Name, classify, file_name},
    survey::survey,
};
use crate::{
    base::ids::{ClusterId, LogId, NodeId},
    io::{BLOCK, Disk, FileInfo, Files},
};
use std::io;

/// What a sound log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The cluster whose history it is of.
    pub cluster: ClusterId,
    /// The node that wrote it.
    pub node: NodeId,
    /// How many segments it has.
    pub segments: usize,
    /// How long they are together.
    pub bytes: u64,
    /// Its last entry, purged or not, committed or not.
    pub last: Option<LogId>,
    /// Where the last segment ends in a torn write, which a start cuts off.
    pub torn: Option<(String, u64)>,
}

/// What lies behind a damaged place, as far as its groups are whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Segments from the damaged one on.
    pub segments: u64,
    /// Bytes of them, from the damaged place on.
    pub bytes: u64,
    /// Entries that can be read there.
    pub entries: u64,
}

/// Verifies every byte of the log on `disk`, as [`Log::open`](super::Log::open) does, and hands
/// every committed entry to `reader`.
///
/// # Errors
/// [`OpenError`]
pub async fn check<D: Disk>(
    disk: &D,
    options: &Options,
    reader: &mut impl Reader,
) -> Result<Option<Verified>, OpenError> {
    let layout = survey(disk, options).await?;
    let (Some(first), Some(last)) = (layout.used.first(), layout.used.last()) else {
        return Ok(None);
    };
    let (recovery, end, _) = verify(disk, options, &layout.used, reader).await?;
    Ok(Some(Verified {
        cluster: first.cluster,
        node: first.node,
        segments: layout.used.len(),
        bytes: layout.used.iter().map(|header| header.segment_bytes).sum(),
        last: recovery.last(),
        torn: end.torn.then(|| (file_name(last.sequence), end.offset as u64)),
    }))
}

/// Whether a file of that name is a part of a log.
#[must_use]
pub fn is_file(name: &str) -> bool {
    matches!(classify(name), Name::Segment(_) | Name::Foreign)
}

/// The numbers of the segments of a directory, sorted.
///
/// # Errors
/// What the disk reports.
pub fn segments(files: &impl Files) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for file in files.list()? {
        if let Name::Segment(sequence) = classify(&file.name) {
            found.push(sequence);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the bytes of a segment those of another cluster. What is in it stays as it is.
pub fn give_to(segment: &mut [u8], cluster: ClusterId) {
    if let Some(block) = segment.get_mut(..BLOCK)
        && let HeaderBlock::Used(header) = SegmentHeader::decode(block)
    {
        block.fill(0);
        SegmentHeader { cluster, ..header }.encode(block);
    }
}

/// Looks for whole groups from byte `offset` of the segment `file` on, and hands their entries to
/// `found`. Those of a segment without a sound header cannot be told from anything else.
///
/// # Errors
/// When the directory, or a segment, cannot be read.
pub fn behind(
    files: &impl Files,
    file: &str,
    offset: u64,
    mut found: impl FnMut(&Entry),
) -> io::Result<Behind> {
    let mut behind = Behind::default();
    let mut segments: Vec<FileInfo> = files.list()?;
    segments
        .retain(|found| matches!(classify(&found.name), Name::Segment(_)) && *found.name >= *file);
    segments.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    for segment in segments {
        let bytes = Bytes::from(files.read(&segment.name)?);
        let mut at = if segment.name == file { offset as usize } else { 0 };
        behind.segments += 1;
        behind.bytes += bytes.len().saturating_sub(at) as u64;
        let HeaderBlock::Used(SegmentHeader { nonce, .. }) =
            SegmentHeader::decode(bytes.get(..BLOCK).unwrap_or_default())
        else {
            continue;
        };
        at = at.max(BLOCK) / BLOCK * BLOCK;
        while at < bytes.len() {
            let Ok(group) = decode_group(&bytes, at, nonce) else {
                at += BLOCK;
                continue;
            };
            for frame in &group.frames {
                if let Frame::Entry(entry, _) = frame {
                    behind.entries += 1;
                    found(entry);
                }
            }
            at = group.end;
        }
    }
    Ok(behind)
}
