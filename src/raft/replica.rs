//! A node's part in the cluster: Raft on its log, what answers the others, and the way to
//! them.

use std::{
    cell::Cell,
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{Config, ConfigError, Raft, SnapshotPolicy, errors::ClientWriteError};
use smallvec::SmallVec;
use tokio::sync::watch;

use super::{
    by_files,
    checkpoint_parts::CheckpointParts,
    claims::{Claim, Claims},
    erasure,
    given_checkpoint::GivenCheckpoint,
    halt::Halt,
    health::Health,
    inbound::{Inbound, NewestLeader},
    indexer,
    log_store::LogStore,
    network::Network,
    peer::{Channel, Instance, Lane, Process, Refusal},
    replay::Replay,
    room::Room,
    shutdown,
    snapshot::Source,
    state_machine::StateMachine,
    types::{Address, Applied, Callback, Command, TypeConfig, from_raft_id, to_raft_id},
};
use crate::{
    base::{
        batch::Batch,
        ids::{ChangeId, LogId, NodeId, Timestamp},
        outcome::WriteError,
        planted::planted,
        timing::{ELECTION, HEARTBEAT, HEARTBEATS_UNANSWERED},
    },
    feed::Fanout,
    io::{Dialer, Disk, cores},
    log::{Identity, Log},
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
    /// How it connects to the others.
    pub dialer: Dialer,
}

/// This node's part in the cluster. Lives on the Raft core.
pub struct Replica<D: Disk> {
    pub(super) raft: Raft<TypeConfig, StateMachine<D>>,
    pub(super) machine: StateMachine<D>,
    pub(super) log: Log<D>,
    pub(super) network: Network<D::Files>,
    /// What other nodes tell this process of the node from others by.
    pub(super) process: Process,
    /// Where this node is reached now, whatever the log says.
    pub(super) address: Address,
    pub(super) timing: Timing,
    /// When a leader last spoke to this node.
    pub(super) last_contact: Rc<Cell<Option<Instant>>>,
    /// Who takes this node for a member of another cluster.
    pub(super) claims: Rc<Claims>,
    /// The newest leader that was heard of, and its term, whatever Raft has made of it yet.
    pub(super) newest_leader: Rc<NewestLeader>,
    /// What ails this node.
    pub(super) ailment: Rc<Health>,
    /// Raft has stopped, whatever it said last.
    pub(super) has_stopped: Cell<bool>,
    /// The last entry of the log when it was opened.
    pub(super) last_at_start: Option<LogId>,
    /// Whether this node was told that it is no member any more.
    pub(super) removed: watch::Sender<bool>,
    /// Why this node must not go on.
    pub(super) halt: watch::Sender<Option<Halt>>,
    pub(super) stopping: Cell<bool>,
    /// The checkpoint that other members are given.
    pub(super) given: Rc<GivenCheckpoint>,
    /// What copies of some tenants are given of its own.
    pub(super) parts: Rc<CheckpointParts>,
    /// The term that this node leads, and since when as far as it was looked at.
    pub(super) leads_since: Cell<Option<(u64, Instant)>>,
}

/// Why a node cannot take part in its cluster.
#[derive(Debug, thiserror::Error)]
#[error("consensus did not start: {0}")]
pub struct StartError(pub(super) String);

/// How openraft is to go about it.
fn config(identity: Identity, timing: Timing) -> Result<Arc<Config>, ConfigError> {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: identity.cluster.to_string(),
        heartbeat_interval: milliseconds(timing.heartbeat),
        election_timeout_min: milliseconds(timing.election) / 2,
        election_timeout_max: milliseconds(timing.election),
        enable_pre_vote: Some(true),
        // With peers it must not resume its term: they may hold an entry that
        // was never durable here. The only member is elected at the start.
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
    config.validate().map(Arc::new)
}

impl<D: Disk> Replica<D> {
    /// Starts Raft on a log that was read by `replay`.
    ///
    /// # Errors
    /// What openraft reports.
    pub async fn start(
        log: Log<D>,
        replay: Replay<D::Files>,
        fanout: Fanout,
        part: Part,
    ) -> Result<Self, StartError> {
        let Part { address, timing, founds, dialer } = part;
        let failed = |error: &dyn std::fmt::Display| StartError(error.to_string());
        let id = log.identity().node;
        let config = config(log.identity(), timing).map_err(|error| failed(&error))?;
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
        let last_at_start = log.last();
        discard_contradicted(&log, &replay).await.map_err(|error| failed(&error))?;
        let machine = StateMachine::new(log.clone(), replay, fanout);
        cores::spawn(indexer::run(machine.clone()));
        let written = log.clone();
        let written = Rc::new(move || written.durable_next());
        let telling = log.clone();
        let damaged = Rc::new(move |file: &str, at, why: &str| telling.tell_damaged(file, at, why));
        let feeding = Rc::clone(machine.feeding());
        let source = Source { files: log.files(), written, feeding, damaged };
        let network = Network::new((own, dialer), stall, Rc::new(on_refusal), source);
        cores::spawn(erasure::run(machine.clone()));
        let store = LogStore::new(log.clone(), machine.superseded());
        let raft = Raft::new(id, config, network.clone(), store, machine.clone())
            .await
            .map_err(|error| failed(&error))?;
        cores::spawn(by_files::send_by_files(raft.clone(), machine.clone()));
        let replica = Self {
            raft,
            machine,
            log,
            network,
            process: own.process,
            address,
            timing,
            last_contact: Rc::default(),
            claims: Rc::default(),
            newest_leader: Rc::default(),
            ailment: Rc::default(),
            has_stopped: Cell::new(false),
            last_at_start,
            removed,
            halt: watch::Sender::new(None),
            stopping: Cell::new(false),
            given: Rc::default(),
            parts: Rc::default(),
            leads_since: Cell::new(None),
        };
        replica.found_or_stand(founds).await?;
        Ok(replica)
    }

    /// Makes a node without a cluster one of its own when it `founds`, and the only voter
    /// of a cluster its leader.
    async fn found_or_stand(&self, founds: bool) -> Result<(), StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError(error.to_string());
        if !self.raft.is_initialized().await.map_err(|error| failed(&error))? {
            if founds {
                let members = BTreeMap::from([(self.id(), self.address.clone())]);
                self.raft.initialize(members).await.map_err(|error| failed(&error))?;
                let wait = self.raft.wait(None);
                let known = wait.voter_ids([self.id()], "the cluster is founded");
                known.await.map_err(|error| failed(&error))?;
            }
        } else if self.is_alone() {
            self.raft.trigger().elect(false).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Whether an entry with `bytes` of payload fits the logs of a quorum of the voters, that of
    /// this node aside.
    #[must_use]
    pub fn room(&self, bytes: usize) -> Room {
        let voters: SmallVec<[NodeId; 8]> = self.raft.voter_ids().collect();
        let others = voters.iter().copied().filter(|id| *id != self.id());
        let own = voters.len() - others.clone().count();
        let needed = (voters.len() / 2 + 1).saturating_sub(own);
        let (room, fresh) = self.network.room();
        match needed {
            0 => Room::Enough,
            _ => room.fits(others, needed, bytes as u64, (cores::now(), fresh)),
        }
    }

    /// The number of this node in its cluster.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.log.identity().node
    }

    /// What other nodes tell this process of the node from others by.
    #[must_use]
    pub fn process(&self) -> Process {
        self.process
    }

    /// How it connects to the others, and lets them in.
    #[must_use]
    pub fn dialer(&self) -> Dialer {
        self.network.dialer()
    }

    /// The log below it.
    #[must_use]
    pub fn log(&self) -> &Log<D> {
        &self.log
    }

    /// The timestamp of the newest change applied.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.machine.last_at()
    }

    /// The newest change applied.
    #[must_use]
    pub fn last(&self) -> ChangeId {
        self.machine.applied().1.last
    }

    /// The index of the last entry applied.
    #[must_use]
    pub fn last_applied(&self) -> u64 {
        self.machine.applied_index()
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

    /// What answers other nodes, as far as it is about Raft and the log.
    #[must_use]
    pub fn inbound(&self) -> Inbound<D> {
        Inbound {
            last_contact: Rc::clone(&self.last_contact),
            claims: Rc::clone(&self.claims),
            newest_leader: Rc::clone(&self.newest_leader),
            ailment: Rc::clone(&self.ailment),
            staging: self.machine.staging(),
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

    /// Stops Raft. What was proposed and not answered is answered as unknown.
    pub async fn stop(&self) {
        self.stopping.set(true);
        shutdown::shut_down(&self.raft).await;
    }
}

/// Removes entries that were never committed and that a checkpoint contradicts: a
/// node that took it in was interrupted before it had removed them.
pub(super) async fn discard_contradicted<D: Disk>(
    log: &Log<D>,
    replay: &Replay<D::Files>,
) -> std::io::Result<()> {
    let Some(applied) = replay.fold().applied().as_ref().map(from_raft_id) else { return Ok(()) };
    match log.id(applied.index) {
        Some(held) if held != applied && !planted!(KeepContradictedTail) => {
            log.truncate_after(log.committed()).await
        }
        _ => Ok(()),
    }
}
