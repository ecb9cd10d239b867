//! The sealed batches whose bytes one core has checked last, so that what many read, page by page or at
//! once, is checked once and not with every page.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::base::{
    batch::NumberedBatch,
    limits::{VERIFIED_BYTES_MIN, VERIFIED_FOR, VERIFIED_SEGMENTS},
};

use super::{Damaged, SealedBatch, SealedSegment};

/// The batches of sealed segments that one core has checked.
#[derive(Default)]
pub struct Verified {
    /// By the number of the segment. Invariant: at most [`VERIFIED_SEGMENTS`].
    segments: HashMap<u64, Checked>,
}

/// Batches of a segment that were checked. Once anything of it was brought into memory after that,
/// by any core, they may come from a disk that has rotted, and are checked again; and after a moment,
/// since other processes may bring them into memory as well.
struct Checked {
    loads: u64,
    /// When the first of them was.
    since: Instant,
    /// In which stretches of [`VERIFIED_BYTES_MIN`] bytes one of them begins: a bit each. Only those
    /// that are longer than that are remembered, so in each begins one at most.
    starts: Box<[u64]>,
}

impl Checked {
    fn new(segment: &SealedSegment, now: Instant) -> Self {
        let stretches = segment.map().len().div_ceil(VERIFIED_BYTES_MIN);
        let starts = vec![0; stretches.div_ceil(64)].into();
        Self { loads: segment.map().loads(), since: now, starts }
    }

    fn is_good(&self, segment: &SealedSegment, now: Instant) -> bool {
        self.loads == segment.map().loads() && now < self.since + VERIFIED_FOR
    }

    fn holds(&self, batch: &SealedBatch) -> bool {
        let (word, bit) = place(batch);
        self.starts.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn add(&mut self, batch: &SealedBatch) {
        let (word, bit) = place(batch);
        if let Some(bits) = self.starts.get_mut(word) {
            *bits |= bit;
        }
    }
}

/// The bit of the stretch that a batch begins in.
fn place(batch: &SealedBatch) -> (usize, u64) {
    let stretch = batch.range().start / VERIFIED_BYTES_MIN;
    (stretch / 64, 1 << (stretch % 64))
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
        // Small ones are checked in no time, and several may begin in one stretch.
        let is_large = sealed.range().len() >= VERIFIED_BYTES_MIN;
        let checked = is_large.then(|| self.of(segment, now));
        if checked.as_ref().is_some_and(|checked| checked.holds(sealed))
            && let Some(batch) = segment.batch_checked_before(sealed)
        {
            return Ok(Read { batch, checked_bytes: 0 });
        }
        let batch = segment.batch(sealed)?;
        if let Some(checked) = checked {
            checked.add(sealed);
        }
        Ok(Read { checked_bytes: batch.batch.bytes().len(), batch })
    }

    /// What is known of a segment at this moment.
    fn of(&mut self, segment: &SealedSegment, now: Instant) -> &mut Checked {
        let sequence = segment.sequence;
        if self.segments.get(&sequence).is_some_and(|known| !known.is_good(segment, now)) {
            self.segments.remove(&sequence);
        }
        if self.segments.len() == VERIFIED_SEGMENTS && !self.segments.contains_key(&sequence) {
            self.segments.retain(|_, known| now < known.since + VERIFIED_FOR);
            let oldest = self.segments.iter().min_by_key(|(_, known)| known.since);
            let oldest = oldest.map(|(sequence, _)| *sequence);
            if let Some(oldest) = oldest.filter(|_| self.segments.len() == VERIFIED_SEGMENTS) {
                self.segments.remove(&oldest);
            }
        }
        let room = VERIFIED_SEGMENTS - usize::from(!self.segments.contains_key(&sequence));
        assert!(self.segments.len() <= room, "the oldest made room");
        self.segments.entry(sequence).or_insert_with(|| Checked::new(segment, now))
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
    fn each_large_batch_is_remembered_and_small_ones_beside_it_are_checked() {
        let batches = [batch(1, b's'), batch(1000, b'a'), batch(1, b's'), batch(1000, b'b')];
        let file = SealedFile::new(1, 1, &batches);
        let (mut verified, now) = (Verified::default(), Instant::now());
        let mut checks = |id| {
            let batch = batch_at(&file.segment, id);
            verified.batch(&file.segment, &batch, now).unwrap().checked_bytes > 0
        };
        assert!(checks(2) && checks(1003), "the large ones for the first time");
        assert!(!checks(2) && !checks(1003));
        assert!(checks(1) && checks(1002), "in the same stretches, and never looked at");
        assert!(checks(1) && checks(1002));
        assert!(!checks(2) && !checks(1003));
    }

    #[test]
    fn of_too_many_segments_the_oldest_is_forgotten() {
        let file = |sequence| SealedFile::new(sequence, 1, &[batch(1000, b'a')]);
        let files: Vec<_> = (1..=VERIFIED_SEGMENTS as u64 + 1).map(file).collect();
        let (mut verified, now) = (Verified::default(), Instant::now());
        let mut checks = |n: usize, after: usize| {
            let now = now + VERIFIED_FOR / 1000 * after as u32;
            let segment = &files[n].segment;
            verified.batch(segment, &batch_at(segment, 1), now).unwrap().checked_bytes > 0
        };
        assert!((0..VERIFIED_SEGMENTS).all(|n| checks(n, n)));
        assert!((0..VERIFIED_SEGMENTS).all(|n| !checks(n, VERIFIED_SEGMENTS)));
        assert!(checks(VERIFIED_SEGMENTS, VERIFIED_SEGMENTS));
        assert!((1..=VERIFIED_SEGMENTS).all(|n| !checks(n, VERIFIED_SEGMENTS)));
        assert!(checks(0, VERIFIED_SEGMENTS));
    }
}
