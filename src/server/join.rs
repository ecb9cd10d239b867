//! What becomes of `--join`: a node that is no member yet asks others to take it
//! in, again and again, until it is one.

use std::{rc::Rc, time::Duration};

use super::{
    cluster::{PROBE, Replica},
    config::Role,
    invitation,
    run::Shared,
};
use crate::{base::timing::ADMIN_ANSWER, io::cores, log::Identity};

/// How long to wait before a cluster is asked again to take this node in.
const RETRY: Duration = Duration::from_millis(500);

/// Does as `--join` says, where that was given.
pub(super) fn start(replica: &Rc<Replica>, shared: &Shared) {
    let (places, replica) = (shared.config.join.clone(), Rc::clone(replica));
    if places.is_empty() {
        return;
    }
    if replica.is_member() {
        cores::spawn(async move { ignore(&replica, places).await });
        return;
    }
    let role = if shared.config.role == Role::Voter { "voter" } else { "learner" };
    let address = serde_json::Value::from(shared.address.address.clone());
    let body = format!("{{\"address\":{address},\"role\":\"{role}\"}}");
    cores::spawn(async move { join(&replica, &places, &body).await });
}

/// Says that this node asks nobody to be taken in, since it is a member already;
/// and warns where the nodes at `places` are of another cluster.
async fn ignore(replica: &Replica, places: Vec<String>) {
    let Identity { cluster, node } = replica.log().identity();
    tracing::info!(node, %cluster, "--join has no effect: this node is a member already");
    for place in places {
        let Ok(there) = invitation::who_is(&place, PROBE).await else { continue };
        if there.cluster != cluster.0 {
            tracing::warn!(
                place,
                there = %there.cluster,
                own = %cluster,
                "--join names a node of another cluster than this data directory belongs to"
            );
        }
    }
}

/// Asks one of the nodes at `places` to take this one in, until it is.
async fn join(replica: &Replica, places: &[String], body: &str) {
    let mut said = String::new();
    for place in places.iter().cycle() {
        if replica.is_member() {
            return;
        }
        if let Err(error) = invitation::ask_for(place, body, ADMIN_ANSWER).await
            && said != error
        {
            tracing::warn!(place, error, "not taken in yet");
            said = error;
        }
        cores::sleep(RETRY).await;
    }
}
