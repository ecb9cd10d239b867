//! What names a list of changes in the index.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A list: a tenant's or a collection's, by its UUID, or that of a tag, by the first half of the
/// SHA-256 of its stored spelling. The same on every node, since it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListKey(pub(super) u128);

impl ListKey {
    /// The changes that bear a tag, given its stored spelling.
    #[must_use]
    pub fn tag(spelling: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(spelling).into();
        let half = digest.first_chunk().expect("16 of 32 bytes");
        Self(u128::from_le_bytes(*half))
    }

    /// The tenant or collection that this would be the list of.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        Uuid::from_u128(self.0)
    }
}

impl From<Uuid> for ListKey {
    fn from(id: Uuid) -> Self {
        Self(id.as_u128())
    }
}
