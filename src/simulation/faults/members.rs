//! Members that are removed, come anew, come later, are taken in, and get or lose their vote.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt, rngs::StdRng};
use serde::Deserialize;

use crate::{
    base::ids::NodeId,
    io::cores,
    simulation::{
        places::{Places, Presence, client_address},
        plan::Shape,
        record::{Record, note},
        wire::{Heard, Link, Request},
        world::World,
    },
};

/// How long the list of the members is waited for.
const LISTED: Duration = Duration::from_secs(1);
/// How soon an empty node is offered again to a cluster that did not take it in.
const OFFER_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A member is removed; its process ends.
    Remove(NodeId),
    /// A member is to vote from now on.
    Promote(NodeId),
    /// A member is not to vote any more.
    Demote(NodeId),
    /// A node that was not there asks to be taken in.
    Join(NodeId),
    /// A node that was not there is a cluster of its own, which another is asked to take in.
    Adopt(NodeId),
    /// Each node is asked for its number.
    AskNumbers,
}

/// The members of a cluster, as one of them lists them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Members {
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    pub address: String,
    pub role: String,
}

impl Fault {
    pub(super) fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        // Disks are lost among the same, and the others are enough: so of these all may go, or
        // lose their votes.
        let minority: Vec<NodeId> = shape.minority().collect();
        let mut one = || minority[rng.random_range(0..minority.len())];
        let (removed, deprived) = match minority.is_empty() {
            true => (None, None),
            false => (Some(one()), Some(one())),
        };
        let (some, is_late) = (shape.any_node(rng), shape.late > 0 && rng.random_ratio(1, 2));
        match (rng.random_range(0..4), removed, deprived) {
            _ if is_late && rng.random() => Self::Join(shape.places()),
            _ if is_late => Self::Adopt(shape.places()),
            (0 | 1, Some(node), _) => Self::Remove(node),
            (2, _, Some(node)) => Self::Demote(node),
            _ => Self::Promote(some),
        }
    }

    /// Says whether anything was done.
    pub(super) async fn apply(&self, world: &World) -> bool {
        let places = &world.places;
        match *self {
            Self::Remove(node) => remove(world, node).await,
            Self::Promote(node) => set_vote(world, node, true).await,
            Self::Demote(node) => set_vote(world, node, false).await,
            Self::AskNumbers => world.ask_numbers().await,
            Self::Join(node) => {
                let is_absent = places.presence(node) == Presence::Absent;
                if is_absent {
                    places.set_presence(node, Presence::Present);
                    places.start(node);
                }
                is_absent
            }
            Self::Adopt(node) => {
                let is_absent = places.presence(node) == Presence::Absent;
                if is_absent {
                    places.set_presence(node, Presence::Alone);
                    drop(cores::spawn(be_adopted(places.clone(), world.record().clone(), node)));
                }
                is_absent
            }
        }
    }
}

async fn remove(world: &World, node: NodeId) -> bool {
    let places = &world.places;
    let Some(members) = members_of_a_whole_cluster(places).await else {
        note("the cluster is not whole");
        return false;
    };
    let Some(id) = members.get(&client_address(node)).copied() else { return false };
    places.set_removed(node);
    let Some(asked) = places.running().into_iter().find(|other| *other != node) else {
        return false;
    };
    let target = format!("/cluster/members/{id}");
    let request = Request { method: "DELETE", ..Request::get(target) };
    order(world, "remove a member", asked, request);
    true
}

async fn set_vote(world: &World, node: NodeId, votes: bool) -> bool {
    let Some(id) = number_of(&world.places, node).await else { return false };
    let Some(&asked) = world.places.running().last() else { return false };
    let body = format!(r#"{{"role":"{}"}}"#, role(votes));
    let request = Request::with_body("PATCH", format!("/cluster/members/{id}"), body);
    order(world, if votes { "promote a member" } else { "demote a member" }, asked, request);
    true
}

fn role(votes: bool) -> &'static str {
    if votes { "voter" } else { "learner" }
}

/// Asks a node for a change of the cluster. Nobody waits for it: what comes next may be what
/// hinders it.
pub(super) fn order(world: &World, what: &'static str, asked: NodeId, request: Request) {
    let record = world.record().clone();
    drop(cores::spawn(async move {
        let mut link = Link::new(client_address(asked));
        let heard = link.ask(&request).await;
        link.close();
        note(&format!("asked to {what}: {heard:?}"));
        count(&record, what, &heard);
    }));
}

fn count(record: &Record, what: &str, heard: &Heard) {
    let outcome = match heard {
        Heard::Answer(answer) if answer.status < 300 => "done",
        Heard::Answer(answer) if answer.status == 504 => "unknown",
        Heard::Answer(_) | Heard::NotSent => "refused",
        Heard::Broken => "unknown",
    };
    record.count(&format!("{what}: {outcome}"));
}

/// Offers the empty node of a place to the cluster until it is taken in.
async fn be_adopted(places: Places, record: Record, node: NodeId) {
    let mut link = Link::new(client_address(node));
    loop {
        // It may have been killed, or its disk may fail.
        places.start(node);
        let members = members_at(&mut link).await;
        if members.is_some_and(|members| members.len() > 1) {
            break;
        }
        let running = places.running();
        if let Some(&asked) = running.first() {
            let address = client_address(node);
            let body =
                format!(r#"{{"address":"{address}","role":"{}"}}"#, role(places.votes(node)));
            let request = Request::with_body("POST", "/cluster/members".to_owned(), body);
            let mut link = Link::new(client_address(asked));
            let heard = link.ask(&request).await;
            link.close();
            note(&format!("asked to adopt {node}: {heard:?}"));
            count(&record, "adopt a node", &heard);
        }
        cores::sleep(OFFER_AGAIN).await;
    }
    link.close();
    places.set_presence(node, Presence::Present);
    note(&format!("node {node} is taken in"));
}

/// The members that a node knows.
pub async fn members_at(link: &mut Link) -> Option<Vec<Member>> {
    let request = Request::get("/cluster/members".to_owned());
    let heard = cores::within(LISTED, link.ask(&request)).await;
    if heard.is_none() {
        link.close();
    }
    let Some(Heard::Answer(answer)) = heard else { return None };
    let listed: Members = serde_json::from_str(&answer.body).ok()?;
    Some(listed.members)
}

/// The members by the addresses that clients know.
async fn members(places: &Places) -> Option<BTreeMap<String, u64>> {
    let mut link = Link::new(client_address(*places.running().first()?));
    let members = members_at(&mut link).await;
    link.close();
    Some(members?.into_iter().map(|member| (member.address, member.id)).collect())
}

/// The number that the cluster gave to the node of a place.
pub(super) async fn number_of(places: &Places, node: NodeId) -> Option<u64> {
    members(places).await?.get(&client_address(node)).copied()
}

/// The numbers of all members, when each node runs and is one, and nobody else is.
async fn members_of_a_whole_cluster(places: &Places) -> Option<BTreeMap<String, u64>> {
    if places.running().len() as u64 != places.count() {
        return None;
    }
    let members = members(places).await?;
    let is_whole = places.all().all(|node| members.contains_key(&client_address(node)));
    (is_whole && members.len() as u64 == places.count()).then_some(members)
}
