//! What nodes that do not belong to one cluster yet ask each other as clients do: who a
//! node is (`GET /cluster`), and to be taken in (`POST /cluster/members`).

use std::{future::Future, time::Duration};

use futures_util::{FutureExt, future::LocalBoxFuture};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    base::{
        cluster::Gathering,
        ids::{ClusterId, NodeId},
        json_string::json_string,
    },
    node::members::{Applicant, Introduction, Introductions},
};

/// A request to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where clients reach that node.
    pub address: String,
    /// The path.
    pub path: &'static str,
    /// What is posted there, as JSON; without it the path is read.
    pub body: Option<String>,
    /// How long it may take.
    pub limit: Duration,
}

/// Asks by a function that sends one request, and gives back the body of the answer, or why
/// there is none that says yes.
pub struct OverHttp<A>(pub A);

impl<A, F> Introductions for OverHttp<A>
where
    A: Fn(Question) -> F + 'static,
    F: Future<Output = Result<String, String>> + 'static,
{
    fn who_is(
        &self,
        address: &str,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<Introduction, String>> {
        let address = address.to_owned();
        let answer = self.0(Question { address, path: "/cluster", body: None, limit });
        async move { introduction(&answer.await?) }.boxed_local()
    }

    fn ask_to_be_taken_in(
        &self,
        address: &str,
        applicant: &Applicant,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        let (address, body) = (address.to_owned(), Some(application(applicant)));
        let answer = self.0(Question { address, path: "/cluster/members", body, limit });
        async move { answer.await.map(drop) }.boxed_local()
    }
}

/// What a node says of itself, as far as others need it before they belong together.
#[derive(Deserialize)]
struct Cluster {
    cluster: Uuid,
    node: NodeId,
    members: Vec<Member>,
    gathering: Option<Met>,
}

#[derive(Deserialize)]
struct Member {
    id: NodeId,
    #[serde(default)]
    address: String,
    cluster_address: String,
}

#[derive(Deserialize)]
struct Met {
    expect: usize,
    met: Vec<ClusterId>,
}

fn introduction(answer: &str) -> Result<Introduction, String> {
    let Cluster { cluster, node, members, gathering } = serde_json::from_str(answer)
        .map_err(|error| format!("no ChangeAgent answers there: {error}"))?;
    let (addresses, cluster_addresses) = members
        .into_iter()
        .map(|member| ((member.id, member.address), (member.id, member.cluster_address)))
        .unzip();
    let gathering = gathering.map(|Met { expect, met }| Gathering { expect, met });
    let cluster = ClusterId(cluster);
    Ok(Introduction { cluster, node, addresses, cluster_addresses, gathering })
}

fn application(applicant: &Applicant) -> String {
    let role = if applicant.voter { "voter" } else { "learner" };
    format!(r#"{{"address":{},"role":"{role}"}}"#, json_string(&applicant.address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{body::object, resources::cluster},
        base::cluster::{ClusterView, Member},
    };

    #[test]
    fn what_a_node_answers_is_understood_by_those_who_ask() {
        let member = |id, cluster_address: &str| Member {
            id,
            address: format!("node-{id}:9000"),
            cluster_address: cluster_address.to_owned(),
            voter: id == 1,
            state: "follower",
            matched: 7,
            reachable: None,
            heard_ms: None,
        };
        let members = vec![member(1, "node-1:9001"), member(4, "")];
        let gathering = Some(Gathering { expect: 2, met: vec![ClusterId(Uuid::from_u128(9))] });
        let view = ClusterView { node: 4, members, gathering, ..ClusterView::default() };
        let cluster = ClusterId(Uuid::from_u128(7));
        let said = introduction(&cluster::json(cluster, &view, 9)).unwrap();
        let cluster_addresses = vec![(1, "node-1:9001".to_owned()), (4, String::new())];
        assert_eq!(said.address(), "node-4:9000");
        let addresses = [1, 4].map(|id| (id, format!("node-{id}:9000"))).to_vec();
        let gathering = view.gathering;
        let want = Introduction { cluster, node: 4, addresses, cluster_addresses, gathering };
        assert_eq!(said, want);
        assert!(introduction("{}").is_err());
    }

    #[test]
    fn an_application_is_a_body_that_a_node_takes() {
        let applicant = Applicant { address: "a \"b\":1".to_owned(), voter: false };
        let body = application(&applicant);
        let mut body = object::parse(body.as_bytes(), &["address", "role"]).unwrap();
        assert_eq!(&*body.text("address").unwrap().unwrap().1, "a \"b\":1");
        assert_eq!(&*body.text("role").unwrap().unwrap().1, "learner");
    }
}
