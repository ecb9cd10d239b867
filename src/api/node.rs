//! `/`, `/health` and `/ready`: the node about itself.

use super::{
    Api,
    error::{ApiError, Code},
    reply::Reply,
};
use crate::http::Response;

/// What a node says that others take for a member of theirs.
pub(super) fn claimed() -> ApiError {
    let detail = "this node is a cluster of its own, but nodes of another cluster call it as their \
                  member: its data directory is new, or not the one that belongs here";
    ApiError::new(Code::NoLeader, detail)
}

impl Api {
    /// `GET /health`: the process serves.
    pub(super) fn health(&self) -> Reply {
        Reply::Now(Response::json(200, &b"{\"status\":\"ok\"}"[..]))
    }

    /// `GET /ready`: it can be sent traffic.
    pub(super) fn ready(&self) -> Result<Reply, ApiError> {
        let status = self.node.status();
        if let Some(why) = status.halted() {
            return Err(ApiError::new(Code::Storage, why));
        }
        if let Some(problem) = status.storage_problem() {
            let detail = format!("the node cannot store changes: {problem}");
            return Err(ApiError::new(Code::Storage, detail));
        }
        if !status.has_recovered() && status.cluster().leader.is_some() {
            let detail = "this node has not caught up since it was started";
            return Err(ApiError::new(Code::Behind, detail));
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
    pub(super) fn index(&self) -> Reply {
        let (cluster, last) = (self.node.cluster(), self.node.last());
        let version = env!("CARGO_PKG_VERSION");
        let body = format!(
            "{{\"name\":\"ChangeAgent\",\"version\":\"{version}\",\"cluster\":\"{cluster}\",\
             \"last\":{last},\"resources\":[\"/changes\",\"/tenants\",\"/collections/{{collection}}\",\
             \"/cluster\",\"/health\",\"/ready\",\"/metrics\",\"/openapi.json\"]}}"
        );
        // A browser gets the page instead.
        Reply::Now(Response::json(200, body).with_header("Vary", "Accept"))
    }
}
