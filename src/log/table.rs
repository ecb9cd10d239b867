//! Where each durable entry lies, in index order: 24 bytes an entry in memory, or in the index of
//! its segment. Pure.

use super::{Place, Sealed, format::HardState, index::Run};
use crate::base::ids::LogId;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
struct Slot {
    term: u64,
    segment: u64,
    offset: u32,
    bytes: u32,
}

/// Where the places of consecutive entries are.
#[derive(Clone, Debug)]
enum Places {
    /// Here, one for each.
    Slots(VecDeque<Slot>),
    /// In the index of their segment.
    Indexed(Run),
}

/// Consecutive entries.
#[derive(Clone, Debug)]
struct Chunk {
    first: u64,
    next: u64,
    places: Places,
}

impl Chunk {
    fn slots(first: u64, slots: VecDeque<Slot>) -> Self {
        Self { first, next: first + slots.len() as u64, places: Places::Slots(slots) }
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        match &self.places {
            Places::Slots(slots) => slots.get(usize::try_from(index - self.first).ok()?),
            Places::Indexed(_) => None,
        }
    }

    fn id(&self, index: u64) -> LogId {
        match &self.places {
            Places::Indexed(run) => run.id(index),
            Places::Slots(slots) => {
                LogId { term: slots[(index - self.first) as usize].term, index }
            }
        }
    }

    fn segment(&self, index: u64) -> u64 {
        match &self.places {
            Places::Indexed(run) => run.segment(),
            Places::Slots(slots) => slots[(index - self.first) as usize].segment,
        }
    }

    /// Keeps the entries before `next`.
    fn truncate(&mut self, next: u64) {
        self.next = next;
        if let Places::Slots(slots) = &mut self.places {
            slots.truncate((next - self.first) as usize);
        }
    }

    /// Forgets the entries before `first`.
    fn purge(&mut self, first: u64) {
        if let Places::Slots(slots) = &mut self.places {
            slots.drain(..(first - self.first) as usize);
            slots.shrink_to(2 * slots.len());
        }
        self.first = first;
    }
}

/// Where the place of an entry is found.
#[derive(Clone, Debug)]
pub enum Whereabouts {
    /// It is this.
    Known(Place),
    /// In the index of its segment.
    Indexed(Run),
}

/// The places of consecutive entries. Invariants: segments never descend, since an entry that
/// replaces a removed one is written later; chunks follow one another and none is empty.
#[derive(Clone, Debug, Default)]
pub struct Table {
    first: u64,
    chunks: VecDeque<Chunk>,
}

impl Table {
    /// An empty table whose next entry is expected at `first`.
    #[must_use]
    pub fn starting_at(first: u64) -> Self {
        Self { first, chunks: VecDeque::new() }
    }

    /// The index of the first entry, or of the next one when there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The index after the last entry.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.chunks.back().map_or(self.first, |chunk| chunk.next)
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.chunks.back().map(|chunk| chunk.id(chunk.next - 1))
    }

    fn chunk(&self, index: u64) -> Option<&Chunk> {
        let after = self.chunks.partition_point(|chunk| chunk.first <= index);
        self.chunks.get(after.checked_sub(1)?).filter(|chunk| index < chunk.next)
    }

    /// The entry at `index`.
    #[must_use]
    pub fn id(&self, index: u64) -> Option<LogId> {
        self.chunk(index).map(|chunk| chunk.id(index))
    }

    /// The segment that the entry at `index` lies in.
    #[must_use]
    pub fn segment(&self, index: u64) -> Option<u64> {
        self.chunk(index).map(|chunk| chunk.segment(index))
    }

    /// Where the payload of the entry at `index` is found.
    #[must_use]
    pub fn whereabouts(&self, index: u64) -> Option<Whereabouts> {
        let chunk = self.chunk(index)?;
        Some(match &chunk.places {
            Places::Indexed(run) => Whereabouts::Indexed(run.clone()),
            Places::Slots(_) => {
                let Slot { segment, offset, bytes, .. } = *chunk.slot(index)?;
                Whereabouts::Known(Place { segment, offset, bytes })
            }
        })
    }

    /// Where the payload of the entry at `index` lies. Not for an entry whose segment has an
    /// index that may not be in memory.
    #[must_use]
    pub fn place(&self, index: u64) -> Option<Place> {
        match self.whereabouts(index)? {
            Whereabouts::Known(place) => Some(place),
            Whereabouts::Indexed(run) => run.place(index).ok(),
        }
    }

    /// Adds an entry; false when it does not follow the last one. An empty
    /// table takes any index that is not below its start.
    #[must_use]
    pub fn push(&mut self, id: LogId, place: Place) -> bool {
        if self.chunks.is_empty() && id.index > self.first {
            self.first = id.index;
        }
        if id.index != self.next() {
            return false;
        }
        let Place { segment, offset, bytes } = place;
        let newest = self.chunks.back().map(|chunk| chunk.segment(chunk.next - 1));
        assert!(
            newest.is_none_or(|newest| newest <= segment),
            "entry {id:?} lies in segment {segment}, before the one that it follows"
        );
        let slot = Slot { term: id.term, segment, offset, bytes };
        match self.chunks.back_mut() {
            Some(Chunk { next, places: Places::Slots(slots), .. }) => {
                slots.push_back(slot);
                *next += 1;
            }
            _ => self.chunks.push_back(Chunk::slots(id.index, VecDeque::from([slot]))),
        }
        true
    }

    /// Removes every entry after `last`, or all of them, as if they had never
    /// been.
    pub fn truncate(&mut self, last: Option<u64>) {
        let next = last.map_or(0, |last| last + 1);
        while self.chunks.back().is_some_and(|chunk| chunk.first >= next) {
            self.chunks.pop_back();
        }
        match self.chunks.back_mut() {
            Some(chunk) if chunk.next > next => chunk.truncate(next),
            _ => {}
        }
        if self.chunks.is_empty() && next < self.first {
            self.first = next;
        }
    }

    /// Forgets every entry up to `upto`; the next index is then at least the
    /// one after it.
    pub fn purge(&mut self, upto: u64) {
        let first = upto + 1;
        while self.chunks.front().is_some_and(|chunk| chunk.next <= first) {
            self.chunks.pop_front();
        }
        match self.chunks.front_mut() {
            Some(chunk) if chunk.first < first => chunk.purge(first),
            _ => {}
        }
        self.first = self.first.max(first);
    }

    /// Goes on with the entries of a complete segment, at whose end those up to `kept` stood of
    /// what was before; false when they do not follow.
    #[must_use]
    pub fn follow(&mut self, run: Run, kept: Option<u64>) -> bool {
        match kept {
            Some(kept) => self.truncate(Some(kept)),
            None => self.chunks.clear(),
        }
        let (first, next) = (run.first(), run.next());
        if first == next {
            return true;
        }
        if self.chunks.is_empty() {
            // It may begin below where the segment began: with an entry in the place of one before.
            self.first = if kept.is_none() { first } else { self.first.max(first) };
        } else if first != self.next() {
            return false;
        }
        let segment = run.segment();
        assert!(
            self.chunks.back().is_none_or(|chunk| chunk.segment(chunk.next - 1) < segment),
            "segment {segment} follows what is in the table"
        );
        // Of its entries some may be purged.
        let first = first.max(self.first);
        if first < next {
            self.chunks.push_back(Chunk { first, next, places: Places::Indexed(run) });
        }
        true
    }

    /// Takes the places of a segment's entries from its index from now on; also in the place of an
    /// earlier index of it.
    pub fn adopt(&mut self, run: &Run) {
        let Some((first, last)) = self.indexes_in(run.segment()) else { return };
        for chunk in &mut self.chunks {
            if let Places::Indexed(held) = &mut chunk.places
                && held.segment() == run.segment()
            {
                *held = run.clone();
            }
        }
        let at = self.chunks.partition_point(|chunk| chunk.next <= first);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let Places::Slots(slots) = &mut chunk.places else { return };
        assert!(run.first() <= first && last < run.next(), "{run:?} holds {first} to {last}");
        let before = slots.drain(..(first - chunk.first) as usize).collect();
        slots.drain(..(last + 1 - first) as usize);
        slots.shrink_to(2 * slots.len());
        let before = Chunk::slots(chunk.first, before);
        (chunk.first, chunk.places) = (last + 1, Places::Slots(std::mem::take(slots)));
        let indexed = Chunk { first, next: last + 1, places: Places::Indexed(run.clone()) };
        if chunk.first == chunk.next {
            self.chunks.remove(at);
        }
        self.chunks.insert(at, indexed);
        if before.first < before.next {
            self.chunks.insert(at, before);
        }
    }

    /// How a segment is left, as far as its entries go.
    #[must_use]
    pub fn sealed(&self, segment: u64) -> Sealed {
        let (first, next) =
            self.indexes_in(segment).map_or((self.next(), self.next()), |(a, b)| (a, b + 1));
        let entry = |index| Some((self.id(index)?, self.place(index)?));
        let kept = first.checked_sub(1).filter(|_| self.first < first);
        Sealed {
            sequence: segment,
            nonce: 0,
            entries: (first..next).filter_map(entry).collect(),
            kept,
            next_group: 0,
            chain: 0,
            state: HardState::default(),
        }
    }

    /// The oldest segment that holds an entry of the table.
    #[must_use]
    pub fn oldest_segment(&self) -> Option<u64> {
        self.chunks.front().map(|chunk| chunk.segment(chunk.first))
    }

    /// The first and last index in one segment.
    #[must_use]
    pub fn indexes_in(&self, segment: u64) -> Option<(u64, u64)> {
        let from = self.position(|found| found < segment);
        let to = self.position(|found| found <= segment);
        (from < to).then(|| (from, to - 1))
    }

    /// The index of the first entry whose segment is not `before`.
    fn position(&self, before: impl Fn(u64) -> bool) -> u64 {
        let after = self.chunks.partition_point(|chunk| before(chunk.segment(chunk.next - 1)));
        let Some(chunk) = self.chunks.get(after) else { return self.next() };
        match &chunk.places {
            Places::Indexed(_) => chunk.first,
            Places::Slots(slots) => {
                chunk.first + slots.partition_point(|slot| before(slot.segment)) as u64
            }
        }
    }
}
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        base::ids::ClusterId,
        io::{Disk, Files, simulated::disk::SimDisk},
        log::{
            Identity,
            index::{self, Indexed},
        },
        sections::{Builder, Sections},
    };

    fn push(table: &mut Table, index: u64, segment: u64) -> bool {
        table.push(LogId { term: 1, index }, Place { segment, offset: 0, bytes: 0 })
    }

    #[test]
    fn entries_are_consecutive_and_segments_are_found() {
        let mut table = Table::default();
        for index in 0..10 {
            assert!(push(&mut table, index, 1 + index / 4));
        }
        assert!(!push(&mut table, 11, 3));
        assert_eq!(table.indexes_in(2), Some((4, 7)));
        assert_eq!(table.indexes_in(4), None);
        table.purge(4);
        assert_eq!((table.first(), table.next(), table.oldest_segment()), (5, 10, Some(2)));
        assert_eq!(table.id(4), None);
        table.truncate(Some(6));
        assert_eq!(table.last(), Some(LogId { term: 1, index: 6 }));
        assert!(push(&mut table, 7, 4));
        assert_eq!(table.place(7).unwrap().segment, 4);
    }

    /// Entries `first` to `last` of the segment 3, by its index.
    fn run(first: u64, last: u64) -> Run {
        let place = Place { segment: 3, offset: 0, bytes: 0 };
        let entries = (first..=last).map(|index| (LogId { term: 2, index }, place));
        let sealed = Sealed {
            sequence: 3,
            nonce: 0,
            entries: entries.collect(),
            kept: None,
            next_group: 0,
            chain: 0,
            state: HardState::default(),
        };
        let mut builder = Builder::default();
        index::put(
            &mut builder,
            Identity { cluster: ClusterId(uuid::Uuid::nil()), node: 1 },
            &sealed,
            None,
        );
        let disk = SimDisk::new(1);
        disk.put("index", builder.finish());
        let sections = Sections::open(disk.files().map("index").unwrap()).unwrap();
        Indexed::read(&Arc::new(sections)).unwrap().run
    }

    #[test]
    fn the_oldest_segment_may_begin_with_an_entry_in_the_place_of_one_that_stood_before_it() {
        // It was begun for entry 7, and got another entry 6 as its first one.
        let mut table = Table::starting_at(7);
        assert!(table.follow(run(6, 9), None));
        assert_eq!((table.first(), table.next()), (6, 10));
        assert_eq!(table.id(6), Some(LogId { term: 2, index: 6 }));
        table.purge(7);
        assert_eq!((table.first(), table.next(), table.id(7)), (8, 10, None));
    }

    #[test]
    fn a_purge_beyond_the_end_and_a_truncation_below_the_start_move_the_next_index() {
        let mut table = Table::default();
        assert!(push(&mut table, 0, 1));
        table.purge(9);
        assert_eq!((table.next(), table.is_empty()), (10, true));
        table.truncate(Some(3));
        assert_eq!(table.next(), 4);
        assert!(!push(&mut table, 3, 1));
        assert!(push(&mut table, 5, 1), "an empty log may start anywhere above");
    }
}
