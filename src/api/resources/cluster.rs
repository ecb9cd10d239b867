//! `/cluster`: the cluster and how far its members are, as this node knows it;
//! and which of them leads.

use super::members::{admin, body, json};
use crate::{
    api::{
        body::object::{Value, member as wrong_member},
        context::Context,
        error::{ApiError, Code},
        reply::Reply,
    },
    base::cluster::ClusterView,
    http::{Request, Response},
    raft::peer::AdminRequest,
};

/// `GET /cluster`
pub(in crate::api) fn get(api: &Context) -> Reply {
    let ClusterView { node, leader, term, state, committed, applied, members } =
        api.node.status().cluster();
    let id = |id: Option<u64>| id.map_or("null".to_owned(), |id| id.to_string());
    let members: Vec<String> = members.iter().map(json).collect();
    let (cluster, leader, members) = (api.node.cluster(), id(leader), members.join(","));
    Reply::Now(Response::json(
        200,
        format!(
            "{{\"cluster\":\"{cluster}\",\"node\":{node},\"leader\":{leader},\"term\":{term},\
             \"state\":\"{state}\",\"last\":{},\"committed\":{committed},\"applied\":{applied},\
             \"members\":[{members}]}}",
            api.node.last()
        ),
    ))
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
