//! A tenant with its collections.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use super::{
    collection::Collection,
    locks::{lock, share},
    meter::Meter,
    slice::{Slice, slice},
    span::Span,
};
use crate::base::{ids::ChangeId, quota::TenantQuota, retention::TenantRetention};

/// A tenant.
#[derive(Debug)]
pub struct Tenant {
    /// Its UUID.
    pub id: Uuid,
    /// Its name.
    pub name: Box<str>,
    /// Where its changes lie.
    pub span: Span,
    /// What it uses, and may use.
    pub meter: Arc<Meter>,
    retention: RwLock<TenantRetention>,
    /// The lowest change that its lists may have.
    begins: AtomicU64,
    pub(super) collections: RwLock<BTreeMap<Box<str>, Arc<Collection>>>,
}

impl Tenant {
    pub(super) fn new(id: Uuid, name: &str) -> Self {
        let (span, collections) = Default::default();
        let (retention, begins, meter) = Default::default();
        Self { id, name: name.into(), span, meter, retention, begins, collections }
    }

    /// How much of its history it keeps.
    #[must_use]
    pub fn retention(&self) -> TenantRetention {
        *share(&self.retention)
    }

    /// Says how much of its history it keeps.
    pub(super) fn retain(&self, retention: TenantRetention) {
        *lock(&self.retention) = retention;
    }

    /// How much it may use.
    #[must_use]
    pub fn quota(&self) -> TenantQuota {
        self.meter.quota()
    }

    /// Has its lists begin at `first`, if they begin before.
    pub(super) fn begin_at(&self, first: ChangeId) {
        self.begins.fetch_max(first.0, Ordering::AcqRel);
    }

    /// The lowest change that its lists, and those of its collections, may have;
    /// [`ChangeId::ZERO`] while nothing was left out of them.
    #[must_use]
    pub fn begins(&self) -> ChangeId {
        ChangeId(self.begins.load(Ordering::Acquire))
    }

    /// How many live keys it has.
    #[must_use]
    pub fn keys(&self) -> u64 {
        let (mut keys, mut after) = self.keys_after(None);
        while let Some(last) = after {
            let (more, next) = self.keys_after(Some(&last));
            (keys, after) = (keys + more, next);
        }
        keys
    }

    /// How many live keys those of its collections have that come after one by their names, a bounded number of
    /// them; and after which one to go on, where that are not all.
    #[must_use]
    pub fn keys_after(&self, after: Option<&str>) -> (u64, Option<Box<str>>) {
        let Slice { entries, next } = self.collections_after(after, usize::MAX);
        (entries.iter().map(|collection| collection.keys() as u64).sum(), next)
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
