//! The changes whose data and tags were taken away. Part of the replicated state: whether the bytes
//! of such a change are still in the log or not, it is shown without them.

use std::{
    collections::BTreeSet,
    sync::{
        RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use smallvec::SmallVec;

use super::locks::{lock, share};
use crate::base::{ids::ChangeId, planted::planted};

/// The redacted changes among those held.
#[derive(Debug, Default)]
struct Ids {
    all: BTreeSet<ChangeId>,
    /// Those whose bytes may still be in this node's files. Invariant: of `all`.
    waiting: BTreeSet<ChangeId>,
}

/// Which changes are redacted.
#[derive(Debug, Default)]
pub struct Redactions {
    ids: RwLock<Ids>,
    /// How many redactions came in so far; 0 while there is none. Read without the lock.
    version: AtomicU64,
}

impl Redactions {
    /// Changes with each redaction.
    #[must_use]
    pub fn version(&self) -> u64 {
        // Whoever was told of a redaction on one core asks another next.
        self.version.load(Ordering::SeqCst)
    }

    /// Adds a change; whether it was not there.
    pub(in crate::state) fn add(&self, id: ChangeId) -> bool {
        let is_new = {
            let mut ids = lock(&self.ids);
            let is_new = ids.all.insert(id);
            if is_new {
                ids.waiting.insert(id);
            }
            is_new
        };
        if is_new {
            self.version.fetch_add(1, Ordering::SeqCst);
        }
        is_new
    }

    /// Whether that change is redacted.
    #[must_use]
    pub fn contains(&self, id: ChangeId) -> bool {
        self.version() > 0 && !planted!(ForgetRedactions) && share(&self.ids).all.contains(&id)
    }

    /// Those from `first` to `last`.
    #[must_use]
    pub fn within(&self, first: ChangeId, last: ChangeId) -> SmallVec<[ChangeId; 4]> {
        if self.version() == 0 || last < first || planted!(ForgetRedactions) {
            return SmallVec::new();
        }
        share(&self.ids).all.range(first..=last).copied().collect()
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> Vec<ChangeId> {
        share(&self.ids).all.iter().copied().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        share(&self.ids).all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those whose bytes may still be in this node's files, in order.
    #[must_use]
    pub fn waiting(&self) -> Vec<ChangeId> {
        share(&self.ids).waiting.iter().copied().collect()
    }

    /// How many those are.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        share(&self.ids).waiting.len()
    }

    /// Says that the bytes of these are in no file any more.
    pub fn erased(&self, ids: &[ChangeId]) {
        let waiting = &mut lock(&self.ids).waiting;
        for id in ids {
            waiting.remove(id);
        }
    }

    /// Says that the bytes of those up to `last` that `is_held` tells of may be in a file again.
    pub fn look_again(&self, last: ChangeId, is_held: impl Fn(ChangeId) -> bool) {
        let Ids { all, waiting } = &mut *lock(&self.ids);
        waiting.extend(all.range(..=last).copied().filter(|id| is_held(*id)));
        assert!(waiting.is_subset(all), "what is waiting is redacted");
    }

    /// Forgets those below `first` that are not to be kept: they are purged.
    pub(super) fn trim(&self, first: ChangeId, keep: impl Fn(ChangeId) -> bool) {
        let Ids { all, waiting } = &mut *lock(&self.ids);
        all.retain(|id| *id >= first || keep(*id));
        waiting.retain(|id| all.contains(id));
    }
}
