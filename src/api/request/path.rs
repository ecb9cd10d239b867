//! What the path of a request names, looked up.

use std::sync::Arc;

use crate::{
    api::error::{ApiError, Code, excerpt},
    base::names::Named,
    state::index::{Catalog, Collection, Tenant},
};

/// How a path names a collection.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum CollectionPath<'p> {
    /// By UUID: `/collections/C`.
    Id(&'p str),
    /// By tenant and name: `/tenants/T/collections/NAME`.
    Named(&'p str, &'p str),
}

/// The tenant that a path names by UUID or name.
///
/// # Errors
/// [`Code::NotFound`].
pub(in crate::api) fn tenant(catalog: &Catalog, text: &str) -> Result<Arc<Tenant>, ApiError> {
    let tenant = match Named::parse(text) {
        Some(Named::Id(id)) => catalog.tenant(id),
        Some(Named::Name(name)) => catalog.tenant_named(name),
        None => None,
    };
    tenant.ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("there is no tenant {:?}", excerpt(text)))
    })
}

/// The collection that a path names.
///
/// # Errors
/// [`Code::NotFound`].
pub(in crate::api) fn collection(
    catalog: &Catalog,
    path: CollectionPath<'_>,
) -> Result<Arc<Collection>, ApiError> {
    let (text, found) = match path {
        CollectionPath::Id(text) => match Named::parse(text) {
            Some(Named::Id(id)) => (text, catalog.collection(id)),
            _ => (text, None),
        },
        CollectionPath::Named(tenant_text, text) => {
            let tenant = tenant(catalog, tenant_text)?;
            let found = match Named::parse(text) {
                Some(Named::Id(id)) => {
                    catalog.collection(id).filter(|found| found.tenant == tenant.id)
                }
                Some(Named::Name(name)) => tenant.collection(name),
                None => None,
            };
            (text, found)
        }
    };
    found.ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("there is no collection {:?}", excerpt(text)))
    })
}
