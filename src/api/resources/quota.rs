//! `/tenants/T/quota`

use std::fmt::Write as _;

use crate::{
    api::{
        body::quota,
        context::Context,
        error::ApiError,
        reply::Reply,
        request::{conditions, content_type::body_form, idempotency, path::tenant},
        write::{self, AnswerKind},
    },
    base::{batch::Action, quota::TenantQuota},
    http::{Request, Response},
    io::cores,
    state::index::Tenant,
};

/// `GET /tenants/T/quota`
pub(in crate::api) async fn get(api: &Context, text: &str) -> Result<Reply, ApiError> {
    let tenant = tenant(api.visible(), text)?;
    let mut json = write::quota_json(tenant.quota());
    json.pop();
    if json.len() > 1 {
        json.push(',');
    }
    let members =
        TenantQuota::MEMBERS.iter().zip(tenant.meter.taken(api.catalog().moment(cores::now())));
    let taken: Vec<String> =
        members.filter_map(|((name, _), taken)| Some(format!("\"{name}\":{}", taken?))).collect();
    let node = api.node.status().cluster().node;
    let used = used(&tenant, keys(&tenant).await);
    // Writing to a string does not fail.
    let _ = write!(json, "\"node\":{node},\"now\":{{{}}},\"use\":{used}}}", taken.join(","));
    Ok(Reply::Now(Response::json(200, json)))
}

/// The live keys of a tenant. It may have many collections, so others get their turn.
async fn keys(tenant: &Tenant) -> u64 {
    let (mut keys, mut after) = tenant.keys_after(None);
    while let Some(last) = after {
        cores::yield_if_needed().await;
        let (more, next) = tenant.keys_after(Some(&last));
        (keys, after) = (keys + more, next);
    }
    keys
}

fn used(tenant: &Tenant, keys: u64) -> String {
    let used = tenant.meter.used().unwrap_or_default();
    let members = [
        ("writes", used.writes),
        ("reads", used.reads),
        ("waits", used.waits),
        ("bytes", used.bytes),
        ("refused", used.refused),
        ("changes", used.changes),
        ("keys", keys),
    ];
    let members = members.map(|(name, number)| format!("\"{name}\":{number}"));
    format!("{{{}}}", members.join(","))
}

/// `PUT /tenants/T/quota`
pub(in crate::api) fn set(api: &Context, request: &Request, text: &str) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let form = body_form(request)?;
    let asked = idempotency::of_small(request)?;
    let quota = quota::parse(request.body(), form)?;
    let kind = AnswerKind::Quota(quota);
    match tenant(api.visible(), text) {
        Ok(tenant) => {
            let action = Action::SetQuota(tenant.id, quota);
            write::propose(api, action, Some(tenant.id), asked, kind)
        }
        Err(error) => write::repeated(api, asked.as_ref(), &kind).ok_or(error),
    }
}
