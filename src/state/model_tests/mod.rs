//! Random commands in random batches against a model that keeps everything in
//! the plainest way.

mod model;
mod steps;

use std::ops::Range;

use proptest::prelude::*;

use self::{
    model::Model,
    steps::{KEYS, Step, steps, tags_of},
};
use super::{
    Cursor, State,
    index::{ListKey, Reached},
    testing::batch_of,
};
use crate::base::{
    batch::{Batch, Command},
    ids::{ChangeId, Timestamp},
    outcome::{Decision, Effect},
};

/// Random batches that mostly make sense one after the other.
pub(crate) fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let cuts = proptest::collection::vec(0usize..120, 0..60);
    (steps(), cuts).prop_map(|(steps, cuts)| {
        let chunks = steps.chunk_by(|a, b| a.hour == b.hour && !cuts.contains(&a.number));
        chunks.map(batch).collect()
    })
}

/// The batch of steps of one hour.
fn batch(steps: &[Step]) -> Batch {
    let commands: Vec<Command> = steps.iter().map(Step::command).collect();
    batch_of(&commands, steps[0].hour * 3_600_000_000)
}

/// Everything that a state was seen to decide.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    decisions: Vec<Decision>,
    /// Ids, suffixes and what was replaced, as the batches give them.
    changes: Vec<(u64, Vec<u8>, u64)>,
}

/// Applies `steps` in batches that end with each hour and at each of `cuts`.
fn run(steps: &[Step], cuts: &[usize]) -> (State, Seen) {
    let mut state = State::default();
    let mut seen = Seen { decisions: Vec::new(), changes: Vec::new() };
    for steps in steps.chunk_by(|a, b| a.hour == b.hour && !cuts.contains(&a.number)) {
        let commands: Vec<Command> = steps.iter().map(Step::command).collect();
        let applied = state.apply(batch_of(&commands, steps[0].hour * 3_600_000_000));
        let mut next = applied.batch.first.0;
        seen.decisions.extend(applied.decisions.unwrap_or_else(|| {
            let counts = commands.iter().map(Command::changes);
            let effects = counts.map(|count| {
                let first = ChangeId(next);
                next += u64::from(count);
                Ok(Effect::Changes { first, count, replaced: false }).into()
            });
            effects.collect()
        }));
        let changes = applied
            .batch
            .iter()
            .map(|(id, change)| (id.0, change.suffix.to_vec(), change.previous().0));
        seen.changes.extend(changes);
        assert_eq!(state.last().0 as usize, seen.changes.len(), "ids are dense");
        assert_eq!(state.index().applying_up_to(), state.last());
    }
    (state, seen)
}

fn ids(state: &State, mut cursor: Cursor, range: Range<u64>) -> Vec<u64> {
    let (mut ids, mut from, last) = (Vec::new(), ChangeId(range.start), ChangeId(range.end - 1));
    loop {
        match cursor.next(state.index(), from, last, &mut 2) {
            Ok(Some(id)) => {
                ids.push(id.0);
                from = id.next();
            }
            Ok(None) => return ids,
            Err(Reached::Id(reached)) => from = reached,
            Err(Reached::Unread(_)) => unreachable!("all is in memory"),
        }
    }
}

/// Compares every list of `state`, from and up to some change, with the model.
fn check_lists(state: &State, model: &Model, range: Range<u64>, tags: &[&str]) {
    let catalog = &state.index().catalog;
    let spelled = |tag: &&str| ListKey::tag(serde_json::to_string(tag).unwrap().as_bytes());
    let set: Vec<ListKey> = tags.iter().map(spelled).collect();
    for &tenant in model.tenants.values() {
        let cursor = Cursor::tenant(catalog.tenant(tenant).unwrap(), &set);
        let want = model.scan(range.clone(), tags, |place| place.tenant == Some(tenant));
        assert_eq!(ids(state, cursor, range.clone()), want);
    }
    for &collection in model.collections.values() {
        let cursor = Cursor::collection(catalog.collection(collection).unwrap(), &set);
        let want = model.scan(range.clone(), tags, |place| place.collection == Some(collection));
        assert_eq!(ids(state, cursor, range.clone()), want);
    }
    if !tags.is_empty() {
        let want = model.scan(range.clone(), tags, |_| true);
        assert_eq!(ids(state, Cursor::tagged(&set), range), want);
    }
}

/// Compares every sorted listing, taken `count` at a time, with the model.
fn check_listings(state: &State, model: &Model, after: &str, prefix: &str, count: usize) {
    let catalog = &state.index().catalog;
    assert_eq!(catalog.counts(), (model.tenants.len(), model.collections.len()));
    let (mut names, mut from) = (Vec::new(), Some(Box::from("")));
    while let Some(after) = from {
        let slice = catalog.tenants_after(Some(&after), count);
        assert!(slice.entries.len() <= count);
        names.extend(slice.entries.iter().map(|tenant| (tenant.name.to_string(), tenant.id)));
        from = slice.next;
    }
    let want: Vec<_> = model.tenants.iter().map(|(name, id)| (name.to_string(), *id)).collect();
    assert_eq!(names, want);
    for (&(tenant, name), &id) in &model.collections {
        let tenant = catalog.tenant(tenant).unwrap();
        assert_eq!(tenant.collection(name).unwrap().id, id);
        let listed = tenant.collections_after(None, 10).entries;
        let names: Vec<&str> = listed.iter().map(|collection| &*collection.name).collect();
        let of_tenant = model.collections.keys().filter(|(of, _)| *of == tenant.id);
        assert_eq!(names, of_tenant.map(|(_, name)| *name).collect::<Vec<_>>());

        let collection = catalog.collection(id).unwrap();
        let (mut found, mut from) = (Vec::new(), Some(Box::from(after)));
        while let Some(after) = from {
            let slice = collection.keys_after(Some(&after), prefix, count);
            assert!(slice.entries.len() <= count);
            found.extend(slice.entries.iter().map(|id| id.0));
            from = slice.next;
        }
        let live = model.keys.iter().filter(|((of, _), _)| *of == id);
        let wanted = live.clone().filter(|((_, key), _)| key.starts_with(prefix) && *key > after);
        assert_eq!(found, wanted.map(|(_, id)| *id).collect::<Vec<_>>());
        assert_eq!(collection.keys(), live.clone().count());
        for ((_, key), current) in live {
            assert_eq!(collection.current(key), Some(ChangeId(*current)));
        }
        let all = collection.keys_after(None, "", KEYS.len());
        assert_eq!((all.entries.len(), all.next), (collection.keys(), None));
    }
}

/// Compares what is due, and when, with the model.
fn check_due(state: &State, model: &Model) {
    let (catalog, due) = (&state.index().catalog, model.due());
    let stamp = |hour: u64| Timestamp(hour * 3_600_000_000);
    assert_eq!(catalog.expiring(), due.len());
    assert_eq!(catalog.next_due(), due.first().map(|(hour, _)| stamp(*hour)));
    for (hour, id) in &due {
        let found = catalog.due(stamp(*hour), usize::MAX);
        let version = found.iter().find(|due| due.id.0 == *id).expect("it is due");
        let collection = catalog.collection(version.collection).expect("it is there");
        assert_eq!(collection.current(&version.key), Some(version.id));
        assert_eq!(catalog.expires_at(&collection, version.id), Some(stamp(*hour)));
        let before = catalog.due(Timestamp(stamp(*hour).0 - 1), usize::MAX);
        assert!(before.iter().all(|due| due.id.0 != *id), "{id} is not due before");
    }
}

proptest! {
    #[test]
    fn commands_are_decided_as_by_the_model_however_they_are_batched(
        steps in steps(),
        cuts in proptest::collection::vec(0usize..120, 0..10),
        lists in proptest::collection::vec((1u64..120, 0u64..120, 0u8..8), 1..4),
        (after, prefix, count) in (0..KEYS.len(), 0usize..4, 1usize..4),
    ) {
        let mut model = Model::default();
        let decisions: Vec<Decision> = steps.iter().map(|step| model.decide(step)).collect();
        let noted = (1..).zip(&model.changes);
        let changes = noted.map(|(id, change)| (id, change.suffix.clone(), change.previous));
        let want = Seen { decisions, changes: changes.collect() };
        let each_alone: Vec<usize> = (0..steps.len()).collect();
        for cuts in [&cuts[..], &[], &each_alone] {
            let (state, seen) = run(&steps, cuts);
            prop_assert_eq!(&seen, &want);
            let redacted: Vec<ChangeId> = model.redacted.iter().copied().collect();
            prop_assert_eq!(state.index().redactions.all(), redacted);
            for (from, length, tags) in &lists {
                check_lists(&state, &model, *from..from + length + 1, &tags_of(*tags));
            }
            let prefix = ["", "a", "a\"", "zz"][prefix];
            check_listings(&state, &model, KEYS[after], prefix, count);
            check_due(&state, &model);
        }
    }
}
