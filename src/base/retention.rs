//! How much of its history a tenant keeps.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::ids::{ChangeId, Timestamp};

/// What of a tenant's changes stays in its lists: all that any of these asks for, and everything
/// where none is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TenantRetention {
    /// So many of its newest changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<NonZeroU64>,
    /// Those of so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<NonZeroU64>,
}

impl TenantRetention {
    /// Bytes of its byte form.
    pub const BYTES: usize = 16;

    /// Whether everything is kept.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.changes.is_none() && self.age.is_none()
    }

    /// What was written up to then is old enough to go, at `now`; everything is where no age is
    /// set.
    #[must_use]
    pub fn old_at(&self, now: Timestamp) -> Option<Timestamp> {
        let age = self.age?.get().saturating_mul(1_000_000);
        Some(Timestamp(now.0.saturating_sub(age)))
    }

    /// Its byte form: the number of changes and that of seconds, little-endian, 0 for none.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let number = |number: Option<NonZeroU64>| u128::from(number.map_or(0, NonZeroU64::get));
        (number(self.changes) | number(self.age) << 64).to_le_bytes()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let both = u128::from_le_bytes(bytes);
        let (changes, age) = (both as u64, (both >> 64) as u64);
        Self { changes: NonZeroU64::new(changes), age: NonZeroU64::new(age) }
    }
}

/// Where the lists of a tenant are to begin from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// What the tenant must still be to keep.
    pub retention: TenantRetention,
    /// The lowest change that is still in them.
    pub first: ChangeId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_says_what_is_old() {
        for (changes, age) in [(0, 0), (7, 0), (0, 9), (u64::MAX, u64::MAX)] {
            let one =
                TenantRetention { changes: NonZeroU64::new(changes), age: NonZeroU64::new(age) };
            assert_eq!(TenantRetention::from_bytes(one.to_bytes()), one);
            assert_eq!(one.keeps_all(), changes == 0 && age == 0);
        }
        let week = TenantRetention { age: NonZeroU64::new(7), ..TenantRetention::default() };
        assert_eq!(week.old_at(Timestamp(9_000_001)), Some(Timestamp(2_000_001)));
        assert_eq!(week.old_at(Timestamp(1)), Some(Timestamp(0)));
        assert_eq!(TenantRetention::default().old_at(Timestamp(1)), None);
    }
}
