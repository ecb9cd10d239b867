//! What becomes of writes that were taken from the inbox: each is answered once, or put back
//! to be tried again.

use std::sync::Arc;

use super::{
    inbox::{Inbox, Proposal},
    retry::{self, Action, Attempt},
};
use crate::{
    base::{
        batch::Command,
        outcome::{Effect, Outcome, WriteError},
        planted::planted,
        timing::WRITE_RETRY,
    },
    feed::{Fanout, Origin, Ticket},
    io::cores,
    raft::Applied,
};

/// The way back of writes. Clones share it.
#[derive(Clone)]
pub(super) struct Completions {
    pub(super) inbox: Arc<Inbox>,
    pub(super) fanout: Fanout,
}

impl Completions {
    /// Answers those in the inbox that have waited for a leader long enough, and those of
    /// other nodes, which look for the leader themselves.
    pub(super) fn give_up_waiting(&self) {
        let now = cores::now();
        let is_over = |proposal: &Proposal| !retry::may_wait(proposal.origin, proposal.age(now));
        self.answer(self.inbox.take_if(is_over), |_| Err(WriteError::NoLeader));
    }

    /// Tries writes again that failed with `error`, or answers them, as [`retry::after`] says.
    pub(super) async fn failed(&self, proposals: Vec<Proposal>, error: WriteError) {
        let (now, is_stopping) = (cores::now(), self.inbox.is_closed());
        let (mut again, mut over) = (Vec::new(), Vec::new());
        for mut proposal in proposals {
            let attempt = Attempt {
                origin: proposal.origin,
                age: proposal.age(now),
                is_idempotent: proposal.command.idempotency.is_some(),
                is_stopping,
            };
            match retry::after(error, attempt) {
                Action::Again => again.push(proposal),
                Action::AgainAfterUnknown => {
                    proposal.may_have_happened = true;
                    again.push(proposal);
                }
                Action::Answer => over.push(proposal),
            }
        }
        self.answer(over, |_| Err(error));
        if !again.is_empty() {
            self.inbox.put_back(again);
            cores::sleep(WRITE_RETRY).await;
        }
    }

    /// Tells each write how it was decided.
    pub(super) fn answer_applied(&self, proposals: Vec<Proposal>, applied: Applied) {
        let Applied { first, decisions } = applied;
        if let Some(decisions) = decisions {
            assert_eq!(decisions.len(), proposals.len(), "every command is decided");
            let mut decisions = decisions.into_iter();
            return self.answer(proposals, |_| decisions.next().ok_or(WriteError::Unknown));
        }
        let mut next = first;
        self.answer(proposals, |command| {
            let (first, count) = (next, command.changes());
            next.0 += if planted!(CountBatchAsOne) { 1 } else { u64::from(count) };
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
            let may_have_happened = may_have_happened && !planted!(ForgetMayHaveHappened);
            let outcome = outcome(&command).map_err(|error| retry::told(error, may_have_happened));
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
