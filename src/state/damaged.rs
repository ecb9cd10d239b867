//! Stored changes that cannot be read.

use crate::base::ids::ChangeId;

/// Stored changes that are not what was written, or that the disk does not give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset}: {reason}")]
pub struct Damaged {
    /// The file that they are in.
    pub file: String,
    /// Where what holds them starts in it.
    pub offset: u64,
    /// The first change that cannot be read there.
    pub first: ChangeId,
    /// The last one.
    pub last: ChangeId,
    /// What is wrong.
    pub reason: String,
}
