//! The cluster as a node knows it.

use std::{collections::BTreeSet, time::Duration};

use openraft::{Instant as _, RaftMetrics, ServerState, async_runtime::WatchReceiver};

use super::{
    leadership::Leadership,
    replica::Replica,
    types::{Address, RaftLogId, TypeConfig},
};
use crate::{
    base::{
        cluster::{ClusterView, Member, Seen},
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
            let contact = self.contact(&metrics, id);
            let replicated = metrics.replication.as_ref().and_then(|all| all.get(&id).cloned());
            let matched = match replicated {
                Some(matched) => index(matched),
                None if id == metrics.id => metrics.last_log_index.unwrap_or(0),
                None => 0,
            };
            let state = match leader {
                _ if id == metrics.id => state(own_state),
                _ if acknowledged.is_reverted(id) => "reverted",
                _ if contact.is_some_and(|contact| !contact.reachable) => "unreachable",
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
                reachable: contact.map(|contact| contact.reachable),
                heard_ms: contact.and_then(|contact| contact.heard_ms),
            }
        });
        let mut members: Vec<Member> = members.collect();
        if members.is_empty() {
            // It waits to be taken in: this is how it is found.
            let Address { address, cluster_address, .. } = self.address.clone();
            let (id, state) = (metrics.id, state(own_state));
            members.push(Member { id, address, cluster_address, state, ..Member::default() });
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

    /// When a member answered this node last; nothing when this node does not lead, and so does not ask.
    fn contact(&self, metrics: &RaftMetrics<TypeConfig>, id: NodeId) -> Option<Contact> {
        let heartbeats = metrics.heartbeat.as_ref()?;
        if id == metrics.id {
            return Some(Contact { reachable: true, heard_ms: Some(0) });
        }
        let recent = self.timing.election * 2;
        let term = metrics.current_term;
        let since = self.leads_since.get().filter(|(of, _)| *of == term);
        let (_, since) = since.unwrap_or((term, cores::now()));
        self.leads_since.set(Some((term, since)));
        let answered = heartbeats.get(&id).and_then(Option::as_ref).map(|at| at.elapsed());
        // One that was not asked for long may yet answer.
        let reachable =
            cores::elapsed(since) < recent || answered.is_some_and(|elapsed| elapsed < recent);
        let ms = |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Some(Contact { reachable, heard_ms: answered.map(ms) })
    }

    /// What this node knows of the members, if it leads.
    #[must_use]
    pub fn seen(&self) -> Option<Vec<Seen>> {
        let view = self.cluster();
        if view.leader != Some(view.node) {
            return None;
        }
        let seen = view.members.into_iter().map(|member| Seen {
            id: member.id,
            state: member.state.to_owned(),
            matched: member.matched,
            reachable: member.reachable.unwrap_or_default(),
            heard_ms: member.heard_ms,
        });
        Some(seen.collect())
    }
}

/// When a member last answered its leader.
#[derive(Clone, Copy)]
struct Contact {
    /// That was a moment ago, or it may yet.
    reachable: bool,
    heard_ms: Option<u64>,
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
