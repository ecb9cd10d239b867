//! Opening a log: everything is verified before anything is written, then a
//! torn tail is cut and what was being prepared is tidied up.

use super::{
    Entry, Identity, OpenError, Options, Place, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Sealed,
    error::{corrupt, failed},
    format::SegmentHeader,
    index::Indexed,
    recover::{End, Recovery, Stop},
    segment::{self, Name, Pace, file_name},
    survey::{Layout, load, survey},
};
use crate::io::{BLOCK, Disk, DiskFile, OpenMode};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::io;

/// The first segment of a log is no longer than this: it is filled at once, before anything else, so what
/// shares the disk waits behind all of it; and a node that joins a cluster gets another log soon.
const FIRST_BYTES: u64 = 4 << 20;

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

/// What a log is read into when it is opened.
pub trait Reader {
    /// The index of a complete segment, if it is to be taken in by that and not to be read.
    fn index(&mut self, _segment: &SegmentHeader) -> Option<Indexed> {
        None
    }

    /// Takes in the segment that it gave the index of; `false` when it is to be read all the same.
    ///
    /// # Errors
    /// What is wrong with it.
    fn adopt(&mut self, _segment: u64) -> Result<bool, String> {
        Ok(false)
    }

    /// Takes in the next committed entry.
    ///
    /// # Errors
    /// What is wrong with it.
    fn entry(&mut self, entry: &Entry, place: Place) -> Result<(), String>;

    /// A complete segment was read. Whether its last entries are committed, the next one tells.
    fn complete(&mut self, _sealed: Sealed) {}
}

/// Takes in entries and nothing else.
pub(super) struct Entries<F>(pub(super) F);

impl<F: FnMut(&Entry, Place) -> Result<(), String>> Reader for Entries<F> {
    fn entry(&mut self, entry: &Entry, place: Place) -> Result<(), String> {
        (self.0)(entry, place)
    }
}

pub(super) async fn open<D: Disk>(
    disk: &D,
    options: &Options,
    reader: &mut impl Reader,
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
    let (recovery, end, tail) = verify(disk, options, &layout.used, reader).await?;

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

/// Reads all segments, or their indexes, and gives back what they amount to, how the last one
/// ends, and its bytes.
pub(super) async fn verify<D: Disk>(
    disk: &D,
    options: &Options,
    used: &[SegmentHeader],
    reader: &mut impl Reader,
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
        let last = n + 1 == used.len();
        let stopped = |stop| match stop {
            Stop::Damage { offset, reason } => corrupt(header.sequence, offset as u64, reason),
            Stop::Refused { id, reason } => OpenError::Replay { id, reason },
        };
        let indexed = if last { None } else { reader.index(header) };
        if let Some(indexed) = indexed {
            let before = recovery.settle(&indexed, &mut |entry, at| reader.entry(entry, at));
            before.map_err(stopped)?;
            let file = file_name(header.sequence);
            let adopted = reader.adopt(header.sequence);
            if adopted.map_err(|reason| OpenError::Index { file, reason })? {
                recovery.indexed(indexed).map_err(stopped)?;
                continue;
            }
        }
        bytes = load(disk, header.sequence, header.segment_bytes).await?;
        end = recovery
            .segment(header, &bytes, last, &mut |entry, at| reader.entry(entry, at))
            .map_err(stopped)?;
        if !last {
            reader.complete(recovery.sealed(header));
        }
    }
    if !recovery.is_settled() {
        let last = used.last().map_or(oldest.sequence, |header| header.sequence);
        return Err(corrupt(last, end.offset as u64, "what followed applied entries is missing"));
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
            let bytes = options.segment_bytes.min(FIRST_BYTES);
            let make = async {
                segment::fill(disk, 1, bytes, |_| Pace::Hurry).await?;
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
        rewritten: None,
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
