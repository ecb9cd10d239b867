//! What nodes that do not belong to one cluster yet ask each other, over HTTP as
//! any client: who they are, and to be taken in.
//!
//! Anybody may name an address to be asked here. So nothing is followed from
//! there, little is read, and whoever named it hears the same whatever the other
//! end is: what went wrong stands in the log alone.

use std::time::Duration;

use futures_util::{FutureExt, future::LocalBoxFuture};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    base::ids::{ClusterId, NodeId},
    io::cores,
    node::members::{Applicant, Introduction, Introductions},
};

/// What a node says of itself.
#[derive(Deserialize)]
struct Cluster {
    cluster: Uuid,
    node: NodeId,
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    id: NodeId,
    cluster_address: String,
}

impl From<Cluster> for Introduction {
    fn from(Cluster { cluster, node, members }: Cluster) -> Self {
        let cluster_addresses =
            members.into_iter().map(|member| (member.id, member.cluster_address)).collect();
        Self { cluster: ClusterId(cluster), node, cluster_addresses }
    }
}

/// The longest answer that is read: a cluster of many hundred members.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// The longest text that is repeated of an answer.
const TEXT_CHARACTERS_MAX: usize = 300;

/// Asks over HTTP, on a thread of its own each time.
pub(super) struct OverHttp;

impl Introductions for OverHttp {
    fn who_is(
        &self,
        address: &str,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<Introduction, String>> {
        let url = format!("http://{address}/cluster");
        async move {
            let asked = cores::on_own_thread("introduction", move || get(&url, limit)).await;
            let text = asked.map_err(|error| error.to_string()).and_then(|outcome| outcome)?;
            let said: Cluster = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            Ok(said.into())
        }
        .boxed_local()
    }

    fn ask_to_be_taken_in(
        &self,
        address: &str,
        applicant: &Applicant,
        limit: Duration,
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        let url = format!("http://{address}/cluster/members");
        let role = if applicant.voter { "voter" } else { "learner" };
        let address = serde_json::Value::from(applicant.address.clone());
        let body = format!("{{\"address\":{address},\"role\":\"{role}\"}}");
        async move {
            let asked = cores::on_own_thread("join", move || post(&url, &body, limit)).await;
            asked.map_err(|error| error.to_string()).and_then(|outcome| outcome)
        }
        .boxed_local()
    }
}

fn agent(limit: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // Nodes are reached directly, whatever the environment says of proxies.
        .proxy(None);
    config.build().into()
}

fn get(url: &str, limit: Duration) -> Result<String, String> {
    let mut answer = agent(limit).get(url).call().map_err(|error| error.to_string())?;
    match answer.status().as_u16() {
        200 => text_of(&mut answer),
        _ => Err(refusal(&mut answer)?),
    }
}

fn post(url: &str, body: &str, limit: Duration) -> Result<(), String> {
    let request = agent(limit).post(url).header("Content-Type", "application/json");
    let mut answer = request.send(body).map_err(|error| error.to_string())?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(refusal(&mut answer)?)
}

/// Why a request was refused, as far as the answer says.
fn refusal(answer: &mut ureq::http::Response<ureq::Body>) -> Result<String, String> {
    let status = answer.status().as_u16();
    let problem: Option<serde_json::Value> = serde_json::from_str(&text_of(answer)?).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    Ok(match detail {
        Some(detail) => detail.chars().take(TEXT_CHARACTERS_MAX).collect(),
        None => format!("it answers {status}"),
    })
}

fn text_of(answer: &mut ureq::http::Response<ureq::Body>) -> Result<String, String> {
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    body.read_to_string().map_err(|error| error.to_string())
}
