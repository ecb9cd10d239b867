//! From times to places in the list: which change is the first of those stamped later.

use std::{io, ops::RangeInclusive};

use super::{replica::Replica, sealing::Later, segment_index::SegmentIndex};
use crate::{
    base::ids::{ChangeId, Timestamp},
    io::{Disk, Files},
    state::SealedSegment,
};

impl<D: Disk> Replica<D> {
    /// Where the first change is that is stamped later than `at`.
    #[must_use]
    pub fn first_later(&self, at: Timestamp) -> Later {
        self.machine.first_later(at)
    }

    /// The last change that is held no more.
    #[must_use]
    pub fn purged_upto(&self) -> ChangeId {
        self.machine.purged_upto()
    }
}

/// The first change of a segment that is stamped later than `at`; the segment has an index, and
/// such a change. Reads from the disk.
///
/// # Errors
/// The segment, or its index, cannot be read or is damaged.
pub fn first_later_in(files: &impl Files, segment: u64, at: Timestamp) -> io::Result<ChangeId> {
    let index =
        SegmentIndex::open(files, segment).map_err(|error| io::Error::other(error.to_string()))?;
    let Some(segment) = index.segment else { return Ok(index.position.last.next()) };
    search(&segment, segment.first()..=segment.last(), at)
}

fn search(
    segment: &SealedSegment,
    range: RangeInclusive<ChangeId>,
    at: Timestamp,
) -> io::Result<ChangeId> {
    // Changes below `low` are not later, those from `high` on are.
    let (mut low, mut high) = (*range.start(), range.end().next());
    while low < high {
        let middle = ChangeId(low.0 + (high.0 - low.0) / 2);
        let place = segment.find_on_disk(middle)?;
        let batch = segment.batch(&place).map_err(io::Error::other)?;
        match batch.batch.at() <= at {
            true => low = batch.last().next(),
            false => high = batch.first.max(low),
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::{SealedFile, batch, batch_of};

    #[test]
    fn the_first_later_change_is_that_of_a_scan() {
        let stamps = [3, 3, 5, 9, 9, 9, 12];
        let batches: Vec<_> = stamps
            .iter()
            .enumerate()
            .map(|(n, at)| batch_of(&batch(n % 3 + 1, b'}').to_commands(), *at))
            .collect();
        let file = SealedFile::new(1, 7, &batches);
        let counts = batches.iter().map(|batch| batch.changes() as usize);
        let all: Vec<u64> =
            stamps.iter().zip(counts).flat_map(|(at, count)| vec![*at; count]).collect();
        let range = || file.segment.first()..=file.segment.last();
        for at in 0..12 {
            let wanted = 7 + all.iter().filter(|stamp| **stamp <= at).count() as u64;
            assert_eq!(search(&file.segment, range(), Timestamp(at)).unwrap().0, wanted, "{at}");
        }
    }
}
