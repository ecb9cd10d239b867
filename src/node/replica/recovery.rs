//! Reading what a disk holds: the newest checkpoint, and the log that goes on from it.

use std::io;

use super::{
    error::StartError,
    settings::{Founding, Settings},
};
use crate::{
    base::{ids::ClusterId, tenants::Tenants},
    checkpoint::{CheckpointFile, store},
    io::{Disk, Files, cores, sync_directory},
    log::{self, Identity, Log, OpenError, Options},
    node::{
        copy::{self, COPY_NODE},
        members::{self, FOUNDER},
    },
    raft::{self, Replay},
    snapshot::{self, install::InstallError},
};

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
    let is_new = is_empty(&disk.files()).map_err(StartError::Checkpoint)?;
    if settings.has_no_cluster() && is_new {
        return Err(StartError::NoCluster);
    }
    let read = match read(disk, settings).await {
        Err(error) if settings.copy.is_some() && error.is_damage() => {
            let files = disk.files();
            let cleared = cores::on_own_thread("copy", move || copy::clear(&files)).await;
            if !cleared.flatten().map_err(StartError::Checkpoint)? {
                return Err(error);
            }
            tracing::warn!(%error, "what this cache held is damaged: it begins anew");
            #[cfg(test)]
            BEGUN_ANEW.with_borrow_mut(|all| all.insert(settings.address.address.clone()));
            self::read(disk, settings).await?
        }
        read => read?,
    };
    let node = read.log.identity().node;
    match (node == COPY_NODE, settings.copy.is_some()) {
        (true, false) => return Err(StartError::Copy),
        (false, true) => return Err(StartError::NoCopy),
        _ => {}
    }
    if node == 0 && settings.has_no_cluster() {
        return Err(StartError::NoCluster);
    }
    let is_of_a_cluster = !settings.address.cluster_address.is_empty();
    if settings.founding == Founding::Now && is_of_a_cluster && !is_new && node != 0 {
        members::tell_without_effect("--found", read.log.identity());
    }
    let last = read.log.last().map_or(0, |last| last.index);
    tracing::info!(last, "log recovered");
    Ok(read)
}

/// Whether nothing was begun on a disk yet.
fn is_empty(files: &impl Files) -> io::Result<bool> {
    Ok(log::segments(files)?.is_empty() && store::names(files)?.is_empty())
}

/// Reads what a disk holds. Where the newest checkpoint is damaged, or that which the log goes on from is
/// missing, what is before it may do as well; else a member of a cluster has another one make it.
async fn read<D: Disk>(disk: &D, settings: &Settings) -> Result<Recovery<D>, StartError> {
    // What nobody has taken in yet has no number.
    let node = if settings.founding == Founding::Now { FOUNDER } else { 0 };
    let (identity, tenants) = match &settings.copy {
        Some(of) => copy::identity(disk, of).await.map_err(StartError::Checkpoint)?,
        None => (Identity { cluster: ClusterId(cores::uuid()), node }, None),
    };
    let options = settings.log_options(identity);
    let (files, tenants_of) = (disk.files(), || tenants.clone());
    let damaged = match Replay::begin(disk.files(), None) {
        Ok(begun) => match open(disk, &options, begun, tenants_of()).await {
            Err((newest, error @ OpenError::Purged(_))) => cannot_open(newest.as_ref(), error),
            opened => return opened.map_err(|(newest, error)| cannot_open(newest.as_ref(), error)),
        },
        Err(error) if raft::is_damage(&error) => {
            let newest = store::names(&files).map_err(StartError::Checkpoint)?.pop();
            if let Some(name) = &newest
                && let Ok(begun) = Replay::begin(disk.files(), Some(name))
                && let Ok(opened) = open(disk, &options, begun, tenants_of()).await
            {
                tracing::warn!(%error, "the log is whole without it, and is gone on from");
                let removed = files.remove(name).and_then(|()| sync_directory(&files));
                return removed.map_err(StartError::Checkpoint).map(|()| opened);
            }
            StartError::Checkpoint(error)
        }
        Err(error) => return Err(StartError::Checkpoint(error)),
    };
    if settings.copy.is_some() {
        return Err(damaged);
    }
    let why = damaged.to_string();
    match raft::fetch_missing_checkpoint(&files, &settings.dialer, &why).await {
        Ok(true) => {}
        Ok(false) => return Err(damaged),
        Err(error) => {
            let text = format!("{why}; {error}");
            return Err(StartError::Checkpoint(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
    }
    let begun = Replay::begin(disk.files(), None).map_err(StartError::Checkpoint)?;
    let opened = open(disk, &options, begun, tenants).await;
    opened.map_err(|(newest, error)| cannot_open(newest.as_ref(), error))
}

/// Opens the log that goes on from a checkpoint.
async fn open<D: Disk>(
    disk: &D,
    options: &Options,
    (newest, mut replay): (Option<CheckpointFile>, Replay<D::Files>),
    tenants: Option<Tenants>,
) -> Result<Recovery<D>, (Option<CheckpointFile>, OpenError)> {
    let options = following(newest.as_ref(), options.clone());
    match Log::open_into(disk.clone(), options, &mut replay).await {
        Ok(log) => Ok(Recovery { log, replay, newest, tenants }),
        Err(error) => Err((newest, error)),
    }
}

#[cfg(test)]
thread_local! {
    /// Caches that began anew at a start, by their addresses.
    static BEGUN_ANEW: std::cell::RefCell<std::collections::BTreeSet<String>> =
        std::cell::RefCell::default();
}

/// Whether the cache at that address began anew at its start, which is told once: a test knows whether
/// anything was damaged.
#[cfg(test)]
pub fn has_begun_anew(address: &str) -> bool {
    BEGUN_ANEW.with_borrow_mut(|all| all.remove(address))
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
