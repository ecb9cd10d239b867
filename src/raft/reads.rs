//! What must be applied before something is read, and when it is.

use std::{pin::pin, time::Duration};

use futures_util::future::{Either, select};
use openraft::{RaftMetrics, ReadPolicy};

use super::{
    replica::{Replica, StartError},
    types::{TypeConfig, from_raft_id},
};
use crate::{
    base::{ids::LogId, planted::planted},
    io::{Disk, cores},
};

impl<D: Disk> Replica<D> {
    /// Waits until this node has applied everything that it may have shown
    /// before it was started: from then on it serves nothing older than that. A
    /// node without a log waits for what was committed when it was taken in.
    ///
    /// # Errors
    /// When Raft stops.
    pub async fn recovered(&self) -> Result<(), StartError> {
        let ended = |_| StartError("consensus ended".to_owned());
        let wait = self.raft.wait(None);
        let knows = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.cluster_committed.is_some() && metrics.current_leader.is_some()
        };
        let metrics = wait
            .metrics(knows, "a leader is known")
            .await
            .map_err(|error| StartError(error.to_string()))?;
        let committed = metrics.cluster_committed.as_ref().map(from_raft_id);
        // What is behind it was never shown here, since only what is durable is.
        let target = self.last_at_start.or(committed).unwrap_or_default();
        let mut progress = self.machine.progress();
        // An entry of a later term decides what remains of the earlier ones.
        let reached = |applied: &Option<LogId>| {
            applied.is_some_and(|id| id.index >= target.index || id.term > target.term)
        };
        progress.wait_for(reached).await.map(drop).map_err(ended)
    }

    /// The entry that must be applied for a read to see all that is
    /// acknowledged; nothing when this node does not lead, or no quorum says so.
    pub async fn read_index(&self) -> Option<u64> {
        if !self.may_lead() {
            return None;
        }
        if planted!(BelieveDeposedLeader) {
            return Some(self.last_applied());
        }
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        Some(linearizer.read_log_id().index())
    }

    /// Waits until this node has applied everything that was committed before it
    /// became the leader, and says in which term that was; nothing when it does not
    /// lead, or no quorum says so.
    pub async fn leader_barrier(&self) -> Option<u64> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        let log_id = from_raft_id(linearizer.read_log_id().log_id());
        let term = linearizer.read_log_id().committed_leader_id().term;
        self.applied(log_id.index).await;
        Some(term)
    }

    /// Waits until the entry at `index` is applied here.
    pub async fn applied(&self, index: u64) {
        let mut progress = self.machine.progress();
        let reached = |applied: &Option<LogId>| applied.is_some_and(|id| id.index >= index);
        if progress.wait_for(reached).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The same within `limit`; whether it is. A node that is removed gives up.
    pub async fn applies(&self, index: u64, limit: Duration) -> bool {
        if self.last_applied() >= index {
            return true;
        }
        let (applied, removed) = (pin!(self.applied(index)), pin!(self.was_removed()));
        matches!(cores::within(limit, select(applied, removed)).await, Some(Either::Left(_)))
    }
}
