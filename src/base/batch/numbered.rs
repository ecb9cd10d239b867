//! A batch once it is applied: its accepted changes with their ids.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Batch, ChangeRef, Previous};
use crate::base::ids::ChangeId;

/// The changes of a batch that were refused and so have no id. Mostly none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skips(Option<Arc<[Skip]>>);

/// Changes refused in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skip {
    /// How many accepted changes stand before them.
    accepted: u32,
    /// How many were refused, up to and including these.
    refused: u32,
}

impl Skips {
    /// Of a batch whose runs of changes were accepted or not, in order.
    #[must_use]
    pub fn of(runs: impl IntoIterator<Item = (u32, bool)>) -> Self {
        let mut skips: Vec<Skip> = Vec::new();
        let (mut accepted, mut refused) = (0, 0);
        for (changes, is_accepted) in runs {
            if is_accepted {
                accepted += changes;
            } else if changes > 0 {
                refused += changes;
                match skips.last_mut() {
                    Some(last) if last.accepted == accepted => last.refused = refused,
                    _ => skips.push(Skip { accepted, refused }),
                }
            }
        }
        Self((!skips.is_empty()).then(|| skips.into()))
    }

    /// Writes them: u32 count, then u32 accepted and u32 refused of each run, little-endian.
    pub fn put(&self, out: &mut Vec<u8>) {
        let skips = self.0.as_deref().unwrap_or_default();
        out.extend_from_slice(&(skips.len() as u32).to_le_bytes());
        for skip in skips {
            out.extend_from_slice(&skip.accepted.to_le_bytes());
            out.extend_from_slice(&skip.refused.to_le_bytes());
        }
    }

    /// Reads what [`put`](Self::put) wrote, from the beginning of `bytes`.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let runs = rest.get(..8 * u32::from_le_bytes(*count) as usize)?;
        let (runs, _) = runs.as_chunks::<8>();
        let skip = |run: &[u8; 8]| {
            let both = u64::from_le_bytes(*run);
            Skip { accepted: both as u32, refused: (both >> 32) as u32 }
        };
        let skips: Arc<[Skip]> = runs.iter().map(skip).collect();
        Some(Self((!skips.is_empty()).then_some(skips)))
    }

    /// How many changes were refused.
    #[must_use]
    pub fn refused(&self) -> u32 {
        self.0.as_ref().and_then(|skips| skips.last()).map_or(0, |skip| skip.refused)
    }

    /// The number, among all changes of the batch, of the `n`-th accepted one.
    #[must_use]
    pub fn place(&self, n: u32) -> u32 {
        let Some(skips) = &self.0 else { return n };
        let before = skips.partition_point(|skip| skip.accepted <= n);
        n + before.checked_sub(1).map_or(0, |last| skips[last].refused)
    }
}

/// A batch and the ids of its accepted changes.
#[derive(Clone, Debug)]
pub struct NumberedBatch<B = Bytes> {
    /// The id of its first accepted change.
    pub first: ChangeId,
    /// The batch.
    pub batch: Batch<B>,
    /// What was refused of it.
    pub skips: Skips,
    /// What its changes replaced.
    pub previous: Previous,
}

impl<B: AsRef<[u8]>> NumberedBatch<B> {
    /// How many changes were accepted, those included that a part of a batch leaves out.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.batch.changes() - self.skips.refused() + self.batch.passed()
    }

    /// The number, among all changes of the batch, of the accepted change `id`; nothing where a part
    /// leaves it out.
    #[must_use]
    pub fn place(&self, id: ChangeId) -> Option<u32> {
        let number = (id.0 - self.first.0) as u32;
        match self.batch.is_part() {
            true => self.batch.change_with_id(number),
            false => Some(self.skips.place(number)),
        }
    }

    /// The id of its last accepted change; that before `first` if there is none.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        ChangeId(self.first.0 + u64::from(self.changes()) - 1)
    }

    /// The accepted change `id`; [`ChangeRef::LEFT_OUT`] where a part leaves it out.
    ///
    /// # Panics
    /// If it is none of this batch.
    #[must_use]
    pub fn change(&self, id: ChangeId) -> ChangeRef<'_> {
        assert!(self.first <= id && id <= self.last(), "change {id} of {}", self.first);
        let number = (id.0 - self.first.0) as u32;
        let Some(place) = self.place(id) else { return ChangeRef::LEFT_OUT };
        self.batch.change(place).after(self.previous.get(number))
    }

    /// The stretch of its bytes where what [`change`](Self::change) asks for of the changes from `first` to
    /// `last` stands, but for the header and the changes themselves.
    ///
    /// # Panics
    /// If it is a part.
    #[must_use]
    pub fn table_range(&self, first: ChangeId, last: ChangeId) -> Range<usize> {
        assert!(!self.batch.is_part(), "what a part has is not found by number");
        let number = |id: ChangeId| self.skips.place((id.0 - self.first.0) as u32);
        // A change begins where the one before it ends.
        let begin = self.batch.span_at(number(first).saturating_sub(1));
        begin..self.batch.span_at(number(last) + 1)
    }

    /// The stretch of its bytes where the changes from `first` on stand, up to `last` or as many as are within
    /// `bytes_max`, one at least; and the last of these. Looks at [`table_range`](Self::table_range).
    ///
    /// # Panics
    /// If it is a part.
    #[must_use]
    pub fn suffixes_within(
        &self,
        first: ChangeId,
        last: ChangeId,
        bytes_max: usize,
    ) -> (Range<usize>, ChangeId) {
        assert!(!self.batch.is_part(), "what a part has is not found by number");
        let range =
            |id: ChangeId| self.batch.suffix_range(self.skips.place((id.0 - self.first.0) as u32));
        let begin = range(first).start;
        let (mut fits, mut beyond) = (first.0, last.0 + 1);
        while fits + 1 < beyond {
            let middle = fits.midpoint(beyond);
            match range(ChangeId(middle)).end.saturating_sub(begin) <= bytes_max {
                true => fits = middle,
                false => beyond = middle,
            }
        }
        (begin..range(ChangeId(fits)).end, ChangeId(fits))
    }

    /// Its accepted changes, in order, but for those that a part leaves out.
    pub fn iter(&self) -> impl Iterator<Item = (ChangeId, ChangeRef<'_>)> {
        let held = self.batch.changes() - self.skips.refused();
        let ids = (0..held).map(|n| self.first.0 + u64::from(n + self.batch.passed_before(n)));
        ids.map(ChangeId).map(|id| (id, self.change(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn accepted_changes_are_found_among_refused_ones(
            runs in proptest::collection::vec((0u32..4, any::<bool>()), 0..20),
        ) {
            let skips = Skips::of(runs.iter().copied());
            let all: Vec<bool> =
                runs.iter().flat_map(|&(n, accepted)| vec![accepted; n as usize]).collect();
            let places: Vec<u32> =
                (0..all.len() as u32).filter(|&n| all[n as usize]).collect();
            prop_assert_eq!(skips.refused() as usize, all.len() - places.len());
            for (n, place) in places.iter().enumerate() {
                prop_assert_eq!(skips.place(n as u32), *place);
            }
        }
    }
}
