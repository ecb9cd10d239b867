//! What becomes of a read that comes to stored changes that cannot be read.

use std::sync::Arc;

use crate::{
    api::{
        context::Context,
        error::{ApiError, Code},
    },
    base::{ids::ChangeId, limits::DAMAGE_AHEAD_BYTES},
    io::cores,
    state::{Damaged, Located, SealedSegment},
};

/// Tells of it wherever damage is told, and gives what is answered: which changes cannot be read.
pub(super) async fn refusal(api: &Context, damaged: &Damaged) -> ApiError {
    api.node.tell_damaged(damaged);
    // Of a batch the first changes may be purged; those of a checkpoint all are.
    let oldest = api.bounds().0;
    let first = if oldest <= damaged.last { damaged.first.max(oldest) } else { damaged.first };
    let last = extent(api, damaged).await;
    let Damaged { file, offset, reason, .. } = damaged;
    let detail = format!(
        "this node's copy of the changes {first} to {last} is damaged: {file}, byte {offset}: \
         {reason}"
    );
    ApiError::new(Code::Damaged, detail).with_number("first", first.0).with_number("last", last.0)
}

/// The last change in a row that cannot be read, so that who goes on behind it is not stopped
/// at every batch.
async fn extent(api: &Context, damaged: &Damaged) -> ChangeId {
    let next = damaged.last.next();
    let segment = match api.node.history().locate(next) {
        Some(Located::Sealed(segment)) => Arc::clone(segment),
        _ => return damaged.last,
    };
    let further = cores::off_core(move || last_damaged(&segment, next)).await;
    further.unwrap_or(damaged.last)
}

/// The last change of the batches in a row, from that of `next` on, that cannot be read, if that one
/// cannot. Waits for the disk.
fn last_damaged(segment: &SealedSegment, mut next: ChangeId) -> Option<ChangeId> {
    let (mut last, mut bytes) = (None, 0);
    while next <= segment.last() {
        let Ok(batch) = segment.find_on_disk(next) else { break };
        next = batch.last.next();
        let range = batch.range();
        bytes += range.len();
        if bytes > DAMAGE_AHEAD_BYTES {
            break;
        }
        match segment.map().populate(range) {
            Ok(()) if segment.batch(&batch).is_ok() => break,
            Ok(()) => last = Some(batch.last),
            // A disk that fails takes its time.
            Err(_) => break,
        }
    }
    last
}
