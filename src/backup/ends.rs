//! The two ends of a backup: what a node is to whoever copies its log, and what a place is to whoever
//! puts files there.

use std::io::{self, Read};

use bytes::Bytes;

use super::manifest::Manifest;
use crate::base::ids::{ClusterId, LogId, Timestamp};

/// A piece of a node's log.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Frames of applied entries.
    pub frames: Bytes,
    /// The last entry that the node has applied.
    pub applied: u64,
    /// The newest change then.
    pub last: u64,
    /// Its timestamp.
    pub last_at: Timestamp,
}

/// A part of a node's checkpoint.
#[derive(Clone, Debug)]
pub struct Part {
    /// The last entry that the checkpoint stands for.
    pub index: u64,
    /// The length of the whole.
    pub total: u64,
    /// The part.
    pub bytes: Bytes,
}

/// Where the log comes from. Calls wait, and try again what may pass.
pub trait Source {
    /// Why there is no answer.
    type Error: std::error::Error + 'static;

    /// Entries from the index `from` up to `to`: at least one where `must`, else nothing when
    /// there is none; the last entry that is purged, if that is not before `from`.
    ///
    /// # Errors
    /// When there is no answer.
    fn entries(
        &mut self,
        from: u64,
        to: Option<u64>,
        must: bool,
    ) -> Result<Result<Piece, LogId>, Self::Error>;

    /// A part, from that byte on, of the checkpoint that stands for entries up to `index`, or of
    /// any; nothing when that is not held.
    ///
    /// # Errors
    /// When there is no answer.
    fn checkpoint(&mut self, index: Option<u64>, from: u64) -> Result<Option<Part>, Self::Error>;

    /// The cluster that all answers are of.
    ///
    /// # Errors
    /// When there is no answer.
    fn cluster(&mut self) -> Result<ClusterId, Self::Error>;
}

/// Where the files go.
pub trait Target {
    /// Notes what is begun, where what is done only in part can be found.
    ///
    /// # Errors
    /// When it cannot be written.
    fn begin(&mut self, manifest: &Manifest) -> io::Result<()>;

    /// Takes a whole file in: durable on return.
    ///
    /// # Errors
    /// When it cannot be written, or `content` cannot be read; nothing of that name is there then.
    fn put(&mut self, name: &str, bytes: u64, content: &mut dyn Read) -> io::Result<()>;

    /// Takes in what the backup holds now: durable on return, and all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    fn end(&mut self, manifest: &Manifest) -> io::Result<()>;
}
