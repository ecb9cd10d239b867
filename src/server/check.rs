//! Verifying a data directory on an executor of its own.

use std::{path::Path, sync::mpsc};

use super::{
    error::ServerError,
    executor::{self, Purpose, Watch},
    replica::not_started_on,
};
use crate::{
    io::{Disk, Files, lock::DirectoryLock, real::disk::GlommioDisk},
    log,
    node::replica::{self, Checked},
};

/// Verifies what `directory` holds, which no node may use meanwhile. Nothing in it is changed.
///
/// # Errors
/// There is no log, it is in use, or it cannot be read.
pub fn check(directory: &Path) -> Result<Checked, ServerError> {
    let cannot_open = |error| ServerError::System("cannot open the data directory", error);
    let disk = GlommioDisk::open(directory).map_err(cannot_open)?;
    let files = disk.files().list().map_err(cannot_open)?;
    let name = directory.display().to_string();
    // What is no data directory gets no lock file.
    if !files.iter().any(|file| log::is_file(&file.name)) {
        return Err(ServerError::NoLog(name));
    }
    let _lock = DirectoryLock::acquire(directory)?;
    let (done, outcome) = mpsc::sync_channel(1);
    let directory = directory.to_owned();
    let mut watch = executor::start(Purpose::Raft, move || async move {
        let checked = match GlommioDisk::open(directory) {
            Ok(disk) => Ok(replica::check(&disk).await),
            Err(error) => Err(error),
        };
        let _ = done.send(checked);
    })?;
    let checked = loop {
        match outcome.recv_timeout(Watch::PERIOD) {
            Err(mpsc::RecvTimeoutError::Timeout) => watch.look(),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(ServerError::Executor("it ended too early".into()));
            }
            Ok(checked) => break checked.map_err(cannot_open)?,
        }
    };
    match checked {
        Ok(Some(checked)) => Ok(checked),
        Ok(None) => Err(ServerError::NoLog(name)),
        Err(error) => Err(not_started_on(name, error)),
    }
}
