//! What is sent to nobody entry by entry any more, but as the files of a snapshot.

use openraft::Raft;

use super::{state_machine::StateMachine, types::TypeConfig};
use crate::io::Disk;

/// With fewer segments that have an index all are sent entry by entry.
const SENT_BY_ENTRIES_MIN: usize = 4;

/// Has openraft send what is up to the entry at `upto` as files of a snapshot, and not entry by entry.
///
/// # Errors
/// Raft has stopped.
pub(super) async fn by_files_upto<D: Disk>(
    raft: &Raft<TypeConfig, StateMachine<D>>,
    upto: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    raft.trigger().snapshot().await?;
    let taken = |metrics: &openraft::RaftMetrics<TypeConfig>| {
        metrics.snapshot.is_some_and(|id| id.index >= upto)
    };
    raft.wait(None).metrics(taken, "the snapshot is known").await?;
    raft.trigger().purge_log(upto).await?;
    let purged = |metrics: &openraft::RaftMetrics<TypeConfig>| {
        metrics.purged.is_some_and(|id| id.index >= upto)
    };
    raft.wait(None).metrics(purged, "the log is purged").await?;
    Ok(())
}

/// Keeps nodes that lack more than half of what this one holds in segments with an index from being
/// sent that entry by entry: they get the files. Ends with Raft.
pub(super) async fn send_by_files<D: Disk>(
    raft: Raft<TypeConfig, StateMachine<D>>,
    machine: StateMachine<D>,
) {
    let mut sealed = machine.sealed();
    let mut done = 0;
    loop {
        let (ended, _) = machine.ended();
        let middle = ended.len().checked_sub(SENT_BY_ENTRIES_MIN).map(|_| ended.len() / 2 - 1);
        let middle = middle.and_then(|middle| ended.get(middle)).filter(|end| end.index > done);
        if let Some(end) = middle
            && !machine.is_superseded()
            && !machine.feeding().is_on()
        {
            if by_files_upto(&raft, end.index).await.is_err() {
                return;
            }
            done = end.index;
        }
        if sealed.changed().await.is_err() {
            return;
        }
    }
}
