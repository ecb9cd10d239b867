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
pub struct Redactions {
    ids: RwLock<BTreeSet<ChangeId>>,
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
        let is_new = lock(&self.ids).insert(id);
        if is_new {
            self.version.fetch_add(1, Ordering::SeqCst);
        }
        is_new
    }

    /// Whether that change is redacted.
    #[must_use]
    pub fn contains(&self, id: ChangeId) -> bool {
        self.version() > 0 && !planted!(ForgetRedactions) && share(&self.ids).contains(&id)
    }

    /// Those from `first` to `last`.
    #[must_use]
    pub fn within(&self, first: ChangeId, last: ChangeId) -> SmallVec<[ChangeId; 4]> {
        if self.version() == 0 || last < first || planted!(ForgetRedactions) {
            return SmallVec::new();
        }
        share(&self.ids).range(first..=last).copied().collect()
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> Vec<ChangeId> {
        share(&self.ids).iter().copied().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        share(&self.ids).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets those below `first` that are not to be kept: they are purged.
    pub(super) fn trim(&self, first: ChangeId, keep: impl Fn(ChangeId) -> bool) {
        lock(&self.ids).retain(|id| *id >= first || keep(*id));
    }
}
