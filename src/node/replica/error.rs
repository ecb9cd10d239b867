//! Why a Raft core does not start.

use std::io;

use crate::{log::OpenError, raft};

/// Why a Raft core did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log is damaged or of another kind; nothing was changed.
    #[error(transparent)]
    Log(OpenError),
    /// The checkpoint of purged history cannot be used; nothing was changed.
    #[error(transparent)]
    Checkpoint(io::Error),
    /// The node must not go on with what the disk holds: it said so before.
    #[error("{0}")]
    Halted(String),
    /// It is a backup, which belongs to no node.
    #[error("the directory is a backup")]
    Backup,
    /// Raft did not start.
    #[error(transparent)]
    Raft(#[from] raft::StartError),
    /// The only member of its cluster does not lead it.
    #[error("consensus did not start in time")]
    NotInTime,
}
