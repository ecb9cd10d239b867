//! A collection with its live keys.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use uuid::Uuid;

use super::{
    expiries::Expiries,
    locks::{lock, share},
    meter::Meter,
    slice::{SLICE, Slice, slice},
    span::Span,
};
use crate::base::{
    ids::{ChangeId, Timestamp},
    tokens::Scope,
};

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
    /// That of its tenant.
    pub meter: Arc<Meter>,
    /// The change that made the current version of each live key.
    pub(in crate::state) keys: RwLock<BTreeMap<Box<str>, ChangeId>>,
    /// When those expire that do; nothing where none does.
    pub(in crate::state) expiries: RwLock<Option<Box<Expiries>>>,
}

impl Collection {
    pub(super) fn new(id: Uuid, tenant: Uuid, meter: Arc<Meter>, name: &str) -> Self {
        let (keys, expiries, span) = Default::default();
        Self { id, tenant, name: name.into(), span, meter, keys, expiries }
    }

    /// What concerns it alone.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::Collection { tenant: self.tenant, collection: self.id }
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
