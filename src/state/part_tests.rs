//! Parts of random batches, applied one after the other, beside the batches themselves.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::{Cursor, Index, State, index::Reached, model_tests::batches};
use crate::base::{
    batch::{Action, ActionRef, Batch, NumberedBatch, Selection},
    ids::ChangeId,
};

/// Every second tenant, or fourth.
struct Some {
    of: u128,
    index: std::sync::Arc<Index>,
}

impl Selection for Some {
    fn has_tenant(&self, tenant: Uuid) -> bool {
        tenant.as_u128().is_multiple_of(self.of)
    }

    fn action(&self, action: &ActionRef<'_>) -> Option<Action> {
        let catalog = &self.index.catalog;
        let is_here = match *action {
            ActionRef::CreateTenant(id, _) => self.has_tenant(id) && catalog.tenant(id).is_some(),
            ActionRef::CreateCollection(tenant, id, _) => {
                self.has_tenant(tenant) && catalog.collection(id).is_some()
            }
            ActionRef::Redact(_) => true,
            _ => unreachable!("there is none"),
        };
        is_here.then(|| action.to_action()).flatten()
    }
}

/// The changes of these tenants in a batch: text, and what was replaced.
fn own(some: &Some, batch: &NumberedBatch) -> Vec<(u64, Vec<u8>, u64)> {
    let own = batch
        .iter()
        .filter(|(_, change)| change.tenant().is_some_and(|tenant| some.has_tenant(tenant)));
    own.map(|(id, it)| (id.0, it.suffix.to_vec(), it.previous().0)).collect()
}

fn ids(state: &State, mut cursor: Cursor) -> Vec<u64> {
    let (mut ids, mut from) = (Vec::new(), ChangeId(1));
    while let Ok(Some(id)) | Err(Reached::Id(id)) =
        cursor.next(state.index(), from, state.last(), &mut usize::MAX.clone())
    {
        ids.push(id.0);
        from = id.next();
    }
    ids
}

/// What there is of these tenants: names, lists, and keys with their versions.
fn held(some: &Some, state: &State) -> BTreeMap<String, Vec<u64>> {
    let catalog = &state.index().catalog;
    let mut found = BTreeMap::new();
    let tenants = catalog.tenants_after(None, usize::MAX).entries;
    for tenant in tenants.iter().filter(|tenant| some.has_tenant(tenant.id)) {
        let cursor = Cursor::tenant(tenant.clone(), &[]);
        found.insert(format!("{} {}", tenant.id, tenant.name), ids(state, cursor));
    }
    for id in catalog.collection_ids() {
        let Option::Some(collection) = catalog.collection(id) else { continue };
        if some.has_tenant(collection.tenant) {
            let cursor = Cursor::collection(collection.clone(), &[]);
            found.insert(format!("{id} {}", collection.name), ids(state, cursor));
            let keys = collection.keys_after(None, "", usize::MAX).entries;
            found.insert(format!("{id} keys"), keys.into_iter().map(|id| id.0).collect());
        }
    }
    found
}

proptest! {
    /// Parts are made of batches at once, or when all are applied; of parts, too.
    #[test]
    fn parts_come_to_what_the_batches_do(batches in batches(), late: bool) {
        let (mut whole, mut half, mut quarter) =
            (State::default(), State::default(), State::default());
        let select = |of, state: &State| Some { of, index: state.index().clone() };
        let mut applied: Vec<NumberedBatch> = Vec::new();
        let follow = |of: u128, from: &State, batch: &NumberedBatch, to: &mut State| {
            let some = select(of, from);
            let part = batch.batch.part(&batch.skips, &batch.previous, &some);
            let part = Batch::parse(part).unwrap();
            let taken = to.apply(part).batch;
            assert_eq!((taken.first, taken.last()), (batch.first, batch.last()));
            assert_eq!(own(&some, &taken), own(&some, batch));
            assert_eq!(taken.iter().count(), own(&some, batch).len(), "others are left out");
            let shown = (taken.first.0..=taken.last().0).map(ChangeId);
            let shown = shown.filter(|id| !taken.change(*id).is_left_out());
            assert!(shown.eq(taken.iter().map(|(id, _)| id)));
            taken
        };
        for batch in batches {
            let batch = whole.apply(batch).batch;
            if late {
                applied.push(batch);
            } else {
                let part = follow(2, &whole, &batch, &mut half);
                follow(4, &half, &part, &mut quarter);
            }
        }
        for batch in applied {
            let part = follow(2, &whole, &batch, &mut half);
            follow(4, &whole, &part, &mut quarter);
        }
        for (of, state) in [(2, &half), (4, &quarter)] {
            prop_assert_eq!(state.position(), whole.position());
            prop_assert_eq!(state.index().applying_up_to(), whole.index().applying_up_to());
            let some = select(of, &whole);
            prop_assert_eq!(held(&some, state), held(&some, &whole));
            prop_assert_eq!(held(&select(1, &whole), state), held(&some, &whole));
        }
    }
}
