//! Verifying a complete segment as its bytes come, front to back, in parts of any length.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    OpenError,
    error::corrupt,
    format::{HeaderBlock, SegmentHeader},
    scrub::Verifier,
};
use crate::io::BLOCK;

/// A segment of which more and more is there.
pub struct Arriving {
    sequence: u64,
    /// Bytes that it has.
    bytes: u64,
    /// Bytes that came.
    ///
    /// Invariant: at most `bytes`.
    came: u64,
    /// Present once the header is there.
    begun: Option<(SegmentHeader, Verifier)>,
    /// The beginning of a group whose end is not there yet.
    held: Bytes,
}

impl Arriving {
    /// Nothing yet of the segment `sequence`, which has `bytes` bytes.
    #[must_use]
    pub fn new(sequence: u64, bytes: u64) -> Self {
        Self { sequence, bytes, came: 0, begun: None, held: Bytes::new() }
    }

    /// Verifies what can be verified when this comes.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`]
    pub fn add(&mut self, mut part: Bytes) -> Result<(), OpenError> {
        self.came += part.len() as u64;
        if self.came > self.bytes {
            return Err(self.corrupt("the file has more bytes than it should"));
        }
        while !part.is_empty() {
            let needed = self.needed()?;
            let lacking = needed.saturating_sub(self.held.len());
            if part.len() < lacking {
                self.held = joined(&self.held, &part);
                return Ok(());
            }
            if self.held.is_empty() {
                let verified = self.verify(&part)?;
                part.advance(verified);
            } else {
                let begun = joined(&self.held, &part.split_to(lacking));
                let verified = self.verify(&begun)?;
                self.held = begun.slice(verified..);
            }
        }
        Ok(())
    }

    /// The header, when all is there and sound: by itself, not whether it continues another segment.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`]
    pub fn end(self) -> Result<SegmentHeader, OpenError> {
        match &self.begun {
            Some((header, verifier)) if verifier.next(0)?.is_none() => Ok(*header),
            Some(_) => Err(self.corrupt("the file is shorter than its header says")),
            None => Err(self.corrupt("the header is missing")),
        }
    }

    /// Bytes from where it is verified up to that must be there to go on.
    fn needed(&self) -> Result<usize, OpenError> {
        let Some((_, verifier)) = &self.begun else { return Ok(BLOCK) };
        Ok(verifier.next(0)?.map_or(0, |range| range.len()))
    }

    /// Verifies the beginning of `piece`, which goes on where all before is verified; gives how many
    /// bytes of it.
    fn verify(&mut self, piece: &Bytes) -> Result<usize, OpenError> {
        if let Some((_, verifier)) = &mut self.begun {
            return verifier.piece(piece, |_| {});
        }
        let header = match SegmentHeader::decode(piece.get(..BLOCK).unwrap_or_default()) {
            HeaderBlock::Used(header) if header.sequence == self.sequence => header,
            _ => return Err(self.corrupt("the header is missing or damaged")),
        };
        if header.segment_bytes != self.bytes {
            return Err(self.corrupt("the file's length is not what its header says"));
        }
        self.begun = Some((header, Verifier::new(&header)));
        Ok(BLOCK)
    }

    fn corrupt(&self, why: &str) -> OpenError {
        corrupt(self.sequence, 0, why)
    }
}

fn joined(one: &Bytes, other: &Bytes) -> Bytes {
    let mut all = BytesMut::with_capacity(one.len() + other.len());
    all.extend_from_slice(one);
    all.extend_from_slice(other);
    all.freeze()
}
