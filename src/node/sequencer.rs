//! The one writer of a node: takes what waits in the inbox and has it written.
//! The leader stamps it and proposes it as one batch; any other node hands it to
//! the leader at once (`forwarder`). While batches are in flight the next one
//! grows; with nothing in flight a write goes out at once. There is no timer.

use std::{rc::Rc, sync::Arc};

use tokio::sync::{Notify, oneshot};

use super::{
    completions::Completions,
    forwarder::Forwarder,
    inbox::{Inbox, Proposal},
    leader_term::LeaderTerm,
    retry,
    status::Status,
};
use crate::{
    base::{
        batch::Batch,
        ids::Timestamp,
        limits::BATCH_BYTES,
        outcome::{StorageProblem, WriteError},
        planted::planted,
        timing::{OTHERS_LOOK, PREPARE_WAIT, WRITE_RETRY},
    },
    feed::Fanout,
    io::{BLOCK, Disk, cores},
    raft::{Applied, Leadership, Replica, Room},
};

/// A serving core that has this much to take in holds up new writes.
const BACKLOG_BYTES: usize = 64 << 20;

/// Turns the writes of a node into batches.
pub struct Sequencer<D: Disk> {
    /// The way in.
    pub inbox: Arc<Inbox>,
    /// Where batches go.
    pub replica: Rc<Replica<D>>,
    /// The way back.
    pub fanout: Fanout,
    /// The node's condition.
    pub status: Arc<Status>,
    /// Told when the log may have room again, or has failed.
    pub room: Rc<Notify>,
}

impl<D: Disk> Sequencer<D> {
    /// Runs until the inbox is closed and everything taken is answered.
    ///
    /// A leader has one batch in flight at a time. With more, the log would often
    /// be handed a small batch while a large one is about to gather; what that
    /// costs stands in `docs/benchmarks.md`.
    pub async fn run(self) {
        // A batch must fit an empty segment, as `admit` measures it.
        let fits = self.replica.log().payload_bytes_max().saturating_sub(2 * BLOCK);
        let batch_bytes = BATCH_BYTES.min(fits);
        let completions =
            Completions { inbox: Arc::clone(&self.inbox), fanout: self.fanout.clone() };
        let forwarder = Forwarder::new(Rc::clone(&self.replica), completions.clone());
        let mut leader_term = LeaderTerm::new(&self.replica);
        loop {
            let leadership = self.replica.leadership();
            let room = match leadership {
                Leadership::Unknown if !self.inbox.is_closed() => {
                    completions.give_up_waiting();
                    let known = self.replica.leadership_is(|who| *who != Leadership::Unknown);
                    cores::within(WRITE_RETRY, known).await;
                    continue;
                }
                Leadership::At(..) => Some(forwarder.permit().await),
                _ => None,
            };
            let Some(proposals) = self.inbox.take(batch_bytes).await else { break };
            let leadership = self.replica.leadership();
            let proposals = refuse_late(proposals, &leadership, &completions);
            if proposals.is_empty() {
                continue;
            }
            if let (Leadership::At(..), Some(problem)) =
                (&leadership, self.storage_problem(bytes_of(&proposals)))
            {
                // It could not be applied here, so nobody could be told of it.
                completions.answer(proposals, |_| Err(WriteError::Storage(problem)));
                continue;
            }
            match leadership {
                Leadership::Here => self.append(proposals, &mut leader_term, &completions).await,
                Leadership::At(id, address) => match room {
                    Some(room) => forwarder.forward(proposals, id, &address, room),
                    None => completions.failed(proposals, WriteError::NoLeader).await,
                },
                Leadership::Unknown => completions.failed(proposals, WriteError::NoLeader).await,
            }
        }
        forwarder.idle().await;
    }

    /// Proposes a batch, and waits for its outcome.
    async fn append(
        &self,
        proposals: Vec<Proposal>,
        leader_term: &mut LeaderTerm,
        completions: &Completions,
    ) {
        let term = match self.prepare(bytes_of(&proposals), leader_term).await {
            Ok(term) => term,
            Err(refusal) => return completions.failed(proposals, refusal).await,
        };
        let stamp = leader_term.next_stamp(self.stamp());
        let commands = proposals.iter().map(|proposal| &proposal.command);
        let batch = Batch::of(commands, stamp);
        let (answered, answer) = oneshot::channel();
        let done = move |applied: Result<Applied, WriteError>| {
            // After too long nobody waits for it.
            let _ = answered.send(applied);
        };
        let propose = async {
            self.replica.propose(batch, term, done).await;
            answer.await.unwrap_or(Err(WriteError::Unknown))
        };
        match leader_term.fly(propose).await {
            Ok(applied) => completions.answer_applied(proposals, applied),
            Err(error) => completions.failed(proposals, error).await,
        }
    }

    /// Waits until a batch of `bytes` may be proposed, and says in which term.
    async fn prepare(&self, bytes: usize, leader_term: &mut LeaderTerm) -> Result<u64, WriteError> {
        let end = cores::now() + PREPARE_WAIT;
        // A segment that is not there in time: the disk is too slow for what is written.
        let admitted = cores::within(PREPARE_WAIT, self.admit(bytes)).await;
        admitted.unwrap_or(Err(WriteError::Overloaded))?;
        // What is stamped must follow everything that an earlier leader stamped.
        if planted!(StampBeforeApplied) {
            leader_term.term = Some(self.replica.term());
        }
        if leader_term.term != Some(self.replica.term()) {
            let left = end.saturating_duration_since(cores::now());
            leader_term.term = cores::within(left, self.replica.leader_barrier()).await.flatten();
        }
        leader_term.term.ok_or(WriteError::NoLeader)
    }

    /// Waits until `bytes` surely fit the logs of a quorum, or says why they may not be
    /// proposed. Nothing is in flight meanwhile, and the largest batch fits a
    /// new segment.
    async fn admit(&self, bytes: usize) -> Result<(), WriteError> {
        if self.fanout.backlog_bytes() > BACKLOG_BYTES {
            return Err(WriteError::Overloaded);
        }
        let log = self.replica.log();
        if bytes > log.payload_bytes_max().saturating_sub(2 * BLOCK) {
            // Of a node that takes larger requests than this one can store.
            return Err(WriteError::Storage(StorageProblem::TooLarge));
        }
        loop {
            if let Some(problem) = self.storage_problem(bytes) {
                return Err(WriteError::Storage(problem));
            }
            if !log.want_room(bytes as u64) {
                self.room.notified().await;
                continue;
            }
            match self.replica.room(bytes) {
                Room::Enough => return Ok(()),
                Room::Lacking => return Err(WriteError::Storage(StorageProblem::Quorum)),
                Room::Unsure => cores::sleep(OTHERS_LOOK).await,
            }
        }
    }

    /// Why `bytes` cannot be stored here at the moment. That a segment is only being
    /// prepared is no reason.
    fn storage_problem(&self, bytes: usize) -> Option<StorageProblem> {
        match self.status.storage_problem() {
            Some(problem @ (StorageProblem::Failed | StorageProblem::Stalled)) => Some(problem),
            _ if self.replica.log().headroom() >= bytes as u64 => None,
            _ => self.status.segment_problem(),
        }
    }

    /// Now, but never before what was applied.
    fn stamp(&self) -> Timestamp {
        let now = Timestamp(cores::wall_micros());
        if planted!(StampGoesBack) { now } else { now.max(self.replica.last_at()) }
    }
}

/// Refuses writes that have waited too long; they certainly did not happen. Gives back the
/// others.
fn refuse_late(
    proposals: Vec<Proposal>,
    leadership: &Leadership,
    completions: &Completions,
) -> Vec<Proposal> {
    let (now, leads) = (cores::now(), *leadership == Leadership::Here);
    let may_go_out =
        |proposal: &Proposal| retry::may_go_out(proposal.origin, leads, proposal.age(now));
    if proposals.iter().all(may_go_out) {
        return proposals;
    }
    let (others, late): (Vec<_>, Vec<_>) = proposals.into_iter().partition(may_go_out);
    completions.answer(late, |_| Err(WriteError::Overloaded));
    others
}

/// Bytes of the log that writes take, but for what surrounds them.
fn bytes_of(proposals: &[Proposal]) -> usize {
    proposals.iter().map(|proposal| proposal.command.encoded_bytes()).sum()
}
