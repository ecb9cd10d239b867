//! Verifying a checkpoint as it is on the disk, piece by piece, while a node runs on it.

use std::io;

use bytes::Bytes;

use super::text;
use crate::io::{Disk, DiskFile, FileName, OpenMode, cores, is_bad_place};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;

/// What is wrong with a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The byte before which nothing is wrong, as far as that can be told.
    pub offset: u64,
    /// What it is.
    pub reason: String,
}

/// What is wrong with the checkpoint `name` of `disk`; nothing when it is sound. `pause` is waited
/// for after so many bytes were read.
///
/// # Errors
/// What the disk reports when it cannot be told: `NotFound` when it is gone.
pub async fn verify<D: Disk>(
    disk: &D,
    name: &FileName,
    pause: impl AsyncFnMut(u64),
) -> io::Result<Option<Damage>> {
    let file = match disk.open(name, OpenMode::Read).await {
        Ok(file) => file,
        Err(error) => return unread(0, error),
    };
    let damage = verify_file(&file, pause).await;
    file.close().await?;
    damage
}

async fn verify_file<F: DiskFile>(
    file: &F,
    mut pause: impl AsyncFnMut(u64),
) -> io::Result<Option<Damage>> {
    let (mut at, mut sum) = (0, text::Sum::default());
    loop {
        let piece = match file.read_at(at, PIECE_BYTES).await {
            Ok(piece) => Bytes::copy_from_slice(piece.as_ref()),
            Err(error) => return unread(at, error),
        };
        let bytes = piece.len();
        sum = cores::off_core(move || sum.with(&piece)).await;
        at += bytes as u64;
        pause(bytes as u64).await;
        // Only the end of the file ends a read before its end.
        if bytes < PIECE_BYTES {
            return Ok(sum.end().err().map(|reason| Damage { offset: 0, reason: reason.into() }));
        }
    }
}

/// The disk does not give what is from byte `offset` on.
fn unread(offset: u64, error: io::Error) -> io::Result<Option<Damage>> {
    match is_bad_place(&error) {
        true => Ok(Some(Damage { offset, reason: format!("it cannot be read: {error}") })),
        false => Err(error),
    }
}
