//! Members that are removed while the cluster is whole, and come anew with an empty disk.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt, rngs::StdRng};
use serde::Deserialize;

use crate::{
    base::ids::NodeId,
    io::cores,
    simulation::{
        places::{Places, client_address},
        plan::Shape,
        record::note,
        wire::{Heard, Link, Request},
        world::World,
    },
};

/// How long the list of the members is waited for.
const LISTED: Duration = Duration::from_secs(1);
/// A cluster of fewer voters does not survive the loss of one.
const VOTERS_MIN: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A member is removed; its process ends. 0 is nobody.
    Remove(NodeId),
}

#[derive(Deserialize)]
struct Listed {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    id: u64,
    address: String,
    role: String,
}

impl Fault {
    pub(super) fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        // Disks are lost among the same: so the others are enough.
        let minority: Vec<NodeId> = shape.minority().collect();
        match minority.len() {
            0 => Self::Remove(0),
            count => Self::Remove(minority[rng.random_range(0..count)]),
        }
    }

    pub(super) async fn apply(&self, world: &World) {
        let places = &world.places;
        let Some(members) = members_of_a_whole_cluster(places).await else {
            return note("the cluster is not whole");
        };
        let Self::Remove(node) = *self;
        let Some(id) = members.get(&client_address(node)).copied() else { return };
        let target = format!("/cluster/members/{id}");
        let request = Request { method: "DELETE", ..Request::get(target) };
        places.set_removed(node);
        let Some(asked) = places.running().into_iter().find(|other| *other != node) else { return };
        // Nobody waits for it: what comes next may be what hinders it.
        drop(cores::spawn(async move {
            let mut link = Link::new(client_address(asked));
            let heard = link.ask(&request).await;
            link.close();
            note(&format!("asked to remove {node}: {heard:?}"));
        }));
    }
}

/// The numbers of all members, when each node runs and is one, and nobody else is.
async fn members_of_a_whole_cluster(places: &Places) -> Option<BTreeMap<String, u64>> {
    if places.running().len() as u64 != places.count() {
        return None;
    }
    let mut link = Link::new(client_address(*places.running().first()?));
    let request = Request::get("/cluster/members".to_owned());
    let heard = cores::within(LISTED, link.ask(&request)).await;
    link.close();
    let Some(Heard::Answer(answer)) = heard else { return None };
    let listed: Listed = serde_json::from_str(&answer.body).ok()?;
    let voters = listed.members.iter().filter(|member| member.role == "voter").count();
    let to_vote = places.all().filter(|&node| places.votes(node)).count();
    let members: BTreeMap<String, u64> =
        listed.members.into_iter().map(|member| (member.address, member.id)).collect();
    let is_whole = places.all().all(|node| members.contains_key(&client_address(node)));
    let is_whole = is_whole && members.len() as u64 == places.count() && voters == to_vote;
    (is_whole && voters >= VOTERS_MIN).then_some(members)
}
