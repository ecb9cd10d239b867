//! Segments come and go: the next one is prepared ahead of need, purged ones
//! are removed.

use super::{
    Log,
    open::Spare,
    segment::{self, file_name, temporary_name},
    shared::Shared,
};
use crate::base::planted::planted;
use crate::io::{Disk, OpenMode};
use std::{io, rc::Rc};

/// Says that nobody prepares any more, however the preparation ends.
struct Preparing<D: Disk>(Rc<Shared<D>>);

impl<D: Disk> Drop for Preparing<D> {
    fn drop(&mut self) {
        self.0.get_mut().preparing = false;
        self.0.spare_used.notify_one();
        self.0.spare_ready.notify_one();
    }
}

/// Says that nobody removes segments any more.
struct Removing<D: Disk>(Rc<Shared<D>>);

impl<D: Disk> Drop for Removing<D> {
    fn drop(&mut self) {
        self.0.get_mut().removing = false;
    }
}

impl<D: Disk> Log<D> {
    /// Waits until a spare segment should be prepared; false once the log is
    /// closed or poisoned. When [`prepare`](Self::prepare) fails it is true at
    /// once, so the owner waits a moment between tries.
    pub async fn need_spare(&self) -> bool {
        loop {
            let used = self.shared.spare_used.notified();
            {
                let inner = self.shared.get();
                if inner.usable().is_err() {
                    // The next who asks must hear of it too.
                    self.shared.spare_used.notify_one();
                    return false;
                }
                if inner.lacks_spare() {
                    return true;
                }
            }
            used.await;
        }
    }

    /// Prepares the spare segment if there is none: zero-fills a file, syncs it
    /// and gives it its name. Group commits go on meanwhile.
    ///
    /// # Errors
    /// `StorageFull` when the disk has not the room, and whatever the disk
    /// says; the log goes on with the segments it has, and this may be tried
    /// again. Only a failed sync of the directory poisons the log.
    pub async fn prepare(&self) -> io::Result<()> {
        let shared = &self.shared;
        let sequence = {
            let mut inner = shared.get_mut();
            inner.usable()?;
            if !inner.lacks_spare() {
                return Ok(());
            }
            inner.preparing = true;
            inner.active.sequence + 1
        };
        let _preparing = Preparing(Rc::clone(shared));
        let bytes = shared.options.segment_bytes;
        let needed = bytes.saturating_add(shared.options.free_margin_bytes);
        if shared.disk.free_bytes().await? < needed {
            let message = format!("less than {needed} bytes are free");
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        // Writers must not come to wait for it.
        let hurry = || {
            let mut inner = shared.get_mut();
            inner.pieces += 1;
            let active = inner.active;
            active.offset > active.bytes / 2
        };
        segment::fill(&shared.disk, sequence, bytes, hurry).await?;
        let name = file_name(sequence);
        shared.disk.rename(&temporary_name(sequence), &name).await?;
        if !planted!(SkipSegmentDirectorySync) {
            self.sync_directory().await?;
        }
        let file = shared.disk.open(&name, OpenMode::WriteDurable).await?;
        shared.get_mut().spare = Some(Spare { file, sequence, bytes });
        shared.spare_ready.notify_one();
        Ok(())
    }

    /// Syncs the directory. A failure poisons: what was renamed or removed may
    /// come back, and asking again would not tell.
    async fn sync_directory(&self) -> io::Result<()> {
        let synced = self.shared.disk.sync_directory().await;
        if let Err(error) = &synced {
            self.shared.poison("syncing the data directory", error, Vec::new());
        }
        synced
    }

    /// Removes the segments that hold only purged entries, oldest first, each
    /// durably before the next, so that a crash never leaves a gap. One that cannot
    /// be removed stays, and those after it, until the next purge: it takes up room
    /// and does no harm.
    pub(super) async fn remove_purged(&self) -> io::Result<()> {
        {
            let mut inner = self.shared.get_mut();
            if inner.removing {
                return Ok(());
            }
            inner.removing = true;
        }
        let _removing = Removing(Rc::clone(&self.shared));
        loop {
            let oldest = {
                let inner = self.shared.get();
                let needed = inner.table.oldest_segment().unwrap_or(u64::MAX);
                let needed = needed.saturating_add(u64::from(planted!(PurgeOneSegmentTooMany)));
                if inner.oldest >= needed.min(inner.purge_segment) {
                    return Ok(());
                }
                assert!(inner.table.indexes_in(inner.oldest).is_none(), "only purged entries go");
                assert!(inner.oldest < inner.active.sequence, "what is written to stays");
                inner.oldest
            };
            match self.shared.disk.remove(&file_name(oldest)).await {
                Ok(()) => {}
                // A removal that failed before may have been done all the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let file = file_name(oldest);
                    tracing::warn!(file, %error, "a purged log segment is left for now");
                    return Ok(());
                }
            }
            self.sync_directory().await?;
            let mut inner = self.shared.get_mut();
            inner.oldest = oldest + 1;
            inner.sealed.retain(|sealed| sealed.sequence != oldest);
        }
    }
}
