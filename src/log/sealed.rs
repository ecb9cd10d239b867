//! Segments that are not written any more.

use super::{Place, format::HardState, segment::file_name};
use crate::base::ids::LogId;

/// A segment that is complete and never written again, as it was when it was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its sequence number.
    pub sequence: u64,
    /// The number that its groups repeat.
    pub nonce: u64,
    /// The entries that it held and that were part of the log then.
    pub entries: Vec<(LogId, Place)>,
    /// The last entry before these that was part of the log then.
    pub kept: Option<u64>,
    /// The number of the group that follows it.
    pub next_group: u64,
    /// The checksum that the group after it continues.
    pub chain: u32,
    /// What its last group bears.
    pub state: HardState,
}

impl Sealed {
    /// Its file's name in the data directory.
    #[must_use]
    pub fn file(&self) -> String {
        file_name(self.sequence)
    }
}
