//! The cluster as a node knows it.

use std::collections::BTreeSet;

use openraft::{Instant as _, RaftMetrics, ServerState, async_runtime::WatchReceiver};

use super::{
    leadership::Leadership,
    replica::Replica,
    types::{Address, RaftLogId, TypeConfig},
};
use crate::{
    base::{
        cluster::{ClusterView, Member},
        ids::NodeId,
    },
    io::{Disk, cores},
};

impl<D: Disk> Replica<D> {
    /// The cluster as this node knows it.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        let (is_led, leadership) = (self.is_led(), self.leadership());
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let own_state = match metrics.state {
            ServerState::Leader if leadership != Leadership::Here => ServerState::Follower,
            state => state,
        };
        let index = |id: Option<RaftLogId>| id.map_or(0, |id| id.index);
        let leader = match leadership {
            Leadership::Here => Some(metrics.id),
            Leadership::At(id, _) => Some(id),
            Leadership::Unknown => None,
        };
        let leader = leader.filter(|_| is_led);
        let acknowledged = self.network.acknowledged();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(&id, node)| {
            let replicated = metrics.replication.as_ref().and_then(|all| all.get(&id).cloned());
            let matched = match replicated {
                Some(matched) => index(matched),
                None if id == metrics.id => metrics.last_log_index.unwrap_or(0),
                None => 0,
            };
            let state = match leader {
                _ if id == metrics.id => state(own_state),
                _ if acknowledged.is_reverted(id) => "reverted",
                _ if !self.reaches(&metrics, id) => "unreachable",
                Some(leader) if leader == id => "leader",
                // Only the leader hears of the others.
                Some(leader) if leader != metrics.id => "unknown",
                Some(_) if voters.contains(&id) => "follower",
                Some(_) => "learner",
                None => "unknown",
            };
            let node = if id == metrics.id { &self.address } else { node };
            Member {
                id,
                address: node.address.clone(),
                cluster_address: node.cluster_address.clone(),
                voter: voters.contains(&id),
                state,
                matched,
            }
        });
        let mut members: Vec<Member> = members.collect();
        if members.is_empty() {
            // It waits to be taken in: this is how it is found.
            let Address { address, cluster_address, .. } = self.address.clone();
            let (id, state) = (metrics.id, state(own_state));
            members.push(Member { id, address, cluster_address, voter: false, state, matched: 0 });
        }
        ClusterView {
            node: metrics.id,
            leader,
            term: metrics.current_term,
            state: state(own_state),
            committed: index(metrics.local_committed),
            applied: index(metrics.last_applied),
            members,
            gathering: None,
        }
    }

    /// Whether a member answered this node a moment ago, or may yet; also when this
    /// node does not lead, and so does not ask.
    fn reaches(&self, metrics: &RaftMetrics<TypeConfig>, id: NodeId) -> bool {
        let Some(heartbeats) = &metrics.heartbeat else { return true };
        let recent = self.timing.election * 2;
        let term = metrics.current_term;
        let since = self.leads_since.get().filter(|(of, _)| *of == term);
        let (_, since) = since.unwrap_or((term, cores::now()));
        self.leads_since.set(Some((term, since)));
        let answered = heartbeats.get(&id).and_then(Option::as_ref);
        cores::elapsed(since) < recent || answered.is_some_and(|at| at.elapsed() < recent)
    }
}

fn state(state: ServerState) -> &'static str {
    match state {
        ServerState::Leader => "leader",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Learner => "learner",
        ServerState::Shutdown => "stopping",
    }
}
