//! Opening a log: everything is verified before anything is written, then a
//! torn tail is cut and what was being prepared is tidied up.

use super::{
    Entry, Identity, OpenError, Options, Place, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    format::{self, HeaderBlock, SegmentHeader},
    recover::{End, Recovery, Stop},
    segment::{self, Name, file_name},
};
use crate::io::{BLOCK, Disk, DiskFile, OpenMode};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::io;

/// The segment that groups are written to.
pub(super) struct Active<F> {
    pub(super) file: F,
    pub(super) sequence: u64,
    pub(super) nonce: u64,
    pub(super) bytes: u64,
    /// Where the next group goes.
    pub(super) offset: u64,
}

/// A prepared segment that is not used yet.
pub(super) struct Spare<F> {
    pub(super) file: F,
    pub(super) sequence: u64,
    pub(super) bytes: u64,
}

/// What a log starts from.
pub(super) struct Opened<F> {
    pub(super) identity: Identity,
    pub(super) recovery: Recovery,
    pub(super) active: Active<F>,
    pub(super) spare: Option<Spare<F>>,
    /// The oldest segment on disk.
    pub(super) oldest: u64,
    pub(super) rng: StdRng,
}

/// A segment's file as it was found.
struct Found {
    sequence: u64,
    bytes: u64,
    header: HeaderBlock,
}

/// The directory, sorted out.
#[derive(Default)]
struct Layout {
    /// Segments with a sound header, in sequence.
    used: Vec<SegmentHeader>,
    /// One more, without: its sequence, its length, and whether its header is
    /// torn.
    unused: Option<(u64, u64, bool)>,
    temporaries: Vec<String>,
}

fn corrupt(sequence: u64, offset: u64, reason: &str) -> OpenError {
    OpenError::Corrupt { file: file_name(sequence), offset, reason: reason.into() }
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}

pub(super) async fn open<D: Disk>(
    disk: &D,
    options: &Options,
    replay: &mut impl FnMut(&Entry, Place) -> Result<(), String>,
) -> Result<Opened<D::File>, OpenError> {
    check_options(options)?;
    let layout = survey(disk, options).await?;
    let rng = StdRng::seed_from_u64(options.nonce_seed);
    let Some(last) = layout.used.last().copied() else {
        if let Some(expected) = options.expect.filter(|&one| one != options.identity.cluster) {
            return Err(OpenError::Missing(expected));
        }
        return create(disk, options, &layout, rng).await;
    };
    let (recovery, end, tail) = verify(disk, options, &layout.used, replay).await?;

    // Everything is verified: only from here on is the disk written to.
    let name = file_name(last.sequence);
    tidy(disk, &layout).await?;
    let file = disk
        .open(&name, OpenMode::WriteDurable)
        .await
        .map_err(failed(format!("opening {name}")))?;
    if end.torn {
        let cut = segment::cut(&file, &tail, end.offset).await;
        cut.map_err(failed(format!("cutting the torn tail of {name}")))?;
    }
    // A process that was killed may have left its last write in the device's
    // cache, readable but not durable.
    file.sync().await.map_err(failed(format!("syncing {name}")))?;
    let spare = open_spare(disk, options, &layout).await?;
    Ok(Opened {
        identity: Identity { cluster: last.cluster, node: last.node },
        recovery,
        active: Active {
            file,
            sequence: last.sequence,
            nonce: last.nonce,
            bytes: last.segment_bytes,
            offset: end.offset as u64,
        },
        spare,
        oldest: layout.used.first().map_or(last.sequence, |header| header.sequence),
        rng,
    })
}

fn check_options(options: &Options) -> Result<(), OpenError> {
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&options.segment_bytes) {
        return Err(OpenError::Options("segments have 32 KiB to 1 GiB"));
    }
    if !options.segment_bytes.is_multiple_of(BLOCK as u64) {
        return Err(OpenError::Options("segments are a multiple of 4 KiB"));
    }
    if options.group_bytes == 0 {
        return Err(OpenError::Options("groups have at least a byte"));
    }
    Ok(())
}

/// Lists the directory and checks names, lengths and headers.
async fn survey<D: Disk>(disk: &D, options: &Options) -> Result<Layout, OpenError> {
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
                    supported: format::VERSION,
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
    if format::is_zero(bytes.get(BLOCK..).unwrap_or(&[])) {
        Ok(())
    } else {
        Err(corrupt(file.sequence, 0, "the header is damaged"))
    }
}

async fn load<D: Disk>(disk: &D, sequence: u64, bytes: u64) -> Result<Bytes, OpenError> {
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

/// Reads all segments and gives back what they amount to, how the last one
/// ends, and its bytes.
async fn verify<D: Disk>(
    disk: &D,
    options: &Options,
    used: &[SegmentHeader],
    replay: &mut impl FnMut(&Entry, Place) -> Result<(), String>,
) -> Result<(Recovery, End, Bytes), OpenError> {
    let [oldest, ..] = used else {
        return Err(OpenError::Options("no segment to verify"));
    };
    let purged = purged_index(disk, used).await?;
    // Entries that follow on something else must not even be looked at.
    if let Some(purged) = purged.filter(|&purged| Some(purged) > options.purged_max) {
        return Err(OpenError::Purged(purged));
    }
    let mut recovery = Recovery::new(oldest, purged);
    let mut end = End { offset: BLOCK, torn: false };
    let mut bytes = Bytes::new();
    for (n, header) in used.iter().enumerate() {
        if n > 0 && !recovery.continues(header) {
            let reason = "the last group before the next segment is missing";
            return Err(corrupt(header.sequence - 1, end.offset as u64, reason));
        }
        bytes = load(disk, header.sequence, header.segment_bytes).await?;
        let last = n + 1 == used.len();
        end = recovery.segment(header, &bytes, last, replay).map_err(|stop| match stop {
            Stop::Damage { offset, reason } => corrupt(header.sequence, offset as u64, reason),
            Stop::Refused { id, reason } => OpenError::Replay { id, reason },
        })?;
    }
    let purged = recovery.state.purged;
    if recovery.misses_entries() || (oldest.sequence > 1 && purged.is_none()) {
        return Err(corrupt(oldest.sequence, 0, "the segments before it are missing"));
    }
    Ok((recovery, end, bytes))
}

/// The last purged index, found from the newest group alone, so that purged
/// entries which still lie in the oldest segment are not replayed. Damage is
/// left to the full pass to report.
async fn purged_index<D: Disk>(disk: &D, used: &[SegmentHeader]) -> Result<Option<u64>, OpenError> {
    for (n, header) in used.iter().enumerate().rev() {
        let bytes = load(disk, header.sequence, header.segment_bytes).await?;
        let mut newest = Recovery::new(header, None);
        let last = n + 1 == used.len();
        let read = newest.segment(header, &bytes, last, &mut |_, _| Ok(()));
        if read.is_err() {
            return Ok(None);
        }
        if newest.next_group > header.first_group {
            return Ok(newest.state.purged.map(|id| id.index));
        }
    }
    Ok(None)
}

/// Removes what was being prepared and makes the directory durable as it is.
async fn tidy<D: Disk>(disk: &D, layout: &Layout) -> Result<(), OpenError> {
    for name in &layout.temporaries {
        disk.remove(name).await.map_err(failed(format!("removing {name}")))?;
    }
    disk.sync_directory().await.map_err(failed("syncing the data directory"))
}

/// Removes all segments, the newest first, so that what is left is always sound.
pub(super) async fn remove_all<D: Disk>(disk: &D) -> Result<(), OpenError> {
    let files = disk.list().await.map_err(failed("listing the data directory"))?;
    let of_log = |name: &str| matches!(segment::classify(name), Name::Segment(_) | Name::Temporary);
    let mut names: Vec<String> = files.into_iter().map(|file| file.name).collect();
    names.retain(|name| of_log(name));
    names.sort_unstable();
    for name in names.iter().rev() {
        disk.remove(name).await.map_err(failed(format!("removing {name}")))?;
        disk.sync_directory().await.map_err(failed("syncing the data directory"))?;
    }
    Ok(())
}

/// Opens the prepared segment, clean. One of another length than the options
/// ask for makes room for one that fits them: else the largest entry might fit
/// no segment there is.
async fn open_spare<D: Disk>(
    disk: &D,
    options: &Options,
    layout: &Layout,
) -> Result<Option<Spare<D::File>>, OpenError> {
    let Some((sequence, bytes, torn)) = layout.unused else { return Ok(None) };
    let name = file_name(sequence);
    if bytes != options.segment_bytes {
        let removed = async {
            disk.remove(&name).await?;
            disk.sync_directory().await
        };
        removed.await.map_err(failed(format!("removing {name}")))?;
        return Ok(None);
    }
    let open = async {
        let file = disk.open(&name, OpenMode::WriteDurable).await?;
        if torn {
            file.write_at(file.buffer(BLOCK), 0).await?;
        }
        file.sync().await?;
        Ok(file)
    };
    let file = open.await.map_err(failed(format!("preparing {name}")))?;
    Ok(Some(Spare { file, sequence, bytes }))
}

/// Starts a log in a directory that has none.
async fn create<D: Disk>(
    disk: &D,
    options: &Options,
    layout: &Layout,
    mut rng: StdRng,
) -> Result<Opened<D::File>, OpenError> {
    tidy(disk, layout).await?;
    let spare = match open_spare(disk, options, layout).await? {
        Some(spare) => spare,
        None => {
            let bytes = options.segment_bytes;
            let make = async {
                segment::fill(disk, 1, bytes, || true).await?;
                disk.rename(&segment::temporary_name(1), &file_name(1)).await?;
                disk.sync_directory().await?;
                disk.open(&file_name(1), OpenMode::WriteDurable).await
            };
            let file = make.await.map_err(failed("preparing the first segment"))?;
            Spare { file, sequence: 1, bytes }
        }
    };
    let header = SegmentHeader {
        cluster: options.identity.cluster,
        node: options.identity.node,
        sequence: spare.sequence,
        nonce: rng.random(),
        segment_bytes: spare.bytes,
        first_group: 1,
        first_index: 0,
        chain: 0,
    };
    let active = start(spare, &header).await.map_err(failed("starting the first segment"))?;
    Ok(Opened {
        identity: options.identity,
        recovery: Recovery::new(&header, None),
        active,
        spare: None,
        oldest: header.sequence,
        rng,
    })
}

/// Puts a prepared segment into use: durable when it returns.
pub(super) async fn start<F: DiskFile>(
    spare: Spare<F>,
    header: &SegmentHeader,
) -> io::Result<Active<F>> {
    let mut block = spare.file.buffer(BLOCK);
    header.encode(block.as_mut());
    spare.file.write_at(block, 0).await?;
    Ok(Active {
        file: spare.file,
        sequence: header.sequence,
        nonce: header.nonce,
        bytes: header.segment_bytes,
        offset: BLOCK as u64,
    })
}
