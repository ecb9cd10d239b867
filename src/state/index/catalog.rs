//! The tenants and collections there are, by UUID and by name, each with the
//! list of its changes, and each collection with its live keys.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::{Arc, OnceLock, RwLock},
    time::Instant,
};

use uuid::Uuid;

use super::{
    collection::Collection,
    expiries::{Due, Expiries, Schedule, Standing},
    locks::{lock, share},
    meter::Use,
    slice::{SLICE, Slice, slice},
    tenant::Tenant,
};
use crate::base::{
    ids::{ChangeId, Timestamp},
    planted::planted,
    quota::TenantQuota,
    retention::TenantRetention,
};

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
    /// Tenants that do not keep all of their history.
    retaining: RwLock<BTreeSet<Uuid>>,
    /// From when on meters count.
    started: OnceLock<Instant>,
    /// What tenants used that were removed.
    gone: RwLock<Use>,
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
        let meter = Arc::clone(&tenant.meter);
        let collection = Arc::new(Collection::new(id, tenant.id, meter, name));
        lock(&tenant.collections).insert(name.into(), Arc::clone(&collection));
        lock(&self.collections).insert(id, collection);
    }

    /// Says how much of its history a tenant keeps.
    pub(in crate::state) fn set_retention(&self, id: Uuid, retention: TenantRetention) {
        let Some(tenant) = self.tenant(id) else { return };
        tenant.retain(retention);
        let mut retaining = lock(&self.retaining);
        match retention.keeps_all() {
            true => retaining.remove(&id),
            false => retaining.insert(id),
        };
    }

    /// Says how much a tenant may use.
    pub fn set_quota(&self, id: Uuid, quota: TenantQuota) {
        if let Some(tenant) = self.tenant(id) {
            tenant.meter.limit(quota);
        }
    }

    /// What tenants used that are gone.
    #[must_use]
    pub fn used_by_those_gone(&self) -> Use {
        *share(&self.gone)
    }

    /// A moment as meters count it: nanoseconds since the first that this was asked for.
    #[must_use]
    pub fn moment(&self, now: Instant) -> u64 {
        let started = *self.started.get_or_init(|| now);
        // In nanoseconds a process lives for 584 years.
        now.saturating_duration_since(started).as_nanos() as u64
    }

    /// Has the lists of a tenant begin at `first`, if they begin before.
    pub(in crate::state) fn begin_at(&self, id: Uuid, first: ChangeId) {
        if let Some(tenant) = self.tenant(id) {
            tenant.begin_at(first);
        }
    }

    /// Takes over what a checkpoint says of a tenant.
    pub fn restore_retention(&self, id: Uuid, retention: TenantRetention, begins: ChangeId) {
        self.set_retention(id, retention);
        self.begin_at(id, begins);
    }

    /// Tenants that do not keep all of their history, after that one; at most `count`.
    #[must_use]
    pub fn retaining_after(&self, after: Option<Uuid>, count: usize) -> Vec<Arc<Tenant>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let retaining = share(&self.retaining);
        let ids = retaining.range((start, Bound::Unbounded)).take(count);
        ids.filter_map(|id| self.tenant(*id)).collect()
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
            lock(&self.retaining).remove(&id);
            tenant
        };
        if let Some(used) = tenant.meter.used() {
            // Who waits with it still will end that.
            lock(&self.gone).add(&Use { waits: 0, ..used });
        }
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
