//! Whether this node can do what a leader has to, and what follows when it cannot: it
//! hands leadership to a voter that can, and does not stand for election.

use bytes::Bytes;
use futures_util::future::join_all;
use openraft::async_runtime::WatchReceiver;

use super::{
    health::Ailment,
    peer::{Answer, Lane, Request},
    replica::Replica,
    shutdown,
};
use crate::{base::ids::NodeId, base::timing::HEALTH_ANSWER, io::Disk};

/// A voter that lacks more entries than this does not take over: it can lead only once it
/// has them, and whoever hands leadership over takes no writes meanwhile.
const LACKS_MAX: u64 = 1024;

impl<D: Disk> Replica<D> {
    /// Notes what ails this node. One that cannot make a vote durable neither leads nor
    /// stands for election; one that only lacks room does so when it `must`, since it may
    /// be the only one that has everything.
    pub fn set_ailment(&self, ailment: Option<Ailment>, must: bool) {
        self.ailment.set(ailment);
        let stands = match ailment {
            None => true,
            // Who votes alone has nobody to leave it to.
            Some(Ailment::NoSegment) => must || self.is_alone(),
            Some(Ailment::Stalled | Ailment::Failed) => false,
        };
        self.raft.runtime_config().elect(stands && self.halt.borrow().is_none());
        self.raft.runtime_config().heartbeat(ailment < Some(Ailment::Stalled));
    }

    /// What ails this node.
    #[must_use]
    pub fn ailment(&self) -> Option<Ailment> {
        self.ailment.get()
    }

    /// Whether this node may go on as a leader: a quorum is asked for its sake.
    pub(super) fn may_lead(&self) -> bool {
        self.ailment.get() < Some(Ailment::Stalled)
    }

    /// What ails member `id`, as it says itself; nothing when it does not say.
    pub async fn ailment_of(&self, id: NodeId) -> Option<Option<Ailment>> {
        let node = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().get_node(&id)?.clone()
        };
        let channel = self.channel(id, Lane::Control, &node.cluster_address);
        match channel.call(&Request::Health, Bytes::new(), HEALTH_ANSWER).await {
            Ok((Answer::Health(ailment), _)) => Some(ailment),
            _ => None,
        }
    }

    /// Who would lead best in the place of this node: of the voters that have almost all of
    /// the log and say to be in better health than `than`, the healthiest, and of these the one that has most of
    /// the log.
    pub async fn heir(&self, than: Ailment) -> Option<NodeId> {
        let voters = self.other_voters();
        let asked = voters.iter().map(|&(id, _)| self.ailment_of(id));
        let said = join_all(asked).await;
        let able = voters.iter().zip(said).filter_map(|(&(id, matched), said)| {
            let ailment = said.filter(|ailment| *ailment < Some(than))?;
            Some((ailment, std::cmp::Reverse(matched), id))
        });
        able.min().map(|(_, _, id)| id)
    }

    /// Whether another voter has almost all of the log, so that it can lead at once.
    #[must_use]
    pub fn is_close(&self, id: NodeId) -> bool {
        self.other_voters().iter().any(|&(voter, _)| voter == id)
    }

    /// The other voters that have almost all of the log, with the last entry that each is
    /// known to have.
    fn other_voters(&self) -> Vec<(NodeId, u64)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let Some(replication) = metrics.replication.as_ref() else { return Vec::new() };
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = |id: &NodeId| {
            let matched = replication.get(id).cloned().flatten().map(|id| id.index);
            matched.filter(|matched| last.saturating_sub(*matched) <= LACKS_MAX)
        };
        let voters = metrics.membership_config.membership().voter_ids();
        let others = voters.filter(|&id| id != metrics.id);
        others.filter_map(|id| Some((id, matched(&id)?))).collect()
    }

    /// Stops Raft for good, because the log has failed: the other members go on without
    /// this one.
    pub async fn give_up(&self) {
        // When it has stopped by itself, that is told elsewhere.
        shutdown::shut_down(&self.raft).await;
    }
}
