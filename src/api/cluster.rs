//! `/cluster`: the members of the cluster and how far they are, as this node
//! knows it; and how the cluster is changed.

use super::{
    Api,
    error::{ApiError, Code, excerpt},
    object_body::{self, Object, Value, member as wrong_member},
    reply::{Reply, json_string},
    write::{SMALL_BODY_BYTES, json_body},
};
use crate::{
    base::{
        cluster::{ClusterView, Member},
        ids::NodeId,
        names::is_host_and_port,
    },
    http::{Request, Response},
    raft::peer::{AdminRefusal, AdminRequest, Change},
};

impl Api {
    /// `GET /cluster`
    pub(super) fn cluster(&self) -> Reply {
        let ClusterView { node, leader, term, state, committed, applied, members } =
            self.node.status().cluster();
        let id = |id: Option<u64>| id.map_or("null".to_owned(), |id| id.to_string());
        let members: Vec<String> = members.iter().map(json).collect();
        let (cluster, leader, members) = (self.node.cluster(), id(leader), members.join(","));
        Reply::Now(Response::json(
            200,
            format!(
                "{{\"cluster\":\"{cluster}\",\"node\":{node},\"leader\":{leader},\"term\":{term},\
                 \"state\":\"{state}\",\"last\":{},\"committed\":{committed},\"applied\":{applied},\
                 \"members\":[{members}]}}",
                self.node.last()
            ),
        ))
    }

    /// `GET /cluster/members`
    pub(super) fn members(&self) -> Reply {
        let members: Vec<String> = self.node.status().cluster().members.iter().map(json).collect();
        Reply::Now(Response::json(200, format!("{{\"members\":[{}]}}", members.join(","))))
    }

    /// `GET /cluster/members/ID`
    pub(super) fn member(&self, id: &str) -> Result<Reply, ApiError> {
        let members = self.node.status().cluster().members;
        let member = members.iter().find(|member| member.id.to_string() == id);
        match member {
            Some(member) => Ok(Reply::Now(Response::json(200, json(member)))),
            None => Err(no_member(id)),
        }
    }

    /// `POST /cluster/members`
    pub(super) async fn add_member(&self, request: &Request) -> Result<Reply, ApiError> {
        let mut body = body(request, &["address", "role"])?;
        let (at, address) = body.required("address")?;
        let Value::Text(address) = address else {
            return Err(object_body::not_a_string("address", at));
        };
        let address = checked_address("address", at, &address)?;
        let voter = role(&mut body)?.unwrap_or(true);
        let accepted =
            format!("{{\"address\":{},\"role\":\"{}\"}}", json_string(&address), role_name(voter));
        self.must_be_reachable()?;
        self.admin(AdminRequest::Add { address, voter }).await?;
        Ok(Reply::Now(Response::json(202, accepted)))
    }

    /// `PATCH /cluster/members/ID`
    pub(super) async fn change_member(
        &self,
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
        self.must_be_reachable()?;
        self.admin(AdminRequest::Change(id, change)).await?;
        Ok(Reply::Now(Response::json(202, format!("{{\"id\":{id}}}"))))
    }

    /// `DELETE /cluster/members/ID`
    pub(super) async fn remove_member(
        &self,
        request: &Request,
        id: &str,
    ) -> Result<Reply, ApiError> {
        let id = member_id(id)?;
        if !request.body().is_empty() {
            body(request, &[])?;
        }
        self.must_be_reachable()?;
        self.admin(AdminRequest::Remove(id)).await?;
        Ok(Reply::Now(Response::json(200, format!("{{\"id\":{id}}}"))))
    }

    /// `POST /cluster/leader`
    pub(super) async fn lead(&self, request: &Request) -> Result<Reply, ApiError> {
        let mut body = body(request, &["id"])?;
        let (at, id) = body.required("id")?;
        let Value::Number(id) = id else {
            let detail = "member \"id\" must be the number of a member";
            return Err(wrong_member(Code::InvalidJson, "id", at, detail));
        };
        self.admin(AdminRequest::Lead(id)).await?;
        Ok(Reply::Now(Response::json(200, format!("{{\"leader\":{id}}}"))))
    }

    /// Refuses a change of the members by a node that no other can reach: it is
    /// not meant to have any.
    fn must_be_reachable(&self) -> Result<(), ApiError> {
        let ClusterView { node, members, .. } = self.node.status().cluster();
        let own = members.iter().find(|member| member.id == node);
        if own.is_some_and(|own| own.cluster_address.is_empty()) {
            let detail = "this node has no cluster address, so its members cannot change: start it \
                          with --cluster-listen";
            return Err(ApiError::new(Code::PreconditionFailed, detail));
        }
        Ok(())
    }

    async fn admin(&self, request: AdminRequest) -> Result<NodeId, ApiError> {
        self.node.admin(request).await.map_err(|refusal| match refusal {
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
}

fn body(request: &Request, known: &[&str]) -> Result<Object, ApiError> {
    // What a form of a web page can send is not taken here.
    json_body(request)?;
    let bytes = request.body().len();
    if bytes > SMALL_BODY_BYTES {
        let detail = format!(
            "the body is {bytes} bytes, above the limit of {SMALL_BODY_BYTES} for this request"
        );
        return Err(ApiError::new(Code::TooLarge, detail));
    }
    object_body::parse(request.body(), known)
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

fn json(member: &Member) -> String {
    let Member { id, address, cluster_address, voter, state, matched } = member;
    let (address, cluster_address) = (json_string(address), json_string(cluster_address));
    let role = role_name(*voter);
    format!(
        "{{\"id\":{id},\"address\":{address},\"cluster_address\":{cluster_address},\
         \"role\":\"{role}\",\"state\":\"{state}\",\"matched\":{matched}}}"
    )
}
