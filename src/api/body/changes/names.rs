//! The tenant and the collection that changes name, looked up.

use std::borrow::Cow;

use uuid::Uuid;

use super::{error::Fault, scope::Scope};
use crate::{api::access::Visible, base::names};

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
    looked_up: Option<(Box<str>, Uuid)>,
    by_name: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(scope: &'a Scope, visible: Visible<'a>) -> Self {
        Self { scope, visible, looked_up: None, by_name: false }
    }

    /// Whether any tenant was named by its name.
    pub(super) fn is_by_name(&self) -> bool {
        self.by_name
    }

    /// The tenant and the collection of a change; where one is not there, or of
    /// another tenant, its place.
    pub(super) fn resolve(
        &mut self,
        named: &Named<'a>,
    ) -> Result<(Option<Uuid>, Option<Uuid>), (usize, Fault)> {
        let mut tenant = self.scope.tenant;
        if let Some((at, name)) = &named.tenant {
            let named = self.tenant(name).map_err(|fault| (*at, fault))?;
            if tenant.is_some_and(|tenant| tenant != named) {
                return Err((*at, Fault::TenantMismatch { member: "tenant" }));
            }
            tenant = Some(named);
        }
        let Some((at, id)) = named.collection else { return Ok((tenant, self.scope.collection)) };
        let Some(collection) = self.visible.collection(id) else {
            return Err((at, Fault::NotFound { member: "collection", value: id.to_string() }));
        };
        if tenant.is_some_and(|tenant| tenant != collection.tenant) {
            return Err((at, Fault::TenantMismatch { member: "collection" }));
        }
        Ok((Some(collection.tenant), Some(id)))
    }

    fn tenant(&mut self, name: &str) -> Result<Uuid, Fault> {
        if let Some((known, id)) = &self.looked_up
            && **known == *name
        {
            return Ok(*id);
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
        self.looked_up = Some((name.into(), tenant.id));
        Ok(tenant.id)
    }
}
