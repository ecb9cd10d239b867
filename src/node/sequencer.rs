//! The one writer of a leader: takes what waits in the inbox, stamps it and
//! proposes it as one batch. While batches are in flight the next one grows;
//! with nothing in flight a write goes out at once. There is no timer.

use std::{rc::Rc, sync::Arc};

use tokio::sync::Semaphore;

use super::{
    inbox::{Inbox, Proposal},
    status::Status,
};
use crate::{
    base::{
        batch::{self, Batch},
        ids::{ChangeId, Timestamp},
        limits::BATCH_BYTES,
        outcome::{Accepted, Outcome, WriteError},
    },
    feed::{Fanout, Ticket},
    io::{Disk, clock::Clock},
    raft::{Applied, Replica},
};

/// Batches proposed and not yet answered. One is being written while the next
/// one waits in the log's queue; more would only make smaller batches.
const IN_FLIGHT: usize = 2;

/// A serving core that has this much to take in holds up new writes.
const BACKLOG_BYTES: usize = 64 << 20;

/// See the module.
pub struct Sequencer<D: Disk, C: Clock> {
    /// The way in.
    pub inbox: Arc<Inbox>,
    /// Where batches go.
    pub replica: Rc<Replica<D>>,
    /// The way back.
    pub fanout: Fanout,
    /// The node's condition.
    pub status: Arc<Status>,
    /// Stamps the batches.
    pub clock: C,
}

/// The write requests of one batch: whom to answer, and for how many changes.
struct Requests(Vec<(usize, Ticket, u32)>);

impl<D: Disk, C: Clock> Sequencer<D, C> {
    /// Runs until the inbox is closed and everything taken is answered.
    pub async fn run(self) {
        let slots = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut newest = Timestamp(0);
        loop {
            // First the slot, then the writes: they gather until it is free.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
            let Some(proposals) = self.inbox.take(BATCH_BYTES).await else { break };
            let (requests, appends) = split(proposals);
            let bytes = appends.iter().map(batch::Append::encoded_bytes).sum();
            if let Some(refusal) = self.refusal(bytes) {
                requests.answer(&self.fanout, |_| Err(refusal));
                continue;
            }
            newest = self.stamp().max(newest);
            let batch = Batch::parse(batch::encode(&appends, newest));
            let batch = batch.expect("what was just encoded can be read");
            drop(appends);
            let fanout = self.fanout.clone();
            let done = move |applied: Result<Applied, WriteError>| {
                drop(slot);
                requests.answer_applied(&fanout, applied);
            };
            self.replica.propose(batch, done).await;
        }
        // Each slot that comes back is a batch answered.
        let _ = slots.acquire_many(IN_FLIGHT as u32).await;
    }

    /// Why nothing of `bytes` may be proposed now, if so.
    fn refusal(&self, bytes: usize) -> Option<WriteError> {
        if self.status.has_failed() {
            return Some(WriteError::Storage("its log failed; see the node's own log"));
        }
        // What is in flight may not be counted in the headroom yet.
        let needed = (bytes + IN_FLIGHT * BATCH_BYTES) as u64;
        if self.replica.log().headroom() < needed {
            return Some(WriteError::Storage("its disk is full"));
        }
        if self.fanout.backlog_bytes() > BACKLOG_BYTES {
            return Some(WriteError::Overloaded);
        }
        None
    }

    /// Now, but never before what was applied.
    fn stamp(&self) -> Timestamp {
        Timestamp(self.clock.now_micros()).max(self.replica.last_at())
    }
}

fn split(proposals: Vec<Proposal>) -> (Requests, Vec<batch::Append>) {
    let request = |proposal: &Proposal| {
        (proposal.core, proposal.ticket, proposal.append.spans.len() as u32)
    };
    let requests = Requests(proposals.iter().map(request).collect());
    (requests, proposals.into_iter().map(|proposal| proposal.append).collect())
}

impl Requests {
    /// Gives each request its ids, in the order in which they were proposed.
    fn answer_applied(self, fanout: &Fanout, applied: Result<Applied, WriteError>) {
        let mut next = applied.map_or(ChangeId::ZERO, |applied| applied.first);
        self.answer(fanout, |count| {
            applied?;
            let accepted = Accepted { first: next, count };
            next = accepted.last().next();
            Ok(accepted)
        });
    }

    /// Answers each request; `outcome` is told how many changes it has.
    fn answer(self, fanout: &Fanout, mut outcome: impl FnMut(u32) -> Outcome) {
        let mut by_core: Vec<Vec<(Ticket, Outcome)>> = vec![Vec::new(); fanout.cores()];
        for (core, ticket, count) in self.0 {
            by_core[core].push((ticket, outcome(count)));
        }
        for (core, outcomes) in by_core.into_iter().enumerate() {
            if !outcomes.is_empty() {
                fanout.resolve(core, outcomes);
            }
        }
    }
}
