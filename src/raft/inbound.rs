//! What other nodes ask of this one.

use std::{cell::Cell, rc::Rc, time::Instant};

use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use openraft::{
    Raft, ReadPolicy,
    entry::RaftEntry,
    raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest},
};

use tokio::sync::watch;

use super::{
    Ailment, NewestLeader,
    acknowledged::Acknowledged,
    claims::Claims,
    halt::{Halt, Statement},
    health::Health,
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
    base::ids::{LogId, NodeId},
    io::{Disk, cores},
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
    /// The newest leader that was heard of.
    pub(super) newest_leader: Rc<NewestLeader>,
    /// What ails this node.
    pub(super) ailment: Rc<Health>,
    /// When a leader was last heard.
    pub(super) heard: Rc<Cell<Option<Instant>>>,
    /// Who takes this node for a member of another cluster.
    pub(super) claims: Rc<Claims>,
    pub(super) checkpoints: Rc<dyn Checkpoints>,
    /// The checkpoint that is taken in, with the vote of the leader that sends it.
    pub(super) incoming: Rc<Cell<Option<(Vote, Transmission)>>>,
    /// What the other nodes have acknowledged to this one.
    pub(super) acknowledged: Rc<Acknowledged>,
    /// Why this node must not go on.
    pub(super) halt: watch::Sender<Option<Halt>>,
}

type Answering = LocalBoxFuture<'static, (Answer, Bytes)>;

fn answered(answer: Answer) -> (Answer, Bytes) {
    (answer, Bytes::new())
}

fn failed(text: String) -> Answering {
    std::future::ready(answered(Answer::Failed(text))).boxed_local()
}

impl<D: Disk, R: Runtime> Inbound<D, R> {
    /// Why nothing that concerns the log is answered to node `from`, if so.
    fn refusal(&self, from: NodeId) -> Option<String> {
        if let Some(halt) = &*self.halt.borrow() {
            return Some(halt.to_string());
        }
        let lost = self.acknowledged.lost(from)?;
        Some(format!("node {from} acknowledged entry {lost} and lost it"))
    }

    /// What is answered to a leader whose request cannot be, if it cannot.
    fn halt(&self, statement: &Statement<'_>) -> Option<Answer> {
        if self.machine.is_superseded() {
            return None;
        }
        let halt = statement.halt(&self.log, self.machine.applied_index())?;
        let answer = match (&halt, statement.previous) {
            // The leader notices it by that.
            (Halt::Reverted { .. }, Some(previous)) => {
                Answer::Append(AppendAnswer::Conflict(previous))
            }
            _ => Answer::Failed(halt.to_string()),
        };
        self.raft.runtime_config().elect(false);
        self.halt.send_if_modified(|reason| {
            let is_first = reason.is_none();
            reason.get_or_insert(halt);
            is_first
        });
        Some(answer)
    }

    fn append(&self, lane: Lane, from: NodeId, request: Request, body: &Bytes) -> Answering {
        let Request::Append { vote, previous, committed, entries } = request else {
            return failed("it is no request to append".to_owned());
        };
        let Some(entries) = entries_of(body, entries) else {
            return failed("entries were damaged on their way".to_owned());
        };
        let ids: Vec<LogId> = entries.iter().map(|entry| from_raft_id(&entry.log_id())).collect();
        let statement = Statement { lane, vote, previous, committed, entries: &ids };
        if let Some(answer) = self.halt(&statement) {
            return std::future::ready(answered(answer)).boxed_local();
        }
        if let Some(why) = self.refusal(from) {
            return failed(why);
        }
        // Only who was elected bears a committed vote.
        if vote.committed && self.newest_leader.get() < Some((vote.term, vote.node)) {
            self.newest_leader.set(Some((vote.term, vote.node)));
        }
        let (raft, heard) = (self.raft.clone(), Rc::clone(&self.heard));
        let previous = previous.map(to_raft_id);
        let last = entries.last().map(Entry::log_id).or(previous);
        let request = AppendEntriesRequest {
            vote: to_raft_vote(vote),
            prev_log_id: previous,
            entries,
            leader_commit: committed.map(to_raft_id),
        };
        async move {
            match raft.append_entries(request).await {
                Ok(response) => {
                    let answer = append_answer(response, previous, last);
                    if !matches!(answer, AppendAnswer::HigherVote(_)) {
                        heard.set(Some(cores::now()));
                    }
                    Answer::Append(answer)
                }
                Err(error) => Answer::Failed(error.to_string()),
            }
        }
        .map(answered)
        .boxed_local()
    }

    /// Begins to take in a checkpoint.
    fn begin_snapshot(&self, vote: Vote, last: LogId, bytes: u64) -> Answering {
        // It would take the place of entries that are committed here.
        let (lane, ids) = (Lane::Snapshot, [last]);
        let statement = Statement { lane, vote, previous: None, committed: None, entries: &ids };
        if let Some(answer) = self.halt(&statement) {
            return std::future::ready(answered(answer)).boxed_local();
        }
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
        self.claims.note(member, cores::now());
    }

    fn body_bytes_max(&self) -> usize {
        self.log.payload_bytes_max() + OVERHEAD_BYTES
    }

    fn answer(&self, lane: Lane, from: NodeId, request: Request, body: Bytes) -> Answering {
        let raft = self.raft.clone();
        let refusal = self.refusal(from).filter(|_| lane != Lane::Adoption);
        match request {
            // Nothing but that is said before a node belongs to the cluster.
            Request::Adopt(_) if lane == Lane::Adoption => (self.on_request)(from, request, body),
            _ if lane == Lane::Adoption => failed("it does not belong to the cluster".to_owned()),
            Request::Removed => (self.on_request)(from, request, body),
            Request::Append { .. } => self.append(lane, from, request, &body),
            _ if refusal.is_some() => failed(refusal.unwrap_or_default()),
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
            Request::Health => {
                std::future::ready(answered(Answer::Health(self.ailment.get()))).boxed_local()
            }
            Request::TransferLeader { to, .. }
                if to == self.me().node && self.ailment.get() >= Some(Ailment::Stalled) =>
            {
                let answer = Answer::Failed("this node cannot lead: its disk fails".to_owned());
                std::future::ready(answered(answer)).boxed_local()
            }
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
            // To ask a quorum would keep the others from leading.
            Request::ReadIndex if self.ailment.get() >= Some(Ailment::Stalled) => {
                std::future::ready(answered(Answer::NotLeader)).boxed_local()
            }
            Request::ReadIndex => async move {
                match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
                    Ok(linearizer) => Answer::ReadIndex(linearizer.read_log_id().index()),
                    Err(_) => Answer::NotLeader,
                }
            }
            .map(answered)
            .boxed_local(),
            Request::BeginSnapshot { vote, last, bytes } => self.begin_snapshot(vote, last, bytes),
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
                let checkpoints = Rc::clone(&self.checkpoints);
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
                    let installed = raft.install_full_snapshot(to_raft_vote(vote), snapshot).await;
                    // Raft may have had no use for it.
                    if let Err(error) = checkpoints.discard(transmission).await {
                        tracing::warn!(%error, "a checkpoint that is not needed is left for now");
                    }
                    match installed {
                        Ok(response) => Answer::Snapshot(from_raft_vote(&response.vote)),
                        Err(error) => Answer::Failed(error.to_string()),
                    }
                }
                .map(answered)
                .boxed_local()
            }
            Request::Write | Request::Admin(_) | Request::Adopt(_) => {
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
