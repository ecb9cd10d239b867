//! Backups as files: a directory or an archive of one, written by a command that is a client of a
//! node, and a data directory made of one.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{archive, error::ServerError, offline::beside};
use crate::{
    backup::{
        self, BackupError, Held, InDirectory, Manifest, Request, RestoreError, Restored, Source,
        Until,
    },
    base::ids::ClusterId,
    io::{cores, lock::DirectoryLock, real::DirectoryFiles},
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
    let name = data.display().to_string();
    let directory = |error| ServerError::Directory(name.clone(), error);
    match fs::read_dir(data).map(Iterator::count) {
        Ok(1..) => return Err(ServerError::NotEmpty(name)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(directory(error)),
        _ => {}
    }
    let parent = data.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(directory)?;
    let request = Request { cluster: (!same_cluster).then(|| ClusterId(cores::uuid())), until };
    let restored = match origin {
        Origin::Directory(from) => restore_beside(&from, data, request)?,
        Origin::Archive(archive) => {
            let unpacked = Scratch::new(beside(data, "unpacking"))?;
            archive::unpack(archive, &unpacked.0)
                .map_err(|error| ServerError::Archive(error.to_string()))?;
            restore_beside(&unpacked.0, data, request)?
        }
    };
    let placed = fs::File::open(parent).and_then(|parent| parent.sync_all());
    placed.map_err(directory)?;
    Ok(restored)
}

/// Makes it under another name, which it then changes.
fn restore_beside(from: &Path, data: &Path, request: Request) -> Result<Restored, ServerError> {
    let failed = |error: RestoreError| ServerError::Restore(from.display().to_string(), error);
    let open = |path: &Path| {
        let unread = |error| failed(RestoreError::Io("the directory".into(), error));
        DirectoryFiles::open(path.to_owned()).map_err(unread)
    };
    let source = open(from)?;
    let scratch = Scratch::new(beside(data, "restoring"))?;
    let restored = backup::restore(&source, &open(&scratch.0)?, request).map_err(failed)?;
    let renamed = fs::rename(&scratch.0, data);
    renamed.map_err(|error| ServerError::Directory(data.display().to_string(), error))?;
    Ok(restored)
}

/// A directory that goes when nobody needs it any more, unless it has another name by then.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> Result<Self, ServerError> {
        if path.exists() {
            return Err(ServerError::Exists(path.display().to_string()));
        }
        let made = fs::create_dir(&path);
        made.map_err(|error| ServerError::Directory(path.display().to_string(), error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is told of at the next try, else.
        let _ = fs::remove_dir_all(&self.0);
    }
}
