//! The commands of a batch, decided one after the other.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    applied::Removed,
    index::{Collection, Index, Known, ListKey, Tenant, lock},
    open::{Naming, Noted},
    tokens,
};
use crate::base::{
    batch::{ActionRef, ChangeRef, CommandRef, Conditions, Replaced},
    ids::{ChangeId, Timestamp},
    outcome::{Decision, Effect, Missing, Refusal},
    planted::planted,
    retention::Beginning,
    tags,
    tokens::Scope,
};

/// Applies the commands of one batch.
pub(super) struct Writer<'i> {
    pub(super) index: &'i Index,
    pub(super) noted: &'i mut Noted,
    pub(super) at: Timestamp,
    /// Whether a refusal for want of a tenant or collection is remembered.
    pub(super) remembers_missing: bool,
    /// Whether it is kept which versions its changes replace.
    pub(super) tells_previous: bool,
    /// It is a part of a batch, whose appends were accepted where the whole batch is.
    pub(super) is_part: bool,
    /// The first id that it may give.
    pub(super) first: ChangeId,
    /// How many changes have got one.
    pub(super) appended: u32,
    /// The newest id given.
    pub(super) last: ChangeId,
    /// What the changes replaced so far.
    pub(super) replaced: Vec<Replaced>,
    /// The last ones looked up: the next change is mostly for the same.
    pub(super) tenant: Option<Arc<Tenant>>,
    pub(super) collection: Option<Arc<Collection>>,
    pub(super) removed: Vec<Removed>,
}

impl Writer<'_> {
    /// Decides one command and does what it asks for if it is accepted. With each of its changes it is
    /// said how many ids of the batch before went to others.
    pub(super) fn decide<'c>(
        &mut self,
        command: &CommandRef<'_>,
        changes: impl Iterator<Item = (ChangeRef<'c>, u32)> + Clone,
    ) -> Decision {
        if let Some(asked) = &command.idempotency {
            let mut known = self.index.idempotency_mut();
            known.expire(self.at);
            if let Some(decision) = known.decision(asked).filter(|_| !planted!(ForgetIdempotency)) {
                return decision;
            }
        }
        let result = match &command.action {
            ActionRef::Append(conditions) => {
                self.check_append(conditions, changes.clone().map(|(change, _)| change))
            }
            ActionRef::CreateTenant(tenant, name) => self.check_tenant(*tenant, name),
            ActionRef::CreateCollection(tenant, collection, name) => {
                self.check_collection(*tenant, *collection, name)
            }
            ActionRef::Redact(id) if ChangeId::ZERO < *id && *id <= self.last => {
                Ok(Effect::Redacted(*id))
            }
            ActionRef::Redact(_) => Err(Refusal::NotFound(Missing::Change)),
            ActionRef::SetRetention(tenant, _) => match self.tenant(*tenant) {
                Some(_) => Ok(Effect::Retention),
                None => Err(Refusal::NotFound(Missing::Tenant)),
            },
            ActionRef::SetQuota(tenant, _) => match self.tenant(*tenant) {
                Some(_) => Ok(Effect::Quota),
                None => Err(Refusal::NotFound(Missing::Tenant)),
            },
            ActionRef::BeginAt(tenant, beginning) => self.check_beginning(*tenant, beginning),
            ActionRef::CreateToken(token) => {
                tokens::check_creation(self.index, token, self.at, self.is_part)
            }
            ActionRef::RevokeToken(id) => tokens::check_revocation(self.index, *id),
            ActionRef::SetAnonymous(_, None) => Ok(Effect::Anonymous),
            ActionRef::SetAnonymous(rights, Some(by)) => {
                tokens::check_anonymous(self.index, *rights, *by, self.at)
            }
        };
        let names_nothing =
            matches!(result, Err(Refusal::NotFound(Missing::Tenant | Missing::Collection)));
        if let Some(asked) = &command.idempotency
            && (self.remembers_missing || !names_nothing)
        {
            // Before anything else changes: whoever misses what a request took
            // away finds the request here.
            self.index.idempotency_mut().insert(asked, self.at, result);
            let (key, request, at) = (asked.key, asked.request, self.at.0);
            self.noted.requests.push(Known { key, request, at, result });
        }
        if result.is_ok() {
            self.carry_out(&command.action, changes);
        }
        result.into()
    }

    /// Does what an accepted command asks for.
    fn carry_out<'c>(
        &mut self,
        action: &ActionRef<'_>,
        changes: impl Iterator<Item = (ChangeRef<'c>, u32)>,
    ) {
        match action {
            ActionRef::Append(_) => {
                changes.for_each(|(change, passed)| self.append(&change, passed));
            }
            ActionRef::CreateTenant(tenant, name) => {
                self.index.catalog.add_tenant(*tenant, name);
                self.noted.names.push(Naming::Tenant(*tenant, (&**name).into()));
            }
            ActionRef::CreateCollection(tenant, collection, name) => {
                let tenant = self.tenant(*tenant).expect("it was there when it was checked");
                self.index.catalog.add_collection(*collection, &tenant, name);
                let name = (&**name).into();
                self.noted.names.push(Naming::Collection(*collection, tenant.id, name));
            }
            ActionRef::SetRetention(tenant, retention) => {
                self.index.catalog.set_retention(*tenant, *retention);
                self.noted.names.push(Naming::Retention(*tenant, retention.to_bytes()));
            }
            ActionRef::BeginAt(tenant, beginning) => {
                self.index.catalog.begin_at(*tenant, beginning.first);
                self.noted.names.push(Naming::Begins(*tenant, beginning.first));
            }
            ActionRef::SetQuota(tenant, quota) => {
                self.index.catalog.set_quota(*tenant, *quota);
                self.noted.names.push(Naming::Quota(*tenant, quota.to_bytes()));
            }
            ActionRef::CreateToken(token) => {
                tokens::create(self.index, self.noted, token, self.at, self.is_part);
            }
            ActionRef::RevokeToken(id) => {
                self.index.tokens.remove(*id);
                self.noted.names.push(Naming::NoToken(*id));
            }
            ActionRef::SetAnonymous(rights, _) => {
                self.index.tokens.set_anonymous(*rights);
                self.noted.names.push(Naming::Anonymous(*rights));
            }
            ActionRef::Redact(id) => {
                if self.index.redactions.add(*id) {
                    self.noted.redacted.push(*id);
                }
            }
        }
    }

    /// What is left out of a tenant's lists is what it is not to keep, as of now.
    fn check_beginning(&mut self, tenant: Uuid, asked: &Beginning) -> Result<Effect, Refusal> {
        let tenant = self.tenant(tenant).ok_or(Refusal::NotFound(Missing::Tenant))?;
        // In a part it was accepted before, and what the tenant keeps may be what it kept later.
        let is_asked = self.is_part || tenant.retention() == asked.retention;
        match is_asked && asked.first <= self.last.next() {
            true => Ok(Effect::Retention),
            false => Err(Refusal::PreconditionFailed(None)),
        }
    }

    fn check_tenant(&self, tenant: Uuid, name: &str) -> Result<Effect, Refusal> {
        match self.index.catalog.tenant_named(name) {
            Some(holder) => Err(Refusal::TenantTaken(holder.id)),
            None => Ok(Effect::Tenant(tenant)),
        }
    }

    fn check_collection(
        &mut self,
        tenant: Uuid,
        collection: Uuid,
        name: &str,
    ) -> Result<Effect, Refusal> {
        let tenant = self.tenant(tenant).ok_or(Refusal::NotFound(Missing::Tenant))?;
        match tenant.collection(name) {
            Some(holder) => Err(Refusal::CollectionTaken(holder.id)),
            None => Ok(Effect::Collection { collection, tenant: tenant.id }),
        }
    }

    fn check_append<'c>(
        &mut self,
        conditions: &Conditions,
        changes: impl Iterator<Item = ChangeRef<'c>>,
    ) -> Result<Effect, Refusal> {
        let (mut count, mut replaced) = (0, false);
        for change in changes {
            count += 1;
            if !self.is_part {
                replaced = self.check_change(conditions, &change)?;
            }
        }
        Ok(Effect::Changes { first: self.last.next(), count, replaced: replaced && count == 1 })
    }

    /// Whether a change may happen, and takes the place of an earlier version.
    fn check_change(
        &mut self,
        conditions: &Conditions,
        change: &ChangeRef<'_>,
    ) -> Result<bool, Refusal> {
        let Some(collection) = change.collection() else {
            return match change.tenant() {
                Some(tenant) if self.tenant(tenant).is_none() => {
                    Err(Refusal::NotFound(Missing::Tenant))
                }
                _ => Ok(false),
            };
        };
        let collection =
            self.collection(collection).ok_or(Refusal::NotFound(Missing::Collection))?;
        let Some(key) = change.key() else { return Ok(false) };
        let current = collection.current(&key);
        if !conditions.hold(current) && !planted!(IgnoreCondition) {
            return Err(Refusal::PreconditionFailed(current));
        }
        if change.is_deletion() && current.is_none() {
            return Err(Refusal::NotFound(Missing::Key));
        }
        if change.is_expiry() && !planted!(ExpireWithoutCondition) {
            let at = current.and_then(|id| self.index.catalog.expires_at(&collection, id));
            if at.is_none_or(|at| at > self.at) {
                return Err(Refusal::PreconditionFailed(current));
            }
        }
        Ok(current.is_some())
    }

    /// Gives an accepted change its id, the next one after those that others have, and notes it where
    /// it will be looked for.
    fn append(&mut self, change: &ChangeRef<'_>, passed: u32) {
        let id = ChangeId(self.first.0 + u64::from(self.appended + passed));
        assert!(self.is_part || id == self.last.next(), "ids are dense");
        self.appended += 1;
        self.last = id;
        if change.is_plain() {
            return;
        }
        for spelling in tags::elements(change.tags) {
            if change.tenant().is_none() || !planted!(ForgetTagOfTenant) {
                self.noted.tail.push(ListKey::tag(spelling), id);
            }
        }
        let (tenant, collection) = (change.tenant(), change.collection());
        if let Some(tenant) = tenant.and_then(|tenant| self.tenant(tenant)) {
            self.noted.tail.push(tenant.id.into(), id);
            tenant.span.extend(id);
            tenant.meter.applied(self.at);
        }
        let key = change.key();
        if let Some(collection) = collection.and_then(|collection| self.collection(collection)) {
            self.noted.tail.push(collection.id.into(), id);
            collection.span.extend(id);
            if let Some(key) = &key {
                self.change_key(&collection, key, change, id);
            }
        }
        if change.is_deletion() && key.is_none() {
            self.remove(tenant, collection);
        }
    }

    /// Makes an accepted change the current version of its key, or takes the key out.
    fn change_key(
        &mut self,
        collection: &Collection,
        key: &str,
        change: &ChangeRef<'_>,
        id: ChangeId,
    ) {
        let catalog = &self.index.catalog;
        let before = match change.is_deletion() {
            true => lock(&collection.keys).remove(key),
            false => put(collection, key, id),
        };
        if let Some(before) = before {
            catalog.replaced(collection, before);
            if self.tells_previous {
                let number = (id.0 - self.first.0) as u32;
                self.replaced.push(Replaced { number, version: before });
            }
        }
        if let Some(ttl) = change.ttl() {
            catalog.expire_at(collection, id, key.into(), ttl.after(self.at));
        }
    }

    fn remove(&mut self, tenant: Option<Uuid>, collection: Option<Uuid>) {
        let catalog = &self.index.catalog;
        let removed = match collection {
            Some(collection) => catalog.remove_collection(collection).map(Removed::Collection),
            None => tenant.and_then(|tenant| catalog.remove_tenant(tenant)).map(Removed::Tenant),
        };
        self.noted.names.extend(removed.as_ref().map(|removed| match removed {
            Removed::Tenant(tenant) => {
                self.index.tokens.remove_within(Scope::Tenant(tenant.id));
                Naming::NoTenant(tenant.id)
            }
            Removed::Collection(collection) => {
                self.index.tokens.remove_within(collection.scope());
                Naming::NoCollection(collection.id)
            }
        }));
        self.removed.extend(removed);
        (self.tenant, self.collection) = (None, None);
    }

    fn tenant(&mut self, id: Uuid) -> Option<Arc<Tenant>> {
        if self.tenant.as_ref().is_none_or(|tenant| tenant.id != id) {
            self.tenant = self.index.catalog.tenant(id);
        }
        self.tenant.clone()
    }

    fn collection(&mut self, id: Uuid) -> Option<Arc<Collection>> {
        if self.collection.as_ref().is_none_or(|collection| collection.id != id) {
            self.collection = self.index.catalog.collection(id);
        }
        self.collection.clone()
    }
}

/// Makes `id` the current version of `key`; gives the one before.
fn put(collection: &Collection, key: &str, id: ChangeId) -> Option<ChangeId> {
    let mut keys = lock(&collection.keys);
    match keys.get_mut(key) {
        Some(current) => Some(std::mem::replace(current, id)),
        None => keys.insert(key.into(), id),
    }
}
