//! Retention: history that is old enough is purged, segment by segment, behind a
//! checkpoint of what later history needs of it.
//!
//! ```text
//! checkpoint written · synced · renamed · directory synced
//!     · readers told · log purged, durably · segments and older checkpoints removed
//! ```
//!
//! A crash between any two steps leaves a checkpoint and the entries after it.

use std::{io, ops::RangeInclusive, rc::Rc, sync::Arc, time::Duration};

use super::Status;
use crate::{
    base::{
        planted::planted,
        timing::{RETENTION_PERIOD, RETENTION_RETRY},
    },
    checkpoint::{CheckpointFile, store},
    io::{Disk, cores},
    raft::{Compacted, Replica, compact, remove_indexes_before},
    state::{Damaged, Position},
};

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At least so many of the newest changes.
    pub min_changes: u64,
    /// Changes younger than this.
    pub min_age: Duration,
}

impl Retention {
    /// Whether changes up to `end` may be purged of a list that goes to `newest`,
    /// at `now` in microseconds.
    fn is_over(&self, end: Position, newest: Position, now: u64) -> bool {
        let age = u64::try_from(self.min_age.as_micros()).unwrap_or(u64::MAX);
        let enough = end.last.0.saturating_add(self.min_changes) <= newest.last.0;
        (enough || planted!(PurgeWithoutCount)) && end.last_at.0.saturating_add(age) <= now
    }
}

/// Ends a purge that was interrupted, and purges what may be from then on, for as long as the
/// node runs. `newest` is the checkpoint that it began from; without a policy nothing else is
/// purged.
pub async fn run<D: Disk>(
    replica: Rc<Replica<D>>,
    policy: Option<Retention>,
    segment_bytes: u64,
    newest: Option<CheckpointFile>,
    status: Arc<Status>,
) {
    if let Some(checkpoint) = &newest {
        if replica.finish_purge(checkpoint.log_id).await.is_err() {
            // Raft or the log has stopped, and says so itself.
            return;
        }
        let (files, oldest) = (replica.log().files(), replica.log().oldest_segment());
        let removed = cores::off_core(move || remove_indexes_before(&files, oldest)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "index files of purged segments are left for now");
        }
    }
    if let Some(policy) = policy {
        keep(replica, policy, segment_bytes, newest, status).await;
    }
}

/// Purges what may be, for as long as the node runs.
async fn keep<D: Disk>(
    replica: Rc<Replica<D>>,
    retention: Retention,
    segment_bytes: u64,
    mut newest: Option<CheckpointFile>,
    status: Arc<Status>,
) {
    loop {
        cores::sleep(RETENTION_PERIOD).await;
        let now = cores::wall_micros();
        let over = |end, newest| retention.is_over(end, newest, now);
        let Some(segments) = replica.purgeable(over) else { continue };
        let count = segments.end() - segments.start() + 1;
        let damaged = status.scrub.damaged_names();
        let is_rotten = |file: &CheckpointFile| damaged.contains(&file.name);
        // A checkpoint is written anew each time: it must be worth it, or the one before rotted.
        let is_large = |file: &CheckpointFile| file.bytes > count * segment_bytes;
        if newest.as_ref().is_some_and(|file| is_large(file) && !is_rotten(file)) {
            continue;
        }
        // A copy is no member, and calls none.
        let asking = status.copy().is_none() && replica.members().len() > 1;
        let making = replica.making_checkpoint();
        let fetched = match newest.as_ref().filter(|file| asking && is_rotten(file)) {
            Some(_) => Some(replica.fetch_checkpoint(*segments.end()).await),
            None => None,
        };
        let making = making.lock().await;
        let made = match fetched {
            Some(Ok(fetched)) => replica.install_checkpoint(fetched).await,
            Some(Err(error)) => Err(error),
            None => checkpointed(&replica, segments).await,
        };
        let outcome = match made {
            // Only what follows tells that these entries are committed.
            Ok(None) => Ok(false),
            Ok(Some(compacted)) => {
                tracing::info!(checkpoint = compacted.file.name, "history is purged");
                if replica.purge(&compacted).await.is_err() {
                    // Raft has stopped, and says so itself.
                    return;
                }
                let (files, file) = (replica.log().files(), compacted.file);
                newest = Some(file.clone());
                let oldest = replica.log().oldest_segment();
                let remove = move || {
                    store::remove_older(&files, &file)?;
                    remove_indexes_before(&files, oldest)
                };
                cores::off_core(remove).await.map(|()| true)
            }
            Err(error) => Err(error),
        };
        drop(making);
        match outcome {
            Ok(true) => {}
            Ok(false) => cores::sleep(RETENTION_RETRY).await,
            Err(error) => {
                tracing::warn!(%error, "history cannot be purged");
                replica.log().mind_directory(&error);
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Damaged>());
                if let Some(Damaged { file, offset, reason, .. }) = inner {
                    replica.log().tell_damaged(file, *offset, reason);
                }
                cores::sleep(RETENTION_RETRY).await;
            }
        }
    }
}

/// Writes the checkpoint that stands for `segments`, beside everything else.
async fn checkpointed<D: Disk>(
    replica: &Replica<D>,
    segments: RangeInclusive<u64>,
) -> io::Result<Option<Compacted>> {
    let (files, cluster) = (replica.log().files(), replica.log().identity().cluster);
    let purged = replica.checkpoint_id();
    cores::in_background("checkpoint", move || compact(&files, cluster, segments, purged)).await?
}
