//! `/`, `/health` and `/ready`: the node about itself.

use crate::{
    api::{
        context::Context,
        error::{ApiError, Code, claimed},
        read::freshness::{check_halted, how_far},
        reply::Reply,
    },
    base::protocol::{VERSIONS, Versions},
    http::Response,
    node::{DamagedPlace, copy::CopyAge},
};

/// `GET /health`: the process serves, and what of its log is damaged.
pub(in crate::api) fn health(api: &Context) -> Reply {
    let damaged = api.node.status().scrub.damaged();
    let erasing = api.node.index().redactions.waiting_count();
    if damaged.is_empty() && erasing == 0 {
        return Reply::Now(Response::json(200, &b"{\"status\":\"ok\"}"[..]));
    }
    let damaged = damaged.iter().map(|DamagedPlace { file, offset }| {
        // Names of segments need no escapes.
        format!("{{\"file\":\"{file}\",\"offset\":{offset}}}")
    });
    let damaged = damaged.collect::<Vec<_>>().join(",");
    let mut body = "{\"status\":\"ok\"".to_owned();
    if !damaged.is_empty() {
        body += &format!(",\"damaged\":[{damaged}]");
    }
    if erasing > 0 {
        body += &format!(",\"erasing\":{erasing}");
    }
    Reply::Now(Response::json(200, body + "}"))
}

/// `GET /ready`: it can be sent traffic.
pub(in crate::api) fn ready(api: &Context) -> Result<Reply, ApiError> {
    let status = api.node.status();
    check_halted(api)?;
    if let Some(problem) = status.storage_problem() {
        let detail = format!("the node cannot store changes: {problem}");
        return Err(ApiError::new(Code::Storage, detail));
    }
    if !status.has_recovered() && status.cluster().leader.is_some() {
        let detail = "this node has not caught up since it was started";
        return Err(ApiError::new(Code::Behind, format!("{detail}{}", how_far(api))));
    }
    if let Some(why) = status.copy().and_then(CopyAge::staleness) {
        return Err(ApiError::new(Code::Behind, why + &how_far(api)));
    }
    if status.is_claimed() {
        return Err(claimed());
    }
    if !status.is_ready() {
        return Err(ApiError::new(Code::NoLeader, "the node knows no leader yet"));
    }
    Ok(Reply::Now(Response::json(200, &b"{\"status\":\"ready\"}"[..])))
}

/// `GET /`: what is here.
pub(in crate::api) fn index(api: &Context) -> Reply {
    let (cluster, last) = (api.node.cluster(), api.node.last());
    let version = env!("CARGO_PKG_VERSION");
    let Versions { oldest, newest } = VERSIONS;
    let body = format!(
        "{{\"name\":\"ChangeAgent\",\"version\":\"{version}\",\
         \"protocol\":{{\"oldest\":{oldest},\"newest\":{newest}}},\"cluster\":\"{cluster}\",\
         \"last\":{last},\"resources\":[\"/changes\",\"/tenants\",\"/collections/{{collection}}\",\
         \"/tokens\",\"/session\",\"/tickets\",\"/cluster\",\"/health\",\"/ready\",\"/metrics\",\
         \"/openapi.json\",\"/docs\"]}}"
    );
    // A browser gets the page instead.
    Reply::Now(Response::json(200, body).with_header("Vary", "Accept"))
}
