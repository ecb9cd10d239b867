//! `/tenants/T/collections`, `/collections/C` and the same by name.

use std::sync::Arc;

use super::{
    Api, conditions,
    error::{ApiError, Code, excerpt},
    name_body,
    query::ReadQuery,
    reply::{Reply, json_string},
    write::body_form,
    written::{Written, collection_json},
};
use crate::{
    base::{
        batch::{Action, Conditions, TailMembers},
        names::Named,
    },
    http::{Request, Response},
    io::cores,
    state::index::Collection,
};

/// How a path names a collection.
#[derive(Clone, Copy, Debug)]
pub(super) enum CollectionPath<'p> {
    /// By UUID: `/collections/C`.
    Id(&'p str),
    /// By tenant and name: `/tenants/T/collections/NAME`.
    Named(&'p str, &'p str),
}

impl Api {
    /// The collection that a path names.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub(super) fn collection(&self, path: CollectionPath<'_>) -> Result<Arc<Collection>, ApiError> {
        let catalog = &self.node.index().catalog;
        let (text, found) = match path {
            CollectionPath::Id(text) => match Named::parse(text) {
                Some(Named::Id(id)) => (text, catalog.collection(id)),
                _ => (text, None),
            },
            CollectionPath::Named(tenant, text) => {
                let tenant = self.tenant(tenant)?;
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

    /// `POST /tenants/T/collections`
    pub(super) fn create_collection(
        &self,
        request: &Request,
        tenant: &str,
    ) -> Result<Reply, ApiError> {
        conditions::refuse(request)?;
        let tenant = self.tenant(tenant);
        if tenant.is_err() && request.header("idempotency-key").is_none() {
            tenant.as_ref().map_err(Clone::clone)?;
        }
        let form = body_form(request)?;
        let asked = self.idempotency(request)?;
        let name = name_body::parse(request.body(), form)?;
        let tenant = match tenant {
            Ok(tenant) => tenant.id,
            Err(error) => {
                return self.repeated(asked.as_ref(), &Written::Name(name)).ok_or(error);
            }
        };
        let action =
            Action::CreateCollection { tenant, collection: cores::uuid(), name: name.clone() };
        self.propose(action, Some(tenant), asked, Written::Name(name))
    }

    /// `GET /tenants/T/collections`
    pub(super) async fn list_collections(
        &self,
        tenant: &str,
        query: &ReadQuery<'_>,
    ) -> Result<Reply, ApiError> {
        let tenant = self.tenant(tenant)?;
        let slice = |after: Option<&str>, count| tenant.collections_after(after, count);
        Ok(self.list_names("collections", query, slice, |collection| json(collection)).await)
    }

    /// `GET /collections/C`
    pub(super) fn get_collection(&self, path: CollectionPath<'_>) -> Result<Reply, ApiError> {
        let collection = self.collection(path)?;
        Ok(Reply::Now(Response::json(200, json(&collection))))
    }

    /// `DELETE /collections/C`
    pub(super) fn delete_collection(
        &self,
        request: &Request,
        path: CollectionPath<'_>,
    ) -> Result<Reply, ApiError> {
        conditions::refuse(request)?;
        let asked = self.idempotency(request)?;
        match self.collection(path) {
            Ok(collection) => {
                let members = members_of(&collection);
                self.delete(members, Conditions::default(), asked)
            }
            Err(error) => self.repeated(asked.as_ref(), &Written::Deletion).ok_or(error),
        }
    }
}

/// The members of a change of that collection.
pub(super) fn members_of(collection: &Collection) -> TailMembers<'static> {
    TailMembers {
        tenant: Some(collection.tenant),
        collection: Some(collection.id),
        ..TailMembers::default()
    }
}

fn json(collection: &Collection) -> String {
    collection_json(collection.id, &json_string(&collection.name), collection.tenant)
}
