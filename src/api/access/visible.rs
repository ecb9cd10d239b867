//! The tenants and collections that concern who asks: to everybody else, the others are not there.

use std::sync::Arc;

use uuid::Uuid;

use crate::{
    base::tokens::Scope,
    state::index::{Catalog, Collection, Tenant},
};

/// The tenants and collections of a scope.
#[derive(Clone, Copy, Debug)]
pub struct Visible<'c> {
    catalog: &'c Catalog,
    /// Nothing is visible where it is none.
    scope: Option<Scope>,
}

impl<'c> From<&'c Catalog> for Visible<'c> {
    fn from(catalog: &'c Catalog) -> Self {
        Self::new(catalog, Some(Scope::All))
    }
}

impl<'c> Visible<'c> {
    /// Those of `catalog` that are within `scope`.
    #[must_use]
    pub fn new(catalog: &'c Catalog, scope: Option<Scope>) -> Self {
        Self { catalog, scope }
    }

    fn covers(self, scope: Scope) -> bool {
        self.scope.is_some_and(|own| own.covers(scope))
    }

    /// The tenant with that UUID, where all of it is visible.
    #[must_use]
    pub fn tenant(self, id: Uuid) -> Option<Arc<Tenant>> {
        self.covers(Scope::Tenant(id)).then(|| self.catalog.tenant(id))?
    }

    /// The tenant of that name, likewise.
    #[must_use]
    pub fn tenant_named(self, name: &str) -> Option<Arc<Tenant>> {
        let tenant = self.catalog.tenant_named(name)?;
        self.covers(Scope::Tenant(tenant.id)).then_some(tenant)
    }

    /// The same, and the tenants of which something is visible: to name a collection of one.
    #[must_use]
    pub fn with_tenants_of_collections(self) -> Self {
        let scope = match self.scope {
            Some(Scope::Collection { tenant, .. }) => Some(Scope::Tenant(tenant)),
            scope => scope,
        };
        Self { scope, ..self }
    }

    /// The collection with that UUID.
    #[must_use]
    pub fn collection(self, id: Uuid) -> Option<Arc<Collection>> {
        self.own(self.catalog.collection(id)?)
    }

    /// That collection, if it is visible.
    #[must_use]
    pub fn own(self, collection: Arc<Collection>) -> Option<Arc<Collection>> {
        self.covers(collection.scope()).then_some(collection)
    }
}
