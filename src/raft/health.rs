//! What may keep a node from doing what a leader has to.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

/// Why a node cannot do what a leader has to. The later, the worse.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum Ailment {
    /// It has no further segment for its log: soon, or already, it takes no more writes.
    #[error("it cannot prepare a further part of its log")]
    NoSegment,
    /// Its disk does not answer.
    #[error("its disk does not answer")]
    Stalled,
    /// A write or a sync failed: it never acknowledges anything again.
    #[error("its log failed")]
    Failed,
}

/// The health of a node, as all parts of its replica see it.
pub(super) type Health = Cell<Option<Ailment>>;
