//! The place of the network between members. A cluster of one member calls
//! nobody, so there is no client to build yet.

use openraft::{
    RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};

use super::{
    state_machine::SnapshotData,
    types::{Address, RaftVote, Runtime, TypeConfig},
};
use crate::base::ids::NodeId;

/// Makes no connection: the only member never has a peer.
pub(super) struct NoPeers;

/// A connection to a peer, of which there is none.
pub(super) enum Peer {}

impl<R: Runtime> RaftNetworkFactory<TypeConfig<R>> for NoPeers {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, _: &Address) -> Peer {
        unreachable!("a cluster of one member has no peer {target}")
    }
}

impl<R: Runtime> RaftNetworkV2<TypeConfig<R>> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<TypeConfig<R>>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        match *self {}
    }

    async fn vote(
        &mut self,
        _: VoteRequest<TypeConfig<R>>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig<R>>, RPCError<TypeConfig<R>>> {
        match *self {}
    }

    async fn full_snapshot(
        &mut self,
        _: RaftVote,
        _: openraft::alias::SnapshotOf<TypeConfig<R>, SnapshotData>,
        _: impl Future<Output = ReplicationClosed> + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig<R>>, StreamingError<TypeConfig<R>>> {
        match *self {}
    }
}
