//! `/tenants` and `/tenants/T`.

use std::sync::Arc;

use super::{
    Api, conditions,
    error::{ApiError, Code, excerpt},
    name_body,
    query::ReadQuery,
    reply::{Reply, json_string},
    write::body_form,
    written::Written,
};
use crate::{
    base::{
        batch::{Action, Conditions, TailMembers},
        names::Named,
    },
    http::{Request, Response},
    io::cores,
    state::index::Tenant,
};

impl Api {
    /// The tenant that a path names by UUID or name.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub(super) fn tenant(&self, text: &str) -> Result<Arc<Tenant>, ApiError> {
        let catalog = &self.node.index().catalog;
        let tenant = match Named::parse(text) {
            Some(Named::Id(id)) => catalog.tenant(id),
            Some(Named::Name(name)) => catalog.tenant_named(name),
            None => None,
        };
        tenant.ok_or_else(|| {
            ApiError::new(Code::NotFound, format!("there is no tenant {:?}", excerpt(text)))
        })
    }

    /// `POST /tenants`
    pub(super) fn create_tenant(&self, request: &Request) -> Result<Reply, ApiError> {
        conditions::refuse(request)?;
        let form = body_form(request)?;
        let asked = self.idempotency(request)?;
        let name = name_body::parse(request.body(), form)?;
        let action = Action::CreateTenant { tenant: cores::uuid(), name: name.clone() };
        self.propose(action, None, asked, Written::Name(name))
    }

    /// `GET /tenants`
    pub(super) async fn list_tenants(&self, query: &ReadQuery<'_>) -> Reply {
        let catalog = &self.node.index().catalog;
        let slice = |after: Option<&str>, count| catalog.tenants_after(after, count);
        self.list_names("tenants", query, slice, |tenant| tenant_json(tenant)).await
    }

    /// `GET /tenants/T`
    pub(super) fn get_tenant(&self, text: &str) -> Result<Reply, ApiError> {
        let tenant = self.tenant(text)?;
        Ok(Reply::Now(Response::json(200, tenant_json(&tenant))))
    }

    /// `DELETE /tenants/T`
    pub(super) fn delete_tenant(&self, request: &Request, text: &str) -> Result<Reply, ApiError> {
        conditions::refuse(request)?;
        let asked = self.idempotency(request)?;
        match self.tenant(text) {
            Ok(tenant) => {
                let members = TailMembers { tenant: Some(tenant.id), ..TailMembers::default() };
                self.delete(members, Conditions::default(), asked)
            }
            Err(error) => self.repeated(asked.as_ref(), &Written::Deletion).ok_or(error),
        }
    }
}

fn tenant_json(tenant: &Tenant) -> String {
    format!("{{\"tenant\":\"{}\",\"name\":{}}}", tenant.id, json_string(&tenant.name))
}
