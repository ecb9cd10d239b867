//! The one writer of a leader: takes what waits in the inbox, stamps it and
//! proposes it as one batch. While a batch is in flight the next one grows; with
//! nothing in flight a write goes out at once. There is no timer.

use std::{rc::Rc, sync::Arc};

use tokio::sync::{Notify, oneshot};

use super::{
    inbox::{Inbox, Proposal},
    status::Status,
};
use crate::{
    base::{
        batch::{Batch, Command, encode},
        ids::Timestamp,
        limits::BATCH_BYTES,
        outcome::{Effect, Outcome, WriteError},
    },
    feed::{Fanout, Ticket},
    io::{BLOCK, Disk, clock::Clock},
    raft::{Applied, Replica},
};

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
    /// Told when the log may have room again, or has failed.
    pub room: Rc<Notify>,
}

/// The write requests of one batch: whom to answer, and for how many changes.
struct Requests(Vec<(usize, Ticket, u32)>);

impl<D: Disk, C: Clock> Sequencer<D, C> {
    /// Runs until the inbox is closed and everything taken is answered.
    ///
    /// One batch is in flight at a time. With more, the log would often be
    /// handed a small batch while a large one is about to gather; what that
    /// costs stands in `docs/benchmarks.md`.
    pub async fn run(self) {
        // A batch must fit an empty segment, as `admit` measures it.
        let fits = self.replica.log().payload_bytes_max().saturating_sub(2 * BLOCK);
        let batch_bytes = BATCH_BYTES.min(fits);
        let mut newest = Timestamp(0);
        while let Some(proposals) = self.inbox.take(batch_bytes).await {
            let (requests, commands) = split(proposals);
            let bytes = commands.iter().map(Command::encoded_bytes).sum();
            if let Err(refusal) = self.admit(bytes).await {
                requests.answer(&self.fanout, |_| Err(refusal));
                continue;
            }
            newest = self.stamp().max(newest);
            let batch = Batch::parse(encode(&commands, newest));
            let batch = batch.expect("what was just encoded can be read");
            drop(commands);
            let fanout = self.fanout.clone();
            let (answered, answer) = oneshot::channel();
            let done = move |applied: Result<Applied, WriteError>| {
                requests.answer_applied(&fanout, applied);
                // The sequencer waits for it as long as it lives.
                let _ = answered.send(());
            };
            self.replica.propose(batch, done).await;
            let _ = answer.await;
        }
    }

    /// Waits until `bytes` surely fit the log, or says why they may not be
    /// proposed. Nothing is in flight meanwhile, and the largest batch fits a
    /// new segment.
    async fn admit(&self, bytes: usize) -> Result<(), WriteError> {
        if self.fanout.backlog_bytes() > BACKLOG_BYTES {
            return Err(WriteError::Overloaded);
        }
        loop {
            if self.status.has_failed() {
                return Err(WriteError::Storage("its log failed; see the node's own log"));
            }
            if self.replica.log().headroom() >= bytes as u64 {
                return Ok(());
            }
            if self.status.is_full() {
                return Err(WriteError::Storage(
                    "its disk is too full for another part of its log",
                ));
            }
            self.room.notified().await;
        }
    }

    /// Now, but never before what was applied.
    fn stamp(&self) -> Timestamp {
        Timestamp(self.clock.now_micros()).max(self.replica.last_at())
    }
}

fn split(proposals: Vec<Proposal>) -> (Requests, Vec<Command>) {
    let request =
        |proposal: &Proposal| (proposal.core, proposal.ticket, proposal.command.changes());
    let requests = Requests(proposals.iter().map(request).collect());
    (requests, proposals.into_iter().map(|proposal| proposal.command).collect())
}

impl Requests {
    /// Tells each request how it was decided.
    fn answer_applied(self, fanout: &Fanout, applied: Result<Applied, WriteError>) {
        let Applied { first, decisions } = match applied {
            Ok(applied) => applied,
            Err(error) => return self.answer(fanout, |_| Err(error)),
        };
        if let Some(decisions) = decisions {
            assert_eq!(decisions.len(), self.0.len(), "every command is decided");
            let mut decisions = decisions.into_iter();
            return self.answer(fanout, |_| decisions.next().ok_or(WriteError::Unknown));
        }
        let mut next = first;
        self.answer(fanout, |count| {
            let first = next;
            next.0 += u64::from(count);
            Ok(Ok(Effect::Changes { first, count, replaced: false }).into())
        });
    }

    /// Answers each request, in the order in which they were proposed;
    /// `outcome` is told how many changes it has.
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
