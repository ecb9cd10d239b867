//! Committed entries folded into the state, one after the other: the one way from
//! entries to what they amount to, for a node at work, at its start, and for a
//! checkpoint.

use openraft::{EntryPayload, entry::RaftEntry};

use super::types::{Entry, RaftLogId, StoredMembership, highest_member};
use crate::{
    base::{batch::NumberedBatch, ids::NodeId, outcome::Decision},
    state::{Position, Removed, State},
};

/// What the entries up to one of them amount to.
#[derive(Default)]
pub(super) struct Fold {
    state: State,
    /// The last entry. Invariant: its index and its term never go back.
    applied: Option<RaftLogId>,
    membership: StoredMembership,
    /// The highest number that a member ever had. Invariant: no member has a higher one.
    highest: NodeId,
    /// A command was ever applied.
    is_written: bool,
}

/// What one entry came to.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// Its batch with the ids that it got, where it is one.
    pub(super) batch: Option<NumberedBatch>,
    /// How each command of it was decided; `None` when all are appends and all were
    /// accepted.
    pub(super) decisions: Option<Vec<Decision>>,
    /// What was taken out of the state and may take long to free.
    pub(super) removed: Vec<Removed>,
    /// It says who the members are.
    pub(super) is_membership: bool,
}

impl Fold {
    /// What a checkpoint says that the entries up to `applied` amount to.
    pub(super) fn from_checkpoint(
        state: State,
        applied: RaftLogId,
        membership: StoredMembership,
        highest: NodeId,
    ) -> Self {
        assert!(highest_member(&membership) <= highest, "no member has a number above the highest");
        Self { state, applied: Some(applied), membership, highest, is_written: true }
    }

    /// Takes in the next committed entry.
    pub(super) fn entry(&mut self, entry: Entry) -> Folded {
        let id = entry.log_id();
        if let Some(applied) = &self.applied {
            assert!(
                id.index > applied.index,
                "entry {} is applied after {}",
                id.index,
                applied.index
            );
            assert!(
                id.leader_id >= applied.leader_id,
                "the term of entry {} is below that of the one before",
                id.index
            );
        }
        self.applied = Some(id);
        match entry.payload {
            EntryPayload::Blank => Folded::default(),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                self.highest = self.highest.max(highest_member(&self.membership));
                Folded { is_membership: true, ..Folded::default() }
            }
            EntryPayload::Normal(command) => {
                self.is_written = true;
                let applied = self.state.apply(command.0);
                Folded {
                    batch: Some(applied.batch),
                    decisions: applied.decisions,
                    removed: applied.removed,
                    is_membership: false,
                }
            }
        }
    }

    /// Takes over that a snapshot stands for the entries up to `applied`: the state
    /// is that already.
    pub(super) fn covered(&mut self, applied: Option<RaftLogId>, membership: StoredMembership) {
        self.highest = self.highest.max(highest_member(&membership));
        self.applied = applied;
        self.membership = membership;
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// How far the list goes.
    pub(super) fn position(&self) -> Position {
        self.state.position()
    }

    /// The last entry.
    pub(super) fn applied(&self) -> Option<RaftLogId> {
        self.applied
    }

    pub(super) fn membership(&self) -> &StoredMembership {
        &self.membership
    }

    /// The highest number that a member ever had.
    pub(super) fn highest(&self) -> NodeId {
        self.highest
    }

    /// Whether a command was ever applied.
    pub(super) fn is_written(&self) -> bool {
        self.is_written
    }
}
