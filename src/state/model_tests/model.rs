//! What commands come to, kept in the plainest way.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use uuid::Uuid;

use super::steps::{Place, Step, What, this_version};
use crate::base::{
    batch::{Append, Conditions},
    ids::ChangeId,
    outcome::{Decision, Effect, Missing, Refusal},
};

const DAY_HOURS: u64 = 24;

/// A change as the model keeps it.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub(super) place: Place,
    pub(super) tags: Vec<&'static str>,
    pub(super) suffix: Vec<u8>,
    /// The version of its key that it replaced, or 0.
    pub(super) previous: u64,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) changes: Vec<Noted>,
    pub(super) tenants: BTreeMap<&'static str, Uuid>,
    /// By tenant and name.
    pub(super) collections: BTreeMap<(Uuid, &'static str), Uuid>,
    /// By collection and key.
    pub(super) keys: BTreeMap<(Uuid, &'static str), u64>,
    pub(super) redacted: BTreeSet<ChangeId>,
    /// By collection, key and version the hour at which that expires; also of versions that
    /// are not current any more.
    pub(super) expires: BTreeMap<(Uuid, &'static str, u64), u64>,
    /// Request, result and hour.
    pub(super) requests: BTreeMap<u8, (u8, Result<Effect, Refusal>, u64)>,
}

impl Model {
    pub(super) fn decide(&mut self, step: &Step) -> Decision {
        self.requests.retain(|_, (.., hour)| *hour + DAY_HOURS >= step.hour);
        if let Some((key, request)) = step.idempotency {
            match self.requests.get(&key) {
                Some((first, result, _)) if *first == request => {
                    return Decision { result: *result, replayed: true };
                }
                Some(_) => return Err(Refusal::IdempotencyMismatch).into(),
                None => {}
            }
        }
        let result = self.perform(step);
        let named_nothing =
            matches!(result, Err(Refusal::NotFound(Missing::Tenant | Missing::Collection)));
        if let Some((key, request)) = step.idempotency.filter(|_| !named_nothing) {
            self.requests.insert(key, (request, result, step.hour));
        }
        result.into()
    }

    fn perform(&mut self, step: &Step) -> Result<Effect, Refusal> {
        match &step.what {
            What::Tenant(tenant, name) => match self.tenants.get(name) {
                Some(holder) => Err(Refusal::TenantTaken(*holder)),
                None => {
                    self.tenants.insert(name, *tenant);
                    Ok(Effect::Tenant(*tenant))
                }
            },
            What::Collection(tenant, collection, name) => {
                let (tenant, collection) = (*tenant, *collection);
                if !self.has_tenant(tenant) {
                    return Err(Refusal::NotFound(Missing::Tenant));
                }
                if let Some(holder) = self.collections.get(&(tenant, *name)) {
                    return Err(Refusal::CollectionTaken(*holder));
                }
                self.collections.insert((tenant, name), collection);
                Ok(Effect::Collection { collection, tenant })
            }
            What::Redact(id) => match (1..=self.changes.len() as u64).contains(&id.0) {
                true => {
                    self.redacted.insert(*id);
                    Ok(Effect::Redacted(*id))
                }
                false => Err(Refusal::NotFound(Missing::Change)),
            },
            What::Write { places, conditions } => self.append(step, places, conditions, false),
            What::Delete { place, conditions } => {
                self.append(step, &[(*place, Vec::new())], conditions, true)
            }
            What::Expire { place, version } => {
                let (Some(collection), Some(key)) = (place.collection, place.key) else {
                    unreachable!("a key expires")
                };
                let conditions = this_version(*version);
                self.check(place, &conditions, true)?;
                match self.expires.get(&(collection, key, *version)) {
                    Some(hour) if *hour <= step.hour => {
                        self.append(step, &[(*place, Vec::new())], &conditions, true)
                    }
                    _ => Err(Refusal::PreconditionFailed(Some(ChangeId(*version)))),
                }
            }
        }
    }

    fn append(
        &mut self,
        step: &Step,
        places: &[(Place, Vec<&'static str>)],
        conditions: &Conditions,
        deletes: bool,
    ) -> Result<Effect, Refusal> {
        let mut replaced = false;
        for (place, _) in places {
            replaced = self.check(place, conditions, deletes)?;
        }
        let first = ChangeId(self.changes.len() as u64 + 1);
        let data = step.number.to_string();
        for ((place, tags), text) in places.iter().zip(step.texts(&data)) {
            let suffix = Append::from(text).suffixes.to_vec();
            let key = place.collection.zip(place.key);
            let previous = key.and_then(|key| self.keys.get(&key)).copied().unwrap_or(0);
            self.changes.push(Noted { place: *place, tags: tags.clone(), suffix, previous });
            let id = self.changes.len() as u64;
            match (place.tenant, place.collection, place.key) {
                (_, Some(collection), Some(key)) if deletes => {
                    self.keys.remove(&(collection, key));
                }
                (_, Some(collection), Some(key)) => {
                    self.keys.insert((collection, key), id);
                    if place.hours > 0 {
                        let hour = step.hour + u64::from(place.hours);
                        self.expires.insert((collection, key, id), hour);
                    }
                }
                (_, Some(collection), None) if deletes => {
                    self.drop_collections(|_, id| id == collection)
                }
                (Some(tenant), None, _) if deletes => {
                    self.tenants.retain(|_, id| *id != tenant);
                    self.drop_collections(|of, _| of == tenant);
                }
                _ => {}
            }
        }
        let count = places.len() as u32;
        Ok(Effect::Changes { first, count, replaced: replaced && count == 1 })
    }

    fn check(
        &self,
        place: &Place,
        conditions: &Conditions,
        deletes: bool,
    ) -> Result<bool, Refusal> {
        match (place.tenant, place.collection, place.key) {
            (_, Some(collection), _) if !self.collections.values().any(|id| *id == collection) => {
                Err(Refusal::NotFound(Missing::Collection))
            }
            (_, Some(collection), Some(key)) => {
                let current = self.keys.get(&(collection, key)).copied().map(ChangeId);
                if !conditions.hold(current) {
                    return Err(Refusal::PreconditionFailed(current));
                }
                match current {
                    None if deletes => Err(Refusal::NotFound(Missing::Key)),
                    current => Ok(current.is_some()),
                }
            }
            (Some(tenant), None, _) if !self.has_tenant(tenant) => {
                Err(Refusal::NotFound(Missing::Tenant))
            }
            _ => Ok(false),
        }
    }

    fn drop_collections(&mut self, dropped: impl Fn(Uuid, Uuid) -> bool) {
        self.collections.retain(|(tenant, _), id| !dropped(*tenant, *id));
        let left = &self.collections;
        self.keys.retain(|(collection, _), _| left.values().any(|id| id == collection));
    }

    fn has_tenant(&self, tenant: Uuid) -> bool {
        self.tenants.values().any(|id| *id == tenant)
    }

    /// The current versions that expire, in the order in which they do, with the hour.
    pub(super) fn due(&self) -> Vec<(u64, u64)> {
        let current = |(collection, key, id): &(Uuid, &'static str, u64)| {
            self.keys.get(&(*collection, *key)) == Some(id)
        };
        let live = self.expires.iter().filter(|(version, _)| current(version));
        let mut due: Vec<_> = live.map(|((.., id), hour)| (*hour, *id)).collect();
        due.sort_unstable();
        due
    }

    pub(super) fn scan(
        &self,
        range: Range<u64>,
        tags: &[&str],
        wanted: impl Fn(&Place) -> bool,
    ) -> Vec<u64> {
        (1u64..)
            .zip(&self.changes)
            .filter(|(id, change)| range.contains(id) && wanted(&change.place))
            .filter(|(_, change)| {
                tags.is_empty() || tags.iter().any(|tag| change.tags.contains(tag))
            })
            .map(|(id, _)| id)
            .collect()
    }
}
