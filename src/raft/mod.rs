//! Consensus, and the only place that names openraft: its types filled in, its
//! log and state machine on ours, its tasks on glommio, its network on the
//! channels of [`peer`].

mod acknowledged;
mod claims;
mod compact;
mod halt;
mod health;
mod inbound;
mod log_store;
mod membership;
mod network;
pub mod peer;
mod pipeline;
mod purge;
mod replay;
#[cfg(test)]
mod retention_tests;
pub mod runtime;
#[cfg(test)]
mod simulation;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite_tests;
mod types;
mod view;

pub use claims::Claim;
pub use compact::{Compacted, compact};
pub use halt::Halt;
pub use health::Ailment;
pub use inbound::{Answering, AppendRequest, Inbound, at_once};
pub use log_store::LogStore;
pub use membership::MembershipError;
pub use replay::{Recovered, Replay};
pub use state_machine::StateMachine;
pub use types::{Address, Applied, TypeConfig};

use std::{
    cell::Cell,
    collections::BTreeMap,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use claims::Claims;
use futures_util::future::{Either, select};
use health::Health;
use network::Network;
use openraft::{
    Config, Instant as _, Raft, RaftMetrics, ReadPolicy, ServerState, SnapshotPolicy,
    async_runtime::WatchReceiver, errors::ClientWriteError,
};
use peer::{Channel, Instance, Lane, Process, Refusal};
use tokio::sync::watch;
use types::{Callback, Command, from_raft_id, to_raft_id};

use crate::{
    base::{
        batch::Batch,
        ids::{LogId, NodeId, Timestamp},
        outcome::WriteError,
        timing::{ELECTION, HEARTBEAT},
    },
    feed::Fanout,
    io::{Disk, cores},
    log::Log,
};

/// How soon the loss of a leader is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader says that it leads.
    pub heartbeat: Duration,
    /// How long a leader may be silent before others may be voted for; half of it
    /// to all of it later that begins.
    pub election: Duration,
}

impl Default for Timing {
    /// A killed leader is replaced within 1.2 s on a network without delay.
    fn default() -> Self {
        Self { heartbeat: HEARTBEAT, election: ELECTION }
    }
}

/// How a node takes part in a cluster.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it is reached, and whether it is to vote.
    pub address: Address,
    /// How soon it notices the loss of a leader.
    pub timing: Timing,
    /// With an empty log it becomes a cluster of one; else it waits until it is
    /// taken in.
    pub founds: bool,
}

/// Heartbeats that may be unanswered before their connection is given up.
const HEARTBEATS_UNANSWERED: u32 = 4;

/// This node's part in the cluster. Lives on the Raft core.
pub struct Replica<D: Disk> {
    raft: Raft<TypeConfig, StateMachine<D>>,
    machine: StateMachine<D>,
    log: Log<D>,
    network: Network,
    /// What other nodes tell this process of the node from others by.
    process: Process,
    /// Where this node is reached now, whatever the log says.
    address: Address,
    timing: Timing,
    /// When a leader was last heard here.
    heard: Rc<Cell<Option<Instant>>>,
    /// Who takes this node for a member of another cluster.
    claims: Rc<Claims>,
    /// The newest leader that was heard of, and its term, whatever Raft has made of it yet.
    newest_leader: Rc<NewestLeader>,
    /// What ails this node.
    ailment: Rc<Health>,
    /// Raft has stopped, whatever it said last.
    has_stopped: Cell<bool>,
    /// The last entry of the log when it was opened.
    last_at_start: Option<LogId>,
    /// Whether this node was told that it is no member any more.
    removed: watch::Sender<bool>,
    /// Why this node must not go on.
    halt: watch::Sender<Option<Halt>>,
    stopping: Cell<bool>,
    /// The term that this node leads, and since when as far as it was looked at.
    leads_since: Cell<Option<(u64, Instant)>>,
}

/// The newest leader that was heard of, with its term.
type NewestLeader = Cell<Option<(u64, NodeId)>>;

/// Who leads the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This node.
    Here,
    /// Another, which the members reach at this address.
    At(NodeId, String),
    /// Nobody, as far as this node knows.
    Unknown,
}

/// Why a node cannot take part in its cluster.
#[derive(Debug, thiserror::Error)]
#[error("consensus did not start: {0}")]
pub struct StartError(String);

impl<D: Disk> Replica<D> {
    /// Starts Raft on a log that was read by `replay`.
    ///
    /// # Errors
    /// What openraft reports.
    pub async fn start(
        log: Log<D>,
        replay: Replay,
        fanout: Fanout,
        part: Part,
    ) -> Result<Self, StartError> {
        let Part { address, timing, founds } = part;
        let failed = |error: &dyn std::fmt::Display| StartError(error.to_string());
        let id = log.identity().node;
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: log.identity().cluster.to_string(),
            heartbeat_interval: milliseconds(timing.heartbeat),
            election_timeout_min: milliseconds(timing.election) / 2,
            election_timeout_max: milliseconds(timing.election),
            enable_pre_vote: Some(true),
            // With peers it must not resume its term: they may hold an entry that
            // was never durable here. The only member is elected below.
            enable_leader_restore: Some(false),
            // The log is the database: it is purged by retention alone.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            // A node that lost what it had acknowledged is no reason to panic; see
            // `acknowledged`.
            allow_log_reversion: Some(true),
            // Other nodes are tried again as soon as a connection may be.
            backoff: "50ms".to_owned(),
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|error| failed(&error))?);
        let removed = watch::Sender::new(false);
        let on_refusal = {
            let removed = removed.clone();
            move |_, refusal| {
                if refusal == Refusal::Removed {
                    removed.send_replace(true);
                }
            }
        };
        let stall = timing.heartbeat * HEARTBEATS_UNANSWERED;
        let own = Instance::start(log.identity());
        let network = Network::new(own, stall, Rc::new(on_refusal));
        let last_at_start = log.last();
        discard_contradicted(&log, &replay).await.map_err(|error| failed(&error))?;
        let machine = StateMachine::new(log.clone(), replay, fanout);
        let store = LogStore(log.clone());
        let raft = Raft::new(id, config, network.clone(), store, machine.clone())
            .await
            .map_err(|error| failed(&error))?;
        let stopping = Cell::new(false);
        let heard = Rc::default();
        let replica = Self {
            raft,
            machine,
            log,
            network,
            process: own.process,
            address,
            timing,
            heard,
            claims: Rc::default(),
            newest_leader: Rc::default(),
            ailment: Rc::default(),
            has_stopped: Cell::new(false),
            last_at_start,
            removed,
            halt: watch::Sender::new(None),
            stopping,
            leads_since: Cell::new(None),
        };
        if !replica.raft.is_initialized().await.map_err(|error| failed(&error))? {
            if founds {
                let members = BTreeMap::from([(id, replica.address.clone())]);
                replica.raft.initialize(members).await.map_err(|error| failed(&error))?;
                let wait = replica.raft.wait(None);
                let known = wait.voter_ids([id], "the cluster is founded");
                known.await.map_err(|error| failed(&error))?;
            }
        } else if replica.is_alone() {
            replica.raft.trigger().elect(false).await.map_err(|error| failed(&error))?;
        }
        Ok(replica)
    }

    /// Whether this node alone votes.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.raft.voter_ids().eq([self.id()])
    }

    /// Whether it belongs to a cluster, be it one of its own.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.raft.voter_ids().next().is_some()
    }

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
        // An entry of a later term settles what of the earlier ones remains.
        let reached = |applied: &Option<LogId>| {
            applied.is_some_and(|id| id.index >= target.index || id.term > target.term)
        };
        progress.wait_for(reached).await.map(drop).map_err(ended)
    }

    /// Who leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        if self.has_stopped.get() {
            return Leadership::Unknown;
        }
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let at = |id| match metrics.membership_config.membership().get_node(&id) {
            Some(node) => Leadership::At(id, node.cluster_address.clone()),
            None => Leadership::Unknown,
        };
        // While a new vote waits for the disk, Raft does not say who leads since.
        if let Some((term, id)) = self.newest_leader.get()
            && term > metrics.vote.leader_id.term
        {
            return at(id);
        }
        match metrics.current_leader {
            None => Leadership::Unknown,
            Some(id) if id == metrics.id && metrics.state == ServerState::Leader => {
                Leadership::Here
            }
            Some(id) if id == metrics.id => Leadership::Unknown,
            Some(id) => at(id),
        }
    }

    /// Whether a leader was at work a moment ago: this node with a quorum behind it,
    /// or another that was heard here.
    #[must_use]
    pub fn is_led(&self) -> bool {
        let recent = self.timing.election * 2;
        match self.leadership() {
            Leadership::Here if self.is_alone() => true,
            Leadership::Here => {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let acknowledged = metrics.last_quorum_acked.as_ref();
                acknowledged.is_some_and(|at| at.elapsed() < recent)
            }
            Leadership::At(..) => self.heard.get().is_some_and(|at| cores::elapsed(at) < recent),
            Leadership::Unknown => false,
        }
    }

    /// Resolves once `wanted` holds of who leads.
    pub async fn leadership_is(&self, wanted: impl Fn(&Leadership) -> bool) {
        let mut metrics = self.raft.server_metrics();
        while !wanted(&self.leadership()) {
            if metrics.changed().await.is_err() {
                // It has stopped: nobody will lead.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The entry that must be applied for a read to see all that is
    /// acknowledged; nothing when this node does not lead, or no quorum says so.
    pub async fn read_index(&self) -> Option<u64> {
        if !self.may_lead() {
            return None;
        }
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        Some(linearizer.read_log_id().index())
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

    /// The index of the last entry applied.
    #[must_use]
    pub fn last_applied(&self) -> u64 {
        self.machine.applied_index()
    }

    /// The way to another node.
    #[must_use]
    pub fn channel(&self, to: NodeId, lane: Lane, address: &str) -> Channel {
        self.network.channel(to, lane, address)
    }

    /// A connection of its own to a node, which may be no member.
    #[must_use]
    pub fn channel_apart(&self, to: NodeId, lane: Lane, address: &str) -> Channel {
        self.network.apart(to, lane, address)
    }

    /// What other nodes tell this process of the node from others by.
    #[must_use]
    pub fn process(&self) -> Process {
        self.process
    }

    /// What answers other nodes, as far as it is about Raft and the log.
    #[must_use]
    pub fn inbound(&self) -> Inbound<D> {
        Inbound {
            heard: Rc::clone(&self.heard),
            claims: Rc::clone(&self.claims),
            newest_leader: Rc::clone(&self.newest_leader),
            ailment: Rc::clone(&self.ailment),
            receiver: self.machine.receiver(),
            incoming: Rc::default(),
            raft: self.raft.clone(),
            machine: self.machine.clone(),
            log: self.log.clone(),
            acknowledged: self.network.acknowledged(),
            halt: self.halt.clone(),
        }
    }

    /// That nodes of another cluster take this one, which is alone, for a member of
    /// theirs, as long as they do.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        self.claims.latest(cores::now()).filter(|_| self.is_alone())
    }

    /// Resolves when somebody else may do so than before.
    pub async fn claim_noted(&self) {
        self.claims.noted().await;
    }

    /// Whether nothing was ever written to this node, and it shares its history
    /// with no other: it may become a member of another cluster.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.machine.is_empty()
            && self.members().len() <= 1
            && (!self.is_member() || self.is_alone())
    }

    /// Resolves when a checkpoint from another node took the place of all that was
    /// here: the node must start anew.
    pub async fn was_superseded(&self) {
        self.machine.was_superseded().await;
    }

    /// Notes that this node is no member any more.
    pub fn note_removed(&self) {
        self.removed.send_replace(true);
    }

    /// Resolves when this node is no member any more: another says so, or it has
    /// applied that itself and leads no longer.
    pub async fn was_removed(&self) {
        let mut told = self.removed.subscribe();
        let mut members = self.machine.membership_changed();
        let mut metrics = self.raft.server_metrics();
        loop {
            members.borrow_and_update();
            let leads = metrics.borrow_and_update().state == ServerState::Leader;
            let member = self.machine.has_member(self.id());
            let was = self.id() > 0 && self.machine.highest() >= self.id();
            if *told.borrow_and_update() || (was && !member && !leads) {
                return;
            }
            let (members, told) = (pin!(members.changed()), pin!(told.changed()));
            let applied = select(members, told);
            if let Either::Left((Err(_), _)) = select(pin!(metrics.changed()), applied).await {
                // Raft has stopped: nothing more will be heard.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves when this node must not go on with what it holds.
    pub async fn halted(&self) -> Halt {
        let mut halt = self.halt.subscribe();
        let halt = halt.wait_for(Option::is_some).await.ok().and_then(|halt| halt.clone());
        match halt {
            Some(halt) => halt,
            // Its sender is here.
            None => std::future::pending().await,
        }
    }

    /// The newest term that this node knows.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term
    }

    /// Waits until this node has applied everything that was committed before it
    /// became the leader, and says in which term that was; nothing when it does not
    /// lead, or no quorum says so.
    pub async fn settled(&self) -> Option<u64> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        let log_id = from_raft_id(linearizer.read_log_id().log_id());
        let term = linearizer.read_log_id().committed_leader_id().term;
        self.applied(log_id.index).await;
        Some(term)
    }

    /// Proposes a batch, as the leader of `term` and of no other. `done` is called
    /// once on this core; that may take until this node stops.
    pub async fn propose(
        &self,
        batch: Batch,
        term: u64,
        done: impl FnOnce(Result<Applied, WriteError>) + 'static,
    ) {
        let responder = Callback::new(|result| {
            done(match result {
                Some(Ok(response)) => {
                    let response: openraft::raft::ClientWriteResponse<TypeConfig> = response;
                    Ok(response.data)
                }
                Some(Err(ClientWriteError::ForwardToLeader(_))) => Err(WriteError::NoLeader),
                Some(Err(_)) | None => Err(WriteError::Unknown),
            });
        });
        // When Raft has stopped, the responder is dropped and says so itself.
        let leader = to_raft_id(LogId { term, index: 0 }).leader_id;
        let write = self.raft.write(Command(batch)).with_leader(leader).responder(responder);
        let _ = write.await;
    }

    /// The number of this node in its cluster.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.log.identity().node
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
            self.has_stopped.set(true);
            // What the log says of itself is the cause, where it has failed.
            let reason = self.log.poison().unwrap_or(reason);
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

/// Removes entries that were never committed and that a checkpoint contradicts: a
/// node that took it in was interrupted before it had removed them.
async fn discard_contradicted<D: Disk>(log: &Log<D>, replay: &Replay) -> std::io::Result<()> {
    let Some(applied) = replay.applied().as_ref().map(from_raft_id) else { return Ok(()) };
    match log.id(applied.index) {
        Some(held) if held != applied => log.truncate_after(log.committed()).await,
        _ => Ok(()),
    }
}
