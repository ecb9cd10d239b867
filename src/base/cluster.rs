//! What a node knows of its cluster, for those who ask.

use serde::{Deserialize, Serialize};

use crate::base::ids::{ClusterId, NodeId};

/// The cluster as a node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// This node.
    pub node: NodeId,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// What this node does: `leader`, `follower`, `candidate` or `learner`.
    pub state: &'static str,
    /// Index of the last committed entry.
    pub committed: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// All members, by number.
    pub members: Vec<Member>,
    /// What it knows of others, where it is empty and waits to found a cluster with them.
    pub gathering: Option<Gathering>,
}

/// What an empty node knows of others that it is to found a cluster with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// So many empty nodes must have found each other.
    pub expect: usize,
    /// What they are told apart by, its own among them, in ascending order; none unless all that it
    /// asks have answered, there are enough, and nobody belongs to a cluster.
    pub met: Vec<ClusterId>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: NodeId,
    /// Where clients reach it.
    pub address: String,
    /// Where the other members reach it.
    pub cluster_address: String,
    /// Whether it votes; else it is a read-only replica.
    pub voter: bool,
    /// What it does, as far as this node knows.
    pub state: &'static str,
    /// Index of the last entry that it is known to hold.
    pub matched: u64,
    /// Whether it answers the leader; not known where no leader says so.
    pub reachable: Option<bool>,
    /// Milliseconds since it last answered the leader, when that said so; likewise.
    pub heard_ms: Option<u64>,
}

/// What the leader knows of a member, as it tells the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its number.
    pub id: NodeId,
    /// What it does, one of [`STATES`]; another, of a later build, is not known here.
    pub state: String,
    /// Index of the last entry that it is known to hold.
    pub matched: u64,
    /// Whether it answers.
    pub reachable: bool,
    /// Milliseconds since it last answered, if it ever did.
    pub heard_ms: Option<u64>,
}

/// What members do, as far as a node knows.
pub const STATES: [&str; 8] =
    ["leader", "follower", "candidate", "learner", "stopping", "reverted", "unreachable", UNKNOWN];

/// What a member does of which nothing is known.
pub const UNKNOWN: &str = "unknown";

impl ClusterView {
    /// The same with what the leader knows of the members, where it is the leader of this view.
    #[must_use]
    pub fn seen_by(mut self, leader: NodeId, seen: &[Seen]) -> Self {
        if self.leader != Some(leader) || leader == self.node {
            return self;
        }
        for member in &mut self.members {
            let Some(seen) = seen.iter().find(|seen| seen.id == member.id) else { continue };
            member.matched = seen.matched;
            member.reachable = Some(seen.reachable);
            member.heard_ms = seen.heard_ms;
            // What this node does itself it knows best.
            if member.id != self.node {
                member.state =
                    STATES.into_iter().find(|state| *state == seen.state).unwrap_or(UNKNOWN);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_knows_of_the_others_and_a_node_of_itself() {
        let member = |id, state| Member {
            id,
            address: String::new(),
            cluster_address: String::new(),
            voter: true,
            state,
            matched: 0,
            reachable: None,
            heard_ms: None,
        };
        let seen = |id, state: &str, reachable| Seen {
            id,
            state: state.to_owned(),
            matched: 7,
            reachable,
            heard_ms: Some(10 * id),
        };
        let members = vec![member(1, "leader"), member(2, "candidate"), member(3, UNKNOWN)];
        let view = ClusterView { node: 2, leader: Some(1), members, ..ClusterView::default() };
        let all =
            [seen(1, "leader", true), seen(2, "follower", true), seen(3, "unreachable", false)];
        let shown = view.clone().seen_by(1, &all).members;
        let shown: Vec<_> =
            shown.iter().map(|it| (it.state, it.matched, it.reachable, it.heard_ms)).collect();
        let want = [
            ("leader", 7, Some(true), Some(10)),
            ("candidate", 7, Some(true), Some(20)),
            ("unreachable", 7, Some(false), Some(30)),
        ];
        assert_eq!(shown, want);
        assert_eq!(view.clone().seen_by(3, &all), view, "another leads");
        let later = [seen(3, "on fire", true)];
        assert_eq!(view.seen_by(1, &later).members[2].state, UNKNOWN);
    }
}
