//! When versions of keys expire: of each collection those that do, by time, and of all
//! collections which one has the first. So what is due is found without looking at other keys.
//!
//! A version with a time to live takes 48 bytes and its key here, in trees that are half to wholly
//! full; others take nothing.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::base::ids::{ChangeId, Timestamp};

/// The versions of the keys of a collection that expire. Invariant: `due` and `at` hold the same.
#[derive(Debug, Default)]
pub struct Expiries {
    due: BTreeMap<(Timestamp, ChangeId), Box<str>>,
    at: BTreeMap<ChangeId, Timestamp>,
}

impl Expiries {
    /// Notes that the version `id` of `key` expires `at`.
    pub(super) fn add(&mut self, id: ChangeId, key: Box<str>, at: Timestamp) {
        let before = (self.at.insert(id, at), self.due.insert((at, id), key));
        assert_eq!(before, (None, None), "a change is one version of one key");
    }

    /// Forgets a version, if it was to expire: it is not the current one any more.
    pub(super) fn remove(&mut self, id: ChangeId) {
        if let Some(at) = self.at.remove(&id) {
            let key = self.due.remove(&(at, id));
            assert!(key.is_some(), "version {id} is due at some time");
        }
    }

    /// When a version expires, if it does.
    #[must_use]
    pub fn at(&self, id: ChangeId) -> Option<Timestamp> {
        self.at.get(&id).copied()
    }

    /// How many they are, and when the first of them expires.
    pub(super) fn standing(&self) -> Standing {
        let first = self.due.first_key_value().map(|((at, _), _)| *at);
        Standing { versions: self.due.len(), first }
    }

    /// Those that are due by `now`, the first ones first.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = (ChangeId, &str)> {
        let due = self.due.iter().take_while(move |((at, _), _)| *at <= now);
        due.map(|((_, id), key)| (*id, &**key))
    }

    /// All of them, by version.
    pub fn iter(&self) -> impl Iterator<Item = (ChangeId, Timestamp)> {
        self.at.iter().map(|(id, at)| (*id, *at))
    }
}

/// How many versions of a collection expire, and when the first of them does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    versions: usize,
    first: Option<Timestamp>,
}

/// A version of a key whose time to live is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The tenant of the collection.
    pub tenant: Uuid,
    /// The collection of the key.
    pub collection: Uuid,
    /// The key.
    pub key: Box<str>,
    /// The version.
    pub id: ChangeId,
}

/// The collections that have versions that expire, by when the first of them does.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    collections: BTreeSet<(Timestamp, Uuid)>,
    /// Of all collections.
    versions: usize,
}

impl Schedule {
    /// Takes over what the versions of a collection are now that they were `before`.
    pub(super) fn replace(&mut self, collection: Uuid, before: Standing, now: Standing) {
        self.versions = self.versions + now.versions - before.versions;
        if before.first == now.first {
            return;
        }
        if let Some(at) = before.first {
            let was = self.collections.remove(&(at, collection));
            assert!(was, "collection {collection} is scheduled");
        }
        self.collections.extend(now.first.map(|at| (at, collection)));
    }

    /// How many versions expire at some time.
    pub(super) fn versions(&self) -> usize {
        self.versions
    }

    /// When the first version of all expires.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.collections.first().map(|(at, _)| *at)
    }

    /// The collections with a version that is due by `now`, the first one first.
    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = Uuid> {
        let due = self.collections.iter().take_while(move |(at, _)| *at <= now);
        due.map(|(_, collection)| *collection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::index::{Catalog, Collection};
    use std::sync::Arc;

    const TENANT: Uuid = Uuid::from_u128(1);

    fn catalog(collections: u128) -> (Catalog, Vec<Arc<Collection>>) {
        let catalog = Catalog::default();
        catalog.add_tenant(TENANT, "t");
        let tenant = catalog.tenant(TENANT).unwrap();
        let all = (10..10 + collections).map(|id| {
            let id = Uuid::from_u128(id);
            catalog.add_collection(id, &tenant, &id.to_string());
            catalog.collection(id).unwrap()
        });
        let all = all.collect();
        (catalog, all)
    }

    fn due(catalog: &Catalog, now: u64, count: usize) -> Vec<u64> {
        catalog.due(Timestamp(now), count).iter().map(|due| due.id.0).collect()
    }

    #[test]
    fn what_is_due_is_found_in_order_over_all_collections_and_bounded() {
        let (catalog, shelves) = catalog(3);
        for (id, shelf, at) in [(1, 0, 50), (2, 1, 20), (3, 0, 10), (4, 2, 30), (5, 1, 70)] {
            let key = id.to_string().into();
            catalog.expire_at(&shelves[shelf], ChangeId(id), key, Timestamp(at));
        }
        assert_eq!(catalog.next_due(), Some(Timestamp(10)));
        assert_eq!((catalog.expiring(), due(&catalog, 9, 9)), (5, vec![]));
        assert_eq!(due(&catalog, 10, 9), [3]);
        assert_eq!(due(&catalog, 69, 9), [3, 1, 2, 4]);
        assert_eq!(due(&catalog, 69, 2), [3, 1]);
        catalog.replaced(&shelves[0], ChangeId(3));
        assert_eq!(catalog.next_due(), Some(Timestamp(20)));
        assert_eq!(due(&catalog, 99, 9), [2, 5, 4, 1]);
        assert_eq!(catalog.expires_at(&shelves[0], ChangeId(1)), Some(Timestamp(50)));
        assert_eq!(catalog.expires_at(&shelves[0], ChangeId(3)), None);
    }

    #[test]
    fn what_is_taken_out_is_due_no_more() {
        let (catalog, shelves) = catalog(3);
        for (id, shelf) in (1..).zip(&shelves) {
            catalog.expire_at(shelf, ChangeId(id), "k".into(), Timestamp(10 * id));
        }
        assert!(catalog.remove_collection(shelves[0].id).is_some());
        assert_eq!((catalog.next_due(), due(&catalog, 99, 9)), (Some(Timestamp(20)), vec![2, 3]));
        assert_eq!(catalog.expiring(), 2);
        assert!(catalog.remove_tenant(TENANT).is_some());
        assert_eq!((catalog.next_due(), due(&catalog, 99, 9)), (None, vec![]));
        assert_eq!(catalog.expiring(), 0);
    }
}
