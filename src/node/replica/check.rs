//! What a data directory holds that no node has open, verified from its first byte to its last.
//! Nothing in it is changed.

use std::io;

use crate::{
    backup::{self, Manifest},
    base::ids::{ChangeId, ClusterId, LogId},
    checkpoint::CheckpointFile,
    io::{Disk, Files, cores},
    log::{self, Behind, Identity, OpenError, Options, Verified},
    node::{halt, members::FOUNDER},
    raft::{changes_in, verify_indexes},
    sections::Fault,
    snapshot,
};

use super::{
    error::StartError,
    recovery::{begin, cannot_open, following},
};

/// What a check comes to.
#[derive(Debug)]
pub enum Checked {
    /// Everything is as it was written.
    Sound(Box<Sound>),
    /// Something is not.
    Damaged(Box<Damage>),
}

/// A data directory that a node may be started on.
#[derive(Debug)]
pub struct Sound {
    /// Its log.
    pub log: Verified,
    /// The checkpoint that the log goes on from.
    pub checkpoint: Option<CheckpointFile>,
    /// The newest committed change, and the oldest held.
    pub changes: (ChangeId, ChangeId),
    /// The newest entry that it says is committed.
    pub committed: Option<LogId>,
    /// Why no node is to be started on it all the same.
    pub halted: Option<String>,
    /// It is a backup, of which this belongs to it.
    pub backup: Option<Manifest>,
    /// The first index file or whole state that is damaged or does not belong where it is, and what is
    /// wrong with it: nothing is lost with it.
    pub spoiled: Option<(String, Fault)>,
}

/// A data directory that no node starts on.
#[derive(Debug)]
pub struct Damage {
    /// What is wrong, and where.
    pub error: StartError,
    /// How far the log is sound, by what it says to be committed: entry and change.
    pub sound: (Option<LogId>, ChangeId),
    /// What is lost when the log is cut where it is damaged, and how many changes at most.
    pub behind: Option<(Behind, u64)>,
    /// It is a backup.
    pub is_backup: bool,
}

/// Verifies what is on `disk`; nothing when no log is there.
///
/// # Errors
/// When the disk cannot be read, a snapshot is half installed, or what is there is of a backup that was
/// never completed.
pub async fn check<D: Disk>(disk: &D) -> Result<Option<Checked>, StartError> {
    let files = disk.files();
    let halted = halt::reason(&files).map_err(StartError::Checkpoint)?;
    let is_backup = backup::is_one(&files).map_err(StartError::Checkpoint)?;
    if backup::is_unfinished(&files).map_err(StartError::Checkpoint)? {
        return Err(StartError::Backup);
    }
    if snapshot::verify(&files).map_err(StartError::Checkpoint)? {
        let text = "a snapshot is half installed: the node goes on with that when it is started";
        return Err(StartError::Checkpoint(io::Error::other(text)));
    }
    let damaged = |error, sound, behind| {
        Ok(Some(Checked::Damaged(Box::new(Damage { error, sound, behind, is_backup }))))
    };
    let (newest, mut replay) = match begin(&files) {
        Ok(begun) => begun,
        Err(error) => return damaged(error, (None, ChangeId::ZERO), None),
    };
    let identity = Identity { cluster: ClusterId(cores::uuid()), node: FOUNDER };
    let options = following(newest.as_ref(), Options::new(identity));
    let read = log::check(disk, &options, &mut replay);
    let error = match read.await {
        Ok(Some(log)) => {
            let (changes, committed) = ((replay.last(), replay.first()), replay.applied());
            let backup = match cores::off_core(move || manifest(&files, committed)).await {
                Ok(backup) => backup,
                Err(error) => return damaged(error, (committed, changes.0), None),
            };
            let indexes = disk.files();
            let spoiled = cores::off_core(move || verify_indexes(&indexes)).await;
            let spoiled = spoiled.map_err(StartError::Checkpoint)?;
            let checkpoint = newest;
            let sound = Sound { log, checkpoint, changes, committed, halted, backup, spoiled };
            return Ok(Some(Checked::Sound(Box::new(sound))));
        }
        Ok(None) if newest.is_none() => return Ok(None),
        Ok(None) => OpenError::Missing(newest.as_ref().map_or(identity.cluster, |c| c.cluster)),
        Err(error @ OpenError::Io { .. }) => return Err(StartError::Log(error)),
        Err(error) => error,
    };
    let behind = match &error {
        OpenError::Corrupt { file, offset, .. } => {
            let mut changes = 0;
            let behind = log::behind(&files, file, *offset, |entry| changes += changes_in(entry));
            Some((behind.map_err(StartError::Checkpoint)?, changes))
        }
        _ => None,
    };
    damaged(cannot_open(newest.as_ref(), error), (replay.applied(), replay.last()), behind)
}

/// The manifest of a backup, the files of which go up to the entry `last`.
fn manifest(files: &impl Files, last: Option<LogId>) -> Result<Option<Manifest>, StartError> {
    let unsound = |text| StartError::Checkpoint(io::Error::new(io::ErrorKind::InvalidData, text));
    let manifest = backup::verify(files).map_err(|error| unsound(error.to_string()))?;
    match manifest.as_ref().and_then(|manifest| manifest.entry) {
        Some(entry) if Some(entry) > last => {
            Err(unsound(format!("entries up to {entry} belong to it, and are missing")))
        }
        _ => Ok(manifest),
    }
}
