//! Reading what a disk holds: the newest checkpoint, and the log that goes on from it.

use std::io;

use super::{error::StartError, settings::Settings};
use crate::{
    base::{
        ids::{ClusterId, NodeId},
        tenants::Tenants,
    },
    checkpoint::{CheckpointFile, store},
    io::{Disk, Files, cores},
    log::{Identity, Log, OpenError, Options},
    node::copy::{self, COPY_NODE},
    raft::Replay,
    snapshot::{self, install::InstallError},
};

/// The number of the node that a cluster begins with.
pub(super) const FOUNDER: NodeId = 1;

/// What a disk holds, read.
pub(super) struct Recovery<D: Disk> {
    pub(super) log: Log<D>,
    pub(super) replay: Replay<D::Files>,
    /// The checkpoint that the log goes on from.
    pub(super) newest: Option<CheckpointFile>,
    /// The tenants that it is of, where it is the copy of some alone.
    pub(super) tenants: Option<Tenants>,
}

pub(super) async fn recover<D: Disk>(
    disk: &D,
    settings: &Settings,
) -> Result<Recovery<D>, StartError> {
    let installing = disk.files();
    let installed = cores::on_own_thread("snapshot", move || snapshot::finish(&installing)).await;
    installed.map_err(StartError::Checkpoint)?.map_err(not_installed)?;
    // What nobody has taken in yet has no number.
    let node = if settings.join.is_empty() { FOUNDER } else { 0 };
    let (identity, tenants) = match &settings.copy {
        Some(of) => copy::identity(disk, of).await.map_err(StartError::Checkpoint)?,
        None => (Identity { cluster: ClusterId(cores::uuid()), node }, None),
    };
    let begun = Replay::begin(disk.files()).map_err(StartError::Checkpoint)?;
    let (newest, mut replay) = begun;
    let options = following(newest.as_ref(), settings.log_options(identity));
    let log = Log::open_into(disk.clone(), options, &mut replay).await;
    let log = log.map_err(|error| cannot_open(newest.as_ref(), error))?;
    match (log.identity().node == COPY_NODE, settings.copy.is_some()) {
        (true, false) => return Err(StartError::Copy),
        (false, true) => return Err(StartError::NoCopy),
        _ => {}
    }
    tracing::info!(last = ?log.last(), "log recovered");
    Ok(Recovery { log, replay, newest, tenants })
}

fn not_installed(error: InstallError) -> StartError {
    match error {
        InstallError::Io(error) => StartError::Checkpoint(error),
        InstallError::Log(error) => StartError::Log(error),
    }
}

/// Says what is wrong with a log, or with a checkpoint that it does not go on from.
pub(super) fn cannot_open(newest: Option<&CheckpointFile>, error: OpenError) -> StartError {
    let name = newest.map(|newest| newest.name.as_str()).unwrap_or_default();
    let text = match (&error, newest) {
        (OpenError::Cluster { file, found, expected }, Some(_)) => {
            format!("its checkpoint {name} is of cluster {expected}, its log {file} of {found}")
        }
        (OpenError::Missing(cluster), Some(_)) => {
            format!("the log that its checkpoint {name} of cluster {cluster} belongs to is missing")
        }
        (OpenError::Purged(index), newest) => {
            let missing = store::file_name(*index);
            let newest = newest.map_or_else(String::new, |_| format!(" (the newest is {name})"));
            format!("its log is purged, and the checkpoint {missing} of that is missing{newest}")
        }
        _ => return StartError::Log(error),
    };
    StartError::Checkpoint(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// What entries alone are read onto: the newest checkpoint, if there is one.
pub(super) fn begin<F: Files>(
    files: &F,
) -> Result<(Option<CheckpointFile>, Replay<F>), StartError> {
    Replay::load(files).map_err(StartError::Checkpoint)
}

/// The options of a log that must follow a checkpoint: else nothing of it is replayed.
pub(super) fn following(newest: Option<&CheckpointFile>, options: Options) -> Options {
    Options {
        expect: newest.map(|checkpoint| checkpoint.cluster),
        purged_max: newest.map(|checkpoint| checkpoint.log_id.index),
        ..options
    }
}
