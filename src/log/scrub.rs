//! Verifying a complete segment as it is on the disk, while the log goes on: piece by piece, so
//! that neither the disk nor memory is taken up by it.

use std::io;

use bytes::Bytes;

use super::{
    Log, OpenError,
    cursor::is_zero,
    error::{corrupt, failed},
    format::{HeaderBlock, SegmentHeader, claimed_bytes, decode_group_of},
    segment::file_name,
};
use crate::io::{BLOCK, Disk, DiskFile, OpenMode, cores, is_bad_place};

/// Bytes that are read at once, unless a group has more.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// The newest group that was found sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) number: u64,
    pub(super) checksum: u32,
}

/// How far a piece was verified.
struct Verified {
    /// Bytes of it that are sound.
    bytes: usize,
    /// Bytes that the next group takes.
    needed: usize,
    chain: Chain,
    /// Only zeros are to follow.
    has_ended: bool,
}

impl<D: Disk> Log<D> {
    /// Verifies the segment `sequence`, which is not written any more. `pause` is waited for after
    /// so many bytes were read.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`], or what the disk says: `NotFound` when the segment is purged.
    pub async fn scrub(&self, sequence: u64, pause: impl AsyncFnMut(u64)) -> Result<(), OpenError> {
        let name = file_name(sequence);
        let opened = self.shared.disk.open(&name, OpenMode::Read).await;
        let file = opened.map_err(unread(sequence, 0, "opening"))?;
        let outcome = verify(&file, sequence, pause).await;
        file.close().await.map_err(failed(format!("closing {name}")))?;
        outcome
    }
}

async fn verify<F: DiskFile>(
    file: &F,
    sequence: u64,
    mut pause: impl AsyncFnMut(u64),
) -> Result<(), OpenError> {
    let block = file.read_at(0, BLOCK).await.map_err(unread(sequence, 0, "reading"))?;
    let header = match SegmentHeader::decode(block.as_ref()) {
        HeaderBlock::Used(header) if header.sequence == sequence => header,
        _ => return Err(corrupt(sequence, 0, "the header is missing or damaged")),
    };
    let mut chain = Chain { number: header.first_group - 1, checksum: header.chain };
    let (mut at, mut needed, mut has_ended) = (BLOCK as u64, BLOCK, false);
    while at < header.segment_bytes {
        let left = usize::try_from(header.segment_bytes - at).unwrap_or(usize::MAX);
        if needed > left {
            return Err(corrupt(sequence, at, "a group does not end within its segment"));
        }
        let read = file.read_at(at, PIECE_BYTES.max(needed).min(left)).await;
        let read = read.map_err(unread(sequence, at, "reading"))?;
        let piece = Bytes::copy_from_slice(read.as_ref());
        if piece.len() < needed {
            return Err(corrupt(sequence, at + piece.len() as u64, "the file became shorter"));
        }
        let bytes = piece.len() as u64;
        let verify = move || match has_ended {
            true => verify_zeros(&piece, chain),
            false => verify_groups(&piece, at, header.nonce, chain),
        };
        let verified = cores::off_core(verify).await;
        let verified =
            verified.map_err(|(offset, why)| corrupt(sequence, at + offset as u64, why))?;
        (chain, needed, has_ended) = (verified.chain, verified.needed, verified.has_ended);
        at += verified.bytes as u64;
        pause(bytes).await;
    }
    if header.rewritten.is_some_and(|rewritten| rewritten.ends != chain.checksum) {
        return Err(corrupt(sequence, at, "the last group is missing"));
    }
    Ok(())
}

/// The disk does not give what is from byte `at` on.
pub(super) fn unread(sequence: u64, at: u64, doing: &str) -> impl FnOnce(io::Error) -> OpenError {
    move |error| match is_bad_place(&error) {
        true => corrupt(sequence, at, &format!("it cannot be read: {error}")),
        false => failed(format!("{doing} {}", file_name(sequence)))(error),
    }
}

fn verify_zeros(piece: &Bytes, chain: Chain) -> Result<Verified, (usize, &'static str)> {
    if is_zero(piece) {
        return Ok(Verified { bytes: piece.len(), needed: BLOCK, chain, has_ended: true });
    }
    let at = piece.iter().position(|&byte| byte != 0).unwrap_or(0);
    Err((at, "a byte behind the last group is not zero"))
}

/// Verifies the groups that lie wholly in `piece`, which begins at byte `offset` of its segment.
fn verify_groups(
    piece: &Bytes,
    offset: u64,
    nonce: u64,
    mut chain: Chain,
) -> Result<Verified, (usize, &'static str)> {
    let (mut at, mut needed) = (0, BLOCK);
    while let Some(block) = piece.get(at..at + BLOCK) {
        if is_zero(block) {
            return Ok(Verified { bytes: at, needed, chain, has_ended: true });
        }
        let place = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(at);
        let damaged = (at, "a group is not sound");
        needed = claimed_bytes(piece, at, place, nonce).ok_or(damaged)?;
        if piece.len() - at < needed {
            break;
        }
        let group = decode_group_of(piece, at, place, nonce).map_err(|_| damaged)?;
        if group.place.number != chain.number + 1 || group.place.previous != chain.checksum {
            return Err((at, "a group does not continue the one before it"));
        }
        chain = Chain { number: group.place.number, checksum: group.checksum };
        (at, needed) = (group.end, BLOCK);
    }
    Ok(Verified { bytes: at, needed, chain, has_ended: false })
}
