//! The scrub: complete segments are read again from the disk now and then, in the background, so
//! that what rots is known before it is needed.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use super::Status;
use crate::{
    base::{limits::SCRUB_BYTES_PER_SECOND, timing::SCRUB_BEGIN},
    checkpoint::{scrub, store},
    io::{Disk, Files, cores},
    log::{self, Log, OpenError},
    raft::{Replica, index_names, verify_index},
};

/// Reads everything that is complete once in each `period`, for as long as the node runs.
pub async fn run<D: Disk>(disk: D, replica: Rc<Replica<D>>, status: Arc<Status>, period: Duration) {
    cores::sleep(SCRUB_BEGIN.min(period)).await;
    loop {
        let begun = cores::now();
        round(replica.log(), &status).await;
        verify_checkpoint(&disk, &status).await;
        verify_indexes(&disk, &status).await;
        tell_missing(&replica, &status).await;
        forget_removed(&replica, &status).await;
        status.scrub.end_round(cores::wall_micros());
        cores::sleep(period.saturating_sub(cores::now() - begun)).await;
    }
}

async fn round<D: Disk>(log: &Log<D>, status: &Status) {
    let mut pause = async |bytes| rest(status, bytes).await;
    let (mut sequence, active) = (log.oldest_segment(), log.active_segment());
    while sequence < active {
        // Some may be purged meanwhile.
        sequence = sequence.max(log.oldest_segment());
        let outcome = log.scrub(sequence, &mut pause).await;
        let file = log::file_name(sequence);
        // What is purged needs no more care; a purge removes the oldest before it says so.
        let is_purged = |error: &OpenError| {
            let oldest = log.oldest_segment();
            sequence < oldest || (sequence == oldest && is_missing(error))
        };
        match outcome {
            Ok(()) => status.scrub.set_sound(&file),
            Err(error) if is_purged(&error) => {}
            Err(error) if is_missing(&error) => {
                status.tell_missing(&file);
            }
            Err(OpenError::Corrupt { file, offset, reason }) => {
                status.tell_damaged(&file, offset, &reason);
            }
            Err(error) => tracing::warn!(%error, "a segment cannot be verified"),
        }
        sequence += 1;
    }
}

/// Leaves the disk to others after `bytes` were read.
async fn rest(status: &Status, bytes: u64) {
    status.scrub.add_bytes(bytes);
    let micros = bytes.saturating_mul(1_000_000) / SCRUB_BYTES_PER_SECOND;
    cores::sleep(Duration::from_micros(micros)).await;
}

/// Verifies the checkpoint that the next start would begin from.
async fn verify_checkpoint<D: Disk>(disk: &D, status: &Status) {
    let files = disk.files();
    let Ok(names) = cores::off_core(move || store::names(&files)).await else { return };
    let Some(newest) = names.last() else { return };
    let damage = scrub::verify(disk, newest, async |bytes| rest(status, bytes).await).await;
    match damage {
        Ok(Some(damage)) => status.tell_damaged(newest, damage.offset, &damage.reason),
        Ok(None) => status.scrub.set_sound(newest),
        // Another took its place.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, "a checkpoint cannot be verified"),
    }
}

/// Verifies the index files and whole states. What is in memory of them is verified, which is what
/// readers are given; the rest is read from the disk.
async fn verify_indexes<D: Disk>(disk: &D, status: &Status) {
    let files = disk.files();
    let Ok(names) = cores::off_core(move || index_names(&files)).await else { return };
    for name in names {
        let (files, file) = (disk.files(), name.clone());
        let Ok(verified) = cores::off_core(move || verify_index(&files, &file)).await else {
            // It was replaced, or its segment is purged.
            continue;
        };
        match verified.fault {
            Some(fault) => status.tell_damaged(&name, fault.offset as u64, &fault.reason),
            None => status.scrub.set_sound(&name),
        }
        rest(status, verified.bytes).await;
    }
}

/// Tells of index files and of a checkpoint that ought to be there and are not.
async fn tell_missing<D: Disk>(replica: &Replica<D>, status: &Status) {
    let expected = replica.expected_files();
    let files = replica.log().files();
    let Ok(there) = cores::off_core(move || files.list()).await else { return };
    let mut missing = expected;
    missing.retain(|name| !there.iter().any(|file| file.name == *name));
    if missing.is_empty() {
        return;
    }
    // What is replaced or purged is removed only after that is known.
    let expected = replica.expected_files();
    missing.retain(|name| expected.contains(name));
    for name in &missing {
        status.tell_missing(name);
    }
}

/// Forgets what was damaged and is there no more: purged segments, and replaced checkpoints.
async fn forget_removed<D: Disk>(replica: &Replica<D>, status: &Status) {
    let log = replica.log();
    let (files, oldest) = (log.files(), log::file_name(log.oldest_segment()));
    let Ok(there) = cores::off_core(move || files.list()).await else { return };
    let expected = replica.expected_files();
    let is_there = |name: &str| there.iter().any(|file| file.name == name);
    status.scrub.keep(|name| match name.ends_with(log::SUFFIX) {
        // One may be missing.
        true => name >= oldest.as_str(),
        false => is_there(name) || expected.iter().any(|expected| expected == name),
    });
}

fn is_missing(error: &OpenError) -> bool {
    matches!(error, OpenError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
