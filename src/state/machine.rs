//! The replicated state: a pure function of the committed batches, in order,
//! and so the same on every node.

use std::{collections::VecDeque, sync::Arc};

use uuid::Uuid;

use super::{
    applied::{Applied, Removed},
    index::{Collection, Index, Known, ListKey, Tenant, lock},
    open::{Naming, Noted},
    position::Position,
};
use crate::base::{
    batch::{ActionRef, Batch, ChangeRef, CommandRef, Conditions, NumberedBatch, Skips},
    ids::{ChangeId, Timestamp},
    outcome::{Decision, Effect, Missing, Refusal},
    planted::planted,
    tags,
};

/// The state after some prefix of the log.
#[derive(Debug, Default)]
pub struct State {
    position: Position,
    index: Arc<Index>,
    /// What was noted of segments that have no index file yet. Invariant: they ascend; batches
    /// that are applied lie in the last one.
    noted: VecDeque<Noted>,
}

impl State {
    /// A state without tenants and collections at that position.
    #[must_use]
    pub fn at(position: Position) -> Self {
        let state = Self { position, ..Self::default() };
        state.index.begin(position.last);
        state
    }

    /// Says that the next batches lie in that segment of the log. They may never go back.
    pub fn begin_segment(&mut self, segment: u64) {
        if self.noted.back().is_some_and(|noted| noted.segment == segment) {
            return;
        }
        assert!(
            self.noted.back().is_none_or(|noted| noted.segment < segment),
            "segments are begun in order"
        );
        self.close_segment();
        let noted = Noted::new(segment, self.position);
        self.index.begin_segment(Arc::clone(&noted.tail));
        self.noted.push_back(noted);
    }

    /// Completes what is noted of the newest segment.
    fn close_segment(&mut self) {
        if let Some(newest) = self.noted.back_mut() {
            newest.position = self.position;
            newest.known = self.index.idempotency().len();
        }
    }

    /// Gives away what was noted of a segment, which no further batch lies in; nothing when no
    /// batch did. Those before are forgotten.
    pub fn take_noted(&mut self, segment: u64) -> Option<Noted> {
        if self.noted.back().is_some_and(|noted| noted.segment == segment) {
            self.close_segment();
        }
        while self.noted.front().is_some_and(|noted| noted.segment <= segment) {
            let noted = self.noted.pop_front();
            if noted.as_ref().is_some_and(|noted| noted.segment == segment) {
                return noted;
            }
        }
        None
    }

    /// Takes over what a name stands for.
    pub(super) fn name(&self, naming: Naming) -> Result<(), &'static str> {
        let catalog = &self.index.catalog;
        match naming {
            Naming::Tenant(id, name) => catalog.add_tenant(id, &name),
            Naming::Collection(id, tenant, name) => {
                let tenant =
                    catalog.tenant(tenant).ok_or("a collection of a tenant that is none")?;
                catalog.add_collection(id, &tenant, &name);
            }
            Naming::NoTenant(id) => drop(catalog.remove_tenant(id)),
            Naming::NoCollection(id) => drop(catalog.remove_collection(id)),
        }
        Ok(())
    }

    /// Takes over how far the list goes.
    pub(super) fn go_on_at(&mut self, position: Position) {
        self.position = position;
        self.index.begin(position.last);
    }

    /// Decides the commands of `batch` in order, gives accepted changes their
    /// ids and brings the index up to date.
    ///
    /// # Panics
    /// If the batch is older than one applied before: whoever stamps batches
    /// must not go back, and readers rely on it.
    pub fn apply<B: AsRef<[u8]>>(&mut self, batch: Batch<B>) -> Applied<B> {
        assert!(
            batch.at() >= self.position.last_at,
            "a batch stamped {} follows one stamped {}",
            batch.at().0,
            self.position.last_at.0
        );
        let first = self.position.last.next();
        self.position.last_at = batch.at();
        if batch.is_plain() {
            self.position.last.0 += u64::from(batch.changes());
            self.index.begin(self.position.last);
            let batch = NumberedBatch { first, batch, skips: Skips::default() };
            return Applied { batch, decisions: None, removed: Vec::new() };
        }
        self.index.begin(ChangeId(self.position.last.0 + u64::from(batch.changes())));
        if self.noted.is_empty() {
            // Nobody says where batches lie.
            self.begin_segment(0);
        }
        let Some(noted) = self.noted.back_mut() else { unreachable!("one was begun") };
        let mut writer = Writer {
            noted,
            index: &self.index,
            at: batch.at(),
            remembers_missing: batch.remembers_missing(),
            last: self.position.last,
            tenant: None,
            collection: None,
            removed: Vec::new(),
        };
        let (mut decisions, mut accepted, mut at) = (Vec::new(), Vec::new(), 0);
        for command in batch.commands() {
            let changes = (at..at + command.changes).map(|n| batch.change(n));
            let decision = writer.decide(&command, changes);
            at += command.changes;
            let is_accepted = decision.result.is_ok() && !decision.replayed;
            accepted.push((command.changes, is_accepted));
            decisions.push(decision);
        }
        let Writer { last, removed, .. } = writer;
        assert!(last >= self.position.last, "ids are given once, in order");
        self.position.last = last;
        self.index.begin(last);
        let batch = NumberedBatch { first, batch, skips: Skips::of(accepted) };
        assert_eq!(batch.last(), last, "each accepted change has got one id");
        Applied { batch, decisions: Some(decisions), removed }
    }

    /// How far the list goes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The newest id given; [`ChangeId::ZERO`] before the first change.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.position.last
    }

    /// The timestamp of the newest change.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.position.last_at
    }

    /// What readers find changes by.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }
}

/// Applies the commands of one batch.
struct Writer<'i> {
    index: &'i Index,
    noted: &'i mut Noted,
    at: Timestamp,
    /// Whether a refusal for want of a tenant or collection is remembered.
    remembers_missing: bool,
    /// The newest id given.
    last: ChangeId,
    /// The last ones looked up: the next change is mostly for the same.
    tenant: Option<Arc<Tenant>>,
    collection: Option<Arc<Collection>>,
    removed: Vec<Removed>,
}

impl Writer<'_> {
    /// Decides one command and does what it asks for if it is accepted.
    fn decide<'c>(
        &mut self,
        command: &CommandRef<'_>,
        changes: impl Iterator<Item = ChangeRef<'c>> + Clone,
    ) -> Decision {
        if let Some(asked) = &command.idempotency {
            let mut known = self.index.idempotency_mut();
            known.expire(self.at);
            if let Some(decision) = known.decision(asked).filter(|_| !planted!(ForgetIdempotency)) {
                return decision;
            }
        }
        let result = match &command.action {
            ActionRef::Append(conditions) => self.check_append(conditions, changes.clone()),
            ActionRef::CreateTenant(tenant, name) => self.check_tenant(*tenant, name),
            ActionRef::CreateCollection(tenant, collection, name) => {
                self.check_collection(*tenant, *collection, name)
            }
            ActionRef::Redact(id) if ChangeId::ZERO < *id && *id <= self.last => {
                Ok(Effect::Redacted(*id))
            }
            ActionRef::Redact(_) => Err(Refusal::NotFound(Missing::Change)),
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
            match &command.action {
                ActionRef::Append(_) => changes.for_each(|change| self.append(&change)),
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
                ActionRef::Redact(id) => {
                    if self.index.redactions.add(*id) {
                        self.noted.redacted.push(*id);
                    }
                }
            }
        }
        result.into()
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
            replaced = self.check_change(conditions, &change)?;
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

    /// Gives an accepted change its id and notes it where it will be looked for.
    fn append(&mut self, change: &ChangeRef<'_>) {
        let id = self.last.next();
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
    fn change_key(&self, collection: &Collection, key: &str, change: &ChangeRef<'_>, id: ChangeId) {
        let catalog = &self.index.catalog;
        let before = match change.is_deletion() {
            true => lock(&collection.keys).remove(key),
            false => put(collection, key, id),
        };
        if let Some(before) = before {
            catalog.replaced(collection, before);
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
            Removed::Tenant(tenant) => Naming::NoTenant(tenant.id),
            Removed::Collection(collection) => Naming::NoCollection(collection.id),
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

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
