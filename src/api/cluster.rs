//! `/cluster`: the members of the cluster and how far they are, as this node
//! knows it.

use super::{
    Api,
    error::{ApiError, Code, excerpt},
    reply::{Reply, json_string},
};
use crate::{
    base::cluster::{ClusterView, Member},
    http::Response,
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
            None => {
                let detail = format!("there is no member {:?}", excerpt(id));
                Err(ApiError::new(Code::NotFound, detail))
            }
        }
    }
}

fn json(member: &Member) -> String {
    let Member { id, address, cluster_address, voter, state, matched } = member;
    let (address, cluster_address) = (json_string(address), json_string(cluster_address));
    let role = if *voter { "voter" } else { "learner" };
    format!(
        "{{\"id\":{id},\"address\":{address},\"cluster_address\":{cluster_address},\
         \"role\":\"{role}\",\"state\":\"{state}\",\"matched\":{matched}}}"
    )
}
