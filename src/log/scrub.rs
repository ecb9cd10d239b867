//! Verifying a complete segment as it is on the disk, while the log goes on: piece by piece, so
//! that neither the disk nor memory is taken up by it.

use std::{io, ops::Range};

use bytes::Bytes;

use super::{
    Log, OpenError,
    cursor::is_zero,
    error::{corrupt, failed},
    format::{Group, HeaderBlock, SegmentHeader, claimed_bytes, decode_group_of},
    segment::file_name,
};
use crate::io::{BLOCK, Disk, DiskFile, OpenMode, cores, is_bad_place};

/// Bytes that are read at once, unless a group has more.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// The newest group that was found sound.
#[derive(Clone, Copy, Debug)]
struct Chain {
    number: u64,
    checksum: u32,
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
    let mut verifier = Verifier::new(&header);
    while let Some(range) = verifier.next(PIECE_BYTES)? {
        let at = range.start as u64;
        let read = file.read_at(at, range.len()).await;
        let read = read.map_err(unread(sequence, at, "reading"))?;
        let piece = Bytes::copy_from_slice(read.as_ref());
        let bytes = piece.len() as u64;
        let verify = move || verifier.piece(&piece, |_| {}).map(|_| verifier);
        verifier = cores::off_core(verify).await?;
        pause(bytes).await;
    }
    Ok(())
}

/// Verifies a complete segment, piece by piece.
pub(super) struct Verifier {
    sequence: u64,
    nonce: u64,
    segment_bytes: u64,
    /// Up to where it is sound.
    at: u64,
    /// Bytes that the next group takes.
    needed: usize,
    chain: Chain,
    /// Only zeros are to follow.
    has_ended: bool,
    /// The checksum of the last group, where the header tells.
    ends: Option<u32>,
}

impl Verifier {
    pub(super) fn new(header: &SegmentHeader) -> Self {
        Self {
            sequence: header.sequence,
            nonce: header.nonce,
            segment_bytes: header.segment_bytes,
            at: BLOCK as u64,
            needed: BLOCK,
            chain: Chain { number: header.first_group - 1, checksum: header.chain },
            has_ended: false,
            ends: header.rewritten.map(|rewritten| rewritten.ends),
        }
    }

    /// What is to be verified next: about `bytes` bytes. Nothing when all is.
    pub(super) fn next(&self, bytes: usize) -> Result<Option<Range<usize>>, OpenError> {
        let left = usize::try_from(self.segment_bytes.saturating_sub(self.at));
        let (left, at) =
            (left.unwrap_or(usize::MAX), usize::try_from(self.at).unwrap_or(usize::MAX));
        if left == 0 {
            return self.check_end().map(|()| None);
        }
        if self.needed > left {
            return Err(self.corrupt(0, "a group does not end within its segment"));
        }
        Ok(Some(at..at + bytes.max(self.needed).min(left)))
    }

    /// Verifies the groups that lie wholly in this, and hands each to `take`; gives how many bytes of
    /// it that is.
    pub(super) fn piece(
        &mut self,
        piece: &Bytes,
        take: impl FnMut(&Group),
    ) -> Result<usize, OpenError> {
        if piece.len() < self.needed {
            return Err(self.corrupt(piece.len(), "the file became shorter"));
        }
        let verified = match self.has_ended {
            true => verify_zeros(piece, self.chain),
            false => verify_groups(piece, self.at, self.nonce, self.chain, take),
        };
        let Verified { bytes, needed, chain, has_ended } =
            verified.map_err(|(offset, why)| self.corrupt(offset, why))?;
        (self.chain, self.needed, self.has_ended) = (chain, needed, has_ended);
        self.at += bytes as u64;
        Ok(bytes)
    }

    /// Up to where it is sound, as a byte of the segment.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether all groups were handed out: only zeros follow.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The checksum of the newest group.
    pub(super) fn checksum(&self) -> u32 {
        self.chain.checksum
    }

    /// Whether the newest group is the last one, as far as the header tells.
    pub(super) fn check_end(&self) -> Result<(), OpenError> {
        match self.ends.is_none_or(|ends| ends == self.chain.checksum) {
            true => Ok(()),
            false => Err(self.corrupt(0, "the last group is missing")),
        }
    }

    fn corrupt(&self, offset: usize, why: &str) -> OpenError {
        corrupt(self.sequence, self.at + offset as u64, why)
    }
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

/// Verifies the groups that lie wholly in `piece`, which begins at byte `offset` of its segment, and
/// hands each to `take`.
fn verify_groups(
    piece: &Bytes,
    offset: u64,
    nonce: u64,
    mut chain: Chain,
    mut take: impl FnMut(&Group),
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
        take(&group);
        (at, needed) = (group.end, BLOCK);
    }
    Ok(Verified { bytes: at, needed, chain, has_ended: false })
}
