//! What nodes that do not belong to one cluster yet ask each other, over HTTP as
//! any client: who they are, and to be taken in.
//!
//! Anybody may name an address to be asked here. So nothing is followed from
//! there, little is read, and whoever named it hears the same whatever the other
//! end is: what went wrong stands in the log alone.

use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use crate::{base::ids::NodeId, io::cores, raft::peer::AdminRefusal};

/// What a node says of itself.
#[derive(Deserialize)]
pub(super) struct Probe {
    pub(super) cluster: Uuid,
    pub(super) node: NodeId,
    pub(super) members: Vec<ProbedMember>,
}

#[derive(Deserialize)]
pub(super) struct ProbedMember {
    pub(super) id: NodeId,
    pub(super) cluster_address: String,
}

/// The longest answer that is read: a cluster of many hundred members.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// The longest text that is repeated of an answer.
const TEXT_CHARACTERS_MAX: usize = 300;

/// Asks the node that clients reach at `address` who it is.
///
/// # Errors
/// [`AdminRefusal::Invalid`] when it does not say within `limit`, whatever the
/// reason.
pub(super) async fn probe(address: &str, limit: Duration) -> Result<Probe, AdminRefusal> {
    who_is(address, limit).await.map_err(|error| {
        tracing::warn!(address, error, "the node there does not say who it is");
        AdminRefusal::Invalid(format!("no node is reached at {address} that says who it is"))
    })
}

/// The same, with the reason where it does not say.
pub(super) async fn who_is(address: &str, limit: Duration) -> Result<Probe, String> {
    let url = format!("http://{address}/cluster");
    let asked = cores::on_own_thread("probe", move || get(&url, limit)).await;
    let text = asked.map_err(|error| error.to_string()).and_then(|outcome| outcome)?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Asks the node that clients reach at `place` to take a node in; `body` says
/// which.
///
/// # Errors
/// What it answered, or why it did not within `limit`.
pub(super) async fn ask_for(place: &str, body: &str, limit: Duration) -> Result<(), String> {
    let (url, body) = (format!("http://{place}/cluster/members"), body.to_owned());
    let asked = cores::on_own_thread("join", move || post(&url, &body, limit)).await;
    asked.map_err(|error| error.to_string()).and_then(|outcome| outcome)
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
