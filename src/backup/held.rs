//! What a place holds of a backup, before it is gone on with.

use std::{collections::BTreeMap, io};

use bytes::Bytes;

use super::{
    manifest::{FileEntry, MANIFEST, Manifest, ManifestError, TEMPORARY},
    verify::{RestoreError, read},
};
use crate::{
    base::ids::LogId,
    checkpoint::{format, store},
    io::{FileInfo, Files, lock::LOCK_FILE},
    log::{self, Contents, Entry, OpenError},
    raft::prefix,
};

/// Why a place is not one where a backup can go on.
#[derive(Debug, thiserror::Error)]
pub enum NotABackup {
    /// Something else is there.
    #[error("it is no backup, and {0} is in it: nothing was changed")]
    Foreign(String),
    /// It cannot be told what it holds.
    #[error("{0}; nothing was changed; begin a new backup elsewhere")]
    Manifest(ManifestError),
    /// It is damaged.
    #[error("{0}; begin a new backup elsewhere (changeagent check tells what is sound)")]
    File(#[from] RestoreError),
    /// A segment is damaged.
    #[error("{0}; begin a new backup elsewhere")]
    Segment(#[from] OpenError),
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What a backup holds so far.
pub struct Held {
    /// What its manifest says, with the files that came about since.
    pub(super) manifest: Option<Manifest>,
    /// What its last segments amount to; nothing when there are none.
    pub(super) contents: Option<Contents>,
    /// Its last entry, unless a checkpoint stands for that.
    pub(super) last: Option<Entry>,
}

impl Held {
    /// Of a place that is empty.
    #[must_use]
    pub fn nothing() -> Self {
        Self { manifest: None, contents: None, last: None }
    }

    /// Whether a backup may go on, or begin, in a directory. Nothing in it is changed.
    ///
    /// # Errors
    /// [`NotABackup`]
    pub fn admits(files: &impl Files) -> Result<(), NotABackup> {
        match Manifest::read(files) {
            Ok(_) => Ok(()),
            Err(ManifestError::Missing) => match foreign(&files.list()?) {
                Some(name) => Err(NotABackup::Foreign(name)),
                None => Ok(()),
            },
            Err(error) => Err(NotABackup::Manifest(error)),
        }
    }

    /// What a directory holds. What was being written when the last run was interrupted is removed;
    /// what is whole and came about since its manifest was written is taken up.
    ///
    /// # Errors
    /// [`NotABackup`]
    pub fn of(files: &impl Files) -> Result<Self, NotABackup> {
        let found = files.list()?;
        let mut manifest = match Manifest::read(files) {
            Ok(manifest) => manifest,
            Err(ManifestError::Missing) => return Self::of_none(files, &found),
            Err(error) => return Err(NotABackup::Manifest(error)),
        };
        for file in &found {
            let unlisted = store::is_checkpoint(&file.name)
                && manifest.files.iter().all(|listed| listed.name != file.name);
            let begun = manifest.files.is_empty() && has_segment(&found);
            // A checkpoint without the entries after it is asked for anew.
            if file.name == TEMPORARY || (unlisted && !begun) {
                files.remove(&file.name)?;
            } else if unlisted {
                let bytes = files.read(&file.name)?;
                let head = format::head(&bytes).map_err(|error| damaged(&file.name, error))?;
                manifest.first = head.position().last.0 + 1;
                let highest = prefix::highest_of(&head);
                manifest.highest =
                    highest.map_err(|error| damaged(&file.name, error.to_string()))?;
                manifest.files.push(entry(&file.name, &bytes));
            }
        }
        let lengths: BTreeMap<&str, u64> =
            found.iter().map(|file| (&*file.name, file.bytes)).collect();
        let is_there = |file: &&FileEntry| lengths.get(&*file.name) == Some(&file.bytes);
        if let Some(missing) = manifest.files.iter().find(|file| !is_there(file)) {
            let what = format!("it is missing, or has not the {} bytes that it had", missing.bytes);
            return Err(damaged(&missing.name, what).into());
        }
        let (contents, last) = segments(files, &found, &mut manifest)?;
        Ok(Self { manifest: Some(manifest), contents, last })
    }

    /// Of a directory without a manifest.
    fn of_none(files: &impl Files, found: &[FileInfo]) -> Result<Self, NotABackup> {
        if let Some(name) = foreign(found) {
            return Err(NotABackup::Foreign(name));
        }
        if found.iter().any(|file| file.name == TEMPORARY) {
            files.remove(TEMPORARY)?;
        }
        Ok(Self::nothing())
    }

    /// The last entry, be it one that a checkpoint stands for.
    #[must_use]
    pub(super) fn last_id(&self) -> Option<LogId> {
        self.contents.as_ref().and_then(Contents::last)
    }
}

/// A file that is there before anything of a backup is.
fn foreign(found: &[FileInfo]) -> Option<String> {
    let is_own = |name: &str| [LOCK_FILE, TEMPORARY].contains(&name);
    found.iter().find(|file| !is_own(&file.name)).map(|file| file.name.clone())
}

fn has_segment(found: &[FileInfo]) -> bool {
    found.iter().any(|file| file.name == log::file_name(1))
}

fn damaged(name: &str, what: String) -> RestoreError {
    RestoreError::Damaged(name.to_owned(), what)
}

fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    FileEntry { name: name.to_owned(), bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) }
}

/// Reads the last segment that the manifest names and those after it, which it names from then on.
fn segments(
    files: &impl Files,
    found: &[FileInfo],
    manifest: &mut Manifest,
) -> Result<(Option<Contents>, Option<Entry>), NotABackup> {
    let named = manifest.files.iter().filter(|file| log::is_file(&file.name)).count() as u64;
    let (mut contents, mut last) = (Contents::default(), None);
    let mut sequence = named.max(1);
    loop {
        let name = log::file_name(sequence);
        let bytes = match manifest.files.iter().find(|file| file.name == name) {
            Some(file) => read(files, file)?,
            None if found.iter().any(|file| file.name == name) => {
                let bytes = files.read(&name)?;
                manifest.files.push(entry(&name, &bytes));
                bytes
            }
            None => break,
        };
        // What is kept of it must not keep the whole segment.
        let entries = contents.segment(sequence, &Bytes::from(bytes))?;
        for entry in &entries {
            let highest = prefix::highest_in(entry);
            let highest = highest.map_err(|error| damaged(&name, error.to_string()))?;
            manifest.highest = manifest.highest.max(highest);
        }
        let newest = entries.into_iter().next_back();
        last =
            newest.map(|entry| Entry { payload: Bytes::copy_from_slice(&entry.payload), ..entry });
        sequence += 1;
    }
    let begun = contents.identity().is_some();
    Ok((begun.then_some(contents), last))
}

/// Whether a file is one of those that a backup has.
#[must_use]
pub fn is_part(name: &str) -> bool {
    name == MANIFEST || log::is_file(name) || store::is_checkpoint(name)
}
