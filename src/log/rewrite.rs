//! Writing a complete segment anew, with payloads of the same length in the place of some: so that
//! what was erased is on the disk no more. All places in it stay, and the next segment continues it
//! as before.
//!
//! ```text
//! groups copied under another name · header written · synced · renamed · directory synced
//! ```
//!
//! Whoever has the file open goes on with what it was. A crash leaves the one or the other. A whole
//! block of zeros, which is what becomes of erased data, is not written: it is a hole of the file,
//! which reads as zeros and takes no room on the disk.

use std::{io, ops::Range, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{
    Entry, Log, OpenError, SEGMENT_BYTES_MIN,
    cursor::is_zero,
    error::{corrupt, failed},
    format::{
        Frame, FrameRef, Group, GroupPlace, HeaderBlock, Rewritten, SegmentHeader, decode_group_of,
        encode_group,
    },
    purged::{Removing, remove_purged, sync_directory},
    scrub::{PIECE_BYTES, Verifier, unread},
    segment::{file_name, temporary_name},
};
use crate::base::planted::planted;
use crate::io::{BLOCK, Disk, DiskFile, Files, OpenMode, cores};

/// Gives what takes the place of the payload of an entry, of the same length.
pub type Replacement = Arc<dyn Fn(&Entry) -> Option<Bytes> + Send + Sync>;

/// A segment on its way into another file.
struct Copying {
    /// What was read so far.
    read: Verifier,
    /// The checksum of the last group that was written.
    written: u32,
    replace: Replacement,
}

impl Copying {
    /// Copies the groups of a piece, with what is to be replaced: the bytes that take their place.
    fn piece(&mut self, piece: &Bytes) -> Result<Copied, OpenError> {
        let (start, mut bytes) = (self.read.at(), Vec::with_capacity(piece.len()));
        let (written, replace) = (&mut self.written, &self.replace);
        self.read.piece(piece, |group| {
            let at = bytes.len();
            bytes.resize(group.end, 0);
            *written = copy_group(group, *written, replace, &mut bytes[at..]);
        })?;
        assert_eq!(start + bytes.len() as u64, self.read.at(), "each group stays where it is");
        Ok(Copied { runs: runs(&bytes), bytes })
    }
}

/// Whole groups, copied.
struct Copied {
    bytes: Vec<u8>,
    /// Where blocks of them lie that are not all zero. The others are left to be holes of the file.
    runs: Vec<Range<usize>>,
}

/// Where blocks lie that are not all zero.
fn runs(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (start, block) in (0..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
        let end = start + block.len();
        match runs.last_mut() {
            _ if is_zero(block) => {}
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

impl<D: Disk> Log<D> {
    /// Writes the complete segment `sequence` anew. `pause` is waited for after so many bytes were
    /// written. `false` when it cannot be done at the moment, or the segment is purged.
    ///
    /// # Errors
    /// What the disk reports, or the segment is damaged; it is as before then, as far as that is
    /// known.
    pub async fn rewrite(
        &self,
        sequence: u64,
        replace: Replacement,
        mut pause: impl AsyncFnMut(u64),
    ) -> Result<bool, OpenError> {
        let (name, temporary) = (file_name(sequence), temporary_name(sequence));
        assert!(sequence < self.active_segment(), "what is written to is not written anew");
        let disk = &self.shared.disk;
        let opened = disk.open(&name, OpenMode::Read).await;
        let old = opened.map_err(unread(sequence, 0, "opening"))?;
        let written = match self.create(&temporary).await {
            Ok(new) => {
                let copied = copy(&old, &new, sequence, replace, &mut pause).await;
                let closed = new.close().await;
                copied.and(closed.map_err(failed(format!("closing {temporary}"))))
            }
            Err(error) => Err(failed(format!("creating {temporary}"))(error)),
        };
        // It was only read.
        let _ = old.close().await;
        let done = match written {
            Ok(()) => self.put_in_place(sequence, &temporary, &name).await,
            Err(error) => Err(error),
        };
        if !matches!(done, Ok(true)) {
            // The first error is the one to tell; what is left goes at the next start.
            let _ = disk.remove(&temporary).await;
        }
        done
    }

    async fn create(&self, temporary: &str) -> io::Result<D::File> {
        let disk = &self.shared.disk;
        match disk.open(temporary, OpenMode::Create).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(temporary).await?;
                disk.open(temporary, OpenMode::Create).await
            }
            opened => opened,
        }
    }

    /// Gives the new file its name; not while segments are removed, which must leave no gap.
    pub(super) async fn put_in_place(
        &self,
        sequence: u64,
        temporary: &str,
        name: &str,
    ) -> Result<bool, OpenError> {
        let failed = || failed(format!("putting {name} in place"));
        let shared = &self.shared;
        {
            let mut inner = shared.get_mut();
            inner.usable().map_err(|error| failed()(error.into()))?;
            let is_away = inner.removing || sequence < inner.oldest;
            if is_away && !planted!(RestorePurgedSegment) {
                return Ok(false);
            }
            inner.removing = true;
        }
        let removing = Removing(Rc::clone(shared));
        shared.disk.rename(temporary, name).await.map_err(failed())?;
        if !planted!(SkipRewriteDirectorySync) {
            sync_directory(shared).await.map_err(failed())?;
        }
        drop(removing);
        // What was purged meanwhile was left.
        remove_purged(shared).await.map_err(failed())?;
        Ok(true)
    }
}

/// Copies a segment, with what is to be replaced. Durable on return.
async fn copy<F: DiskFile>(
    old: &F,
    new: &F,
    sequence: u64,
    replace: Replacement,
    pause: &mut impl AsyncFnMut(u64),
) -> Result<(), OpenError> {
    let block = old.read_at(0, BLOCK).await.map_err(unread(sequence, 0, "reading"))?;
    let header = match SegmentHeader::decode(block.as_ref()) {
        HeaderBlock::Used(header) if header.sequence == sequence => header,
        _ => return Err(corrupt(sequence, 0, "the header is missing or damaged")),
    };
    let mut copying = Copying { read: Verifier::new(&header), written: header.chain, replace };
    while !copying.read.has_ended()
        && let Some(range) = copying.read.next(PIECE_BYTES)?
    {
        let at = range.start as u64;
        let read = old.read_at(at, range.len()).await;
        let read = read.map_err(unread(sequence, at, "reading"))?;
        let piece = Bytes::copy_from_slice(read.as_ref());
        let copy = move || copying.piece(&piece).map(|copied| (copying, copied));
        let copied: Copied;
        (copying, copied) = cores::off_core(copy).await?;
        for run in copied.runs {
            let (at, bytes) = (at + run.start as u64, &copied.bytes[run]);
            write(new, bytes, at, sequence).await?;
        }
        pause(copied.bytes.len() as u64).await;
    }
    copying.read.check_end()?;
    let continues = match header.rewritten {
        _ if planted!(ForgetRewrittenChain) => copying.written,
        Some(rewritten) => rewritten.continues,
        None => copying.read.checksum(),
    };
    let rewritten = Some(Rewritten { ends: copying.written, continues });
    // Nothing more is written to it, so it need not be longer than what is in it.
    let segment_bytes = copying.read.at().max(SEGMENT_BYTES_MIN);
    let header = SegmentHeader { segment_bytes, rewritten, ..header };
    let mut block = vec![0; BLOCK];
    header.encode(&mut block);
    write(new, &block, 0, sequence).await?;
    let durable = async {
        new.set_len(segment_bytes).await?;
        if planted!(SkipRewriteSync) { Ok(()) } else { new.sync().await }
    };
    durable.await.map_err(failed(format!("syncing segment {sequence}")))
}

async fn write<F: DiskFile>(
    file: &F,
    bytes: &[u8],
    at: u64,
    sequence: u64,
) -> Result<(), OpenError> {
    let mut buffer = file.buffer(bytes.len());
    buffer.as_mut().copy_from_slice(bytes);
    let written = file.write_at(buffer, at).await.map(drop);
    written.map_err(failed(format!("writing segment {sequence} anew")))
}

/// Writes a group that continues `previous` into `out`, and gives its checksum.
fn copy_group(group: &Group, previous: u32, replace: &Replacement, out: &mut [u8]) -> u32 {
    let replaced: Vec<Option<Entry>> = group
        .frames
        .iter()
        .map(|frame| match frame {
            Frame::Entry(entry, _) => replace(entry).map(|payload| {
                assert_eq!(payload.len(), entry.payload.len(), "all places stay");
                Entry { payload, ..entry.clone() }
            }),
            Frame::Truncate(_) => None,
        })
        .collect();
    let frames = group.frames.iter().zip(&replaced).map(|(frame, replaced)| match frame {
        Frame::Entry(entry, _) => FrameRef::Entry(replaced.as_ref().unwrap_or(entry)),
        Frame::Truncate(after) => FrameRef::Truncate(*after),
    });
    encode_group(out, &GroupPlace { previous, ..group.place }, &group.state, frames)
}

/// Whether a segment holds the payloads of entries up to `purged`, which nobody is to read any more:
/// so it is where a checkpoint from another node stands for what this one had written.
///
/// # Errors
/// It cannot be read.
pub fn holds_purged(files: &impl Files, sequence: u64, purged: u64) -> io::Result<bool> {
    let map = files.map(&file_name(sequence))?;
    map.populate(0..BLOCK.min(map.len()))?;
    let header = SegmentHeader::decode(map.get(0..BLOCK).unwrap_or_default());
    let HeaderBlock::Used(header) = header else { return Ok(false) };
    if header.first_index > purged {
        return Ok(false);
    }
    let bytes = Bytes::from(files.read(&file_name(sequence))?);
    let mut at = BLOCK;
    while let Ok(group) = decode_group_of(&bytes, at, at, header.nonce) {
        let holds = |frame: &Frame| matches!(frame, Frame::Entry(entry, _) if entry.id.index <= purged && !is_zero(&entry.payload));
        if group.frames.iter().any(holds) {
            return Ok(true);
        }
        at = group.end;
    }
    Ok(false)
}

/// Takes the payloads of entries up to `purged` away.
#[must_use]
pub fn without_purged(purged: u64) -> Replacement {
    Arc::new(move |entry| {
        let goes = entry.id.index <= purged;
        goes.then(|| vec![0; entry.payload.len()].into())
    })
}
