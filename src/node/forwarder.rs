//! Writes on their way to the leader, from a node that does not lead: each batch
//! goes out over a kept connection and is answered once this node has applied
//! what the leader has, so that whoever wrote here reads it here.

use std::{pin::pin, rc::Rc, sync::Arc};

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{completions::Completions, inbox::Proposal};
use crate::{
    base::{
        batch::encode,
        ids::{NodeId, Timestamp},
        outcome::{Outcome, WriteError},
        planted::planted,
        timing::{APPLY_WAIT, DEPOSED_WAIT, LEADER_ANSWER},
    },
    io::{Disk, cores},
    raft::{
        Leadership, Replica,
        peer::{Answer, CallError, Channel, Lane, Request},
    },
};

/// Batches that may be with the leader at once.
const UNDER_WAY: u32 = 4;

/// Hands writes to the leader.
pub(super) struct Forwarder<D: Disk> {
    replica: Rc<Replica<D>>,
    completions: Completions,
    permits: Arc<Semaphore>,
}

/// Lets one more batch be under way.
pub(super) type Permit = OwnedSemaphorePermit;

impl<D: Disk> Forwarder<D> {
    pub(super) fn new(replica: Rc<Replica<D>>, completions: Completions) -> Self {
        Self { replica, completions, permits: Arc::new(Semaphore::new(UNDER_WAY as usize)) }
    }

    /// Waits until there is room for one more batch.
    pub(super) async fn permit(&self) -> Permit {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Waits until no batch is with the leader.
    pub(super) async fn idle(&self) {
        drop(self.permits.acquire_many(UNDER_WAY).await);
    }

    /// Hands writes to the leader `id`, which the members reach at `address`.
    pub(super) fn forward(
        &self,
        proposals: Vec<Proposal>,
        id: NodeId,
        address: &str,
        permit: Permit,
    ) {
        let channel = self.replica.channel(id, Lane::Requests, address);
        let (replica, completions) = (Rc::clone(&self.replica), self.completions.clone());
        cores::spawn(async move {
            match hand_over(id, &channel, &proposals, &replica).await {
                Ok(outcomes) => complete(proposals, outcomes, &completions).await,
                Err(error) => completions.failed(proposals, error).await,
            }
            drop(permit);
        });
    }
}

/// What the leader decided of writes, once it is applied here.
async fn hand_over<D: Disk>(
    leader: NodeId,
    channel: &Channel,
    proposals: &[Proposal],
    replica: &Replica<D>,
) -> Result<Vec<Outcome>, WriteError> {
    // The leader stamps them.
    let batch = encode(proposals.iter().map(|proposal| &proposal.command), Timestamp(0));
    let call = pin!(channel.call(&Request::Write, batch, LEADER_ANSWER));
    let deposed = async {
        replica.leadership_is(|who| !matches!(who, Leadership::At(now, _) if *now == leader)).await;
        cores::sleep(DEPOSED_WAIT).await;
    };
    let called: Result<(Answer, Bytes), CallError> = match select(call, pin!(deposed)).await {
        Either::Left((called, _)) => called,
        Either::Right(_) => Err(CallError::Lost),
    };
    let (answer, body) = match called {
        Ok(answer) => answer,
        Err(CallError::NotSent(_)) => return Err(WriteError::NoLeader),
        Err(CallError::Lost) => return Err(WriteError::Unknown),
    };
    match answer {
        Answer::Written { applied } => {
            let outcomes: Vec<Outcome> =
                postcard::from_bytes(&body).map_err(|_| WriteError::Unknown)?;
            if outcomes.len() != proposals.len() {
                return Err(WriteError::Unknown);
            }
            // Without a decision there is nothing to be seen here.
            let must_be_seen = outcomes.iter().any(Result::is_ok) && !planted!(AnswerBeforeApplied);
            if must_be_seen && !replica.applies(applied, APPLY_WAIT).await {
                return Err(WriteError::Unknown);
            }
            Ok(outcomes)
        }
        Answer::NotLeader => Err(WriteError::NoLeader),
        _ => Err(WriteError::Unknown),
    }
}

/// Answers writes, and has those tried again that may be.
async fn complete(proposals: Vec<Proposal>, outcomes: Vec<Outcome>, completions: &Completions) {
    let (mut decided, mut decisions) = (Vec::new(), Vec::new());
    let (mut leaderless, mut unknown) = (Vec::new(), Vec::new());
    for (proposal, outcome) in proposals.into_iter().zip(outcomes) {
        match outcome {
            Err(WriteError::NoLeader) => leaderless.push(proposal),
            Err(WriteError::Unknown) => unknown.push(proposal),
            outcome => {
                decided.push(proposal);
                decisions.push(outcome);
            }
        }
    }
    let mut decisions = decisions.into_iter();
    completions.answer(decided, |_| decisions.next().unwrap_or(Err(WriteError::Unknown)));
    completions.failed(leaderless, WriteError::NoLeader).await;
    completions.failed(unknown, WriteError::Unknown).await;
}
