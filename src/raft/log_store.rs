//! openraft's log storage on our log: conversions, and nothing that decides.
//!
//! What openraft purges is what it sends to nobody entry by entry any more, but as the files of a
//! snapshot. The log itself gives up nothing by that: [`Replica::purge`](super::Replica::purge) does.

use std::{cell::Cell, fmt::Debug, io, ops::Bound, ops::RangeBounds, rc::Rc};

use openraft::{
    RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tokio::sync::watch;

use super::types::{
    Entry, RaftLogId, RaftVote, TypeConfig, checked_before, from_log, from_raft_id, from_raft_vote,
    to_log, to_raft_id, to_raft_vote,
};
use crate::{
    base::{ids::LogId, timing::DAMAGED_RETRY},
    io::{Disk, cores},
    log::Log,
};

/// One read of the log for replication stops at about this many bytes.
const READ_BYTES: usize = 1 << 20;

/// The log as openraft uses it. Clones share the log.
pub struct LogStore<D: Disk> {
    log: Log<D>,
    /// The last entry that was there before this process: what comes after was
    /// checked when it was taken in, and is not once more when it is read.
    found: Option<u64>,
    /// The last entry that openraft purged in this process.
    purged: Rc<Cell<Option<LogId>>>,
    /// A snapshot from another node is to take the place of the log.
    superseded: watch::Receiver<bool>,
}

impl<D: Disk> Clone for LogStore<D> {
    fn clone(&self) -> Self {
        let (purged, superseded) = (Rc::clone(&self.purged), self.superseded.clone());
        Self { log: self.log.clone(), found: self.found, purged, superseded }
    }
}

impl<D: Disk> LogStore<D> {
    /// The store of a log that was just opened, until it is `superseded`.
    pub fn new(log: Log<D>, superseded: watch::Receiver<bool>) -> Self {
        let found = log.last().map(|id| id.index);
        Self { log, found, purged: Rc::default(), superseded }
    }

    /// The last entry that is purged as openraft sees it.
    fn purged(&self) -> Option<LogId> {
        self.log.purged().max(self.purged.get())
    }

    fn is_superseded(&self) -> bool {
        *self.superseded.borrow()
    }

    /// The log itself.
    pub fn log(&self) -> &Log<D> {
        &self.log
    }

    /// The entries from `from` on, unless some of them are purged.
    async fn read(&self, from: u64, to: u64, bytes: usize) -> io::Result<Option<Vec<Entry>>> {
        if from < self.log.first_index() {
            return Ok(None);
        }
        match self.log.read(from, to, bytes).await {
            Ok(entries) => {
                let entries = entries.iter().map(|entry| match self.found {
                    Some(found) if entry.id.index <= found => from_log(entry),
                    _ => checked_before(entry),
                });
                entries.collect::<io::Result<_>>().map(Some)
            }
            // Their segment was removed while they were read.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && from < self.log.first_index() =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether entries are not on the disk as they were written.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

impl<D: Disk> RaftLogReader<TypeConfig> for LogStore<D> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&index) => index + 1,
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        loop {
            // openraft asks from 0 and means what there is.
            let purged = self.purged().map_or(0, |id| id.index + 1);
            let from = from.max(self.log.first_index()).max(purged);
            if let Some(entries) = self.read(from, to, usize::MAX).await? {
                return Ok(entries);
            }
        }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        // None is what openraft waits a moment after; later ones it would send in
        // their place.
        match self.read(start, end, READ_BYTES).await {
            // Whoever needs them waits until they can be read again, or another node leads: no
            // reason for this one to give up its other followers. The log has told of it.
            Err(error) if is_damage(&error) => {
                cores::sleep(DAMAGED_RETRY).await;
                Ok(Vec::new())
            }
            read => Ok(read?.unwrap_or_default()),
        }
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.log.vote().map(to_raft_vote))
    }
}

impl<D: Disk> RaftLogStorage<TypeConfig> for LogStore<D> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(LogState {
            last_purged_log_id: self.purged().map(to_raft_id),
            last_log_id: self.log.last().max(self.purged()).map(to_raft_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.log.save_vote(from_raft_vote(vote)).await
    }

    /// Only noted: the mark travels with the next group. Until then a restart
    /// knows an older mark, and the entries above it as not yet committed;
    /// they are committed again before anything is read.
    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.log.set_committed(from_raft_id(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        // What is purged is in a snapshot and not to be applied again.
        let purged = self.log.purged();
        Ok(self.log.committed().filter(|&id| Some(id) > purged).map(to_raft_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry>,
    {
        if self.is_superseded() {
            // They would be gone with this log: nobody is told that they are there.
            return Ok(());
        }
        let entries = entries.into_iter().map(to_log).collect::<io::Result<Vec<_>>>()?;
        self.log.append(entries, |result| callback.io_completed(result))?;
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        if self.is_superseded() {
            return Ok(());
        }
        self.log.truncate_after(last.as_ref().map(from_raft_id)).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        self.purged.set(self.purged.get().max(Some(from_raft_id(&upto))));
        Ok(())
    }
}
