//! The whole index: its parts, and how far it reaches.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{
        RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    catalog::Catalog,
    idempotency::{IdempotencyKeys, Known},
    locks::{lock, share},
    postings::Postings,
};
use crate::base::ids::ChangeId;

/// The parts that the lists of tags are divided into, each with its lock.
const TAG_SHARDS: usize = 16;
/// Tags that are trimmed under one lock.
const TRIM_AT_ONCE: usize = 256;

/// What a state is found by. See [`super`].
#[derive(Debug, Default)]
pub struct Index {
    /// Tenants, collections and keys.
    pub catalog: Catalog,
    tags: [RwLock<HashMap<u64, Postings, BuildHasherDefault<AsIs>>>; TAG_SHARDS],
    tag_hash: RandomState,
    idempotency: RwLock<IdempotencyKeys>,
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

    /// What stands for a tag in the index, given its stored spelling. Two tags
    /// may share it, so changes found by it are to be looked at.
    #[must_use]
    pub fn tag(&self, spelling: &[u8]) -> u64 {
        self.tag_hash.hash_one(spelling)
    }

    pub(in crate::state) fn push_tag(&self, tag: u64, id: ChangeId) {
        lock(self.tag_shard(tag)).entry(tag).or_default().push(id);
    }

    pub(super) fn tag_shard(
        &self,
        tag: u64,
    ) -> &RwLock<HashMap<u64, Postings, BuildHasherDefault<AsIs>>> {
        // The map itself goes by the lowest and the highest bits.
        &self.tags[(tag >> 32) as usize % TAG_SHARDS]
    }

    /// How many tags there are.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.tags.iter().map(|shard| share(shard).len()).sum()
    }

    /// The idempotency keys, to be looked at.
    pub fn idempotency(&self) -> RwLockReadGuard<'_, IdempotencyKeys> {
        share(&self.idempotency)
    }

    /// Remembers a request again, as a checkpoint has it.
    pub fn restore_request(&self, known: &Known) {
        lock(&self.idempotency).restore(*known);
    }

    /// Gives memory of what is below `first` back: those changes are purged.
    pub fn trim(&self, first: ChangeId) {
        for id in self.catalog.tenant_ids() {
            if let Some(tenant) = self.catalog.tenant(id) {
                lock(&tenant.changes).trim(first);
            }
        }
        for id in self.catalog.collection_ids() {
            if let Some(collection) = self.catalog.collection(id) {
                lock(&collection.changes).trim(first);
            }
        }
        for shard in &self.tags {
            let tags: Vec<u64> = share(shard).keys().copied().collect();
            for some in tags.chunks(TRIM_AT_ONCE) {
                let mut shard = lock(shard);
                for tag in some {
                    let Some(changes) = shard.get_mut(tag) else { continue };
                    changes.trim(first);
                    if matches!(changes, Postings::None) {
                        shard.remove(tag);
                    }
                }
            }
        }
    }

    pub(in crate::state) fn idempotency_mut(&self) -> RwLockWriteGuard<'_, IdempotencyKeys> {
        lock(&self.idempotency)
    }
}

/// Hashes what is a hash already.
#[derive(Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
