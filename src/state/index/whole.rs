//! The whole index: its parts, and how far it reaches.

use std::sync::{
    Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicU64, Ordering},
};

use super::{
    catalog::Catalog,
    idempotency::{IdempotencyKeys, Known},
    key::ListKey,
    lists::SealedLists,
    locks::{lock, share},
    parts::Parts,
    redactions::Redactions,
    tail::Tail,
    tokens::Tokens,
};
use crate::{base::ids::ChangeId, state::unread::Unread};

/// What a state is found by. See [`super`].
#[derive(Debug, Default)]
pub struct Index {
    /// Tenants, collections and keys.
    pub catalog: Catalog,
    parts: Parts,
    idempotency: RwLock<IdempotencyKeys>,
    /// Changes that are shown without data and tags.
    pub redactions: Redactions,
    /// What tokens there are.
    pub tokens: Tokens,
    /// The last change of the batch that is being, or was last applied.
    applying_up_to: AtomicU64,
}

impl Index {
    /// Says that changes up to `last` are about to be applied, or that they were
    /// and no more.
    pub(in crate::state) fn begin(&self, last: ChangeId) {
        // Release is not enough to keep what follows from being seen first;
        // the locks taken after it are.
        self.applying_up_to.store(last.0, Ordering::SeqCst);
    }

    /// The change that what was read here before may come from.
    #[must_use]
    pub fn applying_up_to(&self) -> ChangeId {
        ChangeId(self.applying_up_to.load(Ordering::SeqCst))
    }

    /// Goes on with the lists of another segment.
    pub(in crate::state) fn begin_segment(&self, tail: Arc<Tail>) {
        self.parts.begin(tail);
    }

    /// Takes the lists of a segment, whose first change is `first`, from its index file.
    pub fn seal(&self, segment: u64, first: ChangeId, lists: &Arc<SealedLists>) {
        self.parts.seal(segment, first, Arc::clone(lists));
    }

    /// Forgets the lists of a segment that holds no change.
    pub fn forget_segment(&self, segment: u64) {
        self.parts.forget(segment);
    }

    /// Forgets the lists of the segments before `segment`: nobody is to read them.
    pub fn forget_segments(&self, segment: u64) {
        self.parts.forget_before(segment);
    }

    /// Ids of a list; see [`Parts::copy_from`].
    pub(super) fn copy_from(
        &self,
        key: ListKey,
        from: ChangeId,
        last: ChangeId,
        count: usize,
        out: &mut Vec<ChangeId>,
    ) -> Result<ChangeId, Unread> {
        self.parts.copy_from(key, from, last, count, out)
    }

    /// How many lists of segments without an index file there are.
    #[must_use]
    pub fn lists_in_memory(&self) -> usize {
        self.parts.in_memory()
    }

    /// The idempotency keys, to be looked at.
    pub fn idempotency(&self) -> RwLockReadGuard<'_, IdempotencyKeys> {
        share(&self.idempotency)
    }

    /// Remembers a request again, as a checkpoint has it.
    pub fn restore_request(&self, known: &Known) {
        lock(&self.idempotency).restore(*known);
    }

    /// Gives memory of what is below `first` back: those changes are purged, but for some that a
    /// checkpoint has.
    pub fn trim(&self, first: ChangeId, is_held: impl Fn(ChangeId) -> bool) {
        self.parts.trim(first);
        self.redactions.trim(first, is_held);
    }

    pub(in crate::state) fn idempotency_mut(&self) -> RwLockWriteGuard<'_, IdempotencyKeys> {
        lock(&self.idempotency)
    }
}
