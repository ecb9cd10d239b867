//! The one writer of a node: takes what waits in the inbox and has it written.
//! The leader stamps it and proposes it as one batch; any other node hands it to
//! the leader at once (`forwarder`). While batches are in flight the next one
//! grows; with nothing in flight a write goes out at once. There is no timer.

use std::{cell::Cell, pin::pin, rc::Rc, sync::Arc, time::Instant};

use futures_util::future::{Either, select};
use tokio::sync::{Notify, oneshot};

use super::{
    forwarder::Forwarder,
    inbox::{Inbox, Proposal},
    status::Status,
};
use crate::{
    base::{
        batch::{Batch, Command, encode},
        ids::Timestamp,
        limits::BATCH_BYTES,
        outcome::{Effect, Outcome, StorageProblem, WriteError},
        planted::planted,
        timing::{
            COMMIT_WAIT, DEPOSED_WAIT, FLIGHT_WATCH, OWN_QUEUE_WAIT, PEER_QUEUE_WAIT, PREPARE_WAIT,
            QUEUE_WAIT, WRITE_RETRY,
        },
    },
    feed::{Fanout, Origin, Ticket},
    io::{BLOCK, Disk, cores},
    raft::{Applied, Leadership, Replica},
};

/// A serving core that has this much to take in holds up new writes.
const BACKLOG_BYTES: usize = 64 << 20;

/// See the module.
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
        let returns = Returns { inbox: Arc::clone(&self.inbox), fanout: self.fanout.clone() };
        let forwarder = Forwarder::new(Rc::clone(&self.replica), returns.clone());
        let mut reign = Reign { term: None, newest: Timestamp(0), flight: Rc::default() };
        let watch = watch_flight(Rc::clone(&reign.flight), Rc::clone(&self.replica));
        cores::spawn(watch);
        loop {
            let leadership = self.replica.leadership();
            let room = match leadership {
                Leadership::Unknown if !self.inbox.is_closed() => {
                    returns.give_up();
                    let known = self.replica.leadership_is(|who| *who != Leadership::Unknown);
                    cores::within(WRITE_RETRY, known).await;
                    continue;
                }
                Leadership::At(..) => Some(forwarder.room().await),
                _ => None,
            };
            let Some(proposals) = self.inbox.take(batch_bytes).await else { break };
            let leadership = self.replica.leadership();
            let proposals = refuse_late(proposals, &leadership, &returns);
            if proposals.is_empty() {
                continue;
            }
            if let (Leadership::At(..), Some(problem)) =
                (&leadership, self.storage_problem(bytes_of(&proposals)))
            {
                // It could not be applied here, so nobody could be told of it.
                returns.answer(proposals, |_| Err(WriteError::Storage(problem)));
                continue;
            }
            match leadership {
                Leadership::Here => self.append(proposals, &mut reign, &returns).await,
                Leadership::At(id, address) => match room {
                    Some(room) => forwarder.forward(proposals, id, &address, room),
                    None => returns.again(proposals).await,
                },
                Leadership::Unknown => returns.again(proposals).await,
            }
        }
        forwarder.idle().await;
    }

    /// Proposes a batch, and waits for its outcome.
    async fn append(&self, proposals: Vec<Proposal>, reign: &mut Reign, returns: &Returns) {
        let term = match self.prepare(bytes_of(&proposals), reign).await {
            Ok(term) => term,
            Err(refusal) => return returns.failed(proposals, refusal).await,
        };
        reign.newest = self.stamp().max(reign.newest);
        let commands = proposals.iter().map(|proposal| &proposal.command);
        let batch = Batch::parse(encode(commands, reign.newest));
        let batch = batch.expect("what was just encoded can be read");
        let (answered, answer) = oneshot::channel();
        let done = move |applied: Result<Applied, WriteError>| {
            // After too long nobody waits for it.
            let _ = answered.send(applied);
        };
        let propose = async {
            self.replica.propose(batch, term, done).await;
            answer.await.unwrap_or(Err(WriteError::Unknown))
        };
        reign.flight.since.set(Some(cores::now()));
        let applied = match select(pin!(propose), pin!(reign.flight.given_up.notified())).await {
            Either::Left((applied, _)) => applied,
            Either::Right(_) => Err(WriteError::Unknown),
        };
        reign.flight.since.set(None);
        match applied {
            Ok(applied) => returns.answer_applied(proposals, applied),
            Err(error) => returns.failed(proposals, error).await,
        }
    }

    /// Waits until a batch of `bytes` may be proposed, and says in which term.
    async fn prepare(&self, bytes: usize, reign: &mut Reign) -> Result<u64, WriteError> {
        let end = cores::now() + PREPARE_WAIT;
        // A segment that is not there in time: the disk is too slow for what is written.
        let admitted = cores::within(PREPARE_WAIT, self.admit(bytes)).await;
        admitted.unwrap_or(Err(WriteError::Overloaded))?;
        // What is stamped must follow everything that an earlier leader stamped.
        if planted!(StampBeforeApplied) {
            reign.term = Some(self.replica.term());
        }
        if reign.term != Some(self.replica.term()) {
            let left = end.saturating_duration_since(cores::now());
            reign.term = cores::within(left, self.replica.settled()).await.flatten();
        }
        reign.term.ok_or(WriteError::NoLeader)
    }

    /// Waits until `bytes` surely fit the log, or says why they may not be
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
            if log.headroom() >= bytes as u64 {
                return Ok(());
            }
            self.room.notified().await;
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
        Timestamp(cores::wall_micros()).max(self.replica.last_at())
    }
}

/// Whether a write has waited so long here, from where it would go on to `leadership`, that
/// its client may be told before its outcome is known.
fn is_late(proposal: &Proposal, leadership: &Leadership, now: Instant) -> bool {
    let most = match (proposal.origin, leadership) {
        (Origin::Peer, _) => PEER_QUEUE_WAIT,
        (Origin::Core(_), Leadership::Here) => OWN_QUEUE_WAIT,
        (Origin::Core(_), _) => QUEUE_WAIT,
    };
    // Those that wait for a leader are given up when they have waited so long.
    now.saturating_duration_since(proposal.since) > most + WRITE_RETRY
}

/// Refuses writes that have waited too long; they certainly did not happen. Gives back the
/// others.
fn refuse_late(
    proposals: Vec<Proposal>,
    leadership: &Leadership,
    returns: &Returns,
) -> Vec<Proposal> {
    let now = cores::now();
    let late = |proposal: &Proposal| is_late(proposal, leadership, now);
    if !proposals.iter().any(late) {
        return proposals;
    }
    let (late, others): (Vec<_>, Vec<_>) = proposals.into_iter().partition(late);
    returns.answer(late, |_| Err(WriteError::Overloaded));
    others
}

/// Bytes of the log that writes take, but for what surrounds them.
fn bytes_of(proposals: &[Proposal]) -> usize {
    proposals.iter().map(|proposal| proposal.command.encoded_bytes()).sum()
}

/// What a leader stamps by.
struct Reign {
    /// The term in which it leads, once everything before that is applied.
    term: Option<u64>,
    /// The newest stamp that it gave.
    newest: Timestamp,
    flight: Rc<Flight>,
}

/// The batch that is in flight.
#[derive(Default)]
struct Flight {
    /// When it was proposed, while it is.
    since: Cell<Option<Instant>>,
    /// It is not waited for any longer.
    given_up: Notify,
}

/// Gives batches up that are not committed in time, or whose node was deposed. A
/// timer for each would cost more than the rest of a small batch.
async fn watch_flight<D: Disk>(flight: Rc<Flight>, replica: Rc<Replica<D>>) {
    // The sequencer holds the other, as long as it runs.
    while Rc::strong_count(&flight) > 1 {
        cores::sleep(FLIGHT_WATCH).await;
        let Some(since) = flight.since.get() else { continue };
        let deposed = replica.leadership() != Leadership::Here;
        if cores::elapsed(since) > if deposed { DEPOSED_WAIT } else { COMMIT_WAIT } {
            // Once: the next batch is not meant.
            flight.since.set(None);
            flight.given_up.notify_waiters();
        }
    }
}

/// What becomes of writes that were taken: answered, or tried again.
#[derive(Clone)]
pub(super) struct Returns {
    pub(super) inbox: Arc<Inbox>,
    pub(super) fanout: Fanout,
}

impl Returns {
    /// Answers those that have waited for a leader long enough, and those of
    /// other nodes, which look for the leader themselves.
    fn give_up(&self) {
        let late = |proposal: &Proposal| !may_wait(proposal);
        self.answer(self.inbox.take_if(late), |_| Err(WriteError::NoLeader));
    }

    /// Has writes that did not happen tried again, while they may wait.
    pub(super) async fn again(&self, proposals: Vec<Proposal>) {
        self.failed(proposals, WriteError::NoLeader).await;
    }

    /// Tries writes again that certainly did not happen for want of a leader, or
    /// that may, but would be told apart if they did; answers the others.
    pub(super) async fn failed(&self, proposals: Vec<Proposal>, error: WriteError) {
        let again = |proposal: &Proposal| {
            let safe = match error {
                WriteError::NoLeader => true,
                WriteError::Unknown => proposal.command.idempotency.is_some(),
                _ => false,
            };
            safe && may_wait(proposal) && !self.inbox.is_closed()
        };
        let (mut again, over): (Vec<_>, Vec<_>) = proposals.into_iter().partition(again);
        self.answer(over, |_| Err(error));
        if !again.is_empty() {
            if error == WriteError::Unknown {
                again.iter_mut().for_each(|proposal| proposal.may_have_happened = true);
            }
            self.inbox.put_back(again);
            cores::sleep(WRITE_RETRY).await;
        }
    }

    /// Tells each write how it was decided.
    fn answer_applied(&self, proposals: Vec<Proposal>, applied: Applied) {
        let Applied { first, decisions } = applied;
        if let Some(decisions) = decisions {
            assert_eq!(decisions.len(), proposals.len(), "every command is decided");
            let mut decisions = decisions.into_iter();
            return self.answer(proposals, |_| decisions.next().ok_or(WriteError::Unknown));
        }
        let mut next = first;
        self.answer(proposals, |command| {
            let (first, count) = (next, command.changes());
            next.0 += u64::from(count);
            Ok(Ok(Effect::Changes { first, count, replaced: false }).into())
        });
    }

    /// Answers each write, in the order in which they were proposed.
    pub(super) fn answer(
        &self,
        proposals: Vec<Proposal>,
        mut outcome: impl FnMut(&Command) -> Outcome,
    ) {
        let mut by_core: Vec<Vec<(Ticket, Outcome)>> = vec![Vec::new(); self.fanout.cores()];
        let mut of_peers = Vec::new();
        for Proposal { command, origin, ticket, may_have_happened, .. } in proposals {
            let outcomes = match origin {
                Origin::Core(core) => &mut by_core[core],
                Origin::Peer => &mut of_peers,
            };
            let outcome = match outcome(&command) {
                // An attempt before may have succeeded, or do so yet.
                Err(_) if may_have_happened && !planted!(ForgetMayHaveHappened) => {
                    Err(WriteError::Unknown)
                }
                outcome => outcome,
            };
            outcomes.push((ticket, outcome));
        }
        let by_core = by_core.into_iter().enumerate();
        let of_cores = by_core.map(|(core, outcomes)| (Origin::Core(core), outcomes));
        for (origin, outcomes) in of_cores.chain([(Origin::Peer, of_peers)]) {
            if !outcomes.is_empty() {
                self.fanout.resolve(origin, outcomes);
            }
        }
    }
}

/// Whether a write may wait for a leader. Those of other nodes wait there.
fn may_wait(proposal: &Proposal) -> bool {
    proposal.origin != Origin::Peer
        && cores::now().saturating_duration_since(proposal.since) < QUEUE_WAIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::batch::Append, feed::Ticket};

    #[test]
    fn a_write_goes_on_only_while_its_outcome_can_be_told_in_time() {
        let of = |origin| Proposal::new(Append::default().into(), origin, Ticket(0));
        let elsewhere = Leadership::At(2, String::new());
        for (origin, leadership, most) in [
            (Origin::Core(0), Leadership::Here, OWN_QUEUE_WAIT),
            (Origin::Core(0), elsewhere.clone(), QUEUE_WAIT),
            (Origin::Peer, Leadership::Here, PEER_QUEUE_WAIT),
            (Origin::Peer, elsewhere, PEER_QUEUE_WAIT),
        ] {
            let proposal = of(origin);
            assert!(!is_late(&proposal, &leadership, proposal.since + most));
            assert!(is_late(&proposal, &leadership, proposal.since + most + 2 * WRITE_RETRY));
        }
    }
}
