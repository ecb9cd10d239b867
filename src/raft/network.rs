//! openraft's network on our channels: its requests turned into messages, and
//! nothing that decides.

use std::{cell::RefCell, collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt, Stream,
    future::{Either, select},
};
use openraft::{
    AnyError, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};

use super::{
    acknowledged::Acknowledged,
    append::append_message,
    pace::{Failure, Pace},
    peer::{
        Answer, AppendAnswer, Body, CallError, Channel, Instance, Lane, OnRefusal, Request,
        Settings,
    },
    pipeline::{Answered, Appended, Pipeline, Sent},
    room::RoomOfOthers,
    snapshot::{self, SnapshotData, Source},
    types::{
        Address, RaftVote, TypeConfig, from_raft_id, from_raft_vote, to_raft_id, to_raft_vote,
    },
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        timing::{ADMIN_STALL, CONNECT, ENTRIES_STALL, RECONNECT, REQUEST_STALL, SNAPSHOT_STALL},
    },
    io::{Dialer, Files, cores},
};

struct Inner {
    own: Instance,
    dialer: Dialer,
    /// How long a heartbeat may be unanswered before its connection is given up.
    control_stall: Duration,
    channels: RefCell<BTreeMap<(NodeId, Lane), Channel>>,
    on_refusal: OnRefusal,
    acknowledged: Rc<Acknowledged>,
    room: Rc<RoomOfOthers>,
}

/// The connections of a node to the others. Clones share them.
#[derive(Clone)]
pub struct Network<F> {
    inner: Rc<Inner>,
    source: Source<F>,
}

impl<F: Files> Network<F> {
    pub(super) fn new(
        (own, dialer): (Instance, Dialer),
        control_stall: Duration,
        on_refusal: OnRefusal,
        source: Source<F>,
    ) -> Self {
        let (channels, acknowledged, room) = (RefCell::default(), Rc::default(), Rc::default());
        let inner = Inner { own, dialer, control_stall, channels, on_refusal, acknowledged, room };
        Self { inner: Rc::new(inner), source }
    }

    /// What the other nodes have acknowledged to this one as a leader.
    pub(super) fn acknowledged(&self) -> Rc<Acknowledged> {
        Rc::clone(&self.inner.acknowledged)
    }

    /// What the other nodes have said of the room of their logs, and how long that counts.
    pub(super) fn room(&self) -> (&RoomOfOthers, Duration) {
        (&self.inner.room, self.inner.control_stall)
    }

    /// The channel to a node, which is reached at `address`.
    pub(super) fn channel(&self, to: NodeId, lane: Lane, address: &str) -> Channel {
        let mut channels = self.inner.channels.borrow_mut();
        let channel = channels.entry((to, lane)).or_insert_with(|| self.apart(to, lane, address));
        channel.move_to(address);
        channel.clone()
    }

    /// A channel that nobody else uses.
    pub(super) fn apart(&self, to: NodeId, lane: Lane, address: &str) -> Channel {
        let stall = match lane {
            Lane::Control => self.inner.control_stall,
            Lane::Entries => ENTRIES_STALL,
            Lane::Snapshot => SNAPSHOT_STALL,
            Lane::Requests | Lane::Adoption => REQUEST_STALL,
            Lane::Admin => ADMIN_STALL,
        };
        let settings = Settings { connect: CONNECT.min(stall), stall };
        let on_refusal = Rc::clone(&self.inner.on_refusal);
        let own = (self.inner.own, self.dialer());
        Channel::new(own, to, lane, address.to_owned(), settings, on_refusal)
    }

    /// How others are connected to.
    pub(super) fn dialer(&self) -> Dialer {
        self.inner.dialer.clone()
    }

    /// Closes the connections to nodes that are nowhere, and has the others go on
    /// at the address they have now.
    pub(super) fn update(&self, address_of: impl Fn(NodeId) -> Option<String>) {
        self.inner.acknowledged.keep(|node| address_of(node).is_some());
        self.inner.room.keep(|node| address_of(node).is_some());
        self.inner.channels.borrow_mut().retain(|(to, _), channel| match address_of(*to) {
            Some(address) => {
                channel.move_to(&address);
                true
            }
            None => {
                channel.close();
                false
            }
        });
    }

    fn peer(&self, to: NodeId, address: &Address, entries: Lane) -> Peer<F> {
        let channel = |lane| self.channel(to, lane, &address.cluster_address);
        Peer {
            node: to,
            beats: entries == Lane::Control,
            acknowledged: Rc::clone(&self.inner.acknowledged),
            room: Rc::clone(&self.inner.room),
            pace: Rc::new(Pace::new(to, &address.cluster_address)),
            entries: channel(entries),
            control: channel(Lane::Control),
            snapshot: channel(Lane::Snapshot),
            source: self.source.clone(),
        }
    }
}

impl<F: Files> RaftNetworkFactory<TypeConfig> for Network<F> {
    type Network = Peer<F>;

    async fn new_client(&mut self, target: NodeId, node: &Address) -> Peer<F> {
        self.peer(target, node, Lane::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Address) -> Peer<F> {
        self.peer(target, node, Lane::Control)
    }
}

/// Another node, as openraft speaks to it.
pub struct Peer<F> {
    node: NodeId,
    /// It is sent heartbeats and no entries.
    beats: bool,
    acknowledged: Rc<Acknowledged>,
    room: Rc<RoomOfOthers>,
    /// How fast it is sent what is appended.
    pace: Rc<Pace>,
    /// For what is appended.
    entries: Channel,
    control: Channel,
    snapshot: Channel,
    source: Source<F>,
}

fn rpc_error(error: &CallError) -> RPCError<TypeConfig> {
    match error {
        CallError::NotSent(_) => RPCError::Unreachable(Unreachable::new(error)),
        CallError::Lost => RPCError::Network(NetworkError::new(error)),
    }
}

/// Of a node that lost what it had acknowledged: nothing that it says counts.
fn reverted() -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string("it lost what it had acknowledged"))
}

fn unexpected(answer: &Answer) -> RPCError<TypeConfig> {
    let text = match answer {
        Answer::Failed(text) => text.clone(),
        other => format!("an answer to something else: {other:?}"),
    };
    RPCError::Network(NetworkError::new(&AnyError::error(text)))
}

impl<F: Files> Peer<F> {
    async fn ask_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        if self.acknowledged.is_reverted(self.node) {
            return Err(reverted());
        }
        let request = Request::Vote {
            vote: from_raft_vote(&rpc.vote),
            last: rpc.last_log_id.as_ref().map(from_raft_id),
            transfer: rpc.leadership_transfer,
            pre_vote,
        };
        let answer = self.control.call(&request, Bytes::new(), option.hard_ttl()).await;
        match answer.map_err(|error| rpc_error(&error))?.0 {
            Answer::Vote { vote, granted, last } => {
                Ok(VoteResponse::new(to_raft_vote(vote), last.map(to_raft_id), granted))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a request to append on the connection that stands.
    fn send_append(
        &self,
        mut rpc: AppendEntriesRequest<TypeConfig>,
    ) -> Result<Sent<impl Future<Output = Answered> + Unpin + use<F>>, RPCError<TypeConfig>> {
        if let Some(lost) = self.acknowledged.lost(self.node) {
            // By this it notices itself what it lost, whenever it is started again.
            rpc.prev_log_id = Some(to_raft_id(lost));
        }
        let (acknowledged, others) = (Rc::clone(&self.acknowledged), Rc::clone(&self.room));
        let node = self.node;
        let term = rpc.vote.leader_id.term;
        let (request, parts) =
            append_message(rpc).map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        let body = Body::Checked(parts);
        let bytes = body.bytes();
        let pending = self.entries.send(&request, body).map_err(|error| rpc_error(&error))?;
        let answer = pending.map(move |answer| {
            if let Ok((Answer::Append(AppendAnswer::Held { room, .. }), _)) = &answer {
                others.note(node, *room, cores::now());
            }
            let failure = match &answer {
                Ok((Answer::Failed(why), _)) => Some(Failure::Refused(why.clone())),
                Err(CallError::Lost) => Some(Failure::Lost),
                _ => None,
            };
            let appended = append_result(answer);
            match acknowledged.note(node, term, &appended) {
                true => (appended, failure),
                false => (Err(reverted()), None),
            }
        });
        Ok(Sent { answer, bytes })
    }
}

fn append_result(answer: Result<(Answer, Bytes), CallError>) -> Appended {
    match answer.map_err(|error| rpc_error(&error))?.0 {
        Answer::Append(AppendAnswer::Held { last, .. }) => Ok(Ok(last.map(to_raft_id))),
        Answer::Append(AppendAnswer::Conflict(at)) => {
            Ok(Err(StreamAppendError::Conflict(to_raft_id(at))))
        }
        Answer::Append(AppendAnswer::HigherVote(vote)) => {
            Ok(Err(StreamAppendError::HigherVote(to_raft_vote(vote))))
        }
        other => Err(unexpected(&other)),
    }
}

impl<F: Files> RaftNetworkV2<TypeConfig> for Peer<F> {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        use futures_util::StreamExt;
        let input = futures_util::stream::iter([rpc]);
        let mut answers = RaftNetworkV2::<TypeConfig>::stream_append(self, input, option).await?;
        match answers.next().await {
            Some(answer) => Ok(answer?.into()),
            None => Err(rpc_error(&CallError::Lost)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin + 'static,
    {
        Box::pin(async move {
            let is_reverted = self.acknowledged.is_reverted(self.node);
            if is_reverted && self.beats && !self.acknowledged.is_to_hear(self.node) {
                // It would take itself for one that is led.
                return Err(reverted());
            }
            if is_reverted && !self.beats {
                if !self.acknowledged.is_to_be_told(self.node) {
                    // openraft asks again at once: it pauses after an error only before a
                    // request that it sends.
                    cores::sleep(RECONNECT).await;
                    return Err(reverted());
                }
                // openraft counts on nothing of it then, and takes this for the answer
                // to none of its requests.
                let nothing = StreamAppendError::Conflict(to_raft_id(LogId::default()));
                let told = futures_util::stream::iter([Ok(Err(nothing))]);
                return Ok(Box::pin(told) as BoxStream<'s, _>);
            }
            if !self.beats {
                self.source.feeding.spare(self.node).await;
            }
            self.entries.connect().await.map_err(|error| rpc_error(&error))?;
            let acknowledged = Rc::clone(&self.acknowledged);
            let node = self.node;
            let end = async move {
                if is_reverted {
                    // It is sent heartbeats, whose answers are none.
                    return std::future::pending().await;
                }
                acknowledged.reverts(node).await;
            };
            let pace = Rc::clone(&self.pace);
            let pipeline = Pipeline::new(input, |rpc| self.send_append(rpc), pace, Box::pin(end));
            Ok(Box::pin(pipeline) as BoxStream<'s, _>)
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(rpc, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        if self.acknowledged.is_reverted(self.node) {
            let lost = "it lost what it had acknowledged";
            return Err(StreamingError::Unreachable(Unreachable::from_string(lost)));
        }
        let last = snapshot.meta.last_log_id.as_ref().map(from_raft_id);
        let _fed = self.source.feeding.feed(self.node);
        let sent = pin!(snapshot::send(&self.snapshot, &vote, &snapshot, &self.source));
        let sent = match select(sent, pin!(cancel)).await {
            Either::Left((sent, _)) => sent,
            Either::Right((closed, _)) => {
                // What was begun is of no use any more.
                self.snapshot.close();
                return Err(StreamingError::Closed(closed));
            }
        };
        match sent {
            Ok(standing) => {
                if let Some(last) = last.filter(|_| standing.term == vote.leader_id.term) {
                    self.acknowledged.note_held(self.node, standing.term, last);
                }
                Ok(SnapshotResponse::new(to_raft_vote(standing)))
            }
            Err(error) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        if self.acknowledged.is_reverted(self.node) {
            return Err(reverted());
        }
        let request = Request::TransferLeader {
            vote: from_raft_vote(req.from_leader()),
            to: *req.to_node_id(),
            last: req.last_log_id().map(from_raft_id),
        };
        let answer = self.control.call(&request, Bytes::new(), option.hard_ttl()).await;
        match answer.map_err(|error| rpc_error(&error))?.0 {
            Answer::Done => Ok(Ok(())),
            other => Err(unexpected(&other)),
        }
    }
}
