//! The large batches of sealed segments that one core has verified, by pieces: so that a page that is a small part
//! of a batch has that part verified, and not all of the batch.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Instant};

use crate::{
    base::{
        batch::{HEADER_BYTES, NumberedBatch},
        ids::ChangeId,
        limits::{
            VERIFIED_BATCH_BYTES_MIN, VERIFIED_FOR, VERIFIED_PIECE_BYTES, VERIFIED_PIECES_MAX,
        },
    },
    log::format::FRAME_HEAD_BYTES,
};

use super::{Damaged, SealedBatch, SealedSegment};

/// Bytes of a frame up to the end of the header of its batch.
const HEAD_BYTES: usize = FRAME_HEAD_BYTES + HEADER_BYTES;

/// The large batches of sealed segments that one core has verified.
pub struct Verified {
    /// By the number of the segment.
    segments: HashMap<u64, OfSegment>,
    /// Pieces of all of them. Invariant: the sum of theirs, at most `pieces_max` once a batch was added.
    pieces: usize,
    pieces_max: usize,
}

/// Which changes of a batch are wanted.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// The first of them.
    pub first: ChangeId,
    /// The last of them, or one of a later batch.
    pub last: ChangeId,
    /// Fewer will do when they have more bytes than this.
    pub bytes_max: usize,
}

/// Batches of a segment that were verified.
struct OfSegment {
    /// That of its file: a segment that was written anew has another.
    mapping: u64,
    /// Number of loads of the file when pieces were verified that are trusted. Once anything of it was brought into
    /// memory after that, by any core, they may come from a disk that has rotted, and are verified again.
    loads: u64,
    /// Since when pieces are trusted: not for long, since other processes may bring them into memory as well.
    since: Instant,
    /// A number that is another one whenever none is trusted any longer.
    round: u64,
    /// When it was last used.
    used: Instant,
    /// By where their frames begin.
    batches: HashMap<usize, OfBatch>,
    pieces: usize,
}

/// The pieces of a batch whose checksum matched, as they were then.
struct OfBatch {
    sums: Box<[u32]>,
    /// Which of them are trusted, a bit each, if `round` is that of the segment.
    trusted: Box<[u64]>,
    round: u64,
}

/// A sealed batch, ready to be read.
pub struct Read<'s> {
    /// The batch, of which no other changes may be looked at than those that were wanted, up to `upto`.
    pub batch: NumberedBatch<&'s [u8]>,
    /// The last change that may be.
    pub upto: ChangeId,
    /// Bytes that were verified for this.
    pub checked_bytes: usize,
}

impl Default for Verified {
    fn default() -> Self {
        Self::new(VERIFIED_PIECES_MAX)
    }
}

impl Verified {
    /// One that remembers so many pieces.
    fn new(pieces_max: usize) -> Self {
        Self { segments: HashMap::new(), pieces: 0, pieces_max }
    }

    /// The changes of a batch of `segment` that are `wanted`, at least the first of them, verified at this moment,
    /// `now`, or a moment ago. See that [`SealedBatch::range`] is resident.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not those that were written.
    pub fn batch<'s>(
        &mut self,
        segment: &'s Arc<SealedSegment>,
        sealed: &SealedBatch,
        wanted: Wanted,
        now: Instant,
    ) -> Result<Read<'s>, Damaged> {
        // Small ones are verified in no time.
        if sealed.range().len() < VERIFIED_BATCH_BYTES_MIN {
            return whole(segment, sealed);
        }
        let known = self.of(segment, now);
        let round = known.round;
        if let Some(known) = known.batches.get_mut(&sealed.range().start) {
            known.begin_round(round);
            if let Some(read) = known.part(segment, sealed, wanted) {
                return Ok(read);
            }
        }
        let read = whole(segment, sealed)?;
        if !read.batch.batch.is_part() {
            self.add(segment, sealed, now);
        }
        Ok(read)
    }

    /// What is known of a segment.
    fn of(&mut self, segment: &SealedSegment, now: Instant) -> &mut OfSegment {
        let (mapping, loads) = (segment.map().number(), segment.map().loads());
        let known = self.segments.entry(segment.sequence).or_insert_with(|| OfSegment {
            mapping,
            loads,
            since: now,
            round: 0,
            used: now,
            batches: HashMap::new(),
            pieces: 0,
        });
        if known.mapping != mapping {
            self.pieces -= std::mem::take(&mut known.pieces);
            known.batches.clear();
            known.mapping = mapping;
        }
        if known.loads != loads || now >= known.since + VERIFIED_FOR {
            (known.loads, known.since, known.round) = (loads, now, known.round + 1);
        }
        known.used = now;
        known
    }

    /// Remembers a batch of which all was found sound just now.
    fn add(&mut self, segment: &SealedSegment, sealed: &SealedBatch, now: Instant) {
        let range = sealed.range();
        let frame = segment.map().get(range.clone()).unwrap_or_default();
        let known = self.of(segment, now);
        let added = OfBatch::new(frame, known.round);
        let before = known.batches.insert(range.start, added);
        if before.is_none() {
            let pieces = range.len().div_ceil(VERIFIED_PIECE_BYTES);
            known.pieces += pieces;
            self.pieces += pieces;
        }
        while self.pieces > self.pieces_max
            && let Some((&oldest, _)) = self.segments.iter().min_by_key(|(_, known)| known.used)
            && let Some(forgotten) = self.segments.remove(&oldest)
        {
            self.pieces -= forgotten.pieces;
        }
        let all = || self.segments.values().map(|known| known.pieces).sum::<usize>();
        debug_assert_eq!(self.pieces, all(), "pieces are counted");
    }
}

/// A batch, all of which is verified.
fn whole<'s>(segment: &'s SealedSegment, sealed: &SealedBatch) -> Result<Read<'s>, Damaged> {
    let batch = segment.batch(sealed)?;
    Ok(Read { upto: batch.last(), checked_bytes: batch.batch.bytes().len(), batch })
}

impl OfBatch {
    /// A batch whose frame is sound.
    fn new(frame: &[u8], round: u64) -> Self {
        let sums: Box<[u32]> = frame.chunks(VERIFIED_PIECE_BYTES).map(crc32c::crc32c).collect();
        Self { trusted: vec![u64::MAX; sums.len().div_ceil(64)].into(), sums, round }
    }

    /// Trusts nothing that was verified in another round.
    fn begin_round(&mut self, round: u64) {
        if self.round != round {
            self.trusted.fill(0);
            self.round = round;
        }
    }

    /// What is wanted of the batch, as far as it is what was verified before; else nothing.
    fn part<'s>(
        &mut self,
        segment: &'s SealedSegment,
        sealed: &SealedBatch,
        wanted: Wanted,
    ) -> Option<Read<'s>> {
        let frame = segment.map().get(sealed.range())?;
        // Each is touched once what tells where it lies was verified.
        let mut checked_bytes = self.verify(frame, 0..HEAD_BYTES.min(frame.len()))?;
        let batch = segment.verified_before(sealed)?;
        let base = frame.len() - batch.batch.bytes().len();
        let mut verify = |range: Range<usize>| {
            checked_bytes += self.verify(frame, base + range.start..base + range.end)?;
            Some(())
        };
        let last = wanted.last.min(batch.last());
        verify(batch.table_range(wanted.first, last))?;
        let (suffixes, upto) = batch.suffixes_within(wanted.first, last, wanted.bytes_max);
        verify(suffixes)?;
        Some(Read { batch, upto, checked_bytes })
    }

    /// Verifies the pieces that a range of the frame lies in, if they are not trusted; how many bytes that were, or
    /// nothing when one is not what it was.
    fn verify(&mut self, frame: &[u8], range: Range<usize>) -> Option<usize> {
        let mut checked_bytes = 0;
        let pieces = range.start / VERIFIED_PIECE_BYTES..range.end.div_ceil(VERIFIED_PIECE_BYTES);
        for piece in pieces {
            let (word, bit) = (piece / 64, 1 << (piece % 64));
            if self.trusted.get(word)? & bit != 0 {
                continue;
            }
            let bytes = frame.chunks(VERIFIED_PIECE_BYTES).nth(piece)?;
            if crc32c::crc32c(bytes) != *self.sums.get(piece)? {
                return None;
            }
            self.trusted[word] |= bit;
            checked_bytes += bytes.len();
        }
        Some(checked_bytes)
    }
}

#[cfg(test)]
mod tests;
