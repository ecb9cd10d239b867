//! What nodes that do not belong to one cluster yet ask each other, over HTTP as
//! any client: who they are, and to be taken in.

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

/// Asks the node that clients reach at `address` who it is.
///
/// # Errors
/// [`AdminRefusal::Invalid`] when it does not say within `limit`.
pub(super) async fn probe(address: &str, limit: Duration) -> Result<Probe, AdminRefusal> {
    let url = format!("http://{address}/cluster");
    let asked = cores::on_own_thread("probe", move || get(&url, limit)).await;
    let text = asked.map_err(|error| error.to_string()).and_then(|outcome| outcome);
    let said = text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    said.map_err(|error| {
        let text = format!("the node at {address} does not say who it is: {error}");
        AdminRefusal::Invalid(text)
    })
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
    let config = ureq::Agent::config_builder();
    config.timeout_global(Some(limit)).http_status_as_error(false).build().into()
}

fn get(url: &str, limit: Duration) -> Result<String, String> {
    let failed = |error: ureq::Error| error.to_string();
    let mut answer = agent(limit).get(url).call().map_err(failed)?;
    answer.body_mut().read_to_string().map_err(failed)
}

fn post(url: &str, body: &str, limit: Duration) -> Result<(), String> {
    let failed = |error: ureq::Error| error.to_string();
    let request = agent(limit).post(url).header("Content-Type", "application/json");
    let mut answer = request.send(body).map_err(failed)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let text = answer.body_mut().read_to_string().map_err(failed)?;
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    Err(problem["detail"].as_str().map_or(text, str::to_owned))
}
