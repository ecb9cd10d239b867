//! Consensus, and the only place that names openraft: its types filled in, its
//! log and state machine on ours, its tasks on glommio.
//!
//! A cluster has one member so far. The network between members belongs into
//! `network`, snapshots into `state_machine`.

mod compact;
mod log_store;
mod network;
mod replay;
pub mod runtime;
#[cfg(test)]
mod simulation;
mod state_machine;
#[cfg(test)]
mod suite_tests;
mod types;

pub use compact::{Compacted, Files, compact};
pub use log_store::LogStore;
pub use replay::{Recovered, Replay};
pub use state_machine::{OpenMapping, StateMachine};
pub use types::{Address, Applied, OnGlommio, Runtime, TypeConfig};

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use openraft::{
    Config, Raft, ServerState, SnapshotPolicy, async_runtime::WatchReceiver,
    errors::ClientWriteError,
};
use types::{Callback, Command};

use crate::{
    base::{
        batch::Batch,
        cluster::{ClusterView, Member},
        ids::{LogId, NodeId, Timestamp},
        outcome::WriteError,
    },
    feed::Fanout,
    io::{Disk, cores},
    log::Log,
    state::Position,
};

/// Times of an election and of heartbeats, in milliseconds. The only member of
/// a cluster elects itself without waiting for them.
const HEARTBEAT_MS: u64 = 250;
const ELECTION_MS: (u64, u64) = (750, 1_250);

/// This node's part in the cluster. Lives on the Raft core.
pub struct Replica<D: Disk, R: Runtime = OnGlommio> {
    raft: Raft<TypeConfig<R>, StateMachine<D>>,
    machine: StateMachine<D>,
    log: Log<D>,
    /// Where this node is reached now, whatever the log says.
    address: Address,
    stopping: Cell<bool>,
}

/// Why a node cannot take part in its cluster.
#[derive(Debug, thiserror::Error)]
#[error("consensus did not start: {0}")]
pub struct StartError(String);

impl<D: Disk, R: Runtime> Replica<D, R> {
    /// Starts Raft on a log that was read by `replay`. An empty log becomes a
    /// cluster of one, reached at `address`.
    ///
    /// # Errors
    /// What openraft reports.
    pub async fn start(
        log: Log<D>,
        replay: Replay,
        fanout: Fanout,
        open_mapping: OpenMapping,
        address: Address,
    ) -> Result<Self, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError(error.to_string());
        let config = Config {
            cluster_name: log.identity().cluster.to_string(),
            heartbeat_interval: HEARTBEAT_MS,
            election_timeout_min: ELECTION_MS.0,
            election_timeout_max: ELECTION_MS.1,
            enable_pre_vote: Some(true),
            // The only member may resume its term. With peers it must not: they
            // may hold an entry that was never durable here.
            enable_leader_restore: Some(true),
            // The log is the database: it is purged by retention alone.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|error| failed(&error))?);
        let machine = StateMachine::new(log.clone(), replay, fanout, open_mapping);
        let id = log.identity().node;
        let store = LogStore(log.clone());
        let raft = Raft::new(id, config, network::NoPeers, store, machine.clone())
            .await
            .map_err(|error| failed(&error))?;
        let replica =
            Self { raft, machine, log, address: address.clone(), stopping: Cell::new(false) };
        if !replica.raft.is_initialized().await.map_err(|error| failed(&error))? {
            let members = BTreeMap::from([(id, address)]);
            replica.raft.initialize(members).await.map_err(|error| failed(&error))?;
        } else if replica.raft.voter_ids().eq([id]) {
            replica.raft.trigger().elect(false).await.map_err(|error| failed(&error))?;
        }
        Ok(replica)
    }

    /// Waits until this node leads and has applied everything that an earlier
    /// leader may have acknowledged: from then on it serves nothing older than
    /// was served before.
    ///
    /// # Errors
    /// When that takes longer than `limit`, or Raft stops.
    pub async fn recovered(&self, limit: Duration) -> Result<(), StartError> {
        let id = self.id();
        let leads = |error: &dyn std::fmt::Display| StartError(error.to_string());
        let wait = self.raft.wait(Some(limit));
        wait.current_leader(id, "the only member leads").await.map_err(|error| leads(&error))?;
        self.raft.wait_for_recovery(Some(limit)).await.map_err(|error| leads(&error))?;
        Ok(())
    }

    /// Proposes a batch; `done` is called exactly once, on this core.
    pub async fn propose(
        &self,
        batch: Batch,
        done: impl FnOnce(Result<Applied, WriteError>) + 'static,
    ) {
        let responder = Callback::new(|result| {
            done(match result {
                Some(Ok(response)) => {
                    let response: openraft::raft::ClientWriteResponse<TypeConfig<R>> = response;
                    Ok(response.data)
                }
                Some(Err(ClientWriteError::ForwardToLeader(_))) => Err(WriteError::NoLeader),
                Some(Err(_)) | None => Err(WriteError::Unknown),
            });
        });
        // When Raft has stopped, the responder is dropped and says so itself.
        let _ = self.raft.client_write_ff(Command(batch), Some(responder)).await;
    }

    /// The number of this node in its cluster.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.log.identity().node
    }

    /// The sealed segments that may be purged once `is_old` says so of how far the
    /// list goes in them; it is told how far that goes now, too. Those before
    /// belong to it. Nothing when there is none.
    #[must_use]
    pub fn purgeable(
        &self,
        is_old: impl Fn(Position, Position) -> bool,
    ) -> Option<RangeInclusive<u64>> {
        let (ended, now) = self.machine.ended();
        let first = ended.first()?.sequence;
        let old = ended.iter().take_while(|end| is_old(end.position, now));
        old.last().map(|end| first..=end.sequence)
    }

    /// Purges what a checkpoint stands for: readers are told, then the log gives
    /// its segments up. Returns when that is durable.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn purge(&self, compacted: &Compacted) -> Result<(), StartError> {
        self.machine.purge(compacted);
        let upto = compacted.log_id.index;
        self.purge_log(upto).await?;
        let (index, first) = (self.machine.index(), compacted.position.last.next());
        let trimmed = cores::on_own_thread("trim", move || index.trim(first)).await;
        // It is only memory.
        if let Err(error) = trimmed {
            tracing::warn!(%error, "the index keeps what was purged for now");
        }
        Ok(())
    }

    /// Has the log purged up to the newest checkpoint, where that was interrupted.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn finish_purge(&self, checkpoint: LogId) -> Result<(), StartError> {
        match self.log.purged() {
            Some(purged) if purged >= checkpoint => Ok(()),
            _ => self.purge_log(checkpoint.index).await,
        }
    }

    async fn purge_log(&self, upto: u64) -> Result<(), StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError(error.to_string());
        self.raft.trigger().snapshot().await.map_err(|error| failed(&error))?;
        let taken = |metrics: &openraft::RaftMetrics<TypeConfig<R>>| {
            metrics.snapshot.is_some_and(|id| id.index >= upto)
        };
        let wait = self.raft.wait(None);
        wait.metrics(taken, "the checkpoint is known").await.map_err(|error| failed(&error))?;
        self.raft.trigger().purge_log(upto).await.map_err(|error| failed(&error))?;
        let purged = |metrics: &openraft::RaftMetrics<TypeConfig<R>>| {
            metrics.purged.is_some_and(|id| id.index >= upto)
        };
        let wait = self.raft.wait(None);
        wait.metrics(purged, "the log is purged").await.map_err(|error| failed(&error))?;
        Ok(())
    }

    /// The timestamp of the newest change applied.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.machine.last_at()
    }

    /// The log below it.
    #[must_use]
    pub fn log(&self) -> &Log<D> {
        &self.log
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub fn cluster(&self) -> ClusterView {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: Option<types::RaftLogId>| id.map_or(0, |id| id.index);
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(&id, node)| {
            let replicated = metrics.replication.as_ref().and_then(|all| all.get(&id).cloned());
            let matched = match replicated {
                Some(matched) => index(matched),
                None if id == metrics.id => metrics.last_log_index.unwrap_or(0),
                None => 0,
            };
            let state = match metrics.current_leader {
                _ if id == metrics.id => state(metrics.state),
                Some(leader) if leader == id => "leader",
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
        ClusterView {
            node: metrics.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            state: state(metrics.state),
            committed: index(metrics.local_committed),
            applied: index(metrics.last_applied),
            members: members.collect(),
        }
    }

    /// Resolves when [`cluster`](Self::cluster) may have changed; `false` when
    /// it will no more.
    pub async fn cluster_changed(&self) -> bool {
        self.raft.metrics().changed().await.is_ok()
    }

    /// Resolves when Raft has stopped, with the reason unless it was told to.
    pub async fn failed(&self) -> Option<String> {
        let mut metrics = self.raft.metrics();
        loop {
            let ended =
                metrics.borrow_watched().running_state.as_ref().err().map(ToString::to_string);
            let reason = match ended {
                Some(reason) => reason,
                None if metrics.changed().await.is_err() => "its tasks ended".into(),
                None => continue,
            };
            return (!self.stopping.get()).then_some(reason);
        }
    }

    /// Stops Raft. What was proposed and not answered is answered as unknown.
    pub async fn stop(&self) {
        self.stopping.set(true);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
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
