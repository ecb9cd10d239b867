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
    let (segment, n) = match api.node.history().locate(damaged.last.next()) {
        Some(Located::Sealed(segment, n)) => (Arc::clone(segment), n),
        _ => return damaged.last,
    };
    let further = cores::off_core(move || last_damaged(&segment, n)).await;
    further.unwrap_or(damaged.last)
}

/// The last change of the batches in a row, from `n` on, that cannot be read, if that one
/// cannot. Waits for the disk.
fn last_damaged(segment: &SealedSegment, n: usize) -> Option<ChangeId> {
    let (mut last, mut bytes) = (None, 0);
    for n in n..segment.batches() {
        let range = segment.range(n);
        bytes += range.len();
        if bytes > DAMAGE_AHEAD_BYTES {
            break;
        }
        match segment.map().populate(range) {
            Ok(()) if segment.batch(n).is_ok() => break,
            Ok(()) => last = Some(segment.last_of(n)),
            // A disk that fails takes its time.
            Err(_) => break,
        }
    }
    last
}
