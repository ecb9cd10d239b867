//! Which ids of a batch went to changes that a part of it leaves out.

use super::{
    Batch, Previous, Replaced,
    layout::{GAP_BYTES, PART_HEADER_BYTES, REPLACED_BYTES},
    read::u32_at,
};
use crate::base::ids::ChangeId;

/// Ids of a batch that went to changes which a part of it leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// How many changes of the part stand before it.
    pub(super) before: u32,
    /// How many ids went to others up to its end, from the start of the batch.
    pub(super) passed: u32,
}

impl<B: AsRef<[u8]>> Batch<B> {
    /// The `n`-th gap of a part.
    pub(super) fn gap(&self, n: u32) -> Gap {
        let gap = &self.bytes.as_ref()[PART_HEADER_BYTES + n as usize * GAP_BYTES..];
        Gap { before: u32_at(gap, 0), passed: u32_at(gap, 4) }
    }

    /// How many gaps there are.
    pub(super) fn gap_count(&self) -> u32 {
        self.gaps
    }

    /// A change of a part, and the version that it replaced.
    pub(super) fn replaced_at(&self, n: u32) -> (u32, u64) {
        let at = PART_HEADER_BYTES + self.gaps as usize * GAP_BYTES;
        let record = &self.bytes.as_ref()[at + n as usize * REPLACED_BYTES..];
        (u32_at(record, 0), u64::from(u32_at(record, 4)) | u64::from(u32_at(record, 8)) << 32)
    }

    /// How many of those there are.
    pub(super) fn replaced_count(&self) -> u32 {
        self.replaced
    }

    /// Its gaps, in order.
    pub(super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        (0..self.gap_count()).map(|n| self.gap(n))
    }

    /// How many of its ids went to changes that it leaves out.
    #[must_use]
    pub fn passed(&self) -> u32 {
        self.gap_count().checked_sub(1).map_or(0, |last| self.gap(last).passed)
    }

    /// How many of them are below that of its change number `change`.
    #[must_use]
    pub fn passed_before(&self, change: u32) -> u32 {
        let before = self.gaps_where(|gap, _| gap.before <= change);
        before.checked_sub(1).map_or(0, |last| self.gap(last).passed)
    }

    /// The change with the `n`-th id of the batch, by its number; nothing where that is left out.
    #[must_use]
    pub fn change_with_id(&self, n: u32) -> Option<u32> {
        let before = self.gaps_where(|gap, passed| gap.before + passed <= n);
        let Some(last) = before.checked_sub(1) else { return Some(n) };
        let gap = self.gap(last);
        (gap.before + gap.passed <= n).then(|| n - gap.passed)
    }

    /// How many gaps there are at the start of which `holds`; it is given what passed before, too.
    fn gaps_where(&self, holds: impl Fn(Gap, u32) -> bool) -> u32 {
        let (mut low, mut high) = (0, self.gap_count());
        while low < high {
            let middle = low + (high - low) / 2;
            let passed = middle.checked_sub(1).map_or(0, |before| self.gap(before).passed);
            match holds(self.gap(middle), passed) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// What its changes replaced, as a part says it.
    #[must_use]
    pub fn replaced(&self) -> Previous {
        let replaced = (0..self.replaced_count()).map(|n| self.replaced_at(n));
        let number = |change: u32| change + self.passed_before(change);
        let replaced = replaced.map(|(change, version)| Replaced {
            number: number(change),
            version: ChangeId(version),
        });
        Previous::of(replaced.collect())
    }
}
