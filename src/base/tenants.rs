//! The tenants that a copy is of.

use std::sync::Arc;

use uuid::Uuid;

/// Some tenants, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants(Arc<[Uuid]>);

impl Tenants {
    /// These.
    #[must_use]
    pub fn new(mut all: Vec<Uuid>) -> Self {
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Uuid] {
        &self.0
    }

    /// Whether one of them is that.
    #[must_use]
    pub fn has(&self, tenant: Uuid) -> bool {
        self.0.binary_search(&tenant).is_ok()
    }

    /// Whether all `others` are among them.
    #[must_use]
    pub fn has_all(&self, others: &Self) -> bool {
        others.all().iter().all(|other| self.has(*other))
    }
}
