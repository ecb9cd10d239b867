//! Batches that other nodes and the disk send, applied.

use uuid::Uuid;

use super::{index::Catalog, machine::State};
use crate::base::batch;

/// A batch that is applied to an empty state, twice.
///
/// # Panics
/// When it is decided in two ways, or more or fewer ids are given than changes
/// were accepted.
pub fn batch(input: &[u8]) {
    let Some(batch) = batch::fuzzing::batch(input) else { return };
    let decide = || {
        let mut state = State::default();
        let applied = state.apply(batch.clone());
        assert_eq!(applied.batch.iter().count() as u64, state.last().0);
        (applied.decisions, state.position())
    };
    assert_eq!(decide(), decide());
}

/// A catalog of one tenant, `t`, with one collection, `c`.
pub(crate) fn catalog(tenant: Uuid, collection: Uuid) -> Catalog {
    let catalog = Catalog::default();
    catalog.add_tenant(tenant, "t");
    if let Some(tenant) = catalog.tenant(tenant) {
        catalog.add_collection(collection, &tenant, "c");
    }
    catalog
}
