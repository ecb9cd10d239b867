//! What a data directory holds that no node has open, verified from its first byte to its last.
//! Nothing in it is changed.

use crate::{
    base::ids::{ChangeId, ClusterId, LogId},
    checkpoint::CheckpointFile,
    io::{Disk, cores},
    log::{self, Behind, Identity, OpenError, Options, Verified},
    node::halt,
    raft::changes_in,
};

use super::{
    error::StartError,
    recovery::{FOUNDER, begin, cannot_open, following},
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
}

/// Verifies what is on `disk`; nothing when no log is there.
///
/// # Errors
/// When the disk cannot be read.
pub async fn check<D: Disk>(disk: &D) -> Result<Option<Checked>, StartError> {
    let files = disk.files();
    let halted = halt::reason(&files).map_err(StartError::Checkpoint)?;
    let (newest, mut replay) = match begin(&files) {
        Ok(begun) => begun,
        Err(error) => {
            let sound = (None, ChangeId::ZERO);
            return Ok(Some(Checked::Damaged(Box::new(Damage { error, sound, behind: None }))));
        }
    };
    let identity = Identity { cluster: ClusterId(cores::uuid()), node: FOUNDER };
    let options = following(newest.as_ref(), Options::new(identity));
    let read = log::check(disk, &options, |entry, place| {
        replay.entry(entry, place).map_err(|error| error.to_string())
    });
    let error = match read.await {
        Ok(Some(log)) => {
            let changes = (replay.last(), replay.first());
            let committed = replay.applied();
            let sound = Sound { log, checkpoint: newest, changes, committed, halted };
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
    let sound = (replay.applied(), replay.last());
    let error = cannot_open(newest.as_ref(), error);
    Ok(Some(Checked::Damaged(Box::new(Damage { error, sound, behind }))))
}
