//! What lies in the directory of a log: names, lengths and headers, checked before any
//! entry is read.

use super::{
    OpenError, Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    cursor::is_zero,
    error::{corrupt, failed},
    format::{self, HeaderBlock, SegmentHeader},
    segment::{self, Name, file_name},
};
use crate::io::{BLOCK, Disk, DiskFile, OpenMode};
use bytes::Bytes;

/// A segment's file as it was found.
struct Found {
    sequence: u64,
    bytes: u64,
    header: HeaderBlock,
}

/// The directory, sorted out.
#[derive(Default)]
pub(super) struct Layout {
    /// Segments with a sound header, in sequence.
    pub(super) used: Vec<SegmentHeader>,
    /// One more, without: its sequence, its length, and whether its header is
    /// torn.
    pub(super) unused: Option<(u64, u64, bool)>,
    pub(super) temporaries: Vec<String>,
}

/// Lists the directory and checks names, lengths and headers.
pub(super) async fn survey<D: Disk>(disk: &D, options: &Options) -> Result<Layout, OpenError> {
    let mut layout = Layout::default();
    let mut files = Vec::new();
    for file in disk.list().await.map_err(failed("listing the data directory"))? {
        match segment::classify(&file.name) {
            Name::Segment(sequence) => files.push((sequence, file.bytes)),
            Name::Temporary => layout.temporaries.push(file.name),
            Name::Foreign => return Err(OpenError::ForeignFile(file.name)),
            Name::Other => {}
        }
    }
    files.sort_unstable();
    layout.temporaries.sort_unstable();
    let mut found = Vec::with_capacity(files.len());
    for (sequence, bytes) in files {
        found.push(Found { sequence, bytes, header: read_header(disk, sequence, bytes).await? });
    }
    check_sequence(&found)?;
    let count = found.len();
    for (n, file) in found.into_iter().enumerate() {
        match file.header {
            HeaderBlock::OtherVersion(version) => {
                return Err(OpenError::Version {
                    file: file_name(file.sequence),
                    found: version,
                    supported: format::REWRITTEN_VERSION,
                });
            }
            HeaderBlock::Used(header) => {
                check_header(&header, &file_name(file.sequence), file.sequence, file.bytes)?;
                check_identity(&header, layout.used.first(), options)?;
                layout.used.push(header);
            }
            HeaderBlock::Unused | HeaderBlock::Invalid if n + 1 < count => {
                return Err(corrupt(file.sequence, 0, "the header is missing or damaged"));
            }
            HeaderBlock::Unused | HeaderBlock::Invalid => {
                check_unused(disk, &file).await?;
                let torn = file.header == HeaderBlock::Invalid;
                layout.unused = Some((file.sequence, file.bytes, torn));
            }
        }
    }
    if let (true, Some((sequence @ 2.., _, _))) = (layout.used.is_empty(), layout.unused) {
        return Err(corrupt(sequence, 0, "the segments before it are missing"));
    }
    Ok(layout)
}

async fn read_header<D: Disk>(
    disk: &D,
    sequence: u64,
    bytes: u64,
) -> Result<HeaderBlock, OpenError> {
    let name = file_name(sequence);
    if !bytes.is_multiple_of(BLOCK as u64)
        || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes)
    {
        return Err(corrupt(sequence, bytes, "the file's length is not a segment's"));
    }
    let read = async {
        let file = disk.open(&name, OpenMode::Read).await?;
        let block = file.read_at(0, BLOCK).await;
        file.close().await?;
        block
    };
    let block = read.await.map_err(failed(format!("reading {name}")))?;
    Ok(SegmentHeader::decode(block.as_ref()))
}

fn check_sequence(found: &[Found]) -> Result<(), OpenError> {
    for (before, after) in found.iter().zip(found.iter().skip(1)) {
        if after.sequence != before.sequence + 1 {
            return Err(corrupt(before.sequence + 1, 0, "the segment is missing"));
        }
    }
    match found.first() {
        Some(Found { sequence: 0, .. }) => Err(corrupt(0, 0, "segments are numbered from 1")),
        _ => Ok(()),
    }
}

fn check_header(
    header: &SegmentHeader,
    file: &str,
    sequence: u64,
    bytes: u64,
) -> Result<(), OpenError> {
    let reason = if header.sequence != sequence {
        "the header is another segment's"
    } else if header.segment_bytes != bytes {
        "the file's length is not what its header says"
    } else {
        return Ok(());
    };
    Err(OpenError::Corrupt { file: file.into(), offset: 0, reason: reason.into() })
}

fn check_identity(
    header: &SegmentHeader,
    oldest: Option<&SegmentHeader>,
    options: &Options,
) -> Result<(), OpenError> {
    let file = || file_name(header.sequence);
    let cluster = oldest.map(|oldest| oldest.cluster).or(options.expect);
    if let Some(expected) = cluster.filter(|&expected| expected != header.cluster) {
        return Err(OpenError::Cluster { file: file(), found: header.cluster, expected });
    }
    let node = oldest.map(|oldest| oldest.node).or(options.expect_node);
    if let Some(expected) = node.filter(|&expected| expected != header.node) {
        return Err(OpenError::Node { file: file(), found: header.node, expected });
    }
    Ok(())
}

/// A segment without a sound header must have nothing behind it: groups are
/// only written once the header is durable.
async fn check_unused<D: Disk>(disk: &D, file: &Found) -> Result<(), OpenError> {
    let bytes = load(disk, file.sequence, file.bytes).await?;
    if is_zero(bytes.get(BLOCK..).unwrap_or(&[])) {
        Ok(())
    } else {
        Err(corrupt(file.sequence, 0, "the header is damaged"))
    }
}

/// All bytes of a segment.
pub(super) async fn load<D: Disk>(disk: &D, sequence: u64, bytes: u64) -> Result<Bytes, OpenError> {
    let name = file_name(sequence);
    let read = async {
        let file = disk.open(&name, OpenMode::Read).await?;
        let loaded = segment::load(&file, bytes).await;
        file.close().await?;
        loaded
    };
    let loaded = read.await.map_err(failed(format!("reading {name}")))?;
    if loaded.len() as u64 == bytes {
        Ok(loaded)
    } else {
        Err(corrupt(sequence, loaded.len() as u64, "the file became shorter"))
    }
}
