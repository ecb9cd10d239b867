//! Segments as files: their names, preparing, reading whole, and cutting a torn
//! tail.

use super::cursor::is_zero;
use crate::io::{BLOCK, Disk, DiskFile, OpenMode};
use bytes::Bytes;
use std::io;

/// Bytes of one write when zero-filling, and of one read when loading. Small
/// enough that a group commit that waits behind one hardly notices.
const PIECE_BYTES: usize = 256 * 1024;

/// What the name of a segment ends in.
pub const SUFFIX: &str = ".seg";
const TEMPORARY_SUFFIX: &str = ".seg.tmp";
const DIGITS: usize = 20;

/// The name of a segment's file.
pub fn file_name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// The name it bears while it is prepared.
pub(super) fn temporary_name(sequence: u64) -> String {
    format!("{sequence:020}{TEMPORARY_SUFFIX}")
}

/// What a name in the data directory means to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A segment.
    Segment(u64),
    /// A segment whose preparation was cut short.
    Temporary,
    /// It ends like a segment but has no sequence number.
    Foreign,
    /// Not the log's business.
    Other,
}

pub(super) fn classify(name: &str) -> Name {
    if number(name, TEMPORARY_SUFFIX).is_some() {
        return Name::Temporary;
    }
    match name.strip_suffix(SUFFIX) {
        Some(digits) => sequence_of(digits).map_or(Name::Foreign, Name::Segment),
        None => Name::Other,
    }
}

/// The sequence number in a name that ends so.
pub fn number(name: &str, suffix: &str) -> Option<u64> {
    name.strip_suffix(suffix).and_then(sequence_of)
}

fn sequence_of(digits: &str) -> Option<u64> {
    let decimal = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if decimal { digits.parse().ok() } else { None }
}

/// How to go on when a piece of a file is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// With the next one at once.
    Hurry,
    /// Once others had the disk for a moment.
    Leave,
    /// Not at all: nobody needs the file any more.
    GiveUp,
}

/// Makes a zero-filled, synced file under the segment's temporary name, at the `pace` that is asked
/// for after each piece, with the bytes that are written. False when it was given up. What that or a failure
/// leaves behind is removed as far as possible.
pub(super) async fn fill<D: Disk>(
    disk: &D,
    sequence: u64,
    bytes: u64,
    pace: impl Fn(u64) -> Pace,
) -> io::Result<bool> {
    let temporary = temporary_name(sequence);
    let file = match disk.open(&temporary, OpenMode::Create).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&temporary).await?;
            disk.open(&temporary, OpenMode::Create).await?
        }
        Err(error) => {
            // Some failures come after the file was made.
            let _ = disk.remove(&temporary).await;
            return Err(error);
        }
        Ok(file) => file,
    };
    let filled = zero(disk, &file, bytes, pace).await;
    let closed = file.close().await;
    let outcome = filled.and_then(|filled| closed.map(|()| filled));
    if !matches!(outcome, Ok(true)) {
        // The first error is the one to tell; a file left over is removed at
        // the next try or at the next start.
        let _ = disk.remove(&temporary).await;
    }
    outcome
}

async fn zero<D: Disk>(
    disk: &D,
    file: &D::File,
    bytes: u64,
    pace: impl Fn(u64) -> Pace,
) -> io::Result<bool> {
    let mut zeros = file.buffer(PIECE_BYTES);
    let mut at = 0;
    while at < bytes {
        let left = bytes - at;
        if left < PIECE_BYTES as u64 {
            zeros = file.buffer(usize::try_from(left).map_err(io::Error::other)?);
        }
        zeros = file.write_at(zeros, at).await?;
        at += zeros.as_ref().len() as u64;
        match pace(at) {
            Pace::Hurry => {}
            Pace::Leave => disk.pause().await,
            Pace::GiveUp if at < bytes => return Ok(false),
            Pace::GiveUp => {}
        }
    }
    file.sync().await.map(|()| true)
}

/// Reads a whole segment of `bytes`; shorter when the file is.
pub(super) async fn load<F: DiskFile>(file: &F, bytes: u64) -> io::Result<Bytes> {
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut segment = Vec::new();
    // It may be more than there is.
    segment.try_reserve_exact(bytes)?;
    while segment.len() < bytes {
        let wanted = PIECE_BYTES.min(bytes - segment.len()).next_multiple_of(BLOCK);
        let piece = file.read_at(segment.len() as u64, wanted).await?;
        if piece.as_ref().is_empty() {
            break;
        }
        segment.extend_from_slice(piece.as_ref());
    }
    Ok(segment.into())
}

/// Overwrites every block of `segment` from `from` that is not zero with zeros,
/// durably. Interrupted, it leaves a tail that is torn still.
pub(super) async fn cut<F: DiskFile>(file: &F, segment: &[u8], from: usize) -> io::Result<()> {
    let mut zeros = file.buffer(BLOCK);
    for at in (from..segment.len()).step_by(BLOCK) {
        let block = segment.get(at..at + BLOCK).unwrap_or(&[]);
        if !is_zero(block) {
            zeros = file.write_at(zeros, at as u64).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(file_name(7), "00000000000000000007.seg");
        assert_eq!(classify(&file_name(u64::MAX)), Name::Segment(u64::MAX));
        assert_eq!(classify(&temporary_name(7)), Name::Temporary);
        assert_eq!(classify("7.seg"), Name::Foreign);
        assert_eq!(classify("+0000000000000000007.seg"), Name::Foreign);
        assert_eq!(classify("99999999999999999999.seg"), Name::Foreign);
        assert_eq!(classify("00000000000000000007.idx"), Name::Other);
        assert_eq!(classify("LOCK"), Name::Other);
        assert_eq!(classify("notes.tmp"), Name::Other);
    }
}
