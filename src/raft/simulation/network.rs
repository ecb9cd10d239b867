//! The network between simulated nodes: every message takes a moment, and each
//! direction of a link may be cut. A cut loses messages, which shows at the
//! sender as a time-out; a node that is down refuses them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use openraft::{
    RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use openraft_rt::AsyncRuntime;
use rand::RngExt;
use tokio::sync::oneshot;

use super::{
    Raft, Types,
    executor::{Executor, SURROUNDINGS},
    runtime::{SimulatedRuntime, spawn_in},
};
use crate::{
    base::ids::NodeId,
    raft::{
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
    /// What a message may take longer at most, by chance.
    jitter: Cell<Duration>,
}

/// See the module. Clones are the same network.
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

    /// What the node `from` reaches the others by.
    pub(super) fn of(&self, from: NodeId) -> Connector {
        Connector { network: self.clone(), from }
    }

    /// Whether a message arrives, once it would.
    async fn travel(&self, (from, to): Way) -> bool {
        let jitter = self.0.jitter.get();
        let more = if jitter.is_zero() {
            jitter
        } else {
            Executor::current().rng().random_range(Duration::ZERO..jitter)
        };
        SimulatedRuntime::sleep(DELAY + more).await;
        !self.0.cut.borrow().contains(&(from, to))
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
        Connection { network: self.network.clone(), from: self.from, to }
    }
}

/// From one node to another.
pub(super) struct Connection {
    network: Network,
    from: NodeId,
    to: NodeId,
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
                    Ok(Ok(result)) => Ok(result),
                    // It stopped, or was killed meanwhile.
                    Ok(Err(_)) | Err(_) => Err(Refused),
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
        match SimulatedRuntime::timeout(timeout, answered).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(Refused)) => {
                Err(RPCError::Unreachable(Unreachable::from_string("connection refused")))
            }
            Err(_) => {
                Err(RPCError::Timeout(Timeout { action, id: self.from, target: self.to, timeout }))
            }
        }
    }
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = SnapshotData;

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
