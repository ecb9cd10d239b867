//! What the path of a request names, looked up.

use std::sync::Arc;

use crate::{
    api::{
        access::Visible,
        error::{ApiError, Code, excerpt},
    },
    base::names::Named,
    state::index::{Collection, Tenant},
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
pub(in crate::api) fn tenant(visible: Visible<'_>, text: &str) -> Result<Arc<Tenant>, ApiError> {
    let tenant = match Named::parse(text) {
        Some(Named::Id(id)) => visible.tenant(id),
        Some(Named::Name(name)) => visible.tenant_named(name),
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
    visible: Visible<'_>,
    path: CollectionPath<'_>,
) -> Result<Arc<Collection>, ApiError> {
    let (text, found) = match path {
        CollectionPath::Id(text) => match Named::parse(text) {
            Some(Named::Id(id)) => (text, visible.collection(id)),
            _ => (text, None),
        },
        CollectionPath::Named(tenant_text, text) => {
            let tenant = tenant(visible.with_tenants_of_collections(), tenant_text)?;
            let found = match Named::parse(text) {
                Some(Named::Id(id)) => {
                    visible.collection(id).filter(|found| found.tenant == tenant.id)
                }
                Some(Named::Name(name)) => {
                    tenant.collection(name).and_then(|found| visible.own(found))
                }
                None => None,
            };
            (text, found)
        }
    };
    found.ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("there is no collection {:?}", excerpt(text)))
    })
}
