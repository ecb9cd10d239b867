//! The network between simulated nodes: every message takes a moment, and each
//! direction of a link may be cut. A cut loses messages, which shows at the
//! sender as a time-out; a node that is down refuses them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use futures_util::{FutureExt, Stream};
use openraft::{
    RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use rand::RngExt;
use tokio::sync::oneshot;

use super::{Raft, Types};
use crate::{
    base::ids::NodeId,
    io::{
        cores,
        simulated::executor::{Executor, SURROUNDINGS, spawn_in},
    },
    raft::{
        pace::Pace,
        pipeline::{Answered, Appended, Pipeline, Sent},
        snapshot::SnapshotData,
        types::{Address, RaftVote},
    },
};

/// From a node to another.
const DELAY: Duration = Duration::from_millis(2);

/// One direction of a link: from the first to the second.
pub(super) type Way = (NodeId, NodeId);

#[derive(Default)]
struct Inner {
    /// The nodes that run.
    nodes: RefCell<BTreeMap<NodeId, Raft>>,
    cut: RefCell<BTreeSet<Way>>,
    /// Ways on which answers to entries are kept, with who waits for the end of that.
    held: RefCell<BTreeMap<Way, Vec<oneshot::Sender<()>>>>,
    /// What a message may take longer at most, by chance.
    jitter: Cell<Duration>,
}

/// What carries messages between the nodes of a cluster, or loses them. Clones are the same network.
#[derive(Clone, Default)]
pub(super) struct Network(Rc<Inner>);

impl Network {
    pub(super) fn connect(&self, id: NodeId, raft: Raft) {
        self.0.nodes.borrow_mut().insert(id, raft);
    }

    pub(super) fn disconnect(&self, id: NodeId) {
        let raft = self.0.nodes.borrow_mut().remove(&id);
        drop(raft);
    }

    pub(super) fn cut(&self, way: Way) {
        self.0.cut.borrow_mut().insert(way);
    }

    pub(super) fn heal(&self) {
        self.0.cut.borrow_mut().clear();
    }

    pub(super) fn set_jitter(&self, jitter: Duration) {
        self.0.jitter.set(jitter);
    }

    /// Keeps answers to entries on this way until they are released, whatever is cut
    /// meanwhile.
    pub(super) fn hold(&self, way: Way) {
        self.0.held.borrow_mut().entry(way).or_default();
    }

    /// Has the answers go on that are kept on this way.
    pub(super) fn release(&self, way: Way) {
        let held = self.0.held.borrow_mut().remove(&way);
        for waiting in held.into_iter().flatten() {
            // It may have died meanwhile.
            let _ = waiting.send(());
        }
    }

    fn is_held(&self, way: Way) -> bool {
        self.0.held.borrow().contains_key(&way)
    }

    /// Waits while answers are kept on this way; says whether it had to.
    async fn is_released(&self, way: Way) -> bool {
        let released = {
            let mut held = self.0.held.borrow_mut();
            let Some(waiting) = held.get_mut(&way) else { return false };
            let (sender, released) = oneshot::channel();
            waiting.push(sender);
            released
        };
        // The network outlives whoever waits.
        let _ = released.await;
        true
    }

    /// What the node `from` reaches the others by.
    pub(super) fn of(&self, from: NodeId) -> Connector {
        Connector { network: self.clone(), from }
    }

    /// Whether a message arrives, once it would.
    async fn travel(&self, way: Way) -> bool {
        cores::sleep(DELAY + self.more()).await;
        !self.is_cut(way)
    }

    /// How much longer a message takes.
    fn more(&self) -> Duration {
        let jitter = self.0.jitter.get();
        if jitter.is_zero() {
            return jitter;
        }
        Executor::current().rng().random_range(Duration::ZERO..jitter)
    }

    fn is_cut(&self, way: Way) -> bool {
        self.0.cut.borrow().contains(&way)
    }
}

/// Makes the connections of one node.
pub(super) struct Connector {
    network: Network,
    from: NodeId,
}

impl RaftNetworkFactory<Types> for Connector {
    type Network = Connection;

    async fn new_client(&mut self, to: NodeId, _: &Address) -> Connection {
        let network = self.network.clone();
        Connection { network, from: self.from, to, carries_entries: true }
    }

    async fn new_heartbeat_client(&mut self, to: NodeId, _: &Address) -> Connection {
        let network = self.network.clone();
        Connection { network, from: self.from, to, carries_entries: false }
    }
}

/// From one node to another.
pub(super) struct Connection {
    network: Network,
    from: NodeId,
    to: NodeId,
    /// Entries, else heartbeats; both may carry votes.
    carries_entries: bool,
}

/// A stream of requests that arrive in the order in which they were sent.
#[derive(Default)]
struct Order {
    /// When the last one arrives.
    arrival: Cell<Duration>,
    /// One was lost, and so is what was sent after it.
    is_broken: Cell<bool>,
}

impl Order {
    /// When a request arrives that would without the others at `at`.
    fn arrival(&self, at: Duration) -> Duration {
        let after = self.arrival.get() + Duration::from_nanos(1);
        self.arrival.set(at.max(after));
        self.arrival.get()
    }
}

/// Nobody answers at the other end.
#[derive(Debug)]
struct Refused;

impl Connection {
    /// Has `handle` run at the other node. Neither end's death stops a message
    /// that is under way.
    async fn call<T, F, E>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        handle: impl FnOnce(Raft) -> F + 'static,
    ) -> Result<T, RPCError<Types>>
    where
        T: 'static,
        F: Future<Output = Result<T, E>> + 'static,
        E: 'static,
    {
        let (network, from, to) = (self.network.clone(), self.from, self.to);
        let (answer, answered) = oneshot::channel();
        drop(spawn_in(SURROUNDINGS, async move {
            if !network.travel((from, to)).await {
                return;
            }
            let raft = network.0.nodes.borrow().get(&to).cloned();
            let result = match raft {
                Some(raft) => match spawn_in(to, handle(raft)).await {
                    Some(Ok(result)) => Ok(result),
                    // It stopped, or was killed meanwhile.
                    Some(Err(_)) | None => Err(Refused),
                },
                None => Err(Refused),
            };
            if network.travel((to, from)).await {
                let _ = answer.send(result);
            }
        }));
        let answered = async {
            match answered.await {
                Ok(result) => result,
                // It was lost on the way.
                Err(_) => std::future::pending().await,
            }
        };
        let timeout = option.soft_ttl();
        match cores::within(timeout, answered).await {
            Some(Ok(result)) => Ok(result),
            Some(Err(Refused)) => {
                Err(RPCError::Unreachable(Unreachable::from_string("connection refused")))
            }
            None => {
                Err(RPCError::Timeout(Timeout { action, id: self.from, target: self.to, timeout }))
            }
        }
    }
}

impl Connection {
    /// Sends a request to append behind those that were sent before on `order`.
    fn send_append(
        &self,
        request: AppendEntriesRequest<Types>,
        order: &Rc<Order>,
        timeout: Duration,
    ) -> Sent<Pin<Box<dyn Future<Output = Answered>>>> {
        let (network, from, to) = (self.network.clone(), self.from, self.to);
        let (answer, mut answered) = oneshot::channel();
        let (order, carries_entries) = (Rc::clone(order), self.carries_entries);
        let now = Executor::current().elapsed();
        let arrival = order.arrival(now + DELAY + network.more());
        drop(spawn_in(SURROUNDINGS, async move {
            cores::sleep(arrival - now).await;
            if network.is_cut((from, to)) {
                order.is_broken.set(true);
            }
            if order.is_broken.get() {
                return;
            }
            let raft = network.0.nodes.borrow().get(&to).cloned();
            let previous = request.prev_log_id;
            let last = request.entries.last().map(|entry| entry.log_id).or(previous);
            let appended = match raft {
                Some(raft) => {
                    let append = async move { raft.append_entries(request).await };
                    match spawn_in(to, append).await {
                        Some(Ok(response)) => Ok(response.into_stream_result(previous, last)),
                        Some(Err(_)) | None => Err(Refused),
                    }
                }
                None => Err(Refused),
            };
            let arrives = network.travel((to, from)).await;
            if (carries_entries && network.is_released((to, from)).await) || arrives {
                let _ = answer.send(appended);
            }
        }));
        let network = self.network.clone();
        let answer = async move {
            let action = RPCTypes::AppendEntries;
            let lost = RPCError::Timeout(Timeout { action, id: from, target: to, timeout });
            loop {
                match cores::within(timeout, &mut answered).await {
                    Some(Ok(Ok(appended))) => return Ok(appended),
                    Some(Ok(Err(Refused))) => {
                        let refused = Unreachable::from_string("connection refused");
                        return Err(RPCError::Unreachable(refused));
                    }
                    // It was lost on the way.
                    Some(Err(_)) => {
                        cores::sleep(timeout).await;
                        return Err(lost);
                    }
                    None if network.is_held((to, from)) => {}
                    None => return Err(lost),
                }
            }
        };
        Sent { answer: Box::pin(answer.map(|appended| (appended, None))), bytes: 0 }
    }
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = SnapshotData;

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Unpin + 'static,
    {
        let (order, timeout) = (Rc::default(), option.soft_ttl());
        let pace = Rc::new(Pace::new(self.to, ""));
        let send = move |request| Ok(self.send_append(request, &order, timeout));
        let pipeline = Pipeline::new(input, send, pace, std::future::pending());
        Box::pin(async move { Ok(Box::pin(pipeline) as BoxStream<'s, _>) })
    }

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let handle = |raft: Raft| async move { raft.append_entries(request).await };
        self.call(RPCTypes::AppendEntries, &option, handle).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let handle = |raft: Raft| async move { raft.vote(request).await };
        self.call(RPCTypes::Vote, &option, handle).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let handle = |raft: Raft| async move { raft.pre_vote(request).await };
        self.call(RPCTypes::Vote, &option, handle).await
    }

    async fn full_snapshot(
        &mut self,
        _: RaftVote,
        _: openraft::alias::SnapshotOf<Types, SnapshotData>,
        _: impl Future<Output = ReplicationClosed> + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        unreachable!("no log is purged here, so nobody needs a snapshot")
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let handle = |raft: Raft| async move { raft.handle_transfer_leader(request).await };
        self.call(RPCTypes::TransferLeader, &option, handle).await
    }
}
