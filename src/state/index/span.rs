//! Between which changes those of a list lie.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::ids::ChangeId;

/// Bounds of a list: it has no change below the first, and none above the last.
#[derive(Debug, Default)]
pub struct Span {
    /// 0 while there is none.
    first: AtomicU64,
    last: AtomicU64,
}

impl Span {
    /// Takes in a newer change.
    pub(in crate::state) fn extend(&self, id: ChangeId) {
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(id.0, Ordering::Release);
        }
        self.last.store(id.0, Ordering::Release);
    }

    /// Takes in changes from `first` to `last`, which are newer.
    pub fn join(&self, first: ChangeId, last: ChangeId) {
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(first.0, Ordering::Release);
        }
        self.last.fetch_max(last.0, Ordering::Release);
    }

    /// The lowest change that there may be; [`ChangeId::ZERO`] when there is none.
    #[must_use]
    pub fn first(&self) -> ChangeId {
        ChangeId(self.first.load(Ordering::Acquire))
    }

    /// The highest change that there may be.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        ChangeId(self.last.load(Ordering::Acquire))
    }
}
