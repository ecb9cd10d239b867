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
        assert!(self.came <= self.bytes, "more came than there is");
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Verifies a file that comes in parts of these lengths, over and over.
    fn verify(
        bytes: &Bytes,
        parts: &mut impl FnMut() -> usize,
    ) -> Result<SegmentHeader, OpenError> {
        let mut arriving = Arriving::new(2, bytes.len() as u64);
        let mut left = bytes.clone();
        while !left.is_empty() {
            arriving.add(left.split_to(parts().min(left.len())))?;
        }
        arriving.end()
    }

    #[test]
    fn a_segment_is_sound_in_whatever_parts_it_comes_and_no_byte_of_it_may_differ() {
        let mut rng = StdRng::seed_from_u64(1);
        for format in ["log-v1", "log-v2"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format);
            let bytes = std::fs::read(file.join("00000000000000000002.seg")).unwrap();
            let whole = Bytes::from(bytes.clone());
            for most in [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 9_000, 1 << 20] {
                let header = verify(&whole, &mut || rng.random_range(1..=most)).unwrap();
                assert_eq!(header.sequence, 2, "{format}");
            }
            for _ in 0..2_000 {
                let mut damaged = bytes.clone();
                damaged[rng.random_range(0..bytes.len())] ^= 1 << rng.random_range(0..8);
                verify(&damaged.into(), &mut || rng.random_range(1..=20_000)).unwrap_err();
            }
            for cut in [0, 1, BLOCK, bytes.len() - 1] {
                let mut arriving = Arriving::new(2, bytes.len() as u64);
                arriving.add(whole.slice(..cut)).unwrap();
                arriving.end().unwrap_err();
            }
            let mut arriving = Arriving::new(2, bytes.len() as u64);
            arriving.add(whole).unwrap();
            arriving.add(Bytes::from_static(b"0")).unwrap_err();
        }
    }
}
