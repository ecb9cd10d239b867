//! Writes that other nodes forward to this one, as long as it leads.

use std::{future::poll_fn, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{
    inbox::{Inbox, Proposal},
    writes::Writes,
};
use crate::{
    base::{
        batch::{Batch, Command},
        outcome::{Outcome, WriteError},
    },
    feed::{Fanout, Mailbox, Origin},
    io::Disk,
    raft::{Leadership, Replica, peer::Answer},
};

/// The writes of other nodes that wait here for their outcome.
pub struct ForwardedWrites<D: Disk> {
    inbox: Arc<Inbox>,
    mailbox: Arc<Mailbox>,
    writes: Writes,
    replica: Rc<Replica<D>>,
}

impl<D: Disk> ForwardedWrites<D> {
    /// Takes writes for `inbox`, whose outcomes come by `fanout`.
    #[must_use]
    pub fn new(inbox: Arc<Inbox>, fanout: &Fanout, replica: Rc<Replica<D>>) -> Self {
        Self { inbox, mailbox: fanout.peers(), writes: Writes::default(), replica }
    }

    /// Delivers outcomes, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            poll_fn(|cx| self.mailbox.poll_full(cx)).await;
            for (ticket, outcome) in self.mailbox.take().into_iter().flat_map(|mail| mail.outcomes)
            {
                self.writes.resolve(ticket, outcome);
            }
        }
    }

    /// Has the commands of a batch done, and says how each was decided.
    pub async fn write(&self, batch: Bytes) -> (Answer, Bytes) {
        if self.replica.leadership() != Leadership::Here {
            return (Answer::NotLeader, Bytes::new());
        }
        let batch = match Batch::parse(batch) {
            Ok(batch) => batch,
            Err(error) => return (Answer::Failed(error.to_string()), Bytes::new()),
        };
        let outcomes = self.decide(batch.to_commands()).await;
        match postcard::to_stdvec(&outcomes) {
            Ok(body) => (Answer::Written { applied: self.replica.last_applied() }, body.into()),
            Err(error) => (Answer::Failed(error.to_string()), Bytes::new()),
        }
    }

    /// Has commands done by this node, as long as it leads, and says how each was decided.
    pub(super) async fn decide(&self, commands: Vec<Command>) -> Vec<Outcome> {
        let mut pending = Vec::new();
        for command in commands {
            let write = self.writes.open();
            let proposal = Proposal::new(command, Origin::Peer, write.ticket());
            let pushed = self.inbox.push(proposal);
            pending.push(match pushed {
                Ok(()) => Ok(write.proposed()),
                // It stops: another node leads, or will.
                Err(_) if self.inbox.is_closed() => Err(WriteError::NoLeader),
                Err(_) => Err(WriteError::Overloaded),
            });
        }
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(pending.len());
        for write in pending {
            outcomes.push(match write {
                Ok(write) => write.await,
                Err(error) => Err(error),
            });
        }
        outcomes
    }
}
