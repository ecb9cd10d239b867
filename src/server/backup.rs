//! Backups as files: a directory or an archive of one, written by a command that is a client of a
//! node, and a data directory made of one.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{archive, error::ServerError};
use crate::{
    backup::{
        self, BackupError, Held, InDirectory, Manifest, Request, RestoreError, Restored, Source,
        Until,
    },
    base::ids::ClusterId,
    io::{
        cores,
        lock::{DirectoryLock, LOCK_FILE},
        real::DirectoryFiles,
    },
};

/// Backs up what `source` gives to `directory`, or goes on with the backup there; segments get
/// about `segment_bytes`. `told` hears which entry is reached, of which.
///
/// # Errors
/// [`BackupError`]
pub fn backup<S: Source>(
    directory: &Path,
    source: &mut S,
    segment_bytes: usize,
    told: impl FnMut(u64, u64),
) -> Result<Manifest, BackupError<S::Error>> {
    let failed = |error| BackupError::Write(directory.display().to_string(), error);
    fs::create_dir_all(directory).map_err(failed)?;
    let files = DirectoryFiles::open(directory.to_owned()).map_err(failed)?;
    // What is no backup gets no lock file.
    Held::admits(&files)?;
    let _lock = DirectoryLock::acquire(directory)?;
    let held = Held::of(&files)?;
    backup::run(source, &mut InDirectory::new(files), held, segment_bytes, told)
}

/// Where a backup is read from.
pub enum Origin {
    /// A directory.
    Directory(PathBuf),
    /// An archive of one.
    Archive(Box<dyn Read>),
}

/// Makes of a backup the data directory `data`, which must be absent or empty: that of a cluster of
/// one, the same or a new one, with the history up to `until`.
///
/// # Errors
/// The backup is damaged, `data` is not empty, or a disk failed: `data` is as it was.
pub fn restore(
    origin: Origin,
    data: &Path,
    same_cluster: bool,
    until: Option<Until>,
) -> Result<Restored, ServerError> {
    let begun = Begun::new(data)?;
    let request = Request { cluster: (!same_cluster).then(|| ClusterId(cores::uuid())), until };
    let restored = match origin {
        Origin::Directory(from) => restore_to(&from, data, request)?,
        Origin::Archive(archive) => {
            let unpacked = data.join(UNPACKED);
            fs::create_dir(&unpacked).map_err(|error| begun.failed(error))?;
            archive::unpack(archive, &unpacked)
                .map_err(|error| ServerError::Archive(error.to_string()))?;
            let restored = restore_to(&unpacked, data, request)?;
            fs::remove_dir_all(&unpacked).map_err(|error| begun.failed(error))?;
            restored
        }
    };
    begun.end()?;
    Ok(restored)
}

/// Where an archive is unpacked, in the data directory: there is room, and nothing else is there.
const UNPACKED: &str = "unpacked";

fn restore_to(from: &Path, data: &Path, request: Request) -> Result<Restored, ServerError> {
    let failed = |error: RestoreError| ServerError::Restore(from.display().to_string(), error);
    let open = |path: &Path| {
        let unread = |error| failed(RestoreError::Io("the directory".into(), error));
        DirectoryFiles::open(path.to_owned()).map_err(unread)
    };
    backup::restore(&open(from)?, &open(data)?, request).map_err(failed)
}

/// A data directory that is made. Unless that ends well, it is as it was before.
struct Begun<'d> {
    data: &'d Path,
    /// It was not there.
    is_new: bool,
    is_done: bool,
    _lock: DirectoryLock,
}

impl<'d> Begun<'d> {
    fn new(data: &'d Path) -> Result<Self, ServerError> {
        let name = || data.display().to_string();
        let is_new = !data.exists();
        let made = fs::create_dir_all(data).and_then(|()| contents(data));
        let there = made.map_err(|error| ServerError::Directory(name(), error))?;
        if !there.is_empty() {
            return Err(ServerError::NotEmpty(name()));
        }
        let _lock = DirectoryLock::acquire(data)?;
        Ok(Self { data, is_new, is_done: false, _lock })
    }

    fn failed(&self, error: io::Error) -> ServerError {
        ServerError::Directory(self.data.display().to_string(), error)
    }

    /// Makes durable that it is there.
    fn end(mut self) -> Result<(), ServerError> {
        let parent = self.data.join("..");
        let synced = fs::File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(|error| self.failed(error))?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // The error before says more than that of this.
        if self.is_new {
            let _ = fs::remove_dir_all(self.data);
            return;
        }
        for path in contents(self.data).unwrap_or_default() {
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            let _ = removed;
        }
        let _ = fs::remove_file(self.data.join(LOCK_FILE));
    }
}

/// What is in a directory, besides what is in one that is as good as empty.
fn contents(directory: &Path) -> io::Result<Vec<PathBuf>> {
    const AS_GOOD_AS_NOTHING: [&str; 2] = [LOCK_FILE, "lost+found"];
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !AS_GOOD_AS_NOTHING.iter().any(|name| entry.file_name() == *name) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
