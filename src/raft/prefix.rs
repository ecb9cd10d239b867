//! Committed entries read in order, without a node that serves them: what the list comes to, and
//! who the members are.

use std::io;

use super::{
    fold::Fold,
    types::{
        Address, from_log, from_raft_id, kind, membership_from_json, only_member, to_log,
        to_raft_id,
    },
};
use crate::{
    base::{
        batch::{Batch, NumberedBatch},
        ids::{LogId, NodeId},
    },
    checkpoint::{Checkpoint, Head},
    log,
    state::Position,
};

/// Entries of which it is kept which lists their changes belong to.
const ENTRIES_AT_ONCE: u64 = 4096;

/// What the entries of a log up to one of them amount to.
#[derive(Default)]
pub struct Prefix {
    fold: Fold,
}

impl Prefix {
    /// Begins with what a checkpoint stands for.
    ///
    /// # Errors
    /// When it does not say who the members are.
    pub fn from_checkpoint(checkpoint: Checkpoint) -> io::Result<Self> {
        let Checkpoint { head, state, .. } = checkpoint;
        let (membership, highest) = membership_from_json(&head.raft)?;
        let fold = Fold::from_checkpoint(state, to_raft_id(head.log_id()), membership, highest);
        Ok(Self { fold })
    }

    /// Takes in the next entry; gives its batch with the ids that it got, where it is one.
    ///
    /// # Errors
    /// When it cannot be read by this program.
    pub fn entry(&mut self, entry: &log::Entry) -> io::Result<Option<NumberedBatch>> {
        // What nobody is to look up is forgotten as if segments ended.
        let piece = 1 + entry.id.index / ENTRIES_AT_ONCE;
        let batch = self.fold.entry(from_log(entry)?, piece).batch;
        self.fold.forget_ended(piece);
        Ok(batch)
    }

    /// How far the list goes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.fold.position()
    }

    /// The last entry.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.fold.applied().as_ref().map(from_raft_id)
    }

    /// The highest number that a member ever had.
    #[must_use]
    pub fn highest(&self) -> NodeId {
        self.fold.highest()
    }
}

/// The highest number of a member by an entry; 0 when it does not say who the members are.
///
/// # Errors
/// When it cannot be read.
pub fn highest_in(entry: &log::Entry) -> io::Result<NodeId> {
    if entry.kind != kind::MEMBERSHIP {
        return Ok(0);
    }
    let mut fold = Fold::default();
    fold.entry(from_log(entry)?, 1);
    Ok(fold.highest())
}

/// The highest number that a member ever had by a checkpoint.
///
/// # Errors
/// When it does not say.
pub fn highest_of(head: &Head) -> io::Result<NodeId> {
    membership_from_json(&head.raft).map(|(_, highest)| highest)
}

/// The entry `id`, by which nobody but `node` is a member. Where it is reached is for it to say
/// when it is started.
///
/// # Errors
/// When that cannot be written down.
pub fn alone(node: NodeId, id: LogId) -> io::Result<log::Entry> {
    to_log(only_member(node, Address::default(), to_raft_id(id))?)
}

/// The same entry with a part of its batch.
#[must_use]
pub fn with_batch(entry: &log::Entry, batch: &Batch) -> log::Entry {
    log::Entry { payload: batch.bytes().clone(), ..entry.clone() }
}
