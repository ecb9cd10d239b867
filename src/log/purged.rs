//! Purged segments are removed.

use std::{io, rc::Rc};

use super::{segment::file_name, state::LogState};
use crate::{base::planted::planted, io::Disk};

/// Says that nobody removes segments any more.
pub(super) struct Removing<D: Disk>(pub(super) Rc<LogState<D>>);

impl<D: Disk> Drop for Removing<D> {
    fn drop(&mut self) {
        self.0.get_mut().removing = false;
    }
}

/// Removes the segments that hold only purged entries, oldest first, each
/// durably before the next, so that a crash never leaves a gap. One that cannot
/// be removed stays, and those after it, until the next purge: it takes up room
/// and does no harm.
pub(super) async fn remove_purged<D: Disk>(shared: &Rc<LogState<D>>) -> io::Result<()> {
    {
        let mut inner = shared.get_mut();
        if inner.removing {
            return Ok(());
        }
        inner.removing = true;
    }
    let _removing = Removing(Rc::clone(shared));
    loop {
        let oldest = {
            let inner = shared.get();
            let needed = inner.table.oldest_segment().unwrap_or(u64::MAX);
            let needed = needed.saturating_add(u64::from(planted!(PurgeOneSegmentTooMany)));
            if inner.oldest >= needed.min(inner.purge_segment) {
                return Ok(());
            }
            assert!(inner.table.indexes_in(inner.oldest).is_none(), "only purged entries go");
            assert!(inner.oldest < inner.active.sequence, "what is written to stays");
            inner.oldest
        };
        match shared.disk.remove(&file_name(oldest)).await {
            Ok(()) => {}
            // A removal that failed before may have been done all the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let file = file_name(oldest);
                tracing::warn!(file, %error, "a purged log segment is left for now");
                return Ok(());
            }
        }
        sync_directory(shared).await?;
        let mut inner = shared.get_mut();
        inner.oldest = oldest + 1;
        inner.sealed.retain(|sealed| sealed.sequence != oldest);
    }
}

/// Syncs the directory. A failure poisons: what was renamed or removed may come
/// back, and asking again would not tell.
pub(super) async fn sync_directory<D: Disk>(shared: &LogState<D>) -> io::Result<()> {
    let synced = shared.disk.sync_directory().await;
    if let Err(error) = &synced {
        shared.poison("syncing the data directory", error, Vec::new());
    }
    synced
}
