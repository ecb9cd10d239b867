//! How far the list goes.

use serde::{Deserialize, Serialize};

use crate::base::ids::{ChangeId, Timestamp};

/// How far the list goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The newest id given. Ids are dense, so it is also the number of changes ever
    /// accepted.
    pub last: ChangeId,
    /// The newest timestamp. It never decreases.
    pub last_at: Timestamp,
}
