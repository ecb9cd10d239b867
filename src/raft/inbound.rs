//! What other nodes ask of this one.

use std::{cell::Cell, rc::Rc, time::Instant};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use openraft::{
    Raft, ReadPolicy,
    entry::RaftEntry,
    raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest},
};

use super::{
    claims::Claims,
    network::append_answer,
    peer::{Answer, AppendAnswer, Handler, Lane, Request, Standing},
    snapshot::{self, Checkpoints, Transmission},
    state_machine::StateMachine,
    types::{
        Entry, Runtime, TypeConfig, from_log, from_raft_id, from_raft_vote, to_raft_id,
        to_raft_vote,
    },
};
use crate::{
    base::ids::NodeId,
    io::Disk,
    log::{Frame, Identity, Log, Vote, decode_frame},
};

/// Answers the requests that are not Raft's.
pub type OnRequest = Rc<dyn Fn(NodeId, Request, Bytes) -> LocalBoxFuture<'static, (Answer, Bytes)>>;

/// What a message may take beyond the largest entry.
const OVERHEAD_BYTES: usize = 2 << 20;

const NONE_BEGUN: &str = "no checkpoint was begun";

/// See the module.
pub(super) struct Inbound<D: Disk, R: Runtime> {
    pub(super) raft: Raft<TypeConfig<R>, StateMachine<D>>,
    pub(super) machine: StateMachine<D>,
    pub(super) log: Log<D>,
    pub(super) on_request: OnRequest,
    /// When a leader was last heard.
    pub(super) heard: Rc<Cell<Option<Instant>>>,
    /// Who takes this node for a member of another cluster.
    pub(super) claims: Rc<Claims>,
    pub(super) checkpoints: Rc<dyn Checkpoints>,
    /// The checkpoint that is taken in, with the vote of the leader that sends it.
    pub(super) incoming: Rc<Cell<Option<(Vote, Transmission)>>>,
}

impl<D: Disk, R: Runtime> Handler for Inbound<D, R> {
    fn me(&self) -> Identity {
        self.log.identity()
    }

    fn standing(&self, node: NodeId) -> Standing {
        if self.machine.has_member(node) {
            Standing::Member
        } else if node <= self.machine.highest() {
            // Numbers are never given again.
            Standing::Removed
        } else {
            Standing::Stranger
        }
    }

    fn address_of(&self, node: NodeId) -> Option<String> {
        self.machine.cluster_address(node)
    }

    fn note_called_as(&self, member: Identity) {
        self.claims.note(member);
    }

    fn body_bytes_max(&self) -> usize {
        self.log.payload_bytes_max() + OVERHEAD_BYTES
    }

    fn answer(
        &self,
        lane: Lane,
        from: NodeId,
        request: Request,
        body: Bytes,
    ) -> LocalBoxFuture<'static, (Answer, Bytes)> {
        let raft = self.raft.clone();
        let answered = |answer| (answer, Bytes::new());
        match request {
            // Nothing but that is said before a node belongs to the cluster.
            Request::Adopt(_) if lane == Lane::Adoption => (self.on_request)(from, request, body),
            _ if lane == Lane::Adoption => {
                let answer = Answer::Failed("it does not belong to the cluster".to_owned());
                std::future::ready(answered(answer)).boxed_local()
            }
            Request::Append { vote, previous, committed, entries } => {
                let (entries, heard) = (entries_of(&body, entries), Rc::clone(&self.heard));
                async move {
                    let Some(entries) = entries else {
                        return Answer::Failed("entries were damaged on their way".to_owned());
                    };
                    let previous = previous.map(to_raft_id);
                    let last = entries.last().map(Entry::log_id).or(previous);
                    let request = AppendEntriesRequest {
                        vote: to_raft_vote(vote),
                        prev_log_id: previous,
                        entries,
                        leader_commit: committed.map(to_raft_id),
                    };
                    match raft.append_entries(request).await {
                        Ok(response) => {
                            let answer = append_answer(response, previous, last);
                            if !matches!(answer, AppendAnswer::HigherVote(_)) {
                                heard.set(Some(Instant::now()));
                            }
                            Answer::Append(answer)
                        }
                        Err(error) => Answer::Failed(error.to_string()),
                    }
                }
                .map(answered)
                .boxed_local()
            }
            Request::Vote { vote, last, transfer, pre_vote } => async move {
                let request = VoteRequest {
                    vote: to_raft_vote(vote),
                    last_log_id: last.map(to_raft_id),
                    leadership_transfer: transfer,
                };
                let response = match pre_vote {
                    true => raft.pre_vote(request).await,
                    false => raft.vote(request).await,
                };
                match response {
                    Ok(response) => Answer::Vote {
                        vote: from_raft_vote(&response.vote),
                        granted: response.vote_granted,
                        last: response.last_log_id.as_ref().map(from_raft_id),
                    },
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
            .map(answered)
            .boxed_local(),
            Request::TransferLeader { vote, to, last } => async move {
                let (vote, last) = (to_raft_vote(vote), last.map(to_raft_id));
                let request = TransferLeaderRequest::new(vote, to, last);
                match raft.handle_transfer_leader(request).await {
                    Ok(Ok(())) => Answer::Done,
                    Ok(Err(error)) => Answer::Failed(error.to_string()),
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
            .map(answered)
            .boxed_local(),
            Request::ReadIndex => async move {
                match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
                    Ok(linearizer) => Answer::ReadIndex(linearizer.read_log_id().index()),
                    Err(_) => Answer::NotLeader,
                }
            }
            .map(answered)
            .boxed_local(),
            Request::BeginSnapshot { vote, last, bytes } => {
                tracing::info!(last = last.index, bytes, "a checkpoint is taken in");
                let (begun, incoming) = (self.checkpoints.begin(), Rc::clone(&self.incoming));
                async move {
                    match begun.await {
                        Ok(transmission) => {
                            incoming.set(Some((vote, transmission)));
                            Answer::Done
                        }
                        Err(error) => Answer::Failed(error.to_string()),
                    }
                }
                .map(answered)
                .boxed_local()
            }
            Request::SnapshotPart => {
                let appended = self.incoming.get().map(|(_, to)| self.checkpoints.append(to, body));
                async move {
                    match appended {
                        Some(appended) => match appended.await {
                            Ok(()) => Answer::Done,
                            Err(error) => Answer::Failed(error.to_string()),
                        },
                        None => Answer::Failed(NONE_BEGUN.to_owned()),
                    }
                }
                .map(answered)
                .boxed_local()
            }
            Request::EndSnapshot => {
                let incoming = self.incoming.take();
                let ended = incoming.map(|(_, of)| self.checkpoints.end(of));
                async move {
                    let (Some((vote, transmission)), Some(ended)) = (incoming, ended) else {
                        return Answer::Failed(NONE_BEGUN.to_owned());
                    };
                    let received = ended.await;
                    let received =
                        received.and_then(|head| snapshot::received(&head, transmission));
                    let snapshot = match received {
                        Ok(snapshot) => snapshot,
                        Err(error) => return Answer::Failed(error.to_string()),
                    };
                    match raft.install_full_snapshot(to_raft_vote(vote), snapshot).await {
                        Ok(response) => Answer::Snapshot(from_raft_vote(&response.vote)),
                        Err(error) => Answer::Failed(error.to_string()),
                    }
                }
                .map(answered)
                .boxed_local()
            }
            Request::Write | Request::Admin(_) | Request::Removed | Request::Adopt(_) => {
                (self.on_request)(from, request, body)
            }
        }
    }
}

/// The entries of a body; nothing when it is not sound. One that came alone has
/// the memory of the body; of several each has its own, as one that is kept
/// must not keep the others.
fn entries_of(body: &Bytes, count: u32) -> Option<Vec<Entry>> {
    let (mut entries, mut at) = (Vec::with_capacity(count.min(1024) as usize), 0);
    while at < body.len() {
        let (Frame::Entry(mut entry, _), end) = decode_frame(body, at)? else { return None };
        if count > 1 {
            entry.payload = Bytes::copy_from_slice(&entry.payload);
        }
        entries.push(from_log(&entry).ok()?);
        at = end;
    }
    (entries.len() == count as usize).then_some(entries)
}
