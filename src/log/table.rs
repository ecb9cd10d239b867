//! Where each durable entry lies: 24 bytes an entry, in index order. Pure.

use super::Place;
use crate::base::ids::LogId;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
struct Slot {
    term: u64,
    segment: u64,
    offset: u32,
    bytes: u32,
}

/// The places of consecutive entries. Invariant: segments never descend, since
/// an entry that replaces a removed one is written later.
#[derive(Clone, Debug, Default)]
pub struct Table {
    first: u64,
    slots: VecDeque<Slot>,
}

impl Table {
    /// An empty table whose next entry is expected at `first`.
    #[must_use]
    pub fn starting_at(first: u64) -> Self {
        Self { first, slots: VecDeque::new() }
    }

    /// The index of the first entry, or of the next one when there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The index after the last entry.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        let slot = self.slots.back()?;
        Some(LogId { term: slot.term, index: self.next() - 1 })
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// The entry at `index`.
    #[must_use]
    pub fn id(&self, index: u64) -> Option<LogId> {
        self.slot(index).map(|slot| LogId { term: slot.term, index })
    }

    /// Where the payload of the entry at `index` lies.
    #[must_use]
    pub fn place(&self, index: u64) -> Option<Place> {
        self.slot(index).map(|slot| Place {
            segment: slot.segment,
            offset: slot.offset,
            bytes: slot.bytes,
        })
    }

    /// Adds an entry; false when it does not follow the last one. An empty
    /// table takes any index that is not below its start.
    #[must_use]
    pub fn push(&mut self, id: LogId, place: Place) -> bool {
        if self.slots.is_empty() && id.index > self.first {
            self.first = id.index;
        }
        if id.index != self.next() {
            return false;
        }
        let Place { segment, offset, bytes } = place;
        assert!(
            self.slots.back().is_none_or(|last| last.segment <= segment),
            "entry {id:?} lies in segment {segment}, before the one that it follows"
        );
        self.slots.push_back(Slot { term: id.term, segment, offset, bytes });
        true
    }

    /// Removes every entry after `last`, or all of them, as if they had never
    /// been.
    pub fn truncate(&mut self, last: Option<u64>) {
        let next = last.map_or(0, |last| last + 1);
        if next < self.first {
            self.slots.clear();
            self.first = next;
        } else {
            let kept = usize::try_from(next - self.first).unwrap_or(usize::MAX);
            self.slots.truncate(kept);
        }
    }

    /// Forgets every entry up to `upto`; the next index is then at least the
    /// one after it.
    pub fn purge(&mut self, upto: u64) {
        let first = upto + 1;
        if first >= self.next() {
            self.slots.clear();
        } else if first > self.first {
            let count = usize::try_from(first - self.first).unwrap_or(usize::MAX);
            self.slots.drain(..count.min(self.slots.len()));
        }
        self.first = self.first.max(first);
    }

    /// The oldest segment that holds an entry of the table.
    #[must_use]
    pub fn oldest_segment(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.segment)
    }

    /// The first and last index in one segment.
    #[must_use]
    pub fn indexes_in(&self, segment: u64) -> Option<(u64, u64)> {
        let from = self.slots.partition_point(|slot| slot.segment < segment);
        let to = self.slots.partition_point(|slot| slot.segment <= segment);
        (from < to).then(|| (self.first + from as u64, self.first + to as u64 - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
