//! `/session`: a browser's login, kept in a cookie.

use super::{tickets, tokens::scope_json};
use crate::{
    api::{
        access::{COOKIE, Principal, Who},
        context::Context,
        error::ApiError,
        reply::Reply,
        request::{
            accept::{self, Media},
            parameter,
        },
        route::Resource,
    },
    base::{ids::Timestamp, json_string::json_string, moment},
    http::{Method, Request, Response},
    io::cores,
};

/// What every cookie of a session bears: scripts do not see it, it goes over TLS or stays on this machine, and only requests of
/// this node's own pages bear it.
const ATTRIBUTES: &str = "Path=/; HttpOnly; Secure; SameSite=Strict";

/// What `/session` and `/tickets` answer.
pub(in crate::api) fn answer(
    api: &Context,
    request: &Request,
    resource: Resource<'_>,
) -> Result<Reply, ApiError> {
    parameter::check_none(request)?;
    match request.method() {
        _ if matches!(resource, Resource::Tickets) => tickets::create(api, request),
        Method::Post => create(api, request),
        Method::Delete => Ok(end()),
        _ => get(api, request),
    }
}

/// `POST /session`
fn create(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    // A session makes none: it would never end.
    let principal = match request.header("authorization") {
        Some(_) => api.principal,
        None if api.access.is_required() => return Err(Principal::without_token()),
        None => Principal::OPEN,
    };
    let (session, expires) = api.access.new_session(&principal)?;
    let left_s = expires.0.saturating_sub(cores::wall_micros()) / 1_000_000;
    let cookie = format!("{COOKIE}={session}; Max-Age={left_s}; {ATTRIBUTES}");
    let body = json(api, Some(expires));
    Ok(Reply::Now(Response::json(200, body).with_header("Set-Cookie", cookie)))
}

/// `GET /session`
fn get(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    accept::choose(request, &[Media::Json])?;
    Ok(Reply::Now(Response::json(200, json(api, api.principal.expires))))
}

/// `DELETE /session`
fn end() -> Reply {
    let cookie = format!("{COOKIE}=; Max-Age=0; {ATTRIBUTES}");
    Reply::Now(Response::new(204).with_header("Set-Cookie", cookie))
}

/// Who asks, and what that one may do.
fn json(api: &Context, expires: Option<Timestamp>) -> String {
    let principal = &api.principal;
    let mut text = format!("{{\"by\":\"{}\"", by(principal.who));
    if let Who::Token(id) = principal.who {
        text += &format!(",\"id\":\"{id}\"");
        if let Some(token) = api.node.index().tokens.get(id) {
            text += &format!(",\"name\":{}", json_string(&token.name));
        }
    }
    if let Some(rights) = principal.rights {
        let (role, scope) = (rights.role.name(), scope_json(rights.scope));
        text += &format!(",\"role\":\"{role}\",\"scope\":{scope}");
    }
    if let Some(expires) = expires {
        text += &format!(",\"expires\":\"{}\"", moment::text(expires));
    }
    text + "}"
}

fn by(who: Who) -> &'static str {
    match who {
        Who::Open => "anybody",
        Who::Root => "root",
        Who::Node => "node",
        Who::Anonymous => "anonymous",
        Who::Token(_) => "token",
        Who::Jwt(_) => "jwt",
    }
}
