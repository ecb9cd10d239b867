//! An empty node that is to found a cluster with others (`--bootstrap-expect`): it asks those of `--join`
//! who they are, again and again, until it founds a cluster or is taken in by one.

use std::{rc::Rc, sync::Arc};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{
    adoption::Adopted,
    founding::{Decision, Founder, Said, Wait, decide},
    introductions::{Applicant, Introduction, Introductions},
};
use crate::{
    base::{
        cluster::Gathering,
        ids::NodeId,
        timing::{ADMIN_ANSWER, INTRODUCTION_ANSWER, JOIN_RETRY},
    },
    io::{Disk, cores},
    node::Status,
    raft::{Address, Replica},
};

/// The number of the node that a cluster begins with.
pub const FOUNDER: NodeId = 1;

/// An empty node, and what it needs to gather with others.
pub struct Gatherer<D: Disk> {
    /// The empty node.
    pub replica: Rc<Replica<D>>,
    /// The way to the others.
    pub introductions: Rc<dyn Introductions>,
    /// Where others see what it knows.
    pub status: Arc<Status>,
    /// Where clients reach those that are asked.
    pub places: Vec<String>,
    /// How many must have found each other.
    pub expect: usize,
    /// Where it is reached.
    pub own: Address,
    /// Says whom it is to become.
    pub accepted: mpsc::Sender<Adopted>,
}

/// What a place answered, or why it did not.
type Answers = Vec<(String, Result<Introduction, String>)>;

impl<D: Disk> Gatherer<D> {
    /// Gathers until this node founds a cluster, or becomes a member of one.
    pub async fn run(self) {
        let cluster = self.replica.log().identity().cluster;
        let gathering = Gathering { expect: self.expect, met: Vec::new() };
        let mut own = Founder { id: cluster, address: self.own.address.clone(), gathering };
        let (mut told, mut refused, mut turn) = (String::new(), String::new(), 0);
        let mut is_lost = false;
        loop {
            self.status.set_gathering(own.gathering.clone());
            let answers = self.ask_all().await;
            let said: Vec<Said> = answers.iter().map(|(_, answer)| said(answer)).collect();
            let round = decide(&own, &said);
            own.gathering.met = round.met;
            match round.decision {
                Decision::Found => {
                    tracing::info!(%cluster, nodes = own.gathering.met.len(), "this node founds a cluster");
                    // Where it is full, this node becomes a member of another cluster at once.
                    let _ = self.accepted.try_send(Adopted { cluster, node: FOUNDER });
                    return;
                }
                Decision::Join => {
                    is_lost = is_lost || self.tell_lost(&answers);
                    let members = answers.iter().filter(|(_, answer)| is_member(answer));
                    let places: Vec<_> = members.map(|(place, _)| place).collect();
                    let place = places[turn % places.len()];
                    turn += 1;
                    self.ask_to_be_taken_in(place, &mut refused).await;
                }
                Decision::Wait(wait) => tell(&wait, &answers, &mut told),
            }
            cores::sleep(JOIN_RETRY).await;
        }
    }

    /// Asks all who they are, at once.
    async fn ask_all(&self) -> Answers {
        let asked = self.places.iter().map(|place| {
            let answer = self.introductions.who_is(place, INTRODUCTION_ANSWER);
            async move { (place.clone(), answer.await) }
        });
        join_all(asked).await
    }

    async fn ask_to_be_taken_in(&self, place: &str, refused: &mut String) {
        let applicant = Applicant { address: self.own.address.clone(), voter: self.own.votes };
        let asked = self.introductions.ask_to_be_taken_in(place, &applicant, ADMIN_ANSWER);
        if let Err(error) = asked.await
            && *refused != error
        {
            tracing::warn!(place, error, "not taken in yet");
            *refused = error;
        }
    }

    /// Says that a cluster has a member where this empty node is, if one has; whether it does.
    fn tell_lost(&self, answers: &Answers) -> bool {
        let Address { address, cluster_address, .. } = &self.own;
        let lost = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok()).find_map(|said| {
            said.member_at(address, cluster_address).map(|node| (said.cluster, node))
        });
        if let Some((cluster, node)) = lost {
            tracing::warn!(
                node,
                %cluster,
                "the data directory is empty, and a cluster has a member at this address: this node \
                 founds none, and asks to be taken in in its place"
            );
        }
        lost.is_some()
    }
}

fn is_member(answer: &Result<Introduction, String>) -> bool {
    said(answer) == Said::Member
}

fn said(answer: &Result<Introduction, String>) -> Said {
    match answer {
        Err(_) => Said::Nothing,
        Ok(said) if said.node != 0 => Said::Member,
        Ok(said) => {
            let founder = |gathering: &Gathering| Founder {
                id: said.cluster,
                address: said.address(),
                gathering: gathering.clone(),
            };
            Said::Empty(said.gathering.as_ref().map(founder))
        }
    }
}

/// Says what this node waits for, once for each reason; what can only be mended is a warning.
fn tell(wait: &Wait, answers: &Answers, told: &mut String) {
    let silent =
        || answers.iter().find_map(|(place, answer)| Some((place, answer.as_ref().err()?)));
    let is_mistake = matches!(wait, Wait::Number(_) | Wait::Address(_));
    let why = match wait {
        Wait::Answers => silent().map_or_else(String::new, |(place, error)| {
            format!("{place} has not said yet whether it belongs to a cluster: {error}")
        }),
        Wait::Nodes(count) => format!("{count} empty nodes have found each other"),
        Wait::Number(other) => format!("another node has --bootstrap-expect {other}"),
        Wait::Address(address) => format!("two nodes say that they are at {address}"),
        Wait::Founder(address) => format!("the node at {address} founds it"),
        Wait::Meeting(address) => format!("the node at {address} has not found the same nodes yet"),
    };
    if *told == why {
        return;
    }
    match is_mistake {
        true => tracing::warn!(why, "this empty node waits until a cluster is founded"),
        false => tracing::info!(why, "this empty node waits until a cluster is founded"),
    }
    *told = why;
}
