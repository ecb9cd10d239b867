//! What other nodes ask of Raft and the log of this one.

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
    acknowledged::Acknowledged,
    append::append_answer,
    claims::Claims,
    halt::{Halt, Statement},
    health::{Ailment, Health},
    pace::DAMAGED,
    peer::{Answer, AppendAnswer, Directory, Lane, Standing},
    snapshot,
    state_machine::StateMachine,
    types::{Entry, TypeConfig, from_log, from_raft_id, from_raft_vote, to_raft_id, to_raft_vote},
};
use crate::{
    base::{
        ids::{LogId, NodeId},
        planted::planted,
        timing::ENTRIES_STALL,
    },
    io::{Disk, cores},
    log::{Frame, Identity, Log, Vote, decode_frame},
    snapshot::{Manifest, Staging, Transmission, Wanted},
};

/// The newest leader that was heard of, with its term.
pub(super) type NewestLeader = Cell<Option<(u64, NodeId)>>;

/// What a message may take beyond the largest entry.
const OVERHEAD_BYTES: usize = 2 << 20;

const NONE_BEGUN: &str = "no snapshot was begun";
const STARTS_ANEW: &str = "this node starts anew from a snapshot";

/// Raft's and the log's part of what other nodes ask, one method for each message of
/// theirs. `node::peers` says which is called. Entries are taken in in the order in which
/// the futures are polled first.
pub struct Inbound<D: Disk> {
    pub(super) raft: Raft<TypeConfig, StateMachine<D>>,
    pub(super) machine: StateMachine<D>,
    pub(super) log: Log<D>,
    /// The newest leader that was heard of.
    pub(super) newest_leader: Rc<NewestLeader>,
    /// What ails this node.
    pub(super) ailment: Rc<Health>,
    /// When a leader last spoke to this node.
    pub(super) last_contact: Rc<Cell<Option<Instant>>>,
    /// Who takes this node for a member of another cluster.
    pub(super) claims: Rc<Claims>,
    pub(super) staging: Rc<Staging<D::Files>>,
    /// The snapshot that is taken in, with the vote of the leader that sends it.
    pub(super) incoming: Rc<Cell<Option<(Vote, Transmission)>>>,
    /// What the other nodes have acknowledged to this one.
    pub(super) acknowledged: Rc<Acknowledged>,
    /// Why this node must not go on.
    pub(super) halt: watch::Sender<Option<Halt>>,
}

/// An answer that may take a while.
pub type Answering = LocalBoxFuture<'static, Answer>;

/// An answer that is there already.
pub fn at_once(answer: Answer) -> Answering {
    std::future::ready(answer).boxed_local()
}

fn failed(text: &str) -> Answering {
    at_once(Answer::Failed(text.to_owned()))
}

/// What a leader asks to have appended: the fields of `Request::Append`.
pub struct AppendRequest {
    /// The lane on which it came.
    pub lane: Lane,
    /// Who sent it.
    pub from: NodeId,
    /// The vote of the leader.
    pub vote: Vote,
    /// The entry before the first one.
    pub previous: Option<LogId>,
    /// The last entry that is committed.
    pub committed: Option<LogId>,
    /// How many entries the body has.
    pub entries: u32,
}

impl<D: Disk> Directory for Inbound<D> {
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
}

impl<D: Disk> Inbound<D> {
    /// Why nothing that concerns the log is answered to node `from`, if so.
    #[must_use]
    pub fn refusal(&self, from: NodeId) -> Option<String> {
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

    /// Takes in the entries of `body`; without any it is a heartbeat.
    pub fn append(&self, request: AppendRequest, body: &Bytes) -> Answering {
        let AppendRequest { lane, from, vote, previous, committed, entries } = request;
        let Some(entries) = entries_of(body, entries) else {
            return failed(DAMAGED);
        };
        let ids: Vec<LogId> = entries.iter().map(|entry| from_raft_id(&entry.log_id())).collect();
        let statement = Statement { lane, vote, previous, committed, entries: &ids };
        if let Some(answer) = self.halt(&statement) {
            return at_once(answer);
        }
        if let Some(why) = self.refusal(from) {
            return failed(&why);
        }
        if self.machine.is_superseded() {
            return failed(STARTS_ANEW);
        }
        // Only who was elected bears a committed vote.
        if vote.committed && self.newest_leader.get() < Some((vote.term, vote.node)) {
            self.newest_leader.set(Some((vote.term, vote.node)));
        }
        let (raft, last_contact) = (self.raft.clone(), Rc::clone(&self.last_contact));
        let log = self.log.clone();
        let previous = previous.map(to_raft_id);
        let last = entries.last().map(Entry::log_id).or(previous);
        let request = AppendEntriesRequest {
            vote: to_raft_vote(vote),
            prev_log_id: previous,
            entries,
            leader_commit: if planted!(ShowUncommitted) { last } else { committed.map(to_raft_id) },
        };
        async move {
            match raft.append_entries(request).await {
                Ok(response) => {
                    let answer = append_answer(response, previous, last, log.scarce_room());
                    if !matches!(answer, AppendAnswer::HigherVote(_)) {
                        last_contact.set(Some(cores::now()));
                    }
                    Answer::Append(answer)
                }
                Err(error) => Answer::Failed(error.to_string()),
            }
        }
        .boxed_local()
    }

    /// Votes for a candidate, or with `pre_vote` says only what the vote would be.
    pub fn vote(
        &self,
        vote: Vote,
        last: Option<LogId>,
        transfer: bool,
        pre_vote: bool,
    ) -> Answering {
        let last = if planted!(VoteForOlderLog) { last.max(self.log.last()) } else { last };
        let raft = self.raft.clone();
        let request = VoteRequest {
            vote: to_raft_vote(vote),
            last_log_id: last.map(to_raft_id),
            leadership_transfer: transfer,
        };
        async move {
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
        .boxed_local()
    }

    /// Hears that the leader hands leadership to `to`.
    pub fn transfer_leader(&self, vote: Vote, to: NodeId, last: Option<LogId>) -> Answering {
        if to == self.me().node && self.is_unfit() {
            return failed("this node cannot lead: its disk fails");
        }
        let raft = self.raft.clone();
        let request = TransferLeaderRequest::new(to_raft_vote(vote), to, last.map(to_raft_id));
        async move {
            match raft.handle_transfer_leader(request).await {
                Ok(Ok(())) => Answer::Done,
                Ok(Err(error)) => Answer::Failed(error.to_string()),
                Err(error) => Answer::Failed(error.to_string()),
            }
        }
        .boxed_local()
    }

    /// Says which entry must be applied for a read to see all that is acknowledged.
    pub fn read_index(&self) -> Answering {
        // To ask a quorum would keep the others from leading.
        if self.is_unfit() {
            return at_once(Answer::NotLeader);
        }
        let raft = self.raft.clone();
        async move {
            match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
                Ok(linearizer) => Answer::ReadIndex(linearizer.read_log_id().index()),
                Err(_) => Answer::NotLeader,
            }
        }
        .boxed_local()
    }

    /// What ails this node.
    #[must_use]
    pub fn ailment(&self) -> Option<Ailment> {
        self.ailment.get()
    }

    /// Whether this node must neither lead nor hold others up.
    fn is_unfit(&self) -> bool {
        self.ailment.get() >= Some(Ailment::Stalled)
    }

    /// Begins to take in a snapshot, or goes on with it: says what of it is wanted.
    pub fn begin_snapshot(&self, vote: Vote, manifest: &[u8]) -> Answering {
        let manifest = match Manifest::decode(manifest) {
            Ok(manifest) => manifest,
            Err(error) => return failed(&error.to_string()),
        };
        // It would take the place of entries that are committed here.
        let (lane, ids) = (Lane::Snapshot, [manifest.last]);
        let statement = Statement { lane, vote, previous: None, committed: None, entries: &ids };
        if let Some(answer) = self.halt(&statement) {
            return at_once(answer);
        }
        if self.machine.is_superseded() {
            return failed(STARTS_ANEW);
        }
        let (files, bytes) = (manifest.files.len(), manifest.bytes());
        tracing::info!(last = manifest.last.index, files, bytes, "a snapshot is taken in");
        let (staging, incoming) = (Rc::clone(&self.staging), Rc::clone(&self.incoming));
        async move {
            match staging.begin(manifest).await {
                Ok((transmission, wanted)) => {
                    incoming.set(Some((vote, transmission)));
                    as_wanted(wanted)
                }
                Err(error) => Answer::Failed(error.to_string()),
            }
        }
        .boxed_local()
    }

    /// Takes in a part of it.
    pub fn snapshot_part(&self, at: Wanted, part: Bytes) -> Answering {
        let Some((_, to)) = self.incoming.get() else { return failed(NONE_BEGUN) };
        let staging = Rc::clone(&self.staging);
        async move {
            match staging.part(to, at, part).await {
                Ok(wanted) => as_wanted(wanted),
                Err(error) => Answer::Failed(error.to_string()),
            }
        }
        .boxed_local()
    }

    /// Has the snapshot that is complete now take the place of what is here, if Raft has
    /// a use for it.
    pub fn end_snapshot(&self) -> Answering {
        let Some((vote, transmission)) = self.incoming.take() else { return failed(NONE_BEGUN) };
        let (raft, staging) = (self.raft.clone(), Rc::clone(&self.staging));
        let (log, machine) = (self.log.clone(), self.machine.clone());
        async move {
            let received = staging.end(transmission).await;
            let received =
                received.and_then(|it| Ok((it.last, snapshot::received(&it, transmission)?)));
            let (last, snapshot) = match received {
                Ok(received) => received,
                Err(error) => return Answer::Failed(error.to_string()),
            };
            let vote = if log.id(last.index) == Some(last) {
                // What this log holds beyond may have been acknowledged.
                log.vote().unwrap_or(vote)
            } else {
                match raft.install_full_snapshot(to_raft_vote(vote), snapshot).await {
                    Ok(response) => from_raft_vote(&response.vote),
                    Err(error) => return Answer::Failed(error.to_string()),
                }
            };
            if !machine.is_superseded()
                && let Err(error) = staging.discard().await
            {
                tracing::warn!(%error, "a snapshot that is not needed is left for now");
            }
            // The leader takes this for an acknowledgement. Raft has no use for a snapshot
            // of entries that it has, and those may wait to be written still.
            if planted!(AcknowledgeCheckpointBeforeDurable) {
                return Answer::Snapshot(vote);
            }
            match cores::within(ENTRIES_STALL, log.durable(last.index)).await {
                Some(Ok(())) => Answer::Snapshot(vote),
                Some(Err(error)) => Answer::Failed(error.to_string()),
                None => Answer::Failed("the entries of the snapshot are not durable".to_owned()),
            }
        }
        .boxed_local()
    }
}

fn as_wanted(Wanted { file, offset }: Wanted) -> Answer {
    Answer::Wanted { file, offset }
}

/// The entries of a body, one behind the other; nothing when it is not sound. One that came alone has
/// the memory of the body; of several each has its own, as one that is kept
/// must not keep the others.
pub(super) fn entries_of(body: &Bytes, count: u32) -> Option<Vec<Entry>> {
    let (mut entries, mut at) = (Vec::with_capacity(count.min(1024) as usize), 0);
    while at < body.len() {
        let (Frame::Entry(mut entry, _), end) = decode_frame(body, at)? else { return None };
        let follows = |before: &Entry| before.log_id.index.checked_add(1) == Some(entry.id.index);
        if !entries.last().is_none_or(follows) {
            return None;
        }
        if count > 1 {
            entry.payload = Bytes::copy_from_slice(&entry.payload);
        }
        entries.push(from_log(&entry).ok()?);
        at = end;
    }
    (entries.len() == count as usize).then_some(entries)
}
