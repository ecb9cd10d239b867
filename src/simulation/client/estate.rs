//! The tenants and collections of a run, and how requests name them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::simulation::history::{Place, Thing};

/// What clients know of tenants and collections.
#[derive(Default)]
pub struct Estate {
    /// Paths by name, of those that stay.
    named: BTreeMap<Thing, String>,
    /// Tenants that stay, whose lists are read.
    pub tenants: Vec<Uuid>,
    /// The collection that stays, with its tenant.
    pub kept: Place,
    /// Tenants and collections that come and go, and are there as far as anybody knows.
    pub passing: BTreeSet<Thing>,
    /// The tenants of all collections.
    tenant_of: BTreeMap<Uuid, Uuid>,
}

impl Estate {
    /// Notes a tenant or collection that stays, and how it is called.
    pub fn keep(&mut self, thing: Thing, path: &str) {
        self.named.insert(thing, path.to_owned());
    }

    /// Notes of which tenant a collection is.
    pub fn belongs(&mut self, collection: Uuid, tenant: Uuid) {
        self.tenant_of.insert(collection, tenant);
    }

    /// The path of a tenant or a collection.
    pub fn path(&self, thing: Thing) -> String {
        match (self.named.get(&thing), thing) {
            (Some(path), _) => path.clone(),
            (None, Thing::Tenant(id)) => format!("/tenants/{id}"),
            (None, Thing::Collection(id)) => format!("/collections/{id}"),
        }
    }

    /// The tenant or collection that stays and has that path.
    pub fn named(&self, path: &str) -> Option<Thing> {
        self.named.iter().find(|(_, named)| *named == path).map(|(thing, _)| *thing)
    }

    /// Where a change of a tenant or collection belongs.
    pub fn place(&self, thing: Thing) -> Place {
        match thing {
            Thing::Tenant(id) => Place { tenant: Some(id), ..Place::default() },
            Thing::Collection(id) => {
                let tenant = self.tenant_of.get(&id).copied();
                Place { tenant, collection: Some(id), ..Place::default() }
            }
        }
    }

    /// Forgets what is not there any more, and the collections of a tenant with it.
    pub fn forget(&mut self, thing: Thing) {
        let tenant_of = &self.tenant_of;
        let goes_too = |other: &Thing| match (other, thing) {
            (Thing::Collection(id), Thing::Tenant(tenant)) => tenant_of.get(id) == Some(&tenant),
            _ => *other == thing,
        };
        self.passing.retain(|other| !goes_too(other));
    }
}
