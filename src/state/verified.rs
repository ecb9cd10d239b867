//! The sealed batches whose bytes one core has checked last, so that whoever
//! pages through a large batch has it checked once and not with every page.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::base::{
    batch::NumberedBatch,
    limits::{VERIFIED_BATCHES, VERIFIED_BYTES_MIN, VERIFIED_FOR},
};

use super::{Damaged, SealedBatch, SealedSegment};

/// The batches of sealed segments that one core has checked.
#[derive(Default)]
pub struct Verified {
    /// Batches that were checked. Invariant: at most [`VERIFIED_BATCHES`], the newest last.
    places: VecDeque<Checked>,
}

/// A batch that was checked. Once anything of its segment was brought into memory after that,
/// by any core, it may come from a disk that has rotted, and is checked again; and after a moment,
/// since other processes may bring it into memory as well.
#[derive(Clone, Copy)]
struct Checked {
    segment: u64,
    start: usize,
    loads: u64,
    at: Instant,
}

impl Checked {
    /// Whether that is the batch `other`, which is asked for, and needs no check.
    fn serves(&self, other: &Self) -> bool {
        (self.segment, self.start, self.loads) == (other.segment, other.start, other.loads)
            && other.at < self.at + VERIFIED_FOR
    }
}

/// A sealed batch, ready to be read.
pub struct Read<'s> {
    /// The batch.
    pub batch: NumberedBatch<&'s [u8]>,
    /// Bytes that were checked for this, 0 when that had been done before.
    pub checked_bytes: usize,
}

impl Verified {
    /// A batch of `segment`, checked at this moment, `now`, or before. See that
    /// [`SealedBatch::range`] is resident.
    ///
    /// # Errors
    /// [`Damaged`] when the bytes are not those that were written.
    pub fn batch<'s>(
        &mut self,
        segment: &'s Arc<SealedSegment>,
        sealed: &SealedBatch,
        now: Instant,
    ) -> Result<Read<'s>, Damaged> {
        let (sequence, start) = (segment.sequence, sealed.range().start);
        let place = Checked { segment: sequence, start, loads: segment.map().loads(), at: now };
        if self.places.iter().any(|checked| checked.serves(&place))
            && let Some(batch) = segment.batch_checked_before(sealed)
        {
            return Ok(Read { batch, checked_bytes: 0 });
        }
        let batch = segment.batch(sealed)?;
        let checked_bytes = batch.batch.bytes().len();
        // Small ones are checked in no time, and would push out the large.
        if checked_bytes >= VERIFIED_BYTES_MIN {
            self.places.retain(|old| (old.segment, old.start) != (sequence, start));
            if self.places.len() == VERIFIED_BATCHES {
                self.places.pop_front();
            }
            self.places.push_back(place);
            assert!(self.places.len() <= VERIFIED_BATCHES, "the oldest made room");
        }
        Ok(Read { batch, checked_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::ChangeId;
    use crate::state::testing::{SealedFile, batch};
    use std::os::unix::fs::FileExt;

    fn batch_at(segment: &SealedSegment, id: u64) -> SealedBatch {
        segment.find_on_disk(ChangeId(id)).unwrap()
    }

    #[test]
    fn a_large_batch_is_checked_once_until_it_leaves_memory() {
        let file = SealedFile::new(1, 1, &[batch(9000, b'a'), batch(1, b'b')]);
        let segment = &file.segment;
        let (mut verified, now) = (Verified::default(), Instant::now());
        let read = verified.batch(segment, &batch_at(segment, 1), now).unwrap();
        assert_eq!(read.checked_bytes, read.batch.batch.bytes().len());
        // What rots now is not noticed while it is trusted.
        let last = batch_at(segment, 1).range().end as u64 - 1;
        file.open().write_all_at(b"x", last).unwrap();
        let read = verified.batch(segment, &batch_at(segment, 1), now).unwrap();
        let batch = read.batch;
        assert_eq!((read.checked_bytes, batch.first, batch.changes()), (0, ChangeId(1), 9000));
        assert_eq!(batch.change(ChangeId(9000)).suffix, b"x");
        // Nor for longer than a moment.
        assert!(verified.batch(segment, &batch_at(segment, 1), now + VERIFIED_FOR).is_err());
        // Another core brings something of the segment into memory.
        segment.map().populate(batch_at(segment, 9001).range()).unwrap();
        assert!(verified.batch(segment, &batch_at(segment, 1), now).is_err());
        assert!(
            verified.batch(segment, &batch_at(segment, 1), now).is_err(),
            "damage is never remembered as sound"
        );
    }

    #[test]
    fn small_batches_push_no_large_one_out_and_large_ones_do() {
        let mut batches = vec![batch(1000, b'a'); VERIFIED_BATCHES + 1];
        batches.extend(vec![batch(1, b'b'); 3 * VERIFIED_BATCHES]);
        let file = SealedFile::new(1, 1, &batches);
        let (mut verified, now) = (Verified::default(), Instant::now());
        let firsts: Vec<u64> = batches
            .iter()
            .scan(1, |next, batch| {
                let first = *next;
                *next += u64::from(batch.changes());
                Some(first)
            })
            .collect();
        let at = |n: usize| batch_at(&file.segment, firsts[n]);
        let mut checks = |n| verified.batch(&file.segment, &at(n), now).unwrap().checked_bytes > 0;
        assert!(checks(0) && !checks(0));
        assert!((VERIFIED_BATCHES + 1..batches.len()).all(&mut checks));
        assert!(!checks(0));
        assert!((1..=VERIFIED_BATCHES).all(&mut checks));
        assert!((1..=VERIFIED_BATCHES).all(|n| !checks(n)));
        assert!(checks(0));
    }
}
