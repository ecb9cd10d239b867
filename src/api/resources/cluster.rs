//! `/cluster`: the cluster and how far its members are, as this node knows it;
//! and which of them leads.

use super::members::{self, admin, body};
use crate::{
    api::{
        body::object::{Value, member as wrong_member},
        context::Context,
        error::{ApiError, Code},
        reply::Reply,
        request::View,
    },
    base::{
        cluster::{ClusterView, Gathering},
        ids::ClusterId,
    },
    http::{Request, Response},
    raft::peer::AdminRequest,
};

/// `GET /cluster`
pub(in crate::api) fn get(api: &Context, view: View) -> Reply {
    let view = members::view_of(api, view);
    Reply::Now(Response::json(200, json(api.node.cluster(), &view, api.node.last().0)))
}

/// The cluster as answers show it, by a node that holds changes up to `last`.
pub(in crate::api) fn json(cluster: ClusterId, view: &ClusterView, last: u64) -> String {
    let ClusterView { node, leader, term, state, committed, applied, members, gathering } = view;
    let leader = leader.map_or("null".to_owned(), |id| id.to_string());
    let members: Vec<String> = members.iter().map(members::json).collect();
    let members = members.join(",");
    let gathering = gathering.as_ref().map(gathering_json).unwrap_or_default();
    format!(
        "{{\"cluster\":\"{cluster}\",\"node\":{node},\"leader\":{leader},\"term\":{term},\
         \"state\":\"{state}\",\"last\":{last},\"committed\":{committed},\"applied\":{applied},\
         \"members\":[{members}]{gathering}}}"
    )
}

/// The member that tells of others which an empty node is to found a cluster with.
fn gathering_json(Gathering { expect, met }: &Gathering) -> String {
    let met: Vec<_> = met.iter().map(|id| format!("\"{id}\"")).collect();
    format!(",\"gathering\":{{\"expect\":{expect},\"met\":[{}]}}", met.join(","))
}

/// `POST /cluster/leader`
pub(in crate::api) async fn lead(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    let mut body = body(request, &["id"])?;
    let (at, id) = body.required("id")?;
    let Value::Number(id) = id else {
        let detail = "member \"id\" must be the number of a member";
        return Err(wrong_member(Code::InvalidJson, "id", at, detail));
    };
    admin(api, AdminRequest::Lead(id)).await?;
    Ok(Reply::Now(Response::json(200, format!("{{\"leader\":{id}}}"))))
}
