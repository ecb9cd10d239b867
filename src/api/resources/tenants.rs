//! `/tenants` and `/tenants/T`.

use crate::{
    api::{
        body::name,
        context::Context,
        error::ApiError,
        read::names,
        reply::Reply,
        request::{ReadQuery, conditions, content_type::body_form, idempotency, path::tenant},
        write::{self, AnswerKind},
    },
    base::{
        batch::{Action, Conditions, SuffixMembers},
        json_string::json_string,
    },
    http::{Request, Response},
    io::cores,
    state::index::Tenant,
};

/// `POST /tenants`
pub(in crate::api) fn create(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let form = body_form(request)?;
    let asked = idempotency::of_small(request)?;
    let name = name::parse(request.body(), form)?;
    let action = Action::CreateTenant { tenant: cores::uuid(), name: name.clone() };
    write::propose(api, action, None, asked, AnswerKind::Name(name))
}

/// `GET /tenants`
pub(in crate::api) async fn list(api: &Context, query: &ReadQuery<'_>) -> Reply {
    let slice = |after: Option<&str>, count| api.catalog().tenants_after(after, count);
    names::list("tenants", query, slice, |tenant| json(tenant)).await
}

/// `GET /tenants/T`
pub(in crate::api) fn get(api: &Context, text: &str) -> Result<Reply, ApiError> {
    let tenant = tenant(api.catalog(), text)?;
    Ok(Reply::Now(Response::json(200, json(&tenant))))
}

/// `DELETE /tenants/T`
pub(in crate::api) fn delete(
    api: &Context,
    request: &Request,
    text: &str,
) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let asked = idempotency::of_small(request)?;
    match tenant(api.catalog(), text) {
        Ok(tenant) => {
            let members = SuffixMembers { tenant: Some(tenant.id), ..SuffixMembers::default() };
            write::delete(api, members, Conditions::default(), asked)
        }
        Err(error) => write::repeated(api, asked.as_ref(), &AnswerKind::Deletion).ok_or(error),
    }
}

fn json(tenant: &Tenant) -> String {
    format!("{{\"tenant\":\"{}\",\"name\":{}}}", tenant.id, json_string(&tenant.name))
}
