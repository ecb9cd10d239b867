//! Whether an empty node founds a cluster, as `--bootstrap-expect` asks for: a decision from what the
//! others said.
//!
//! A node *meets* others in a round in which every node that it asks has answered, none of them belongs
//! to a cluster, and those that are to found one, itself among them, are enough. It tells everybody whom
//! it has met. Of those, the one with the smallest address founds the cluster, once each of the others
//! tells that it has met exactly the same.
//!
//! So no two found a cluster that could have known of each other: ARCHITECTURE.md says why.

use std::collections::BTreeMap;

use crate::base::{cluster::Gathering, ids::ClusterId};

/// An empty node that is to found a cluster with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Founder {
    /// What it is told apart from others by: the name that its data directory was begun with.
    pub(super) id: ClusterId,
    /// Where clients reach it.
    pub(super) address: String,
    /// What it knows of others.
    pub(super) gathering: Gathering,
}

/// What there is at a place that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nobody said anything.
    Nothing,
    /// A node that belongs to a cluster.
    Member,
    /// An empty node, which is to found a cluster with others or waits to be taken in by one.
    Empty(Option<Founder>),
}

/// What follows from a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// Whom this node has met, itself among them, in ascending order.
    pub(super) met: Vec<ClusterId>,
    pub(super) decision: Decision,
}

/// What an empty node does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It asks to be taken in: there is a cluster.
    Join,
    /// It founds one.
    Found,
    /// It asks again.
    Wait(Wait),
}

/// What an empty node waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Not all have answered; those that have not may belong to a cluster.
    Answers,
    /// So many nodes are there, and no more.
    Nodes(usize),
    /// The nodes were not all told to expect the same number: one expects this.
    Number(usize),
    /// Two nodes say that clients reach them at this address.
    Address(String),
    /// The node at this address founds the cluster.
    Founder(String),
    /// The node at this address has not met the same nodes.
    Meeting(String),
}

/// Decides what `own` does about what was `said` at every place that it asks.
pub(super) fn decide(own: &Founder, said: &[Said]) -> Round {
    let wait = |wait| Round { met: Vec::new(), decision: Decision::Wait(wait) };
    if said.contains(&Said::Member) {
        return Round { met: Vec::new(), decision: Decision::Join };
    }
    if said.contains(&Said::Nothing) {
        return wait(Wait::Answers);
    }
    let founders = said.iter().filter_map(|said| match said {
        Said::Empty(Some(founder)) => Some((founder.id, founder)),
        _ => None,
    });
    // It may stand among them, under any name. What it knows itself is the newest.
    let all: BTreeMap<ClusterId, &Founder> = founders.chain([(own.id, own)]).collect();
    let expect = own.gathering.expect;
    let expects = all.values().map(|founder| founder.gathering.expect);
    if let Some(other) = expects.into_iter().find(|other| *other != expect) {
        return wait(Wait::Number(other));
    }
    let mut by_address = BTreeMap::new();
    for founder in all.values() {
        if by_address.insert(&founder.address, founder.id).is_some() {
            return wait(Wait::Address(founder.address.clone()));
        }
    }
    if all.len() < expect {
        return wait(Wait::Nodes(all.len()));
    }
    let met: Vec<ClusterId> = all.keys().copied().collect();
    let (smallest, id) = by_address.first_key_value().expect("this node is one of them");
    let decision = if *id != own.id {
        Decision::Wait(Wait::Founder((*smallest).clone()))
    } else {
        let others = all.values().filter(|founder| founder.id != own.id);
        match others.into_iter().find(|other| other.gathering.met != met) {
            Some(other) => Decision::Wait(Wait::Meeting(other.address.clone())),
            None => Decision::Found,
        }
    };
    Round { met, decision }
}
