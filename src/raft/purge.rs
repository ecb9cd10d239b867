//! History that is given up: readers are told first, then the log.

use std::{ops::RangeInclusive, rc::Rc, sync::Arc};

use tokio::sync::Mutex;

use super::{
    compact::Compacted,
    replica::{Replica, StartError},
    types::TypeConfig,
};
use crate::{
    base::ids::LogId,
    io::{Disk, cores},
    state::Position,
};

impl<D: Disk> Replica<D> {
    /// The sealed segments that may be purged once `is_old` says so of how far the
    /// list goes in them; it is told how far that goes now, too. Those before
    /// belong to it. Nothing when there is none.
    #[must_use]
    pub fn purgeable(
        &self,
        is_old: impl Fn(Position, Position) -> bool,
    ) -> Option<RangeInclusive<u64>> {
        // A node that was contradicted holds what nobody else has.
        if self.halt.borrow().is_some() {
            return None;
        }
        let (ended, now) = self.machine.ended();
        let first = ended.first()?.sequence;
        let old = ended.iter().take_while(|end| is_old(end.position, now));
        old.last().map(|end| first..=end.sequence)
    }

    /// To be held by whoever makes a checkpoint, until the log is purged up to it.
    #[must_use]
    pub fn making_checkpoint(&self) -> Rc<Mutex<()>> {
        Rc::clone(self.machine.making_checkpoint())
    }

    /// Purges what a checkpoint stands for: readers are told, then the log gives
    /// its segments up. Returns when that is durable.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn purge(&self, compacted: &Compacted) -> Result<(), StartError> {
        self.machine.purge(compacted);
        let upto = compacted.log_id.index;
        self.purge_log(upto).await?;
        let (index, first) = (self.machine.index(), compacted.position.last.next());
        let held = Arc::clone(&compacted.checkpointed);
        let trim = move || index.trim(first, |id| held.range(id).is_some());
        let trimmed = cores::on_own_thread("trim", trim).await;
        // It is only memory.
        if let Err(error) = trimmed {
            tracing::warn!(%error, "the index keeps what was purged for now");
        }
        Ok(())
    }

    /// Has the log purged up to the newest checkpoint, and removes purged segments, where that was
    /// interrupted.
    ///
    /// # Errors
    /// When Raft has stopped, or the log has.
    pub async fn finish_purge(&self, checkpoint: LogId) -> Result<(), StartError> {
        match self.log.purged() {
            Some(purged) if purged >= checkpoint => {
                let removed = self.log.remove_purged().await;
                removed.map_err(|error| StartError(error.to_string()))
            }
            _ => self.purge_log(checkpoint.index).await,
        }
    }

    async fn purge_log(&self, upto: u64) -> Result<(), StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError(error.to_string());
        self.raft.trigger().snapshot().await.map_err(|error| failed(&error))?;
        let taken = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            metrics.snapshot.is_some_and(|id| id.index >= upto)
        };
        let wait = self.raft.wait(None);
        wait.metrics(taken, "the checkpoint is known").await.map_err(|error| failed(&error))?;
        self.raft.trigger().purge_log(upto).await.map_err(|error| failed(&error))?;
        let purged = |metrics: &openraft::RaftMetrics<TypeConfig>| {
            metrics.purged.is_some_and(|id| id.index >= upto)
        };
        let wait = self.raft.wait(None);
        wait.metrics(purged, "the log is purged").await.map_err(|error| failed(&error))?;
        Ok(())
    }
}
