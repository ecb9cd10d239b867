//! The tenants and collections there are, by UUID and by name, each with the
//! list of its changes, and each collection with its live keys.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, RwLock},
};

use uuid::Uuid;

use super::{
    expiries::{Due, Expiries, Schedule, Standing},
    locks::{lock, share},
    span::Span,
};
use crate::base::{
    ids::{ChangeId, Timestamp},
    planted::planted,
};

/// Entries that a reader takes from a map before it lets the writer in again.
const SLICE: usize = 256;

/// A tenant.
#[derive(Debug)]
pub struct Tenant {
    /// Its UUID.
    pub id: Uuid,
    /// Its name.
    pub name: Box<str>,
    /// Where its changes lie.
    pub span: Span,
    pub(super) collections: RwLock<BTreeMap<Box<str>, Arc<Collection>>>,
}

/// A collection.
#[derive(Debug)]
pub struct Collection {
    /// Its UUID.
    pub id: Uuid,
    /// The tenant that it belongs to, for as long as it exists.
    pub tenant: Uuid,
    /// Its name, unique in its tenant.
    pub name: Box<str>,
    /// Where its changes lie.
    pub span: Span,
    /// The change that made the current version of each live key.
    pub(in crate::state) keys: RwLock<BTreeMap<Box<str>, ChangeId>>,
    /// When those expire that do; nothing where none does.
    pub(in crate::state) expiries: RwLock<Option<Box<Expiries>>>,
}

/// A part of a sorted list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where to go on; `None` when nothing follows.
    pub next: Option<Box<str>>,
}

impl Tenant {
    pub(super) fn new(id: Uuid, name: &str) -> Self {
        Self { id, name: name.into(), span: Span::default(), collections: RwLock::default() }
    }

    /// The collection of that name.
    #[must_use]
    pub fn collection(&self, name: &str) -> Option<Arc<Collection>> {
        share(&self.collections).get(name).cloned()
    }

    /// Collections in the order of their names, those after `after`; at most
    /// `count`, and a bounded number at once.
    #[must_use]
    pub fn collections_after(&self, after: Option<&str>, count: usize) -> Slice<Arc<Collection>> {
        slice(&share(&self.collections), after, "", count, |_, collection| Arc::clone(collection))
    }
}

impl Collection {
    pub(super) fn new(id: Uuid, tenant: Uuid, name: &str) -> Self {
        let (keys, expiries) = Default::default();
        Self { id, tenant, name: name.into(), span: Span::default(), keys, expiries }
    }

    /// The change that made the current version of `key`.
    #[must_use]
    pub fn current(&self, key: &str) -> Option<ChangeId> {
        share(&self.keys).get(key).copied()
    }

    /// The current changes of live keys that begin with `prefix`, in the byte
    /// order of keys, those after `after`; at most `count`, and a bounded number
    /// at once.
    #[must_use]
    pub fn keys_after(&self, after: Option<&str>, prefix: &str, count: usize) -> Slice<ChangeId> {
        slice(&share(&self.keys), after, prefix, count, |_, id| *id)
    }

    /// The key with the current version `id`, if it is among the first that
    /// [`keys_after`](Self::keys_after) gives.
    #[must_use]
    pub fn key_of(&self, id: ChangeId, after: Option<&str>, prefix: &str) -> Option<Box<str>> {
        let name = |name: &str, current: &ChangeId| (*current == id).then(|| Box::from(name));
        let names = slice(&share(&self.keys), after, prefix, SLICE, name).entries;
        names.into_iter().flatten().next()
    }

    /// Live keys with their current changes, those after `after`; a bounded number at once.
    #[must_use]
    pub fn entries_after(&self, after: Option<&str>) -> Slice<(Box<str>, ChangeId)> {
        slice(&share(&self.keys), after, "", usize::MAX, |key, id| (key.into(), *id))
    }

    /// Takes over the current changes of keys; 0 stands for none. Gives back those that are
    /// current no more, where any may expire.
    pub(in crate::state) fn change_keys(&self, changed: Vec<(Box<str>, u64)>) -> Vec<ChangeId> {
        let (mut keys, mut replaced) = (lock(&self.keys), Vec::new());
        let expire = share(&self.expiries).is_some();
        if keys.is_empty() {
            // They come in order, which makes a map faster than one by one.
            let live = changed.into_iter().filter(|(_, id)| *id > 0);
            *keys = live.map(|(key, id)| (key, ChangeId(id))).collect();
            return replaced;
        }
        for (key, id) in changed {
            let before = match id {
                0 => keys.remove(&key),
                id => keys.insert(key, ChangeId(id)),
            };
            replaced.extend(before.filter(|_| expire));
        }
        replaced
    }

    /// Makes `id` the current version of a key, as a checkpoint has it; gives the one before.
    pub fn restore_key(&self, key: &str, id: ChangeId) -> Option<ChangeId> {
        lock(&self.keys).insert(key.into(), id)
    }

    /// Tells which versions of keys expire, and when.
    pub(in crate::state) fn each_expiry(&self, mut each: impl FnMut(ChangeId, Timestamp)) {
        let expiries = share(&self.expiries);
        expiries.iter().flat_map(|expiries| expiries.iter()).for_each(|(id, at)| each(id, at));
    }

    /// How many live keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        share(&self.keys).len()
    }
}

fn slice<V, T>(
    map: &BTreeMap<Box<str>, V>,
    after: Option<&str>,
    prefix: &str,
    count: usize,
    mut entry: impl FnMut(&str, &V) -> T,
) -> Slice<T> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let mut range = map
        .range::<str, _>((start, Bound::Unbounded))
        .take_while(|(name, _)| name.starts_with(prefix))
        .peekable();
    let mut entries = Vec::new();
    let mut last = None;
    while entries.len() < count.min(SLICE) {
        let Some((name, value)) = range.next() else { break };
        entries.push(entry(name, value));
        last = Some(name);
    }
    let next = range.peek().and_then(|_| last.cloned());
    Slice { entries, next }
}

/// All tenants.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    by_id: HashMap<Uuid, Arc<Tenant>>,
    by_name: BTreeMap<Box<str>, Arc<Tenant>>,
}

/// Tenants and collections.
#[derive(Debug, Default)]
pub struct Catalog {
    pub(super) tenants: RwLock<Tenants>,
    pub(super) collections: RwLock<HashMap<Uuid, Arc<Collection>>>,
    schedule: RwLock<Schedule>,
}

impl Catalog {
    /// The tenant with that UUID.
    #[must_use]
    pub fn tenant(&self, id: Uuid) -> Option<Arc<Tenant>> {
        share(&self.tenants).by_id.get(&id).cloned()
    }

    /// The tenant of that name.
    #[must_use]
    pub fn tenant_named(&self, name: &str) -> Option<Arc<Tenant>> {
        share(&self.tenants).by_name.get(name).cloned()
    }

    /// The collection with that UUID.
    #[must_use]
    pub fn collection(&self, id: Uuid) -> Option<Arc<Collection>> {
        share(&self.collections).get(&id).cloned()
    }

    /// Tenants in the order of their names, those after `after`; at most
    /// `count`, and a bounded number at once.
    #[must_use]
    pub fn tenants_after(&self, after: Option<&str>, count: usize) -> Slice<Arc<Tenant>> {
        slice(&share(&self.tenants).by_name, after, "", count, |_, tenant| Arc::clone(tenant))
    }

    /// The UUIDs of all tenants, in no order.
    #[must_use]
    pub fn tenant_ids(&self) -> Vec<Uuid> {
        share(&self.tenants).by_id.keys().copied().collect()
    }

    /// The UUIDs of all collections, in their order: the same on every node.
    #[must_use]
    pub fn collection_ids(&self) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = share(&self.collections).keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// How many tenants and collections there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (share(&self.tenants).by_id.len(), share(&self.collections).len())
    }

    /// Adds a tenant, whose name must be free.
    pub fn add_tenant(&self, id: Uuid, name: &str) {
        let tenant = Arc::new(Tenant::new(id, name));
        let mut tenants = lock(&self.tenants);
        tenants.by_name.insert(name.into(), Arc::clone(&tenant));
        tenants.by_id.insert(id, tenant);
    }

    /// Adds a collection, whose name must be free in `tenant`.
    pub fn add_collection(&self, id: Uuid, tenant: &Tenant, name: &str) {
        let collection = Arc::new(Collection::new(id, tenant.id, name));
        lock(&tenant.collections).insert(name.into(), Arc::clone(&collection));
        lock(&self.collections).insert(id, collection);
    }

    /// Notes that the version `id` of a key, which is the current one, expires `at`.
    pub fn expire_at(&self, collection: &Collection, id: ChangeId, key: Box<str>, at: Timestamp) {
        self.reschedule(collection, |expiries| expiries.add(id, key, at));
    }

    /// Notes that a version of a key is not the current one any more.
    pub(in crate::state) fn replaced(&self, collection: &Collection, id: ChangeId) {
        if share(&collection.expiries).is_some() {
            self.reschedule(collection, |expiries| expiries.remove(id));
        }
    }

    /// When a version of a key expires, if it does.
    #[must_use]
    pub fn expires_at(&self, collection: &Collection, id: ChangeId) -> Option<Timestamp> {
        share(&collection.expiries).as_ref()?.at(id)
    }

    /// How many versions expire at some time.
    #[must_use]
    pub fn expiring(&self) -> usize {
        share(&self.schedule).versions()
    }

    /// When the first of all versions that expire does.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        share(&self.schedule).first()
    }

    /// At most `count` of the versions that are due by `now`.
    #[must_use]
    pub fn due(&self, now: Timestamp, count: usize) -> Vec<Due> {
        let mut found = Vec::new();
        let schedule = share(&self.schedule);
        for collection in schedule.due(now).filter_map(|id| self.collection(id)) {
            let (tenant, id) = (collection.tenant, collection.id);
            let expiries = share(&collection.expiries);
            let due = expiries.iter().flat_map(|expiries| expiries.due(now));
            let due = due.map(|(version, key)| Due {
                tenant,
                collection: id,
                key: key.into(),
                id: version,
            });
            found.extend(due.take(count - found.len()));
            if found.len() == count {
                break;
            }
        }
        found
    }

    fn reschedule(&self, collection: &Collection, change: impl FnOnce(&mut Expiries)) {
        let mut held = lock(&collection.expiries);
        let expiries = held.get_or_insert_default();
        let before = expiries.standing();
        change(expiries);
        let now = expiries.standing();
        if now == Standing::default() {
            *held = None;
        }
        lock(&self.schedule).replace(collection.id, before, now);
    }

    /// Takes a collection that is removed out of the schedule.
    fn unschedule(&self, collection: &Collection) {
        if let Some(expiries) = &*share(&collection.expiries) {
            let mut schedule = lock(&self.schedule);
            schedule.replace(collection.id, expiries.standing(), Standing::default());
        }
    }

    /// Takes out a collection.
    pub(in crate::state) fn remove_collection(&self, id: Uuid) -> Option<Arc<Collection>> {
        let collection = lock(&self.collections).remove(&id)?;
        self.unschedule(&collection);
        if let Some(tenant) = self.tenant(collection.tenant) {
            lock(&tenant.collections).remove(&collection.name);
        }
        Some(collection)
    }

    /// Takes out a tenant with all its collections.
    pub(in crate::state) fn remove_tenant(&self, id: Uuid) -> Option<Arc<Tenant>> {
        let tenant = {
            let mut tenants = lock(&self.tenants);
            let tenant = tenants.by_id.remove(&id)?;
            tenants.by_name.remove(&tenant.name);
            tenant
        };
        let ids: Vec<Uuid> = share(&tenant.collections).values().map(|c| c.id).collect();
        for some in ids.chunks(SLICE).filter(|_| !planted!(KeepCollections)) {
            let mut collections = lock(&self.collections);
            for collection in some.iter().filter_map(|id| collections.remove(id)) {
                self.unschedule(&collection);
            }
        }
        Some(tenant)
    }
}
