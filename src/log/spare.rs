//! The next segment is prepared ahead of need.

use super::{
    Log,
    open::Spare,
    purged::sync_directory,
    segment::{self, Pace, file_name, temporary_name},
    state::{ActivePlace, Inner, LogState},
};
use crate::base::planted::planted;
use crate::io::{Disk, OpenMode};
use std::{io, rc::Rc};

/// What part of a segment its successor is prepared further than it is filled itself.
const AHEAD: u64 = 8;

/// Says that nobody prepares any more, however the preparation ends.
struct Preparing<D: Disk>(Rc<LogState<D>>);

impl<D: Disk> Drop for Preparing<D> {
    fn drop(&mut self) {
        self.0.get_mut().preparing = false;
        self.0.spare_used.notify_one();
        self.0.spare_ready.notify_one();
    }
}

impl<D: Disk> Inner<D> {
    /// How the spare is gone on with that has so many bytes. Writers must not come to wait for it: it stays
    /// ahead of them by a part of a segment, at whatever rate they fill theirs.
    fn pace(&self, filled: u64) -> Pace {
        let ActivePlace { bytes, offset, .. } = self.active;
        if self.poison.is_some() || (self.closing && !self.queue.is_urgent()) {
            Pace::GiveUp
        } else if filled < offset + bytes / AHEAD || self.awaits_spare || self.room_wanted > 0 {
            Pace::Hurry
        } else {
            Pace::Leave
        }
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

    /// Has the segment that is written to completed once there is a spare one, although it has
    /// room; unless nothing is in it. To be asked again until it has come about.
    pub fn complete_active(&self) {
        self.shared.get_mut().complete_wanted = true;
        self.shared.work.notify_one();
    }

    /// The [`headroom`](Self::headroom), where there is no spare segment and none could be made.
    #[must_use]
    pub fn scarce_room(&self) -> Option<u64> {
        let is_scarce = {
            let inner = self.shared.get();
            inner.spare.is_none() && inner.cannot_prepare
        };
        is_scarce.then(|| self.headroom())
    }

    /// Prepares the spare segment if there is none: zero-fills a file, syncs it
    /// and gives it its name. Group commits go on meanwhile. Given up when the log is closed and
    /// nothing waits for it.
    ///
    /// # Errors
    /// `StorageFull` when the disk has not the room, and whatever the disk
    /// says; the log goes on with the segments it has, and this may be tried
    /// again. Only a failed sync of the directory poisons the log.
    pub async fn prepare(&self) -> io::Result<()> {
        let prepared = self.make_spare().await;
        self.shared.get_mut().cannot_prepare = prepared.is_err();
        prepared
    }

    async fn make_spare(&self) -> io::Result<()> {
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
        let pace = |filled: u64| {
            let mut inner = shared.get_mut();
            inner.pieces += 1;
            inner.pace(filled)
        };
        if !segment::fill(&shared.disk, sequence, bytes, pace).await? {
            return Ok(());
        }
        let name = file_name(sequence);
        shared.disk.rename(&temporary_name(sequence), &name).await?;
        if !planted!(SkipSegmentDirectorySync)
            && let Err(error) = sync_directory(shared).await
        {
            // A later sync may succeed and make nothing of the name durable, so the next start is
            // not to find it.
            let _ = shared.disk.remove(&name).await;
            return Err(error);
        }
        let file = shared.disk.open(&name, OpenMode::WriteDurable).await?;
        shared.get_mut().spare = Some(Spare { file, sequence, bytes });
        shared.spare_ready.notify_one();
        Ok(())
    }
}
