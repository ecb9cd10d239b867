//! What the head of a request alone decides: so that a client that asks before
//! it sends a body is not told to send one that would be refused.

use super::{
    context::Context,
    error::ApiError,
    request::{conditions, content_type::body_form, idempotency::KeyedHead, parameter, small_body},
    route::Resource,
};
use crate::http::{Method, Request, Response};

/// The refusal that a request earns whatever its body is; nothing when the body
/// is needed to tell.
pub(super) async fn refusal(api: &Context, request: &Request) -> Option<Response> {
    let path = request.path_segments();
    let resource = match Resource::find(request, &path) {
        Ok(resource) => resource,
        Err(response) => return Some(*response),
    };
    if !matches!(request.method(), Method::Post | Method::Put | Method::Patch) {
        return None;
    }
    check(api, request, resource).await.err().map(Response::from)
}

async fn check(api: &Context, request: &Request, resource: Resource<'_>) -> Result<(), ApiError> {
    if api.origins.is_some() {
        // The origin says what becomes of it.
        return Ok(());
    }
    if let Err(error) = parameter::check_none(request) {
        return Err(resource.missing(api.visible()).unwrap_or(error));
    }
    if let Some(meter) = resource.meter(api.visible()) {
        api.check_bill(&meter)?;
    }
    let form = body_form(request)?;
    match resource {
        Resource::Key(..) => {
            conditions::of_write(request)?;
        }
        Resource::Changes | Resource::TenantChanges(_) => conditions::refuse(request)?,
        Resource::Keys(_) => {}
        _ => small_body::check_declared(request)?,
    }
    if KeyedHead::of(request, form)?.is_some() {
        // It may repeat a request that was answered while what it names was there.
        return Ok(());
    }
    if resource.missing(api.visible()).is_some() {
        // It may be there and not be known here yet.
        api.node.barrier().await?;
        return resource.missing(api.visible()).map_or(Ok(()), Err);
    }
    Ok(())
}
