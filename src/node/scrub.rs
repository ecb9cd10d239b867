//! The scrub: complete segments are read again from the disk now and then, in the background, so
//! that what rots is known before it is needed.

use std::{io, sync::Arc, time::Duration};

use super::Status;
use crate::{
    base::{limits::SCRUB_BYTES_PER_SECOND, timing::SCRUB_BEGIN},
    io::{Disk, cores},
    log::{self, Log, OpenError},
};

/// Reads everything that is complete once in each `period`, for as long as the node runs.
pub async fn run<D: Disk>(log: Log<D>, status: Arc<Status>, period: Duration) {
    cores::sleep(SCRUB_BEGIN.min(period)).await;
    loop {
        let begun = cores::now();
        round(&log, &status).await;
        cores::sleep(period.saturating_sub(cores::now() - begun)).await;
    }
}

async fn round<D: Disk>(log: &Log<D>, status: &Status) {
    let (mut sequence, active) = (log.oldest_segment(), log.active_segment());
    while sequence < active {
        // Some may be purged meanwhile.
        sequence = sequence.max(log.oldest_segment());
        let pause = async |bytes: u64| {
            status.scrub.add_bytes(bytes);
            let micros = bytes.saturating_mul(1_000_000) / SCRUB_BYTES_PER_SECOND;
            cores::sleep(Duration::from_micros(micros)).await;
        };
        let outcome = log.scrub(sequence, pause).await;
        // What is purged needs no more care.
        let outcome = if sequence < log.oldest_segment() { Ok(()) } else { outcome };
        match &outcome {
            Ok(()) => {}
            // A purge removes the oldest before it says so.
            Err(error) if is_missing(error) && sequence == log.oldest_segment() => {}
            Err(error) if is_missing(error) => {
                if status.scrub.set_damaged(sequence, &log::file_name(sequence), 0) {
                    tracing::error!(%error, "a part of the log is missing on the disk");
                }
            }
            Err(error @ OpenError::Corrupt { file, offset, .. }) => {
                if status.scrub.set_damaged(sequence, file, *offset) {
                    tracing::error!(%error, "a part of the log is damaged on the disk");
                }
            }
            Err(error) => tracing::warn!(%error, "a segment cannot be verified"),
        }
        if outcome.is_ok() {
            status.scrub.set_sound(sequence);
        }
        sequence += 1;
    }
    status.scrub.forget_before(log.oldest_segment());
    status.scrub.end_round(cores::wall_micros());
}

fn is_missing(error: &OpenError) -> bool {
    matches!(error, OpenError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
