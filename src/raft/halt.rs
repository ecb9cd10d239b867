//! Signs that a node must not go on with what it holds: a leader whose log
//! cannot be, unless this node, or those that elected the leader, lost something
//! that was durable. A disk can do that, or whoever starts a node on an older
//! copy of its data directory.

use super::peer::Lane;
use crate::{
    base::{
        ids::{LogId, NodeId},
        planted::planted,
    },
    io::Disk,
    log::{Log, Vote},
};

/// Why a node must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// It lost entries that it had acknowledged.
    #[error(
        "this node acknowledged entry {acknowledged} to leader {leader} and does not hold it: its \
         data directory is an older copy, or its disk lost what was durable"
    )]
    Reverted {
        /// The entry.
        acknowledged: LogId,
        /// To whom.
        leader: NodeId,
    },
    /// A leader has another entry in the place of a committed one.
    #[error(
        "entry {own} is committed here and leader {leader} has {theirs} in its place: the others \
         lost what was acknowledged and went on without it"
    )]
    Contradicted {
        /// The entry of this node.
        own: LogId,
        /// That of the leader.
        theirs: LogId,
        /// Who leads.
        leader: NodeId,
    },
}

/// A request of a leader to append, as far as it says what that leader holds.
pub(super) struct Statement<'a> {
    pub(super) lane: Lane,
    pub(super) vote: Vote,
    pub(super) previous: Option<LogId>,
    pub(super) committed: Option<LogId>,
    /// Invariant: in order, each once.
    pub(super) entries: &'a [LogId],
}

impl Statement<'_> {
    /// Why the node with this log, which has applied up to `applied`, must not go
    /// on, if so.
    pub(super) fn halt<D: Disk>(&self, log: &Log<D>, applied: u64) -> Option<Halt> {
        let is_ordered = self.entries.is_sorted_by(|one, next| one.index < next.index);
        assert!(is_ordered, "whoever takes in entries looks at their order first");
        if log.vote().is_some_and(|own| own.term > self.vote.term) {
            // It was replaced; its entries may have been, too.
            return None;
        }
        self.contradiction(log).or_else(|| self.reversion(log, applied))
    }

    /// Every leader has what was committed before it.
    fn contradiction<D: Disk>(&self, log: &Log<D>) -> Option<Halt> {
        let committed = log.committed()?;
        let is_committed = |id: &&LogId| id.index <= committed.index;
        let ids = self.previous.iter().chain(self.entries).take_while(is_committed);
        let named = self.committed.iter().filter(is_committed);
        ids.chain(named).find_map(|&theirs| {
            // Terms never decrease along a log, so much is known of purged entries too.
            let later = (theirs.term > committed.term).then_some(committed);
            let own = log.id(theirs.index).or(later).filter(|own| *own != theirs)?;
            Some(Halt::Contradicted { own, theirs, leader: self.vote.node })
        })
    }

    /// A heartbeat names the last entry that this node is known to hold.
    fn reversion<D: Disk>(&self, log: &Log<D>, applied: u64) -> Option<Halt> {
        if self.lane != Lane::Control || !self.entries.is_empty() || planted!(IgnoreReversion) {
            return None;
        }
        let acknowledged = self.previous.filter(|id| id.index > applied)?;
        let is_purged = log.purged().is_some_and(|purged| acknowledged.index <= purged.index);
        let holds = is_purged || log.id(acknowledged.index) == Some(acknowledged);
        (!holds).then_some(Halt::Reverted { acknowledged, leader: self.vote.node })
    }
}
