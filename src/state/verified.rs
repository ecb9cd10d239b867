//! The sealed batches whose bytes one core has checked last, so that whoever
//! pages through a large batch has it checked once and not with every page.

use std::{collections::VecDeque, sync::Arc};

use crate::base::{
    batch::NumberedBatch,
    limits::{VERIFIED_BATCHES, VERIFIED_BYTES_MIN},
};

use super::{SealedSegment, sealed::Damaged};

/// The batches of sealed segments that one core has checked.
#[derive(Default)]
pub struct Verified {
    /// Segment and place in it of batches that were checked and have been in memory
    /// since, as far as is known. Invariant: at most [`VERIFIED_BATCHES`], the
    /// newest last.
    places: VecDeque<(u64, usize)>,
}

/// A sealed batch, ready to be read.
pub struct Read<'s> {
    /// The batch.
    pub batch: NumberedBatch<&'s [u8]>,
    /// Bytes that were checked for this, 0 when that had been done before.
    pub checked_bytes: usize,
}

impl Verified {
    /// Batch `n` of `segment`, checked now or before. See that
    /// [`SealedSegment::range`] is resident.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not those that were written.
    pub fn batch<'s>(
        &mut self,
        segment: &'s Arc<SealedSegment>,
        n: usize,
    ) -> Result<Read<'s>, Damaged> {
        let place = (segment.sequence, segment.range(n).start);
        if self.places.contains(&place)
            && let Some(batch) = segment.batch_checked_before(n)
        {
            return Ok(Read { batch, checked_bytes: 0 });
        }
        let batch = segment.batch(n)?;
        let checked_bytes = batch.batch.bytes().len();
        // Small ones are checked in no time, and would push out the large.
        if checked_bytes >= VERIFIED_BYTES_MIN && !self.places.contains(&place) {
            if self.places.len() == VERIFIED_BATCHES {
                self.places.pop_front();
            }
            self.places.push_back(place);
            assert!(self.places.len() <= VERIFIED_BATCHES, "the oldest made room");
        }
        Ok(Read { batch, checked_bytes })
    }

    /// Has the batches of a segment checked again: to be called when it is
    /// found that bytes of it left memory, as they come back from a disk that
    /// may have rotted.
    pub fn forget(&mut self, sequence: u64) {
        self.places.retain(|(other, _)| *other != sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ChangeId;
    use crate::state::testing::{SealedFile, batch};
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_large_batch_is_checked_once_until_it_leaves_memory() {
        let file = SealedFile::new(1, 1, &[batch(9000, b'a'), batch(1, b'b')]);
        let segment = &file.segment;
        let mut verified = Verified::default();
        let read = verified.batch(segment, 0).unwrap();
        assert_eq!(read.checked_bytes, read.batch.batch.bytes().len());
        // What rots now is not noticed while it is trusted.
        let last = segment.range(0).end as u64 - 1;
        file.open().write_all_at(b"x", last).unwrap();
        let read = verified.batch(segment, 0).unwrap();
        let batch = read.batch;
        assert_eq!((read.checked_bytes, batch.first, batch.changes()), (0, ChangeId(1), 9000));
        assert_eq!(batch.change(ChangeId(9000)).suffix, b"x");
        verified.forget(2);
        assert_eq!(verified.batch(segment, 0).unwrap().checked_bytes, 0);
        verified.forget(1);
        assert!(verified.batch(segment, 0).is_err());
        assert!(verified.batch(segment, 0).is_err(), "damage is never remembered as sound");
    }

    #[test]
    fn small_batches_push_no_large_one_out_and_large_ones_do() {
        let mut batches = vec![batch(1000, b'a'); VERIFIED_BATCHES + 1];
        batches.extend(vec![batch(1, b'b'); 3 * VERIFIED_BATCHES]);
        let file = SealedFile::new(1, 1, &batches);
        let mut verified = Verified::default();
        let mut checks = |n| verified.batch(&file.segment, n).unwrap().checked_bytes > 0;
        assert!(checks(0) && !checks(0));
        assert!((VERIFIED_BATCHES + 1..batches.len()).all(&mut checks));
        assert!(!checks(0));
        assert!((1..=VERIFIED_BATCHES).all(&mut checks));
        assert!((1..=VERIFIED_BATCHES).all(|n| !checks(n)));
        assert!(checks(0));
    }
}
