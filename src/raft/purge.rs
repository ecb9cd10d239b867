//! History that is given up: readers are told first, then the log.

use std::{ops::RangeInclusive, rc::Rc, sync::Arc};

use tokio::sync::Mutex;

use super::{
    by_files::by_files_upto,
    compact::Compacted,
    replica::{Replica, StartError},
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
        if self.halt.borrow().is_some() || self.machine.feeding().is_on() {
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

    /// The last entry that the checkpoint stands for.
    #[must_use]
    pub fn checkpoint_id(&self) -> Option<LogId> {
        self.machine.checkpoint_id()
    }

    /// Purges what a checkpoint stands for: readers are told, then the log gives
    /// its segments up. Returns when that is durable.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn purge(&self, compacted: &Compacted) -> Result<(), StartError> {
        self.machine.purge(compacted);
        self.purge_log(compacted.log_id).await?;
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
            _ => self.purge_log(checkpoint).await,
        }
    }

    async fn purge_log(&self, upto: LogId) -> Result<(), StartError> {
        let stopped = |error: &dyn std::fmt::Display| StartError(error.to_string());
        by_files_upto(&self.raft, upto.index).await.map_err(|error| stopped(&error))?;
        self.log.purge(upto).await.map_err(|error| stopped(&error))
    }
}
