//! What the log needs besides writes: a spare segment, and its marks when it is idle.

use std::{io, rc::Rc, sync::Arc};

use tokio::sync::Notify;

use crate::{
    base::timing::{MARKS_IDLE, ROOM_LOOK, SPARE_RETRY},
    io::{Disk, cores},
    log::Log,
    node::{Status, status::NextSegment},
    raft::Replica,
};

/// Keeps a spare segment ready, trying again for as long as it cannot be made.
pub(super) async fn keep_spare<D: Disk>(log: Log<D>, room: Rc<Notify>, status: Arc<Status>) {
    // Why there is none, once that was said.
    let mut said = None;
    while log.need_spare().await {
        let prepared = log.prepare().await;
        if log.poison().is_some() {
            status.set_failed();
            room.notify_one();
            return;
        }
        let next = match &prepared {
            Ok(()) => NextSegment::Ready,
            Err(error) if is_full(error) => NextSegment::NoRoom,
            Err(_) => NextSegment::Failed,
        };
        status.set_next_segment(next);
        room.notify_one();
        match prepared {
            Ok(()) if said.take().is_some() => {
                tracing::info!("there is a spare log segment again");
            }
            Ok(()) => {}
            Err(error) => {
                if said.replace(error.kind()) != Some(error.kind()) {
                    tracing::warn!(%error, "no spare log segment: writes are refused once this one is full");
                }
                cores::sleep(SPARE_RETRY).await;
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes the log's marks once it has been idle.
pub(super) async fn keep_marks<D: Disk>(log: Log<D>) {
    let mut before = None;
    loop {
        cores::sleep(MARKS_IDLE).await;
        let last = log.last();
        if last == before && log.flush_marks().await.is_err() {
            return;
        }
        before = last;
    }
}

/// Resolves when something waits to be written and the disk has no room for it.
pub(super) async fn log_waits_for_room<D: Disk>(replica: &Replica<D>, status: &Status) {
    while !(status.segment_problem().is_some() && replica.log().progress().is_waited_for) {
        cores::sleep(ROOM_LOOK).await;
    }
}
