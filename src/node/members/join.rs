//! A node that is told to join a cluster: it asks others to take it in, again and again,
//! until it is a member.

use std::{collections::BTreeMap, rc::Rc};

use super::introductions::{Applicant, Introductions};
use crate::{
    base::timing::{ADMIN_ANSWER, INTRODUCTION_ANSWER, JOIN_RETRY},
    io::{Disk, cores},
    log::Identity,
    raft::Replica,
};

/// Says that settings about how a node begins have no effect: this one has begun.
pub fn tell_without_effect(setting: &str, Identity { cluster, node }: Identity) {
    tracing::info!(node, %cluster, "{setting} has no effect: this node is a member already");
}

/// Asks the nodes that clients reach at `places` in turn to take this one in as
/// `applicant`, until it is a member; one that is already only says so.
pub async fn join<D: Disk>(
    replica: Rc<Replica<D>>,
    introductions: Rc<dyn Introductions>,
    places: Vec<String>,
    applicant: Applicant,
) {
    if replica.is_member() {
        return warn_of_another_cluster(&replica, &*introductions, &places).await;
    }
    // What each answered last: one line for each reason of each.
    let mut said = BTreeMap::new();
    for place in places.iter().cycle() {
        if replica.is_member() {
            return;
        }
        let asked = introductions.ask_to_be_taken_in(place, &applicant, ADMIN_ANSWER);
        if let Err(error) = asked.await
            && said.get(place) != Some(&error)
        {
            tracing::warn!(place, error, "not taken in yet");
            said.insert(place, error);
        }
        cores::sleep(JOIN_RETRY).await;
    }
}

/// Says that this node asks nobody to be taken in, since it is a member already;
/// and warns where the nodes at `places` are of another cluster.
async fn warn_of_another_cluster<D: Disk>(
    replica: &Replica<D>,
    introductions: &dyn Introductions,
    places: &[String],
) {
    let Identity { cluster, .. } = replica.log().identity();
    tell_without_effect("--join", replica.log().identity());
    for place in places {
        let said = introductions.who_is(place, INTRODUCTION_ANSWER).await;
        let Ok(there) = said else { continue };
        if there.cluster != cluster {
            tracing::warn!(
                place,
                there = %there.cluster,
                own = %cluster,
                "--join names a node of another cluster than this data directory belongs to"
            );
        }
    }
}
