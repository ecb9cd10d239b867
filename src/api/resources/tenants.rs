//! `/tenants` and `/tenants/T`.

use crate::{
    api::{
        body::{name, retention},
        context::Context,
        error::ApiError,
        read::names,
        reply::Reply,
        request::{ReadQuery, conditions, content_type::body_form, idempotency, path::tenant},
        write::{self, AnswerKind},
    },
    base::{
        batch::{Action, Conditions, SuffixMembers},
        ids::ChangeId,
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
    let tenant = tenant(api.visible(), text)?;
    Ok(Reply::Now(Response::json(200, json(&tenant))))
}

/// `GET /tenants/T/retention`
pub(in crate::api) fn retention(api: &Context, text: &str) -> Result<Reply, ApiError> {
    let tenant = tenant(api.visible(), text)?;
    Ok(Reply::Now(Response::json(200, write::retention_json(tenant.retention()))))
}

/// `PUT /tenants/T/retention`
pub(in crate::api) fn retain(
    api: &Context,
    request: &Request,
    text: &str,
) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let form = body_form(request)?;
    let asked = idempotency::of_small(request)?;
    let retention = retention::parse(request.body(), form)?;
    let kind = AnswerKind::Retention(retention);
    match tenant(api.visible(), text) {
        Ok(tenant) => {
            let action = Action::SetRetention(tenant.id, retention);
            write::propose(api, action, Some(tenant.id), asked, kind)
        }
        Err(error) => write::repeated(api, asked.as_ref(), &kind).ok_or(error),
    }
}

/// `DELETE /tenants/T`
pub(in crate::api) fn delete(
    api: &Context,
    request: &Request,
    text: &str,
) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let asked = idempotency::of_small(request)?;
    match tenant(api.visible(), text) {
        Ok(tenant) => {
            let members = SuffixMembers { tenant: Some(tenant.id), ..SuffixMembers::default() };
            write::delete(api, members, Conditions::default(), asked)
        }
        Err(error) => write::repeated(api, asked.as_ref(), &AnswerKind::Deletion).ok_or(error),
    }
}

fn json(tenant: &Tenant) -> String {
    let retention = tenant.retention();
    let mut more = String::new();
    if !retention.keeps_all() {
        more = format!(",\"retention\":{}", write::retention_json(retention));
    }
    if tenant.begins() > ChangeId::ZERO {
        more += &format!(",\"first\":{}", tenant.begins());
    }
    format!("{{\"tenant\":\"{}\",\"name\":{}{more}}}", tenant.id, json_string(&tenant.name))
}
