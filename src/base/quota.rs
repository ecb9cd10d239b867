//! How much of a node a tenant may use.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// What a tenant may use of each node at most, each unlimited where it is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TenantQuota {
    /// Changes that are written, each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_per_second: Option<NonZeroU64>,
    /// Requests that read, each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_per_second: Option<NonZeroU64>,
    /// Long-polls and streams at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<NonZeroU64>,
    /// Bytes of bodies and answers, each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<NonZeroU64>,
}

impl TenantQuota {
    /// Bytes of its byte form.
    pub const BYTES: usize = 32;
    /// Its members as they are named, and the most that each may be: no node does more.
    pub const MEMBERS: [(&'static str, u64); 4] = [
        ("writes_per_second", 1_000_000_000),
        ("reads_per_second", 1_000_000_000),
        ("waits", 1_000_000_000),
        ("bytes_per_second", 1_000_000_000_000),
    ];

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.members().iter().all(Option::is_none)
    }

    /// In the order of [`MEMBERS`](Self::MEMBERS).
    #[must_use]
    pub fn members(&self) -> [Option<NonZeroU64>; 4] {
        [self.writes_per_second, self.reads_per_second, self.waits, self.bytes_per_second]
    }

    /// Of what [`members`](Self::members) gives.
    #[must_use]
    pub fn of_members(members: [Option<NonZeroU64>; 4]) -> Self {
        let [writes_per_second, reads_per_second, waits, bytes_per_second] = members;
        Self { writes_per_second, reads_per_second, waits, bytes_per_second }
    }

    /// Its byte form: its members in their order, little-endian, 0 for none.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (place, member) in bytes.chunks_exact_mut(8).zip(self.members()) {
            place.copy_from_slice(&member.map_or(0, NonZeroU64::get).to_le_bytes());
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let (numbers, _) = bytes.as_chunks::<8>();
        Self::of_members(std::array::from_fn(|at| {
            numbers.get(at).copied().map(u64::from_le_bytes).and_then(NonZeroU64::new)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back() {
        for numbers in [[0; 4], [1, 2, 3, 4], [0, 7, 0, u64::MAX], [u64::MAX; 4]] {
            let quota = TenantQuota::of_members(numbers.map(NonZeroU64::new));
            assert_eq!(TenantQuota::from_bytes(quota.to_bytes()), quota);
            assert_eq!(quota.members().map(|it| it.map_or(0, NonZeroU64::get)), numbers);
            assert_eq!(quota.is_unlimited(), numbers == [0; 4]);
        }
        let quota = TenantQuota { waits: NonZeroU64::new(3), ..TenantQuota::default() };
        assert_eq!(quota.to_bytes()[16..24], 3u64.to_le_bytes());
        assert_eq!(serde_json::to_string(&quota).unwrap(), r#"{"waits":3}"#);
    }
}
