//! What of the log is durable, and where that lies.

use super::{Log, Place, index::Run, purged::remove_purged};
use crate::base::ids::LogId;
use crate::io::{Disk, is_directory_failed};
use std::io;

impl<D: Disk> Log<D> {
    /// The index after the last durable entry: everything below it that is
    /// still in the log survives a crash.
    #[must_use]
    pub fn durable_next(&self) -> u64 {
        self.shared.get().table.next()
    }

    /// Waits until the entry at `index` is durable, if there is one.
    ///
    /// # Errors
    /// When the log is closed or a write failed before.
    pub async fn durable(&self, index: u64) -> io::Result<()> {
        loop {
            let written = self.shared.written.notified();
            {
                let inner = self.shared.get();
                if inner.id(index).is_none() || inner.durable_id(index).is_some() {
                    return Ok(());
                }
                inner.usable()?;
            }
            written.await;
        }
    }

    /// Resolves when a restart is sure to find the entry at `index` committed.
    ///
    /// # Errors
    /// When the log failed or closed before.
    pub async fn durably_committed(&self, index: u64) -> io::Result<()> {
        loop {
            let written = self.shared.written.notified();
            {
                let inner = self.shared.get();
                if inner.durable.committed.is_some_and(|committed| committed.index >= index) {
                    return Ok(());
                }
                inner.usable()?;
            }
            written.await;
        }
    }

    /// Stops acknowledging for good when `error`, of work beside the log, says that the directory
    /// could not be synced: a segment's name may be lost with that.
    pub fn mind_directory(&self, error: &io::Error) {
        if is_directory_failed(error) {
            self.shared.poison("syncing the data directory", error, Vec::new());
        }
    }

    /// The segment that a durable entry lies in.
    #[must_use]
    pub fn segment(&self, index: u64) -> Option<u64> {
        let inner = self.shared.get();
        inner.durable_id(index)?;
        inner.table.segment(index)
    }

    /// Where the payload of a durable entry lies. One whose segment has an index is looked up there,
    /// which may wait for the disk.
    #[must_use]
    pub fn place(&self, index: u64) -> Option<Place> {
        let inner = self.shared.get();
        inner.durable_id(index)?;
        inner.table.place(index)
    }

    /// Removes the segments that an earlier purge, which was interrupted, has left; those that cannot
    /// be removed go with the next purge.
    ///
    /// # Errors
    /// When a sync of the directory failed.
    pub async fn remove_purged(&self) -> io::Result<()> {
        remove_purged(&self.shared).await
    }

    /// Whether that entry is no part of the log any more, and durably so: it was purged, or removed.
    #[must_use]
    pub fn is_given_up(&self, id: LogId) -> bool {
        let inner = self.shared.get();
        let is_purged = inner.durable.purged.is_some_and(|purged| id.index <= purged.index);
        let is_removed = || inner.table.id(id.index) != Some(id);
        is_purged || (inner.id(id.index) != Some(id) && is_removed())
    }

    /// The first and the last entry of the log that a segment holds now.
    #[must_use]
    pub fn entries_in(&self, segment: u64) -> Option<(u64, u64)> {
        self.shared.get().table.indexes_in(segment)
    }

    /// Takes the places of a segment's entries from its index from now on.
    pub fn adopt(&self, run: &Run) {
        self.shared.get_mut().table.adopt(run);
    }
}
