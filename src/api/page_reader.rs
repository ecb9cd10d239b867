//! Collects one page of the list from batches in memory and in mapped segments,
//! in turns short enough for the core's other connections.

use std::{io, ops::Range, sync::Arc};

use super::{answer::ListAnswer, tag_filter::TagFilter};
use crate::{
    base::{
        batch::Batch,
        ids::ChangeId,
        limits::{
            READ_AHEAD_BYTES, READ_EXAMINED_MAX, READ_EXPECTED_FILTERED, READ_TURN_BYTES,
            READ_TURN_CHANGES,
        },
    },
    io::cores,
    state::{History, Located, SealedSegment, Verified, sealed::Damaged},
};

/// A page under construction.
pub(super) struct PageReader<'q> {
    list: ListAnswer,
    tags: &'q TagFilter,
    limit: usize,
    /// The last change looked at.
    examined: ChangeId,
    /// The last change there is to look at.
    last: ChangeId,
    /// Changes that may still be looked at.
    budget: usize,
    /// Where batches are known to be in memory.
    resident: Option<Resident>,
}

/// What may still be done before others get their turn.
struct Turn {
    changes: usize,
    bytes: usize,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.changes == 0 || self.bytes == 0
    }
}

impl<'q> PageReader<'q> {
    /// A page of at most `limit` changes that bear `tags`, from those after
    /// `since` up to `last`.
    pub(super) fn new(since: ChangeId, last: ChangeId, limit: usize, tags: &'q TagFilter) -> Self {
        let there = usize::try_from(last.0.saturating_sub(since.0)).unwrap_or(usize::MAX);
        let filtered = if tags.is_empty() { usize::MAX } else { READ_EXPECTED_FILTERED };
        Self {
            list: ListAnswer::new(limit.min(there).min(filtered)),
            tags,
            limit,
            examined: since,
            last,
            budget: READ_EXAMINED_MAX,
            resident: None,
        }
    }

    /// Whether there is nothing left to read, or no room.
    pub(super) fn is_done(&self) -> bool {
        self.examined >= self.last || self.list.changes() >= self.limit || self.budget == 0
    }

    /// The last change looked at.
    pub(super) fn examined(&self) -> ChangeId {
        self.examined
    }

    /// What was collected.
    pub(super) fn into_list(self) -> ListAnswer {
        self.list
    }

    /// Reads for one turn, or until it comes to a batch that is not in memory:
    /// then this is to be loaded, and [`loaded`](Self::loaded) told of it.
    ///
    /// # Errors
    /// [`Damaged`] when a stored batch is not what was written.
    pub(super) fn read_some(
        &mut self,
        history: &History,
        verified: &mut Verified,
    ) -> Result<Option<Cold>, Damaged> {
        let mut turn = Turn { changes: READ_TURN_CHANGES, bytes: READ_TURN_BYTES };
        while !self.is_done() && !turn.is_over() {
            match history.locate(self.examined.next()) {
                Some(Located::Recent(first, batch)) => self.take(first, batch, &mut turn),
                Some(Located::Sealed(segment, n)) => {
                    if !self.finds_resident(segment, n) {
                        return Ok(Some(Cold { segment: Arc::clone(segment), n }));
                    }
                    let read = verified.batch(segment, n)?;
                    self.take(read.first, &read.batch, &mut turn);
                    turn.bytes = turn.bytes.saturating_sub(read.checked_bytes);
                }
                None => unreachable!("every change from the first to the last is held"),
            }
        }
        Ok(None)
    }

    /// Says that what was missing is in memory now.
    pub(super) fn loaded(&mut self, resident: Resident) {
        self.resident = Some(resident);
    }

    fn finds_resident(&mut self, segment: &Arc<SealedSegment>, n: usize) -> bool {
        if !self.resident.as_ref().is_some_and(|resident| resident.holds(segment, n)) {
            self.resident = Resident::find(segment, n);
        }
        self.resident.is_some()
    }

    /// Adds what belongs to the page of a batch that starts with `first` and
    /// holds the change after `examined`, as far as the turn goes.
    fn take<B: AsRef<[u8]>>(&mut self, first: ChangeId, batch: &Batch<B>, turn: &mut Turn) {
        let skip = (self.examined.next().0 - first.0) as u32;
        for n in skip..batch.changes() {
            if self.is_done() || turn.is_over() {
                return;
            }
            let id = ChangeId(first.0 + u64::from(n));
            let (tail, tags) = batch.change(n);
            if self.tags.is_empty() || self.tags.passes(tags) {
                if !self.list.push(id, batch.at(), tail) {
                    self.budget = 0;
                    return;
                }
                turn.bytes = turn.bytes.saturating_sub(tail.len());
            }
            turn.changes -= 1;
            self.examined = id;
            self.budget -= 1;
        }
    }
}

/// A stretch of a sealed segment that was found in memory, or brought there.
pub(super) struct Resident {
    sequence: u64,
    range: Range<usize>,
}

impl Resident {
    /// A stretch that starts with batch `n`, or nothing when that is not in
    /// memory.
    pub(super) fn find(segment: &SealedSegment, n: usize) -> Option<Self> {
        let (batch, ahead) = (segment.range(n), ahead(segment, n));
        let mut ranges = [ahead, batch].into_iter();
        let range = ranges.find(|range| segment.map().is_resident(range.clone()))?;
        Some(Self { sequence: segment.sequence, range })
    }

    fn holds(&self, segment: &SealedSegment, n: usize) -> bool {
        let batch = segment.range(n);
        self.sequence == segment.sequence
            && self.range.start <= batch.start
            && batch.end <= self.range.end
    }
}

/// A batch of a sealed segment that is on disk and not in memory.
pub(super) struct Cold {
    /// The segment.
    pub(super) segment: Arc<SealedSegment>,
    /// The number of the batch in it.
    pub(super) n: usize,
}

impl Cold {
    /// Brings it, and what follows it, into memory. To be verified anew then.
    ///
    /// # Errors
    /// What the disk reports.
    pub(super) async fn load(self) -> io::Result<Resident> {
        let range = ahead(&self.segment, self.n);
        let (map, wanted) = (Arc::clone(self.segment.map()), range.clone());
        cores::off_core(move || map.populate(wanted)).await?;
        Ok(Resident { sequence: self.segment.sequence, range })
    }
}

/// Batch `n` and what is worth having in memory with it.
fn ahead(segment: &SealedSegment, n: usize) -> Range<usize> {
    let range = segment.range(n);
    let end = range.end.max(range.start + READ_AHEAD_BYTES);
    range.start..segment.map().len().min(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{
            batch::{Append, ChangeSpan, encode},
            ids::Timestamp,
        },
        state::testing::{SealedFile, batch},
    };

    /// Reads to the end of the page; the changes looked at in each turn.
    fn turns(reader: &mut PageReader<'_>, history: &History, verified: &mut Verified) -> Vec<u64> {
        let mut turns = Vec::new();
        while !reader.is_done() {
            let before = reader.examined();
            assert!(reader.read_some(history, verified).unwrap().is_none(), "all is in memory");
            turns.push(reader.examined().0 - before.0);
        }
        turns
    }

    fn ids(reader: PageReader<'_>) -> Vec<u64> {
        let answer = reader.into_list().finish(true, true, ChangeId(0));
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let digits = |part: &str| part.split(',').next().unwrap().parse().unwrap();
        text.split("\"_id\":").skip(1).map(digits).collect()
    }

    #[test]
    fn a_large_batch_is_read_in_several_turns() {
        let file = SealedFile::new(1, 1, &[batch(10_000, b'}'), batch(1, b'}')]);
        let mut sealed = History::default();
        sealed.seal(Arc::clone(&file.segment));
        let mut recent = History::default();
        recent.push(ChangeId(1), batch(10_000, b'}'));
        recent.push(ChangeId(10_001), batch(1, b'}'));
        let (all, none) = (TagFilter::default(), TagFilter::new(["absent"]));
        let per_turn = READ_TURN_CHANGES as u64;
        let rest = 10_001 - 2 * per_turn;
        for history in [&sealed, &recent] {
            let mut verified = Verified::default();
            let mut reader = PageReader::new(ChangeId(0), history.last(), usize::MAX, &all);
            assert_eq!(turns(&mut reader, history, &mut verified), [per_turn, per_turn, rest]);
            assert!(ids(reader).into_iter().eq(1..=10_001));
            let mut reader = PageReader::new(ChangeId(7), history.last(), usize::MAX, &none);
            assert_eq!(turns(&mut reader, history, &mut verified).len(), 3);
            assert!(ids(reader).is_empty());
        }
    }

    #[test]
    fn a_turn_ends_after_so_many_bytes() {
        let tail = READ_TURN_BYTES / 4 + 1;
        let spans = (1..=10).map(|n| ChangeSpan { end: n * tail as u32, ..ChangeSpan::default() });
        let append = Append { spans: spans.collect(), tails: vec![b'}'; 10 * tail].into() };
        let batch = Batch::parse(encode(&[append], Timestamp(1))).unwrap();
        let all = TagFilter::default();
        let mut recent = History::default();
        recent.push(ChangeId(1), batch.clone());
        let mut reader = PageReader::new(ChangeId(0), recent.last(), 10, &all);
        assert_eq!(turns(&mut reader, &recent, &mut Verified::default()), [4, 4, 2]);

        // Checking a batch is a turn's work as well, and is done once.
        let file = SealedFile::new(1, 1, &[batch.clone(), batch]);
        let mut sealed = History::default();
        sealed.seal(Arc::clone(&file.segment));
        let mut verified = Verified::default();
        let none = TagFilter::new(["absent"]);
        for want in [&[10, 10][..], &[20]] {
            let mut reader = PageReader::new(ChangeId(0), sealed.last(), 20, &none);
            assert_eq!(turns(&mut reader, &sealed, &mut verified), want);
        }
    }

    #[test]
    fn residency_is_asked_for_by_the_stretch() {
        let file = SealedFile::new(1, 1, &vec![batch(1, b'}'); 100]);
        let all = TagFilter::default();
        let mut reader = PageReader::new(ChangeId(0), ChangeId(100), 100, &all);
        assert!(reader.finds_resident(&file.segment, 3));
        let found = reader.resident.as_ref().unwrap();
        assert!((3..100).all(|n| found.holds(&file.segment, n)));
        assert!(!found.holds(&file.segment, 2));
        let other = SealedFile::new(2, 101, &vec![batch(1, b'}'); 100]);
        assert!(!found.holds(&other.segment, 3));
    }
}
