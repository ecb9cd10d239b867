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
    /// It is empty, and nothing says how the node comes to belong to a cluster.
    #[error("the directory is empty, and there is no cluster to belong to")]
    NoCluster,
    /// It is a backup, which belongs to no node.
    #[error("the directory is a backup")]
    Backup,
    /// It is a copy of another history, which takes no writes of its own.
    #[error("the directory is that of a copy")]
    Copy,
    /// It is a node's, and no copy.
    #[error("the directory is that of a node")]
    NoCopy,
    /// What a copy holds cannot be taken up.
    #[error("{0}")]
    Unusable(String),
    /// Raft did not start.
    #[error(transparent)]
    Raft(#[from] raft::StartError),
    /// The only member of its cluster does not lead it.
    #[error("consensus did not start in time")]
    NotInTime,
}

impl StartError {
    /// Whether that says that something on the disk is not as it was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(error) => {
                matches!(error, OpenError::Corrupt { .. } | OpenError::Index { .. })
            }
            Self::Checkpoint(error) => raft::is_damage(error),
            _ => false,
        }
    }
}
