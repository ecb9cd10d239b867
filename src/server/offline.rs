//! What is done to a data directory that no node uses, on an executor of its own.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    sync::mpsc,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{error::ServerError, executors, replica::not_started_on, values::ExecutorChoice};
use crate::{
    base::ids::ClusterId,
    io::{
        Disk, Files, cores,
        lock::DirectoryLock,
        real::{
            core::{Kind, Purpose},
            disk::RealDisk,
            executor::{self, Watch},
        },
    },
    log,
    node::replica::{self, Checked, StartError},
};

/// A directory in which a new cluster was begun.
#[derive(Debug)]
pub struct Recovered {
    /// The new cluster.
    pub cluster: ClusterId,
    /// Where what was there before is kept.
    pub before: PathBuf,
}

/// Verifies what `directory` holds, which no node may use meanwhile. Nothing in it is changed.
///
/// # Errors
/// There is no log, it is in use, or it cannot be read.
pub fn check(directory: &Path, executor: ExecutorChoice) -> Result<Checked, ServerError> {
    let _lock = claim(directory)?;
    verified(directory, executors::choose(executor, 1)?)
}

/// Puts in the place of `directory`, which must be sound, one with the same history in a new cluster
/// that consists of this node alone. What was there is kept beside it.
///
/// # Errors
/// It is damaged or in use, the node was removed from its cluster, or a disk failed or has no room:
/// nothing in it is changed.
pub fn recover(directory: &Path, executor: ExecutorChoice) -> Result<Recovered, ServerError> {
    let directory = fs::canonicalize(directory).map_err(cannot_open)?;
    let [new, before] = ["recovering", "before-recovery"].map(|end| beside(&directory, end));
    for place in [&new, &before] {
        if place.exists() {
            return Err(ServerError::Exists(place.display().to_string()));
        }
    }
    let _lock = claim(&directory)?;
    let name = directory.display().to_string();
    let kind = executors::choose(executor, 1)?;
    let sound = match verified(&directory, kind)? {
        Checked::Sound(sound) if sound.backup.is_some() => return Err(ServerError::Backup(name)),
        Checked::Sound(sound) => *sound,
        Checked::Damaged(damage) => return Err(not_started_on(name, damage.error)),
    };
    fs::create_dir(&new)
        .map_err(|error| ServerError::Directory(new.display().to_string(), error))?;
    let (from, to) = (directory.clone(), new.clone());
    let outcome = on_executor(kind, move || async move {
        let cluster = ClusterId(cores::uuid());
        let open = |place| RealDisk::open(place).map_err(StartError::Checkpoint);
        let (from, to) = (open(from)?, open(to)?);
        replica::recover(&from.files(), &sound, &to, cluster).await?;
        Ok(cluster)
    })?;
    let cluster = outcome.map_err(|error| {
        // The error says more than that of this.
        let _ = fs::remove_dir_all(&new);
        not_started_on(new.display().to_string(), error)
    })?;
    own_alike(&directory, &new).map_err(|error| ServerError::System(OWNER, error))?;
    swap(&directory, &new, &before)
        .map_err(|error| ServerError::Swap(before.display().to_string(), name, error))?;
    Ok(Recovered { cluster, before })
}

const OWNER: &str = "cannot give the new directory the owner of the old one";

/// Gives a directory and its files the owner and the mode of another and its files.
fn own_alike(from: &Path, to: &Path) -> io::Result<()> {
    let alike = |from: &Path, to: &Path| {
        let metadata = fs::metadata(from)?;
        chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
        fs::set_permissions(to, metadata.permissions())
    };
    for file in fs::read_dir(to)? {
        let file = file?;
        let old = from.join(file.file_name());
        // What is new is a segment, as the first is.
        let old = if old.exists() { old } else { from.join(log::file_name(1)) };
        if old.exists() {
            alike(&old, &file.path())?;
        }
    }
    alike(from, to)
}

/// The name of a directory with a further end.
fn beside(directory: &Path, end: &str) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    name.into()
}

/// Has `new` take the place of `directory`, which is called `before` from then on: one step decides,
/// and until it is made `directory` is as it was.
fn swap(directory: &Path, new: &Path, before: &Path) -> io::Result<()> {
    let parent = fs::File::open(directory.parent().unwrap_or(directory))?;
    fs::rename(new, before)?;
    parent.sync_all()?;
    renameat_with(CWD, before, CWD, directory, RenameFlags::EXCHANGE)?;
    parent.sync_all()
}

fn cannot_open(error: io::Error) -> ServerError {
    ServerError::System("cannot open the data directory", error)
}

/// Claims a directory that has a log. What is no data directory gets no lock file.
fn claim(directory: &Path) -> Result<DirectoryLock, ServerError> {
    let disk = RealDisk::open(directory).map_err(cannot_open)?;
    let files = disk.files().list().map_err(cannot_open)?;
    if !files.iter().any(|file| log::is_file(&file.name)) {
        return Err(ServerError::NoLog(directory.display().to_string()));
    }
    Ok(DirectoryLock::acquire(directory)?)
}

fn verified(directory: &Path, kind: Kind) -> Result<Checked, ServerError> {
    let (name, directory) = (directory.display().to_string(), directory.to_owned());
    let checked = on_executor(kind, move || async move {
        let disk = RealDisk::open(directory).map_err(StartError::Checkpoint)?;
        replica::check(&disk).await
    })?;
    match checked {
        Ok(Some(checked)) => Ok(checked),
        Ok(None) => Err(ServerError::NoLog(name)),
        Err(error) => Err(not_started_on(name, error)),
    }
}

/// What `work` comes to on an executor.
fn on_executor<T, F>(
    kind: Kind,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, ServerError>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (done, outcome) = mpsc::sync_channel(1);
    let mut watch = executor::start(kind, Purpose::Raft, move || async move {
        // Somebody waits for it below.
        let _ = done.send(work().await);
    })?;
    loop {
        match outcome.recv_timeout(Watch::PERIOD) {
            Err(mpsc::RecvTimeoutError::Timeout) => watch.look(),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(ServerError::Executor("it ended too early".into()));
            }
            Ok(outcome) => return Ok(outcome),
        }
    }
}
