//! What must be applied before something is read, and when it is.

use std::{io, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use openraft::{RaftMetrics, ReadPolicy};

use super::{
    checkpoint_parts, erasure, parts,
    replica::{Replica, StartError},
    types::{TypeConfig, from_raft_id},
};
use crate::{
    base::{
        ids::{ChangeId, LogId},
        limits::LOG_PIECE_BYTES,
        planted::planted,
        tenants::Tenants,
    },
    io::{Disk, cores, map::Mapping},
    log::Entry,
    state::Position,
};

/// A piece of the log, for whoever keeps a copy of it.
#[derive(Debug)]
pub struct LogPiece {
    /// Entries that follow one another, from the one asked for on.
    pub entries: Vec<Entry>,
    /// The last entry that the node has applied.
    pub applied: LogId,
    /// How far the list goes with that.
    pub position: Position,
}

/// Why there is no such piece.
#[derive(Debug, thiserror::Error)]
pub enum LogPieceError {
    /// The entries up to this one are not held any more.
    #[error("the log is purged up to entry {0}")]
    Purged(LogId),
    /// The node has applied entries up to this index only.
    #[error("this node has applied entries up to {0} only")]
    Behind(u64),
    /// Something is to be erased of it first.
    #[error("what was redacted is about to be erased of the checkpoint")]
    Erasing,
    /// Others are given parts of the checkpoint.
    #[error("as many parts of the checkpoint are made and given just now as may be at once")]
    Making,
    /// The disk did not give it, or gave what was not written.
    #[error("the log cannot be read: {0}")]
    Disk(io::Error),
}

impl<D: Disk> Replica<D> {
    /// Waits until this node has applied everything that it may have shown
    /// before it was started: from then on it serves nothing older than that. A
    /// node without a log waits for what was committed when it was taken in.
    ///
    /// # Errors
    /// When Raft stops.
    pub async fn recovered(&self) -> Result<(), StartError> {
        let ended = |_| StartError("consensus ended".to_owned());
        let wait = self.raft.wait(None);
        let knows = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.cluster_committed.is_some() && metrics.current_leader.is_some()
        };
        let metrics = wait
            .metrics(knows, "a leader is known")
            .await
            .map_err(|error| StartError(error.to_string()))?;
        let committed = metrics.cluster_committed.as_ref().map(from_raft_id);
        // What is behind it was never shown here, since only what is durable is.
        let target = self.last_at_start.or(committed).unwrap_or_default();
        let mut progress = self.machine.progress();
        // An entry of a later term decides what remains of the earlier ones.
        let reached = |applied: &Option<LogId>| {
            applied.is_some_and(|id| id.index >= target.index || id.term > target.term)
        };
        progress.wait_for(reached).await.map(drop).map_err(ended)
    }

    /// The entry that must be applied for a read to see all that is
    /// acknowledged; nothing when this node does not lead, or no quorum says so.
    pub async fn read_index(&self) -> Option<u64> {
        if !self.may_lead() {
            return None;
        }
        if planted!(BelieveDeposedLeader) {
            return Some(self.last_applied());
        }
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        Some(linearizer.read_log_id().index())
    }

    /// Waits until this node has applied everything that was committed before it
    /// became the leader, and says in which term that was; nothing when it does not
    /// lead, or no quorum says so.
    pub async fn leader_barrier(&self) -> Option<u64> {
        let linearizer = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        let log_id = from_raft_id(linearizer.read_log_id().log_id());
        let term = linearizer.read_log_id().committed_leader_id().term;
        self.applied(log_id.index).await;
        Some(term)
    }

    /// Waits until the entry at `index` is applied here.
    pub async fn applied(&self, index: u64) {
        let mut progress = self.machine.progress();
        let reached = |applied: &Option<LogId>| applied.is_some_and(|id| id.index >= index);
        if progress.wait_for(reached).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The same within `limit`; whether it is. A node that is removed gives up.
    pub async fn applies(&self, index: u64, limit: Duration) -> bool {
        if self.last_applied() >= index {
            return true;
        }
        let (applied, removed) = (pin!(self.applied(index)), pin!(self.was_removed()));
        matches!(cores::within(limit, select(applied, removed)).await, Some(Either::Left(_)))
    }

    /// The entries from index `from` up to `to` that this node has applied: at least one if there
    /// is one, then as many as a piece holds. With `tenants`, the parts of them that concern these.
    ///
    /// # Errors
    /// [`LogPieceError`]
    pub async fn log_piece(
        &self,
        from: u64,
        to: u64,
        tenants: Option<&Tenants>,
    ) -> Result<LogPiece, LogPieceError> {
        let (applied, position) = self.machine.applied();
        // A log without any has none to give.
        let applied = applied.ok_or(LogPieceError::Behind(0))?;
        // What it counts as applied then is that of a snapshot from which it begins anew.
        if self.machine.is_superseded() && !planted!(GiveOfSnapshot) {
            return Err(LogPieceError::Behind(self.log.last().map_or(0, |last| last.index)));
        }
        if from > applied.index + 1 {
            return Err(LogPieceError::Behind(applied.index));
        }
        let end = applied.index.min(to) + 1;
        let waiting = self.machine.index().redactions.waiting();
        let read = match self.log.read(from, end, LOG_PIECE_BYTES).await {
            Ok(mut entries) => self.erase(&mut entries, &waiting).await.map(|()| entries),
            Err(error) => Err(error),
        };
        let read = match (read, tenants) {
            (Ok(entries), Some(tenants)) => parts::take(&self.machine, entries, tenants).await,
            (read, _) => read,
        };
        // They may have been purged meanwhile, or are about to be: then nobody knows any more what of them
        // was refused or redacted.
        if let Some(purged) = self.machine.purged().filter(|purged| from <= purged.index) {
            return Err(LogPieceError::Purged(purged));
        }
        let entries = read.map_err(LogPieceError::Disk)?;
        let follow = (from..).zip(&entries).all(|(index, entry)| entry.id.index == index);
        assert!(follow && (from >= end || !entries.is_empty()), "what is applied is in the log");
        Ok(LogPiece { entries, applied, position })
    }

    /// Takes what is redacted out of entries: copies are made without it, also before it is erased
    /// here.
    async fn erase(&self, entries: &mut [Entry], waiting: &[ChangeId]) -> io::Result<()> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let first = first.id.index;
        let erasures = erasure::of_entries(&self.machine, first..=last.id.index, waiting).await?;
        for (index, erasure) in erasures.into_iter().filter(|_| !planted!(CopyRedacted)) {
            let entry = index.checked_sub(first).and_then(|n| entries.get_mut(n as usize));
            if let Some(entry) = entry
                && let Some(payload) = erasure.of(&entry.payload)
            {
                entry.payload = payload;
            }
        }
        Ok(())
    }

    /// The checkpoint that stands for purged entries: the last of them, and its file.
    ///
    /// # Errors
    /// It holds what was redacted, and is about to be written anew.
    pub fn purged_checkpoint(&self) -> Result<Option<(LogId, Arc<Mapping>)>, LogPieceError> {
        match self.machine.awaits_erasure_of_checkpoint() {
            true => Err(LogPieceError::Erasing),
            false => Ok(self.machine.checkpoint()),
        }
    }

    /// What that checkpoint has of these tenants, as a checkpoint of the same entry.
    ///
    /// # Errors
    /// As of the whole, [`LogPieceError::Making`] while too many others are made or given, and
    /// [`LogPieceError::Disk`].
    pub async fn part_of_purged_checkpoint(
        &self,
        tenants: &Tenants,
    ) -> Result<Option<(LogId, Arc<Mapping>)>, LogPieceError> {
        let Some((last, whole)) = self.purged_checkpoint()? else { return Ok(None) };
        let part = checkpoint_parts::part(&self.parts, self.log.files(), whole, tenants).await;
        let part = part.ok_or(LogPieceError::Making)?.map_err(LogPieceError::Disk)?;
        Ok(Some((last, part)))
    }
}
