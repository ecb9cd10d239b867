//! Why something stored was not read.

use super::damaged::Damaged;
use crate::sections::{Fault, Missing};

/// Why an index file was not read.
pub enum Stop {
    /// This must be brought into memory first.
    Missing(Missing),
    /// It is damaged.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Why a segment was not read.
pub enum Unread {
    /// This must be brought into memory first; what to say when the disk does not give it.
    Missing(Missing, Damaged),
    /// It is damaged.
    Damaged(Damaged),
}
