//! Why a log cannot be opened, or written.

use std::io;

use thiserror::Error;

use super::segment::file_name;
use crate::base::ids::{ClusterId, LogId, NodeId};

/// Why a log cannot be opened. Nothing was changed on disk, except in
/// [`OpenError::Io`], which may come after verification, when tails are cut.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The options break a bound.
    #[error("the log's options are wrong: {0}")]
    Options(&'static str),
    /// The disk failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
    /// Bytes that were durable are damaged or gone.
    #[error("the log is damaged: {file}, byte {offset}: {reason}")]
    Corrupt {
        /// The segment's file name.
        file: String,
        /// The offset of the group, or of the header, that is not sound.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Another format than this build's.
    #[error("{file} has log format {found}; this build reads formats up to {supported}")]
    Version {
        /// The segment's file name.
        file: String,
        /// The format found.
        found: u32,
        /// The format of this build.
        supported: u32,
    },
    /// The log of another cluster, or a segment of one.
    #[error("{file} belongs to cluster {found}, not to {expected}")]
    Cluster {
        /// The segment's file name.
        file: String,
        /// The cluster it names.
        found: ClusterId,
        /// The cluster that was expected.
        expected: ClusterId,
    },
    /// The log of another node, or a segment of one.
    #[error("{file} belongs to node {found}, not to {expected}")]
    Node {
        /// The segment's file name.
        file: String,
        /// The node it names.
        found: NodeId,
        /// The node that was expected.
        expected: NodeId,
    },
    /// There is no segment, although the log of a certain cluster is expected.
    #[error("there are no segments of the log of cluster {0}")]
    Missing(ClusterId),
    /// What stands for purged entries is missing.
    #[error("the log is purged up to entry {0}, and what stands for that is missing")]
    Purged(u64),
    /// The index of a segment, which was sound, cannot be taken in.
    #[error(
        "the index of {file} cannot be used: {reason}; without that file the next start makes it anew"
    )]
    Index {
        /// The segment.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that ends like a segment but is not named like one.
    #[error("{0} is not the name of a segment")]
    ForeignFile(String),
    /// The owner refused an entry.
    #[error("entry {id} cannot be replayed: {reason}")]
    Replay {
        /// The entry.
        id: LogId,
        /// What the owner said.
        reason: String,
    },
}

/// Why entries were not queued. None of them was.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LogError {
    /// A durable write or sync failed earlier; nothing is acknowledged any more.
    #[error("the log stopped after a failed write: {0}")]
    Poisoned(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// An entry does not follow the last one.
    #[error("entry {found} cannot follow: the next index is {expected}")]
    NotConsecutive {
        /// The index that should have come.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// An entry that no segment could hold.
    #[error("an entry of {bytes} bytes does not fit a segment, which takes {bytes_max}")]
    TooLarge {
        /// The payload's length.
        bytes: usize,
        /// The longest payload that fits.
        bytes_max: usize,
    },
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match error {
            LogError::NotConsecutive { .. } | LogError::TooLarge { .. } => {
                io::ErrorKind::InvalidInput
            }
            LogError::Closed => io::ErrorKind::BrokenPipe,
            LogError::Poisoned(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Bytes of a segment are not sound.
pub(super) fn corrupt(sequence: u64, offset: u64, reason: &str) -> OpenError {
    OpenError::Corrupt { file: file_name(sequence), offset, reason: reason.into() }
}

/// The disk failed at `what`.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}
