//! The lists of all changes, segment by segment: in index files, or in memory.

use std::{
    collections::VecDeque,
    sync::{Arc, RwLock},
};

use super::{
    key::ListKey,
    lists::SealedLists,
    locks::{lock, share},
    tail::Tail,
};
use crate::{base::ids::ChangeId, state::unread::Unread};

/// Segments that are looked into at once.
const PARTS_AT_ONCE: usize = 64;

/// The lists of a segment.
enum Part {
    Tail(Arc<Tail>),
    Sealed { segment: u64, first: ChangeId, lists: Arc<SealedLists> },
}

impl Part {
    fn first(&self) -> ChangeId {
        match self {
            Self::Tail(tail) => tail.first,
            Self::Sealed { first, .. } => *first,
        }
    }

    fn segment(&self) -> u64 {
        match self {
            Self::Tail(tail) => tail.segment,
            Self::Sealed { segment, .. } => *segment,
        }
    }
}

/// The lists of all segments.
#[derive(Default)]
pub(super) struct Parts {
    /// Invariant: the segments ascend, and so do their first changes.
    parts: RwLock<VecDeque<Part>>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} parts", share(&self.parts).len())
    }
}

impl Parts {
    /// Goes on in another segment.
    pub(super) fn begin(&self, tail: Arc<Tail>) {
        let mut parts = lock(&self.parts);
        let follows = parts
            .back()
            .is_none_or(|newest| newest.segment() < tail.segment && newest.first() <= tail.first);
        assert!(follows, "the lists of segment {} follow those before", tail.segment);
        parts.push_back(Part::Tail(tail));
    }

    /// Takes the lists of a segment from its index file from now on.
    pub(super) fn seal(&self, segment: u64, first: ChangeId, lists: Arc<SealedLists>) {
        let mut parts = lock(&self.parts);
        let at = parts.partition_point(|part| part.segment() < segment);
        let sealed = Part::Sealed { segment, first, lists };
        match parts.get_mut(at) {
            Some(part) if part.segment() == segment => *part = sealed,
            _ => parts.insert(at, sealed),
        }
    }

    /// Forgets a segment without changes.
    pub(super) fn forget(&self, segment: u64) {
        lock(&self.parts).retain(|part| part.segment() != segment);
    }

    /// Forgets the segments before `segment`.
    pub(super) fn forget_before(&self, segment: u64) {
        lock(&self.parts).retain(|part| part.segment() >= segment);
    }

    /// Forgets segments that hold only changes below `first`.
    pub(super) fn trim(&self, first: ChangeId) {
        let mut parts = lock(&self.parts);
        while parts.get(1).is_some_and(|next| next.first() <= first) {
            parts.pop_front();
        }
    }

    /// Lists that are held in memory.
    pub(super) fn in_memory(&self) -> usize {
        let tails = share(&self.parts);
        let tails = tails.iter().filter_map(|part| match part {
            Part::Tail(tail) => Some(tail.lists()),
            Part::Sealed { .. } => None,
        });
        tails.sum()
    }

    /// Appends up to `count` ids of a list to `out`, which is empty: the lowest from `from` up to
    /// `last`, and perhaps some beyond. Gives back up to which one none is left out.
    ///
    /// # Errors
    /// [`Unread`]: something must be loaded first, or is damaged.
    pub(super) fn copy_from(
        &self,
        key: ListKey,
        from: ChangeId,
        last: ChangeId,
        count: usize,
        out: &mut Vec<ChangeId>,
    ) -> Result<ChangeId, Unread> {
        let parts = share(&self.parts);
        let start = parts.partition_point(|part| part.first() <= from).saturating_sub(1);
        for (n, part) in parts.range(start..).enumerate() {
            if part.first() > last {
                break;
            }
            if n == PARTS_AT_ONCE {
                return Ok(ChangeId(part.first().0 - 1));
            }
            let before = out.len();
            match part {
                Part::Tail(tail) => tail.copy_from(key, from, count - before, out),
                Part::Sealed { lists, .. } => {
                    if let Err(stop) = lists.copy_from(key, from, count - before, out) {
                        out.truncate(before);
                        let reached = part.first() > from && before > 0;
                        return if reached {
                            Ok(ChangeId(part.first().0 - 1))
                        } else {
                            Err(lists.unread(stop))
                        };
                    }
                }
            }
            if let Some(newest) = out.last().filter(|_| out.len() == count) {
                return Ok(*newest);
            }
        }
        Ok(last)
    }
}
