//! What a log holds, and how it is opened.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    base::ids::{ClusterId, LogId, NodeId},
    io::cores,
};

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

impl Entry {
    /// What stands in the place of a purged entry, which nobody reads: zeros of that length.
    #[must_use]
    pub fn void(id: LogId, bytes: u32) -> Self {
        Self { id, kind: 0, payload: vec![0; bytes as usize].into() }
    }
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

/// How far a log's writer and its readers are, to be compared with what it was before.
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
    /// Somebody waits to append what there is no room for yet.
    pub lacks_room: bool,
    /// Reads of entries from segments that the disk has answered.
    pub reads: u64,
    /// Entries are being read from a segment.
    pub is_reading: bool,
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
