//! The tenant and the collection that changes name, looked up.

use std::{borrow::Cow, sync::Arc};

use uuid::Uuid;

use super::{accepted::Payer, error::Fault, scope::Scope};
use crate::{
    api::access::Visible,
    base::names,
    state::index::{Meter, Tenant},
};

/// What a change is named as belonging to, each with its place in the body.
#[derive(Default)]
pub(super) struct Named<'a> {
    /// A UUID or a name.
    pub(super) tenant: Option<(usize, Cow<'a, str>)>,
    pub(super) collection: Option<(usize, Uuid)>,
}

/// Looks up what the changes of one body name.
pub(super) struct Names<'a> {
    scope: &'a Scope,
    /// Those that concern who writes.
    visible: Visible<'a>,
    /// The last name of a tenant that was looked up.
    looked_up: Option<(Box<str>, Arc<Tenant>)>,
    by_name: bool,
    /// Whose the changes are so far, where the path does not tell: those of one in a row together.
    payers: Vec<Payer>,
}

impl<'a> Names<'a> {
    pub(super) fn new(scope: &'a Scope, visible: Visible<'a>) -> Self {
        Self { scope, visible, looked_up: None, by_name: false, payers: Vec::new() }
    }

    /// Whether any tenant was named by its name.
    pub(super) fn is_by_name(&self) -> bool {
        self.by_name
    }

    /// Whose the changes are, each once.
    pub(super) fn into_payers(self) -> Vec<Payer> {
        let mut payers = self.payers;
        if payers.len() > 1 {
            payers.sort_unstable_by_key(|payer| Arc::as_ptr(&payer.meter));
            payers.dedup_by(|next, first| {
                let is_same = Arc::ptr_eq(&next.meter, &first.meter);
                if is_same {
                    first.changes += next.changes;
                    first.bytes += next.bytes;
                }
                is_same
            });
        }
        payers
    }

    /// Counts a change of the tenant that was resolved last, stored as so many bytes.
    pub(super) fn pay(&mut self, bytes: usize) {
        if let Some(payer) = self.payers.last_mut() {
            payer.bytes += bytes as u64;
        }
    }

    /// Counts a change of a tenant that the path does not name.
    fn count(payers: &mut Vec<Payer>, meter: &Arc<Meter>) {
        match payers.last_mut().filter(|payer| Arc::ptr_eq(&payer.meter, meter)) {
            Some(payer) => payer.changes += 1,
            None => payers.push(Payer { meter: Arc::clone(meter), changes: 1, bytes: 0 }),
        }
    }

    /// The tenant and the collection of a change; where one is not there, or of
    /// another tenant, its place.
    pub(super) fn resolve(
        &mut self,
        named: &Named<'a>,
    ) -> Result<(Option<Uuid>, Option<Uuid>), (usize, Fault)> {
        let mut tenant = self.scope.tenant;
        if let Some((at, name)) = &named.tenant {
            let found = self.tenant(name).map_err(|fault| (*at, fault))?;
            if tenant.is_some_and(|tenant| tenant != found.id) {
                return Err((*at, Fault::TenantMismatch { member: "tenant" }));
            }
            tenant = Some(found.id);
            if self.scope.tenant.is_none() && named.collection.is_none() {
                Self::count(&mut self.payers, &found.meter);
            }
        }
        let Some((at, id)) = named.collection else { return Ok((tenant, self.scope.collection)) };
        let Some(collection) = self.visible.collection(id) else {
            return Err((at, Fault::NotFound { member: "collection", value: id.to_string() }));
        };
        if tenant.is_some_and(|tenant| tenant != collection.tenant) {
            return Err((at, Fault::TenantMismatch { member: "collection" }));
        }
        if self.scope.tenant.is_none() {
            Self::count(&mut self.payers, &collection.meter);
        }
        Ok((Some(collection.tenant), Some(id)))
    }

    fn tenant(&mut self, name: &str) -> Result<Arc<Tenant>, Fault> {
        if let Some((known, tenant)) = &self.looked_up
            && **known == *name
        {
            return Ok(Arc::clone(tenant));
        }
        // Besides its collection a change may name the tenant of that.
        let on_the_way = self.visible.with_tenants_of_collections();
        let tenant = match names::Named::parse(name) {
            Some(names::Named::Id(id)) => on_the_way.tenant(id),
            Some(names::Named::Name(name)) => {
                self.by_name = true;
                on_the_way.tenant_named(name)
            }
            None => None,
        };
        let Some(tenant) = tenant else {
            return Err(Fault::NotFound { member: "tenant", value: name.to_owned() });
        };
        self.looked_up = Some((name.into(), Arc::clone(&tenant)));
        Ok(tenant)
    }
}
