//! The lists of the changes of one segment, in memory until the segment has an index file.

use std::{collections::HashMap, sync::RwLock};

use super::{
    key::ListKey,
    locks::{lock, share},
    postings::Postings,
};
use crate::base::ids::ChangeId;

/// The parts that the lists are divided into, each with its lock.
const SHARDS: usize = 16;

/// The lists of a segment that has no index file yet.
#[derive(Debug)]
pub struct Tail {
    /// The segment's number.
    pub(in crate::state) segment: u64,
    /// The first change that it may hold.
    pub(in crate::state) first: ChangeId,
    shards: [RwLock<HashMap<ListKey, Postings>>; SHARDS],
}

impl Tail {
    pub(in crate::state) fn new(segment: u64, first: ChangeId) -> Self {
        Self { segment, first, shards: std::array::from_fn(|_| RwLock::default()) }
    }

    fn shard(&self, key: ListKey) -> &RwLock<HashMap<ListKey, Postings>> {
        // Bits that are random in UUIDs too.
        &self.shards[(key.0 >> 20) as usize % SHARDS]
    }

    /// Adds a change to a list.
    pub(in crate::state) fn push(&self, key: ListKey, id: ChangeId) {
        lock(self.shard(key)).entry(key).or_default().push(id);
    }

    /// Appends up to `count` ids of a list to `out`, the lowest that are at least `from`.
    pub(super) fn copy_from(
        &self,
        key: ListKey,
        from: ChangeId,
        count: usize,
        out: &mut Vec<ChangeId>,
    ) {
        if let Some(list) = share(self.shard(key)).get(&key) {
            list.copy_from(from, count, out);
        }
    }

    /// How many lists there are.
    pub(super) fn lists(&self) -> usize {
        self.shards.iter().map(|shard| share(shard).len()).sum()
    }

    /// Every list with its ids.
    pub(in crate::state) fn all(&self) -> Vec<(ListKey, Vec<ChangeId>)> {
        let mut all = Vec::with_capacity(self.lists());
        for shard in &self.shards {
            for (key, list) in &*share(shard) {
                let mut ids = Vec::new();
                list.copy_from(ChangeId::ZERO, usize::MAX, &mut ids);
                all.push((*key, ids));
            }
        }
        all
    }
}
