//! `/tenants/T/collections`, `/collections/C` and the same by name.

use crate::{
    api::{
        body::name,
        context::Context,
        error::ApiError,
        read::names,
        reply::Reply,
        request::{
            ReadQuery, conditions,
            content_type::body_form,
            idempotency,
            path::{CollectionPath, collection, tenant},
        },
        write::{self, AnswerKind, collection_json},
    },
    base::{
        batch::{Action, Conditions, SuffixMembers},
        json_string::json_string,
    },
    http::{Request, Response},
    io::cores,
    state::index::Collection,
};

/// `POST /tenants/T/collections`
pub(in crate::api) fn create(
    api: &Context,
    request: &Request,
    tenant_text: &str,
) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let tenant = tenant(api.visible(), tenant_text);
    if tenant.is_err() && request.header("idempotency-key").is_none() {
        tenant.as_ref().map_err(Clone::clone)?;
    }
    if let Ok(tenant) = &tenant {
        api.bill(&tenant.meter)?;
    }
    let form = body_form(request)?;
    let asked = idempotency::of_small(request)?;
    let name = name::parse(request.body(), form)?;
    let tenant = match tenant {
        Ok(tenant) => tenant.id,
        Err(error) => {
            return write::repeated(api, asked.as_ref(), &AnswerKind::Name(name)).ok_or(error);
        }
    };
    api.bill_changes(1, &[])?;
    let action = Action::CreateCollection { tenant, collection: cores::uuid(), name: name.clone() };
    write::propose(api, action, Some(tenant), asked, AnswerKind::Name(name))
}

/// `GET /tenants/T/collections`
pub(in crate::api) async fn list(
    api: &Context,
    tenant_text: &str,
    query: &ReadQuery<'_>,
) -> Result<Reply, ApiError> {
    let tenant = api.tenant(tenant_text)?;
    let slice = |after: Option<&str>, count| tenant.collections_after(after, count);
    Ok(names::list("collections", query, slice, |collection| json(collection)).await)
}

/// `GET /collections/C`
pub(in crate::api) fn get(api: &Context, path: CollectionPath<'_>) -> Result<Reply, ApiError> {
    let collection = api.collection(path)?;
    Ok(Reply::Now(Response::json(200, json(&collection))))
}

/// `DELETE /collections/C`
pub(in crate::api) fn delete(
    api: &Context,
    request: &Request,
    path: CollectionPath<'_>,
) -> Result<Reply, ApiError> {
    conditions::refuse(request)?;
    let asked = idempotency::of_small(request)?;
    match collection(api.visible(), path) {
        Ok(collection) => {
            api.bill(&collection.meter)?;
            let members = members_of(&collection);
            write::delete(api, members, Conditions::default(), asked)
        }
        Err(error) => write::repeated(api, asked.as_ref(), &AnswerKind::Deletion).ok_or(error),
    }
}

/// The members of a change of that collection.
pub(super) fn members_of(collection: &Collection) -> SuffixMembers<'static> {
    SuffixMembers {
        tenant: Some(collection.tenant),
        collection: Some(collection.id),
        ..SuffixMembers::default()
    }
}

fn json(collection: &Collection) -> String {
    collection_json(collection.id, &json_string(&collection.name), collection.tenant)
}
