//! What the followers of this node have acknowledged to it, as a leader.
//!
//! openraft takes that for good. A follower that was started on an older copy of
//! its own disk has it no more, and what was committed with its help may be
//! nowhere else. A leader that notices it counts such a node for nothing from
//! then on; what the node has forgotten of its votes cannot be known either.

use std::{cell::RefCell, collections::BTreeMap};

use openraft::raft::StreamAppendError;
use tokio::sync::watch;

use super::{pipeline::Appended, types::from_raft_id};
use crate::base::{
    ids::{LogId, NodeId},
    planted::planted,
};

/// How often openraft is told that nothing is matched by a node. Once is enough,
/// unless it was busy with something else.
pub(super) const TOLD_MAX: u8 = 3;

/// What a follower holds for certain.
#[derive(Clone, Copy)]
struct Follower {
    /// The term in which it said so.
    term: u64,
    last: LogId,
}

/// A follower that lost something that it had acknowledged.
#[derive(Clone, Copy)]
struct Reverted {
    /// The last entry that it had acknowledged.
    acknowledged: LogId,
    /// How often openraft was told.
    told: u8,
    /// It was started on another copy since, which has it.
    holds: bool,
}

/// The last entry that each follower acknowledged, and who has lost some since.
#[derive(Default)]
pub(super) struct Acknowledged {
    followers: RefCell<BTreeMap<NodeId, Follower>>,
    reverted: watch::Sender<BTreeMap<NodeId, Reverted>>,
}

impl Acknowledged {
    /// Takes note of what a follower answered to the leader of `term`; says
    /// whether the answer counts. It does not when the node lacks what it
    /// acknowledged in this term: no other leader can have had it removed.
    pub(super) fn note(&self, node: NodeId, term: u64, answer: &Appended) -> bool {
        match answer {
            Ok(Ok(Some(held))) => self.note_held(node, term, from_raft_id(held)),
            Ok(Err(StreamAppendError::Conflict(at))) => {
                self.note_conflict(node, term, from_raft_id(at));
            }
            _ => {}
        }
        !self.is_reverted(node)
    }

    /// Takes note of the last entry that a follower holds, as it says to the leader
    /// of `term`.
    pub(super) fn note_held(&self, node: NodeId, term: u64, held: LogId) {
        if self.is_reverted(node) {
            return self.note_holds(node, held);
        }
        let mut followers = self.followers.borrow_mut();
        let follower = followers.entry(node).or_insert(Follower { term, last: held });
        if term > follower.term {
            *follower = Follower { term, last: held };
        } else if term == follower.term {
            follower.last = follower.last.max(held);
        }
    }

    /// A node that lost what it had acknowledged may have it again: on another copy
    /// of its directory. What it voted meanwhile is not in that.
    fn note_holds(&self, node: NodeId, held: LogId) {
        let has_it = self.reverted.send_if_modified(|reverted| {
            let reverted = reverted.get_mut(&node).filter(|reverted| !reverted.holds);
            reverted.is_some_and(|reverted| {
                reverted.holds = held >= reverted.acknowledged;
                reverted.holds
            })
        });
        if has_it {
            tracing::warn!(
                node,
                "a member that lost entries holds them again; it must be taken in anew all the same"
            );
        }
    }

    fn note_conflict(&self, node: NodeId, term: u64, at: LogId) {
        let follower = self.followers.borrow().get(&node).copied();
        let Some(Follower { last, .. }) = follower.filter(|follower| follower.term == term) else {
            return;
        };
        if at.index > last.index || self.is_reverted(node) || planted!(CountReverted) {
            return;
        }
        if planted!(IgnoreReversion) {
            return;
        }
        tracing::error!(
            node,
            acknowledged = %last,
            lacks = %at,
            "a member lost entries that it had acknowledged and counts for nothing any more: \
             stop it, and start it with an empty data directory and --join"
        );
        self.reverted.send_modify(|reverted| {
            reverted.insert(node, Reverted { acknowledged: last, told: 0, holds: false });
        });
    }

    /// Whether a node lost what it had acknowledged.
    pub(super) fn is_reverted(&self, node: NodeId) -> bool {
        self.reverted.borrow().contains_key(&node)
    }

    /// Whether a node that lost what it had acknowledged is still to be told so.
    pub(super) fn is_to_hear(&self, node: NodeId) -> bool {
        self.reverted.borrow().get(&node).is_some_and(|reverted| !reverted.holds)
    }

    /// What a node had acknowledged that lost it.
    pub(super) fn lost(&self, node: NodeId) -> Option<LogId> {
        self.reverted.borrow().get(&node).map(|reverted| reverted.acknowledged)
    }

    /// Resolves once it is known that a node lost what it had acknowledged.
    pub(super) async fn reverts(&self, node: NodeId) {
        // Its sender is here.
        let _ = self.reverted.subscribe().wait_for(|reverted| reverted.contains_key(&node)).await;
    }

    /// Whether openraft is to be told that nothing is matched by a node that lost
    /// what it had acknowledged.
    pub(super) fn is_to_be_told(&self, node: NodeId) -> bool {
        self.reverted.send_if_modified(|reverted| {
            let reverted = reverted.get_mut(&node).filter(|reverted| reverted.told < TOLD_MAX);
            reverted.map(|reverted| reverted.told += 1).is_some()
        })
    }

    /// Forgets those that are no members any more: numbers are never given again.
    pub(super) fn keep(&self, is_member: impl Fn(NodeId) -> bool) {
        self.followers.borrow_mut().retain(|node, _| is_member(*node));
        self.reverted.send_if_modified(|reverted| {
            let before = reverted.len();
            reverted.retain(|node, _| is_member(*node));
            reverted.len() < before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::planted::{Bug, prove};
    use crate::log::Vote;
    use crate::raft::types::{to_raft_id, to_raft_vote};

    fn id(term: u64, index: u64) -> LogId {
        LogId { term, index }
    }

    fn held(id: LogId) -> Appended {
        Ok(Ok(Some(to_raft_id(id))))
    }

    fn conflict(id: LogId) -> Appended {
        Ok(Err(StreamAppendError::Conflict(to_raft_id(id))))
    }

    #[test]
    fn planted_count_reverted() {
        let run = |_| a_node_that_lacks_what_it_acknowledged_in_this_term_counts_no_more();
        prove(Bug::CountReverted, 0..1, &["it counts no more"], run);
    }

    #[test]
    fn a_node_that_lacks_what_it_acknowledged_in_this_term_counts_no_more() {
        let acknowledged = Acknowledged::default();
        assert!(acknowledged.note(2, 3, &held(id(3, 6))));
        assert!(acknowledged.note(2, 3, &held(id(3, 5))), "a late answer takes nothing back");
        assert!(!acknowledged.note(2, 3, &conflict(id(3, 6))), "it counts no more");
        assert_eq!(acknowledged.lost(2), Some(id(3, 6)));
        assert!(acknowledged.is_to_hear(2));
        assert!(!acknowledged.note(2, 3, &held(id(3, 5))), "nor does it later");
        assert!(acknowledged.is_to_hear(2));
        assert!(!acknowledged.note(2, 3, &held(id(3, 6))), "nor when it holds all again");
        assert!(!acknowledged.is_to_hear(2));
        assert!(acknowledged.note(3, 3, &held(id(3, 9))), "another node does");
        let told = (0..9).filter(|_| acknowledged.is_to_be_told(2)).count();
        assert_eq!(told, usize::from(TOLD_MAX));

        acknowledged.keep(|node| node != 2);
        assert!(!acknowledged.is_reverted(2));
    }

    #[test]
    fn a_node_may_lack_what_it_never_acknowledged_in_this_term() {
        let acknowledged = Acknowledged::default();
        assert!(acknowledged.note(2, 3, &conflict(id(2, 6))), "nothing yet");
        assert!(acknowledged.note(2, 3, &held(id(2, 4))));
        assert!(acknowledged.note(2, 3, &conflict(id(2, 5))), "what comes after it");
        // A leader in between may have removed it.
        assert!(acknowledged.note(2, 5, &conflict(id(2, 4))), "what was in another term");
        let vote = Vote { term: 7, node: 1, committed: true };
        let higher = Ok(Err(StreamAppendError::HigherVote(to_raft_vote(vote))));
        assert!(acknowledged.note(2, 5, &higher));
        assert!(!acknowledged.is_reverted(2));
    }
}
