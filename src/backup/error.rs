//! Why a backup is not made.

use std::io;

use super::held::NotABackup;
use crate::{
    base::ids::{ClusterId, LogId},
    io::lock::LockError,
};

/// Why a backup was not completed. What was there before is still there.
#[derive(Debug, thiserror::Error)]
pub enum BackupError<E: std::error::Error + 'static> {
    /// The node gave no answer, or refused.
    #[error(transparent)]
    Source(E),
    /// The place where the backup is to be is not one.
    #[error(transparent)]
    Held(#[from] NotABackup),
    /// Another run is at it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file could not be written.
    #[error("{0}: {1}")]
    Write(String, io::Error),
    /// The node is of another cluster.
    #[error(
        "it is a backup of cluster {held}, but the node is of cluster {found}: nothing was changed; \
         another cluster is backed up to a place of its own"
    )]
    OtherCluster {
        /// That of the backup.
        held: ClusterId,
        /// That of the node.
        found: ClusterId,
    },
    /// The node has another entry where the backup has its last.
    #[error(
        "it is a backup of another history: its last entry is {0}, and the node has another one \
         there; nothing was changed; this history is backed up to a place of its own"
    )]
    OtherHistory(LogId),
    /// The node does not hold any more what follows on the backup.
    #[error(
        "it goes up to entry {held}, and the node holds only entries after {purged}, since history \
         was purged: nothing was changed; begin a new backup elsewhere, or ask a node that holds more"
    )]
    Purged {
        /// The last entry of the backup.
        held: LogId,
        /// The last entry that the node does not hold.
        purged: LogId,
    },
    /// The node purges history faster than its checkpoint was read.
    #[error("the node purges history again and again while its checkpoint is read: try again")]
    Overtaken,
    /// What arrived is not what was sent.
    #[error("what the node sent is damaged or is no part of its log: {0}")]
    Damaged(String),
}
