//! `/tenants` and `/tenants/T`.

use std::{fmt::Write as _, sync::Arc};

use uuid::Uuid;

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
        batch::{Action, Command, Conditions, TailMembers},
        limits::READ_LIMIT_DEFAULT,
        names::Named,
    },
    http::{Request, Response},
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
        let idempotency = self.idempotency(request)?;
        let name = name_body::parse(request.body(), form)?;
        let action = Action::CreateTenant { tenant: Uuid::new_v4(), name: name.clone() };
        self.propose(Command { action, idempotency }, Written::Name(name))
    }

    /// `GET /tenants`
    pub(super) async fn list_tenants(&self, query: &ReadQuery<'_>) -> Result<Reply, ApiError> {
        let mut left = query.limit.unwrap_or(READ_LIMIT_DEFAULT);
        let mut after = query.after.as_deref().map(Box::from);
        let mut body = "{\"tenants\":[".to_owned();
        let at_end = loop {
            let slice = self.node.index().catalog.tenants_after(after.as_deref(), left);
            left -= slice.entries.len();
            for tenant in &slice.entries {
                let comma = if body.ends_with('[') { "" } else { "," };
                let _ = write!(body, "{comma}{}", tenant_json(tenant));
            }
            after = slice.next;
            if after.is_none() || left == 0 {
                break after.is_none();
            }
            crate::io::cores::yield_if_needed().await;
        };
        let _ = write!(body, "],\"atEnd\":{at_end}}}");
        self.node.settle().await;
        Ok(Reply::Now(Response::json(200, body)))
    }

    /// `GET /tenants/T`
    pub(super) async fn get_tenant(&self, text: &str) -> Result<Reply, ApiError> {
        let tenant = self.tenant(text);
        self.node.settle().await;
        Ok(Reply::Now(Response::json(200, tenant_json(&*tenant?))))
    }

    /// `DELETE /tenants/T`
    pub(super) fn delete_tenant(&self, request: &Request, text: &str) -> Result<Reply, ApiError> {
        conditions::refuse(request)?;
        let idempotency = self.idempotency(request)?;
        match self.tenant(text) {
            Ok(tenant) => {
                let members = TailMembers { tenant: Some(tenant.id), ..TailMembers::default() };
                self.delete(members, Conditions::default(), idempotency)
            }
            Err(error) => self.repeated(idempotency, &Written::Deletion).ok_or(error),
        }
    }
}

fn tenant_json(tenant: &Tenant) -> String {
    format!("{{\"tenant\":\"{}\",\"name\":{}}}", tenant.id, json_string(&tenant.name))
}
