//! The durable log: Raft entries, votes and marks in segment files, written by
//! group commit and verified in full when opened. The format and the recovery
//! rules stand in [`mod@format`] and `docs/disk-format.md`.
//!
//! A [`Log`] belongs to one core and knows no runtime: the owner spawns the
//! futures it hands out, [`Log::run`] above all, without which nothing becomes
//! durable. Only [`crate::io::Disk`] is used to reach the disk.

mod cursor;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handle;
pub mod offline;
mod open;
mod queue;
mod read;
pub mod recover;
mod segment;
mod shared;
mod spare;
pub mod table;
mod writer;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod planted_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod testing;

use crate::{
    base::ids::{ClusterId, LogId, NodeId},
    io::cores,
};
use bytes::Bytes;
pub use format::{Frame, decode_frame, entry_head};
pub use handle::Log;
pub use segment::file_name;
use serde::{Deserialize, Serialize};
use std::io;
use thiserror::Error;

/// The shortest segment.
pub const SEGMENT_BYTES_MIN: u64 = 32 * 1024;
/// The longest segment: recovery holds one in memory.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster whose history it holds.
    pub cluster: ClusterId,
    /// The node that writes it.
    pub node: NodeId,
}

/// A vote as Raft saves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The term voted in.
    pub term: u64,
    /// The candidate voted for.
    pub node: NodeId,
    /// Whether a quorum is known to have granted it.
    pub committed: bool,
}

/// An entry of the Raft log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its term and index.
    pub id: LogId,
    /// What the payload is; the log does not look at it.
    pub kind: u8,
    /// The bytes it carries.
    pub payload: Bytes,
}

/// Where the payload of a durable entry lies, for readers that map segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The sequence number of the segment.
    pub segment: u64,
    /// Bytes from the start of the file.
    pub offset: u32,
    /// Length of the payload.
    pub bytes: u32,
}

/// A segment that is complete and never written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its sequence number.
    pub sequence: u64,
    /// Its file's name in the data directory.
    pub file: String,
    /// The first and the last index of the entries it holds and that were still
    /// part of the log when it was sealed; none when there are no such entries.
    pub indexes: Option<(u64, u64)>,
}

/// How far a log's writer is, to be compared with what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of the next group: one more with each durable write.
    pub groups: u64,
    /// Pieces of further segments that were filled.
    pub pieces: u64,
    /// Something is being written.
    pub is_writing: bool,
    /// Something is to become durable and is not yet.
    pub is_waited_for: bool,
}

/// How to open a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// The length of new segments: a multiple of the block, from
    /// [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`]. Segments that exist keep
    /// theirs.
    pub segment_bytes: u64,
    /// A group stops growing at this many bytes; one larger entry still makes a
    /// group of its own.
    pub group_bytes: usize,
    /// Who an empty directory will belong to.
    pub identity: Identity,
    /// Refuse the log of another cluster.
    pub expect: Option<ClusterId>,
    /// Refuse the log of another node.
    pub expect_node: Option<NodeId>,
    /// Refuse a log that is purged beyond this index, or at all when there is none: nothing
    /// stands for what was purged.
    pub purged_max: Option<u64>,
    /// Bytes that preparing a segment leaves free on the disk.
    pub free_margin_bytes: u64,
    /// What the segments' nonces follow from; random unless a run must repeat.
    pub nonce_seed: u64,
}

impl Options {
    /// The defaults: segments of 64 MiB, groups of 4 MiB, and 64 MiB left free.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            group_bytes: 4 * 1024 * 1024,
            identity,
            expect: None,
            expect_node: None,
            purged_max: Some(u64::MAX),
            free_margin_bytes: 64 * 1024 * 1024,
            nonce_seed: cores::random(),
        }
    }
}

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
    #[error("{file} has log format {found}; this build reads format {supported}")]
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
