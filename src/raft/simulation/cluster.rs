//! The nodes of one cluster, what is asked of them, and the record of what
//! happens meanwhile.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    time::Duration,
};

use openraft::{
    ChangeMembers, RaftMetrics, ReadPolicy, ServerState,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, RaftError},
    raft::ClientWriteResult,
};
use rand::RngExt;

use super::{Raft, Types, disk::TimedDisk, network::Network, node::Node};
use crate::{
    base::{
        batch::Append,
        ids::{ChangeId, NodeId},
    },
    io::{
        cores,
        simulated::{
            disk::Loss,
            executor::{Executor, spawn_in},
        },
    },
    raft::types::{Address, Callback, Command},
    state::testing::{ChangeText, batch_of},
};

/// What became of a proposal, as its proposer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    Acknowledged(ChangeId),
    /// It certainly did not happen.
    Refused,
    /// It may or may not happen.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Acknowledged(id) => write!(f, "acknowledged as change {id}"),
            Self::Refused => f.write_str("refused"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What happened, in order, with the time.
#[derive(Clone, Default)]
pub(super) struct Record(Rc<RefCell<Vec<(Duration, String)>>>);

impl Record {
    pub(super) fn note(&self, text: String) {
        self.0.borrow_mut().push((Executor::current().elapsed(), text));
    }

    /// Takes out what was noted.
    pub(super) fn take(&self) -> Vec<(Duration, String)> {
        self.0.take()
    }
}

/// A node, whether it runs or not.
struct Place {
    disk: TimedDisk,
    node: Option<Rc<Node>>,
}

/// A cluster of simulated nodes.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) network: Network,
    pub(super) record: Record,
    places: BTreeMap<NodeId, Place>,
    /// Of every proposal, by what was proposed.
    outcomes: Rc<RefCell<BTreeMap<String, Outcome>>>,
    /// Requests for which nobody has heard an answer yet.
    open_requests: Rc<RefCell<BTreeSet<String>>>,
}

impl Cluster {
    /// The nodes that there are.
    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.places.keys().copied().collect()
    }

    /// The node, unless it is down.
    pub(super) fn node(&self, id: NodeId) -> Option<Rc<Node>> {
        self.places.get(&id)?.node.clone()
    }

    /// The nodes that run.
    pub(super) fn running(&self) -> impl Iterator<Item = (NodeId, Rc<Node>)> {
        self.places.iter().filter_map(|(&id, place)| Some((id, place.node.clone()?)))
    }

    /// The node that leads the newest term in which one does.
    pub(super) fn leader(&self) -> Option<(NodeId, Rc<Node>)> {
        let leaders = self.running().filter(|(_, node)| node.leads());
        leaders.max_by_key(|(_, node)| node.standing().term)
    }

    /// What became of each proposal so far.
    pub(super) fn outcomes(&self) -> BTreeMap<String, Outcome> {
        self.outcomes.borrow().clone()
    }

    /// Whether somebody still waits for an answer to `what`.
    pub(super) fn is_open(&self, what: &str) -> bool {
        self.open_requests.borrow().contains(what)
    }

    /// Starts a node on what its disk holds, or a new one.
    pub(super) async fn start(&mut self, id: NodeId) {
        let new = || Place { disk: TimedDisk::new(Executor::current().rng().random()), node: None };
        let place = self.places.entry(id).or_insert_with(new);
        let (disk, network) = (place.disk.clone(), self.network.clone());
        let node =
            spawn_in(id, async move { Node::start(id, disk, &network).await }).await.unwrap();
        let metrics = node.raft.metrics();
        drop(spawn_in(id, watch(id, metrics, self.record.clone())));
        self.network.connect(id, node.raft.clone());
        place.node = Some(Rc::new(node));
    }

    /// Makes the nodes that run a cluster.
    pub(super) async fn initialize(&self) {
        let members: BTreeMap<_, _> = self.places.keys().map(|&id| (id, address(id))).collect();
        let Some((id, node)) = self.running().next() else { return };
        let raft = node.raft.clone();
        spawn_in(id, async move { raft.initialize(members).await }).await.unwrap().unwrap();
    }

    /// Kills a node and cuts its power.
    pub(super) fn crash(&mut self, id: NodeId, loss: Loss) {
        self.network.disconnect(id);
        let Some(place) = self.places.get_mut(&id) else { return };
        let node = place.node.take();
        Executor::current().kill(id);
        drop(node);
        place.disk.pause(false);
        place.disk.crash(loss);
    }

    /// Has nothing become durable at a node, until it may again.
    pub(super) fn pause_disk(&self, id: NodeId, is_paused: bool) {
        if let Some(place) = self.places.get(&id) {
            place.disk.pause(is_paused);
        }
    }

    /// Of what is on each disk.
    pub(super) fn checksums(&self) -> BTreeMap<NodeId, u32> {
        let checksum = |place: &Place| {
            let files = place.disk.inner().snapshot();
            files.values().fold(0, |sum, bytes| crc32c::crc32c_append(sum, bytes))
        };
        self.places.iter().map(|(&id, place)| (id, checksum(place))).collect()
    }

    /// Proposes one change at `id`.
    pub(super) async fn propose(&self, id: NodeId, label: &str) {
        let (record, outcomes, name) =
            (self.record.clone(), Rc::clone(&self.outcomes), label.to_owned());
        let before = outcomes.borrow_mut().insert(name.clone(), Outcome::Pending);
        assert!(before.is_none(), "{name} was proposed before");
        let responder = Callback::new(move |result: Option<ClientWriteResult<Types>>| {
            let outcome = match result {
                Some(Ok(response)) => Outcome::Acknowledged(response.data.first),
                Some(Err(ClientWriteError::ForwardToLeader(_))) => Outcome::Refused,
                Some(Err(_)) | None => Outcome::Unknown,
            };
            record.note(format!("{name}: {outcome}"));
            outcomes.borrow_mut().insert(name, outcome);
        });
        let Some(node) = self.node(id) else { return };
        let data = format!("\"{label}\"");
        let at = Executor::current().now().as_micros() as u64;
        let batch = batch_of(&[Append::from(ChangeText::plain(&data)).into()], at);
        let raft = node.raft.clone();
        let write =
            async move { drop(raft.client_write_ff(Command(batch), Some(responder)).await) };
        // When the node dies, the responder says so.
        let _ = spawn_in(id, write).await;
    }

    /// Reads all changes at `id`, with all that were acknowledged before.
    pub(super) fn read(&self, id: NodeId, what: String) {
        let Some(node) = self.node(id) else { return };
        let (record, open) = (self.record.clone(), Rc::clone(&self.open_requests));
        open.borrow_mut().insert(what.clone());
        let read = spawn_in(id, async move {
            let linearizer = node.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
            linearizer.await_ready(&node.raft).await.ok()?;
            Some(node.changes())
        });
        drop(cores::spawn(async move {
            let text = match read.await {
                Some(Some(changes)) => changes.join(" "),
                Some(None) | None => "refused".into(),
            };
            open.borrow_mut().remove(&what);
            record.note(format!("{what}: {text}"));
        }));
    }

    /// Asks the leader to add a learner.
    pub(super) fn add_learner(&self, id: NodeId) {
        let what = format!("add-learner {id}");
        let add = move |raft: Raft| async move { raft.add_learner(id, address(id), true).await };
        if self.leader_stays(&what) {
            self.ask(what, add);
        }
    }

    /// Asks the leader to change who votes.
    pub(super) fn change_members(&self, what: String, changes: ChangeMembers<NodeId, Address>) {
        if self.leader_stays(&what) {
            self.ask(what, move |raft| async move { raft.change_membership(changes, false).await });
        }
    }

    /// Asks the leader to go on from the joint configuration to the newer one.
    pub(super) fn finish_change(&self, what: String) {
        // Nobody to add: openraft takes that for the second step alone.
        let nobody = ChangeMembers::AddVoterIds(BTreeSet::new());
        self.ask(what, move |raft| async move { raft.change_membership(nobody, false).await });
    }

    /// Whether the leader votes in all configurations, which is noted otherwise.
    /// One that is being removed leads on for a moment; openraft takes requests
    /// then, and its debug assertions fail.
    fn leader_stays(&self, what: &str) -> bool {
        let Some((id, node)) = self.leader() else { return true };
        let stays = node.membership().get_joint_config().iter().all(|ids| ids.contains(&id));
        if !stays {
            self.record.note(format!("{what}: the leader is being removed"));
        }
        stays
    }

    /// Asks the leader to hand over to `to`.
    pub(super) async fn transfer(&self, to: NodeId) {
        let Some((id, node)) = self.leader() else { return };
        // openraft does not look: it would wait for one that can never lead, and
        // refuse all writes meanwhile.
        if id == to || !node.raft.voter_ids().any(|voter| voter == to) {
            self.record.note(format!("{to} is no other voter"));
            return;
        }
        let _ = node.raft.trigger().transfer_leader(to).await;
    }

    /// Has the leader work on `request` and notes what it answers.
    fn ask<T, F>(&self, what: String, request: impl FnOnce(Raft) -> F)
    where
        F: Future<Output = Result<T, RaftError<Types, ClientWriteError<Types>>>> + 'static,
        T: 'static,
    {
        let Some((id, node)) = self.leader() else {
            self.record.note(format!("{what}: nobody leads"));
            return;
        };
        if node.membership().get_node(&id).is_none() {
            self.record.note(format!("{what}: the leader is removed"));
            return;
        }
        let (record, open) = (self.record.clone(), Rc::clone(&self.open_requests));
        open.borrow_mut().insert(what.clone());
        let request = request(node.raft.clone());
        let answer = spawn_in(id, request);
        drop(cores::spawn(async move {
            let text = match answer.await {
                Some(Ok(_)) => "done".into(),
                Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                    "refused, it does not lead".into()
                }
                Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                    format!("refused, {error}")
                }
                Some(Err(_)) | None => "unknown".into(),
            };
            open.borrow_mut().remove(&what);
            record.note(format!("{what}: {text}"));
        }));
    }
}

pub(super) fn address(id: NodeId) -> Address {
    let address = format!("node-{id}");
    Address { cluster_address: address.clone(), address, votes: false }
}

type Metrics = openraft::alias::WatchReceiverOf<Types, RaftMetrics<Types>>;

/// Notes what changes in a node's role.
async fn watch(id: NodeId, mut metrics: Metrics, record: Record) {
    let role = |metrics: &RaftMetrics<Types>| (metrics.state, metrics.current_term);
    let mut before = role(&metrics.borrow_watched());
    loop {
        let (now, ended) = {
            let metrics = metrics.borrow_and_update();
            (role(&metrics), metrics.running_state.clone().err())
        };
        if let Some(error) = ended {
            record.note(format!("{id} stopped: {error}"));
            return;
        }
        if let Some(text) = change_of_role(before, now) {
            record.note(format!("{id} {text}"));
        }
        before = now;
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

fn change_of_role(before: (ServerState, u64), now: (ServerState, u64)) -> Option<String> {
    use ServerState::{Candidate, Follower, Leader, Learner};
    let (state, term) = now;
    match (before.0, state) {
        _ if before == now => None,
        (_, Leader) => Some(format!("leads term {term}")),
        (_, Candidate) => Some(format!("campaigns for term {term}")),
        (Leader, _) => Some(format!("leads no more, its term is {term}")),
        (Learner, Follower) => Some("votes".into()),
        (Follower | Candidate, Learner) => Some("votes no more".into()),
        _ => None,
    }
}
