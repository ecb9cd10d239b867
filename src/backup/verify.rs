//! Whether the files of a backup are those that its manifest names.

use std::io;

use super::manifest::{FileEntry, MANIFEST, Manifest, ManifestError, TEMPORARY};
use crate::{io::Files, log::OpenError};

/// Why nothing was made of a backup.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What it holds cannot be told.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It was begun only.
    #[error("it was never completed: run the backup again, to the same place")]
    Incomplete,
    /// A file is not as it was written.
    #[error("{0} is damaged: {1}")]
    Damaged(String, String),
    /// A segment is not as it was written.
    #[error(transparent)]
    Segment(#[from] OpenError),
    /// There is nothing of that time.
    #[error(
        "the backup begins with change {first}: what was before was purged, and the state at that \
         point cannot be had"
    )]
    Before {
        /// The oldest change.
        first: u64,
    },
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

/// Whether a directory is a backup, or one that is being made of a backup: no node may be started on
/// it.
///
/// # Errors
/// When it cannot be listed.
pub fn is_one(files: &impl Files) -> io::Result<bool> {
    Ok(files.list()?.iter().any(|file| [MANIFEST, TEMPORARY].contains(&&*file.name)))
}

/// Whether that is known of such a directory only by a file of one that was being made.
///
/// # Errors
/// When it cannot be listed.
pub fn is_unfinished(files: &impl Files) -> io::Result<bool> {
    Ok(is_one(files)? && !files.list()?.iter().any(|file| file.name == MANIFEST))
}

/// Verifies the files of a directory against its manifest, where there is one.
///
/// # Errors
/// [`RestoreError`]
pub fn verify(files: &impl Files) -> Result<Option<Manifest>, RestoreError> {
    let manifest = match Manifest::read(files) {
        Ok(manifest) => manifest,
        Err(ManifestError::Missing) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for file in &manifest.files {
        read(files, file)?;
    }
    Ok(Some(manifest))
}

/// The bytes of a file, which are what the manifest says.
pub(super) fn read(files: &impl Files, file: &FileEntry) -> Result<Vec<u8>, RestoreError> {
    let damaged = |what: &str| RestoreError::Damaged(file.name.clone(), what.to_owned());
    let bytes = match files.read(&file.name) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("it is missing"));
        }
        Err(error) => return Err(RestoreError::Io(file.name.clone(), error)),
    };
    if bytes.len() as u64 != file.bytes {
        return Err(damaged(&format!("it has {} bytes, not {}", bytes.len(), file.bytes)));
    }
    if crc32c::crc32c(&bytes) != file.crc32c {
        return Err(damaged("it does not match the checksum that the manifest has of it"));
    }
    Ok(bytes)
}
