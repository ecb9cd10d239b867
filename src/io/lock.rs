//! One process at a time on a data directory: an advisory lock on its file
//! `LOCK`, which the kernel releases when the process ends, however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The name of the lock file in a data directory.
pub const LOCK_FILE: &str = "LOCK";

/// Why a directory could not be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process, or another part of this one, holds it.
    #[error("the data directory {} is in use{}", .directory.display(), holder_text(.holder))]
    InUse {
        /// The data directory.
        directory: PathBuf,
        /// The process id that the holder left in the lock file.
        holder: Option<u32>,
    },
    /// The lock file could not be opened or locked.
    #[error("the data directory {} cannot be locked: {source}", .directory.display())]
    Io {
        /// The data directory.
        directory: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

fn holder_text(holder: &Option<u32>) -> String {
    holder.map_or_else(|| " by another process".into(), |pid| format!(" by process {pid}"))
}

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Locks `directory`, which must exist. Nothing in it is changed, but for an
    /// empty lock file where there was none.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let error = |source| LockError::Io { directory: directory.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK_FILE))
            .map_err(error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::InUse {
                    directory: directory.to_owned(),
                    holder: read_holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        Ok(Self { file })
    }

    /// Leaves this process's id in the lock file for whoever finds it locked.
    pub fn sign(&mut self) {
        // It only serves a message, so a full disk must not stop a node.
        let _ = write_holder(&mut self.file);
    }
}

impl AsRawFd for DirectoryLock {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl From<OwnedFd> for DirectoryLock {
    /// Takes over a lock that is held already.
    fn from(file: OwnedFd) -> Self {
        Self { file: file.into() }
    }
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_directory_and_the_holder() {
        let directory = tempfile::tempdir().unwrap();
        let mut held = DirectoryLock::acquire(directory.path()).unwrap();
        held.sign();
        let error = DirectoryLock::acquire(directory.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&directory.path().display().to_string()), "{text}");
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        drop(held);
        DirectoryLock::acquire(directory.path()).unwrap();
    }

    #[test]
    fn a_refused_lock_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let _held = DirectoryLock::acquire(directory.path()).unwrap();
        let before = std::fs::read(directory.path().join(LOCK_FILE)).unwrap();
        DirectoryLock::acquire(directory.path()).unwrap_err();
        assert_eq!(std::fs::read(directory.path().join(LOCK_FILE)).unwrap(), before);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_it() {
        let error = DirectoryLock::acquire(Path::new("/nonexistent/data")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/data"));
    }
}
