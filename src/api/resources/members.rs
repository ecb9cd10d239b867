//! `/cluster/members`: the members of the cluster, and how they are changed.

use crate::{
    api::{
        body::object::{self, Object, Value, member as wrong_member},
        context::Context,
        error::{ApiError, Code, excerpt},
        reply::Reply,
        request::{View, content_type::json_body, small_body},
    },
    base::{
        cluster::{ClusterView, Member},
        ids::NodeId,
        json_string::json_string,
        names::is_host_and_port,
    },
    http::{Request, Response},
    raft::peer::{AdminRefusal, AdminRequest, Change},
};

/// The cluster as it is to be shown.
pub(super) fn view_of(api: &Context, view: View) -> ClusterView {
    match view {
        View::Leader => api.node.status().cluster_as_led(),
        View::Local => api.node.status().cluster(),
    }
}

/// `GET /cluster/members`
pub(in crate::api) fn list(api: &Context, view: View) -> Reply {
    let members: Vec<String> = view_of(api, view).members.iter().map(json).collect();
    Reply::Now(Response::json(200, format!("{{\"members\":[{}]}}", members.join(","))))
}

/// `GET /cluster/members/ID`
pub(in crate::api) fn get(api: &Context, view: View, id: &str) -> Result<Reply, ApiError> {
    let members = view_of(api, view).members;
    let member = members.iter().find(|member| member.id.to_string() == id);
    match member {
        Some(member) => Ok(Reply::Now(Response::json(200, json(member)))),
        None => Err(no_member(id)),
    }
}

/// `POST /cluster/members`
pub(in crate::api) async fn add(api: &Context, request: &Request) -> Result<Reply, ApiError> {
    let mut body = body(request, &["address", "role"])?;
    let (at, address) = body.required("address")?;
    let Value::Text(address) = address else {
        return Err(object::not_a_string("address", at));
    };
    let address = checked_address("address", at, &address)?;
    let voter = role(&mut body)?.unwrap_or(true);
    let accepted =
        format!("{{\"address\":{},\"role\":\"{}\"}}", json_string(&address), role_name(voter));
    must_be_reachable(api)?;
    admin(api, AdminRequest::Add { address, voter }).await?;
    Ok(Reply::Now(Response::json(202, accepted)))
}

/// `PATCH /cluster/members/ID`
pub(in crate::api) async fn change(
    api: &Context,
    request: &Request,
    id: &str,
) -> Result<Reply, ApiError> {
    let id = member_id(id)?;
    let mut body = body(request, &["role", "address", "cluster_address"])?;
    let mut address = |name| {
        let text = body.text(name)?;
        text.map(|(at, text)| checked_address(name, at, &text)).transpose()
    };
    let (address, cluster_address) = (address("address")?, address("cluster_address")?);
    let change = Change { voter: role(&mut body)?, address, cluster_address };
    if change == Change::default() {
        let detail = "one of the members \"role\" and \"address\" is needed";
        return Err(ApiError::new(Code::MissingMember, detail));
    }
    must_be_reachable(api)?;
    admin(api, AdminRequest::Change(id, change)).await?;
    Ok(Reply::Now(Response::json(202, format!("{{\"id\":{id}}}"))))
}

/// `DELETE /cluster/members/ID`
pub(in crate::api) async fn remove(
    api: &Context,
    request: &Request,
    id: &str,
) -> Result<Reply, ApiError> {
    let id = member_id(id)?;
    if !request.body().is_empty() {
        body(request, &[])?;
    }
    must_be_reachable(api)?;
    admin(api, AdminRequest::Remove(id)).await?;
    Ok(Reply::Now(Response::json(200, format!("{{\"id\":{id}}}"))))
}

/// Refuses a change of the members by a node that no other can reach: it is
/// not meant to have any.
fn must_be_reachable(api: &Context) -> Result<(), ApiError> {
    let ClusterView { node, members, .. } = api.node.status().cluster();
    let own = members.iter().find(|member| member.id == node);
    if own.is_some_and(|own| own.cluster_address.is_empty()) {
        let detail = "this node has no cluster address, so its members cannot change: start it \
                      with --cluster-listen";
        return Err(ApiError::new(Code::PreconditionFailed, detail));
    }
    Ok(())
}

/// Has the cluster changed, and says which member that concerned.
pub(super) async fn admin(api: &Context, request: AdminRequest) -> Result<NodeId, ApiError> {
    api.node.admin(request).await.map_err(|refusal| match refusal {
        AdminRefusal::NotFound(id) => no_member(&id.to_string()),
        AdminRefusal::Invalid(text) => ApiError::new(Code::InvalidParameter, text),
        AdminRefusal::Precondition(text) => ApiError::new(Code::PreconditionFailed, text),
        AdminRefusal::NoLeader => {
            ApiError::new(Code::NoLeader, "the cluster has no leader at the moment")
        }
        AdminRefusal::Unknown => ApiError::new(
            Code::UnknownOutcome,
            "it is not known whether the cluster was changed; its members tell",
        ),
    })
}

/// The small JSON object of a request that may have the members `known`.
pub(super) fn body(request: &Request, known: &[&str]) -> Result<Object, ApiError> {
    // What a form of a web page can send is not taken here.
    json_body(request)?;
    small_body::check(request.body().len())?;
    object::parse(request.body(), known)
}

fn no_member(id: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is no member {:?}", excerpt(id)))
}

fn member_id(text: &str) -> Result<NodeId, ApiError> {
    let id: Option<NodeId> = text.parse().ok();
    id.filter(|id| id.to_string() == text).ok_or_else(|| no_member(text))
}

/// Whether the role that a body names votes.
fn role(body: &mut Object) -> Result<Option<bool>, ApiError> {
    match body.text("role")? {
        None => Ok(None),
        Some((_, role)) if &*role == "voter" => Ok(Some(true)),
        Some((_, role)) if &*role == "learner" => Ok(Some(false)),
        Some((at, role)) => {
            let detail = format!("a role is \"voter\" or \"learner\", not {:?}", excerpt(&role));
            Err(wrong_member(Code::InvalidParameter, "role", at, &detail))
        }
    }
}

fn role_name(voter: bool) -> &'static str {
    if voter { "voter" } else { "learner" }
}

fn checked_address(name: &str, at: usize, text: &str) -> Result<String, ApiError> {
    if is_host_and_port(text) {
        return Ok(text.to_owned());
    }
    let detail = format!("an address is of the form HOST:PORT, not {:?}", excerpt(text));
    Err(wrong_member(Code::InvalidParameter, name, at, &detail))
}

/// A member as answers show it.
pub(super) fn json(member: &Member) -> String {
    let Member { id, address, cluster_address, voter, state, matched, reachable, heard_ms } =
        member;
    let reachable = reachable.map_or("null", |reachable| if reachable { "true" } else { "false" });
    let heard_ms = heard_ms.map_or("null".to_owned(), |ms| ms.to_string());
    let (address, cluster_address) = (json_string(address), json_string(cluster_address));
    let role = role_name(*voter);
    format!(
        "{{\"id\":{id},\"address\":{address},\"cluster_address\":{cluster_address},\
         \"role\":\"{role}\",\"state\":\"{state}\",\"matched\":{matched},\
         \"reachable\":{reachable},\"last_heard_ms\":{heard_ms}}}"
    )
}
