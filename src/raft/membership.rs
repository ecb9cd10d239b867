//! Who belongs to the cluster, changed one step at a time by its leader.
//!
//! What is to become of a member stands in the log with it ([`Address::votes`]),
//! so a leader that takes over goes on with what another began: it ends a change
//! that was left half-way, and has those vote that are to, once they have caught
//! up.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{
    ChangeMembers,
    async_runtime::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
    raft::ClientWriteResponse,
};

use super::{
    health::Ailment,
    replica::Replica,
    types::{Address, TypeConfig, from_raft_id},
};
use crate::{
    base::{ids::NodeId, planted::planted, timing::MEMBERSHIP_STEP},
    io::{Disk, cores},
};

/// A node votes once it lacks no more than so many entries.
const CAUGHT_UP: u64 = 64;

/// Why the cluster was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This node does not lead, and changed nothing.
    #[error("this node does not lead the cluster")]
    NotLeader,
    /// Another change is under way.
    #[error("another change of the cluster is under way")]
    InProgress,
    /// It cannot be done.
    #[error("{0}")]
    Invalid(String),
    /// Nobody knows whether it was done.
    #[error("it is not known whether the cluster was changed")]
    Unknown,
}

type Response =
    Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

fn outcome(response: Response) -> Result<(), MembershipError> {
    match response {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
            Err(MembershipError::NotLeader)
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
        ))) => Err(MembershipError::InProgress),
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
            Err(MembershipError::Invalid(error.to_string()))
        }
        Err(_) => Err(MembershipError::Unknown),
    }
}

impl<D: Disk> Replica<D> {
    /// Whether nothing was ever written to this node, and it shares its history
    /// with no other: it may become a member of another cluster.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.machine.is_empty()
            && self.members().len() <= 1
            && (!self.is_member() || self.is_alone())
    }

    /// The members, voters and not, as of the newest entry that says so.
    #[must_use]
    pub fn members(&self) -> BTreeMap<NodeId, (Address, bool)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        let nodes = membership.nodes();
        nodes.map(|(&id, node)| (id, (node.clone(), voters.contains(&id)))).collect()
    }

    /// Whether nobody but `id` votes.
    #[must_use]
    pub fn is_only_voter(&self, id: NodeId) -> bool {
        self.raft.voter_ids().all(|voter| voter == id)
    }

    /// A number that no member ever had.
    #[must_use]
    pub fn next_id(&self) -> NodeId {
        let effective = self.members().keys().next_back().copied().unwrap_or(0);
        self.machine.highest().max(effective) + 1
    }

    /// Takes a node in. It does not vote yet.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn add(&self, id: NodeId, address: Address) -> Result<(), MembershipError> {
        self.settle().await?;
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, address)])), true).await
    }

    /// Changes where a member is reached, and whether it is to vote. Who is not
    /// to vote ceases to at once.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn set(&self, id: NodeId, address: Address) -> Result<(), MembershipError> {
        self.settle().await?;
        let demoted = !address.votes && self.members().get(&id).is_some_and(|(_, voter)| *voter);
        let set = ChangeMembers::SetNodes(BTreeMap::from([(id, address)]));
        let change = if demoted {
            ChangeMembers::Batch(vec![set, ChangeMembers::RemoveVoters(BTreeSet::from([id]))])
        } else {
            set
        };
        self.change(change, true).await
    }

    /// Takes a member out.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn remove(&self, id: NodeId) -> Result<(), MembershipError> {
        self.settle().await?;
        let ids = BTreeSet::from([id]);
        let change = match self.members().get(&id) {
            Some((_, true)) => ChangeMembers::RemoveVoters(ids),
            _ => ChangeMembers::RemoveNodes(ids),
        };
        self.change(change, false).await
    }

    /// Has this node be one that may change who belongs to the cluster.
    async fn settle(&self) -> Result<(), MembershipError> {
        if !planted!(ForgetHalfWay) {
            self.end_half_way().await?;
        }
        if self.leads_without_vote() {
            self.resign().await?;
            return Err(MembershipError::NotLeader);
        }
        Ok(())
    }

    /// Ends a change that a leader before left half-way, or this one when it took too long;
    /// says whether there was one. What comes next goes by who votes then: with a change
    /// that is half-way, Raft would take out also who was only to cease to vote.
    async fn end_half_way(&self) -> Result<bool, MembershipError> {
        let retain = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            let [before, after] = membership.get_joint_config().as_slice() else {
                return Ok(false);
            };
            // Who was only demoted stays.
            let demoted = |id| membership.get_node(id).is_some_and(|node| !node.votes);
            before.difference(after).any(demoted)
        };
        // With nothing added, it ends.
        match self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), retain).await {
            Ok(()) => Ok(true),
            // What was to come next was not begun.
            Err(MembershipError::Unknown) => Err(MembershipError::InProgress),
            Err(error) => Err(error),
        }
    }

    /// Makes a change, in two steps where voters change.
    async fn change(
        &self,
        change: ChangeMembers<NodeId, Address>,
        retain: bool,
    ) -> Result<(), MembershipError> {
        let newest = || *self.raft.metrics().borrow_watched().membership_config.log_id();
        let before = newest();
        let changed = self.raft.change_membership(change, retain);
        let changed = cores::within(MEMBERSHIP_STEP, changed).await;
        match changed.map_or(Err(MembershipError::Unknown), outcome) {
            // Its first step may have been made.
            Err(MembershipError::NotLeader) if newest() != before => Err(MembershipError::Unknown),
            outcome => outcome,
        }
    }

    /// Goes on with what is to be done, one step; says whether there was one.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn reconcile(&self) -> Result<bool, MembershipError> {
        if self.end_half_way().await? {
            return Ok(true);
        }
        if self.leads_without_vote() {
            return self.resign().await;
        }
        let Some(id) = self.due_to_vote() else { return Ok(false) };
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await?;
        Ok(true)
    }

    /// One that is to vote, does not, and has caught up.
    fn due_to_vote(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = |id: NodeId| {
            let all = metrics.replication.as_ref()?;
            all.get(&id)?.as_ref().map(|matched| from_raft_id(matched).index)
        };
        let mut due = membership.nodes().filter(|(id, node)| node.votes && !voters.contains(id));
        due.find(|(id, _)| matched(**id).is_some_and(|at| at + CAUGHT_UP >= last))
            .map(|(&id, _)| id)
    }

    /// Whether this node does not vote any more, by the newest entry that says who does.
    fn leads_without_vote(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let votes = metrics.membership_config.membership().voter_ids().any(|id| id == metrics.id);
        !votes && !planted!(LeadWithoutVote)
    }

    /// Has one of the voters lead: a leader that ends the change by which it ceases to vote
    /// goes on otherwise, when it was to be no more than demoted.
    async fn resign(&self) -> Result<bool, MembershipError> {
        let Some(to) = self.heir(Ailment::Stalled).await else { return Ok(false) };
        tracing::info!(to, "this node does not vote any more: leadership is handed over");
        self.transfer(to).await?;
        Ok(true)
    }

    /// Has connections keep to the members and where they are.
    pub fn update_connections(&self) {
        let members = self.members();
        let address = |id| members.get(&id).map(|(node, _)| node.cluster_address.clone());
        self.network.update(address);
    }

    /// Hands leadership to `to`, which must vote and be well: until another leads, this
    /// node takes no more writes.
    ///
    /// # Errors
    /// [`MembershipError::Unknown`] when Raft has stopped.
    pub async fn transfer(&self, to: NodeId) -> Result<(), MembershipError> {
        self.raft.trigger().transfer_leader(to).await.map_err(|_| MembershipError::Unknown)
    }
}
