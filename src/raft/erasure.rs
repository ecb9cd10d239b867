//! Erasing: what is redacted goes from this node's files, in the background.
//!
//! ```text
//! segment written anew · its index written anew · readers told
//! checkpoint written anew · readers told
//! ```
//!
//! Each step leaves files that a start goes on from, and that serve the same; what the index of a
//! segment does not say to be erased is erased again. What is in the segment that is written to has
//! to wait until that is complete, which is brought about early now and then.

use std::{
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    compact,
    sealing::SegmentEnd,
    segment_index::{ERASED_TEMPORARY, SegmentIndex, opened},
    state_machine::StateMachine,
};
use crate::{
    base::{
        batch::Erasure,
        ids::{ChangeId, LogId},
        limits::ERASURE_BYTES_PER_SECOND,
        planted::planted,
        timing::{ERASURE_COMPLETES, ERASURE_PERIOD, ERASURE_RETRY},
    },
    io::{Disk, Files, cores, put_file},
    log::{OpenError, Replacement, holds_purged, index::file_name, without_purged},
    state::{Damaged, SealedSegment, ToErase},
};

/// Why something is not erased yet.
#[derive(Debug, thiserror::Error)]
enum Unerased {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Log(#[from] OpenError),
}

/// Erases what is redacted, for as long as the node runs.
pub(super) async fn run<D: Disk>(machine: StateMachine<D>) {
    let redactions = machine.index();
    let redactions = &redactions.redactions;
    // When a segment was completed early.
    let mut completed: Option<Instant> = None;
    // The oldest segment, and up to which entry nothing that is purged is in it; or something is,
    // and it is written to.
    let (mut clean, mut mixed) = (None, None);
    loop {
        // What comes within a moment is erased together.
        cores::sleep(ERASURE_PERIOD).await;
        if machine.is_superseded() || machine.log().poison().is_some() {
            return;
        }
        let waiting = redactions.waiting();
        let oldest = (machine.log().oldest_segment(), machine.log().purged());
        if (waiting.is_empty() && clean == Some(oldest)) || planted!(NeverErase) {
            continue;
        }
        let outcome = async {
            let is_known = mixed == Some(oldest) && oldest.0 >= machine.log().active_segment();
            let completes =
                is_known || (clean != Some(oldest) && of_purged(&machine, oldest).await?);
            match completes {
                true => mixed = Some(oldest),
                false => clean = Some(oldest),
            }
            Ok(round(&machine, &waiting).await? || completes)
        };
        match outcome.await {
            Ok(true) => {
                let now = cores::now();
                if completed.is_none_or(|then| now >= then + ERASURE_COMPLETES) {
                    completed = Some(now);
                    machine.log().complete_active();
                }
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "what is redacted cannot be erased");
                tell(&machine, &error);
                cores::sleep(ERASURE_RETRY).await;
            }
        }
    }
}

/// Tells whoever minds damage, and failures, of an error.
fn tell<D: Disk>(machine: &StateMachine<D>, error: &Unerased) {
    match error {
        Unerased::Log(OpenError::Corrupt { file, offset, reason }) => {
            machine.log().tell_damaged(file, *offset, reason);
        }
        Unerased::Log(_) => {}
        Unerased::Io(error) => {
            machine.log().mind_directory(error);
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Damaged>());
            if let Some(Damaged { file, offset, reason, .. }) = inner {
                machine.log().tell_damaged(file, *offset, reason);
            }
        }
    }
}

/// Erases what is where it can be erased; whether some is in the segment that is written to.
async fn round<D: Disk>(machine: &StateMachine<D>, waiting: &[ChangeId]) -> Result<bool, Unerased> {
    let begun = machine.purged_upto();
    let (old, held) = waiting.split_at(waiting.partition_point(|id| *id <= begun));
    let (ended, _) = machine.ended();
    let mut failed = None;
    if !old.is_empty()
        && let Err(error) = in_checkpoint(machine, old).await
    {
        failed = Some(error);
    }
    let mut rest = held;
    for SegmentEnd { sequence, position, .. } in ended {
        let (own, beyond) = rest.split_at(rest.partition_point(|id| *id <= position.last));
        rest = beyond;
        if own.is_empty() {
            continue;
        }
        match in_segment(machine, sequence, own).await {
            Ok(()) => {}
            // It was purged meanwhile, and the next round looks for it elsewhere.
            Err(_) if machine.log().oldest_segment() > sequence => {}
            // The others are erased all the same.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if !rest.is_empty() {
        // What was completed since may have no index only because nothing was applied.
        machine.indexing().wake();
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(!rest.is_empty() && !machine.awaits_index()),
    }
}

/// Erases what is purged and yet in the oldest segment: a checkpoint of another node stands for it,
/// and nobody here knows what of it was redacted. Whether that is the segment which is written to.
async fn of_purged<D: Disk>(
    machine: &StateMachine<D>,
    (oldest, purged): (u64, Option<LogId>),
) -> Result<bool, Unerased> {
    let purged = purged.filter(|_| !planted!(KeepPurgedInSegment));
    let Some(LogId { index, .. }) = purged else { return Ok(false) };
    let _alone = machine.indexing().replacing().lock().await;
    let (log, files) = (machine.log(), machine.log().files());
    let look = move || holds_purged(&files, oldest, index);
    if !cores::in_background("erase", look).await.flatten()? {
        return Ok(false);
    }
    if oldest >= log.active_segment() {
        return Ok(true);
    }
    if !log.rewrite(oldest, without_purged(index), async |bytes| rest(bytes).await).await? {
        return Ok(true);
    }
    if machine.has_ended(oldest) {
        let files = log.files();
        let open = move || opened(&files, oldest);
        let index = cores::in_background("erase", open).await.flatten();
        machine.replace_sealed(&index?);
    }
    tracing::info!(segment = oldest, "what is purged in it is erased");
    Ok(false)
}

/// Erases changes of a complete segment that has an index.
async fn in_segment<D: Disk>(
    machine: &StateMachine<D>,
    sequence: u64,
    ids: &[ChangeId],
) -> Result<(), Unerased> {
    // One that is made anew meanwhile would be of what is not erased yet.
    let _alone = machine.indexing().replacing().lock().await;
    let (log, files, own) = (machine.log(), machine.log().files(), ids.to_vec());
    let plan = move || plan(&files, sequence, &own);
    let plan: io::Result<_> = cores::in_background("erase", plan).await.flatten();
    let Some((segment, to_erase)) = plan? else { return Ok(()) };
    if !to_erase.is_empty() {
        let to_erase = Arc::new(to_erase);
        let put_index = async || -> io::Result<SegmentIndex> {
            let (files, segment, erased) =
                (log.files(), Arc::clone(&segment), Arc::clone(&to_erase));
            let write = move || write_index(&files, &segment, &erased);
            cores::in_background("erase", write).await.flatten()
        };
        if planted!(IndexBeforeErased) {
            put_index().await?;
        }
        if to_erase.has_bytes {
            let erased = Arc::clone(&to_erase);
            let replace: Replacement =
                Arc::new(move |entry| erased.batches.get(&entry.id.index)?.of(&entry.payload));
            if !log.rewrite(sequence, replace, async |bytes| rest(bytes).await).await? {
                return Ok(());
            }
        }
        let index = put_index().await?;
        if !planted!(EraseUntold) && !machine.replace_sealed(&index) {
            return Ok(());
        }
        tracing::info!(segment = sequence, changes = ids.len(), "what was redacted is erased");
    } else if !machine.has_ended(sequence) {
        // It was purged meanwhile, and a checkpoint may have been made of what it was before.
        return Ok(());
    }
    machine.index().redactions.erased(ids);
    Ok(())
}

/// Leaves the disk to others after so many bytes were written.
async fn rest(bytes: u64) {
    let micros = bytes.saturating_mul(1_000_000) / ERASURE_BYTES_PER_SECOND;
    cores::sleep(Duration::from_micros(micros)).await;
}

/// The segment, and what is to be erased of it.
fn plan(
    files: &impl Files,
    sequence: u64,
    ids: &[ChangeId],
) -> io::Result<Option<(Arc<SealedSegment>, ToErase)>> {
    let Some(segment) = opened(files, sequence)?.segment else { return Ok(None) };
    let to_erase = ToErase::of(&segment, ids)?;
    Ok(Some((segment, to_erase)))
}

/// Writes the index of a segment anew: durable on return.
fn write_index(
    files: &impl Files,
    segment: &SealedSegment,
    to_erase: &ToErase,
) -> io::Result<SegmentIndex> {
    let bytes = to_erase.index(segment).map_err(io::Error::other)?;
    put_file(files, ERASED_TEMPORARY, &file_name(segment.sequence), &bytes)?;
    opened(files, segment.sequence)
}

/// Erases changes up to which all is purged, as far as the checkpoint has them.
async fn in_checkpoint<D: Disk>(
    machine: &StateMachine<D>,
    ids: &[ChangeId],
) -> Result<(), Unerased> {
    // No other checkpoint is made meanwhile.
    let making = Rc::clone(machine.making_checkpoint());
    let _making = making.lock().await;
    if machine.is_superseded() {
        return Ok(());
    }
    if let Some((id, held)) = machine.checkpointed().filter(|_| !planted!(KeepInCheckpoint)) {
        let (files, ids) = (machine.log().files(), ids.to_vec());
        let erase = move || compact::erase(&files, id.index, &held, &ids);
        let erased: io::Result<_> = cores::in_background("erase", erase).await.flatten();
        if let Some(changes) = erased? {
            machine.replace_checkpoint(id, &changes);
            tracing::info!(checkpoint = id.index, "what was redacted is erased");
        }
    }
    machine.index().redactions.erased(ids);
    Ok(())
}

/// What is to be erased of applied entries, so that whoever is given them gets nothing that is
/// redacted: of what was `waiting` before they were read, since it may be erased by now. By the
/// indexes of entries.
pub(super) async fn of_entries<D: Disk>(
    machine: &StateMachine<D>,
    entries: std::ops::RangeInclusive<u64>,
    waiting: &[ChangeId],
) -> io::Result<Vec<(u64, Erasure)>> {
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = machine.unsealed_erasures(&entries);
    let (ended, _) = machine.ended();
    let (mut first, mut before) = (machine.purged_upto().next(), 0);
    for SegmentEnd { sequence, index, position } in ended {
        let from = waiting.partition_point(|id| *id < first);
        let own = &waiting[from..waiting.partition_point(|id| *id <= position.last).max(from)];
        let is_asked = before < *entries.end() && index >= *entries.start();
        if is_asked && !own.is_empty() {
            let (files, own) = (machine.log().files(), own.to_vec());
            let all = move || match opened(&files, sequence)?.segment {
                Some(segment) => ToErase::all(&segment, &own),
                None => Ok(ToErase::default()),
            };
            let all: io::Result<_> = cores::in_background("erase", all).await.flatten();
            found.extend(all?.batches);
        }
        (first, before) = (position.last.next(), index);
    }
    Ok(found)
}
