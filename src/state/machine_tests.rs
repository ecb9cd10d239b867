//! What each kind of command does to the state, alone and beside others.

#[path = "machine_time_tests.rs"]
mod time;

use std::num::NonZeroU64;

use uuid::Uuid;

use super::*;
use crate::{
    base::{
        batch::{Action, Append, Command, Conditions, Idempotency, Versions},
        outcome::{Decision, Effect, Missing, Refusal},
        retention::{Beginning, TenantRetention},
    },
    state::{
        Cursor, Removed,
        index::ListKey,
        testing::{ChangeText, append_all, batch_of, create_collection, create_tenant},
    },
};

const ACME: Uuid = Uuid::from_u128(1);
const GLOBEX: Uuid = Uuid::from_u128(2);
const USERS: Uuid = Uuid::from_u128(3);
const ORDERS: Uuid = Uuid::from_u128(4);

fn plain(data: &str) -> Command {
    Append::from(ChangeText::plain(data)).into()
}

fn change(text: ChangeText<'_>) -> Command {
    Append::from(text).into()
}

/// A change of a key of ACME's collection USERS.
fn put(key: &str) -> ChangeText<'_> {
    ChangeText::of(ACME, Some(USERS), Some(key))
}

#[test]
fn which_version_is_replaced_is_kept_of_batches_of_builds_that_tell_it() {
    let mut state = State::default();
    let made = [create_tenant(ACME, "acme"), create_collection(ACME, USERS, "users")];
    state.apply(batch_of(&made, 1));
    let mut previous = |commands: &[Command], version: u8| {
        let mut bytes = batch_of(commands, 1).bytes().to_vec();
        bytes[0] = version;
        let applied = state.apply(Batch::parse(bytes).unwrap());
        let ids = applied.batch.iter().map(|(_, change)| change.previous().0);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(previous(&[change(put("a")), change(put("b"))], 5), [0, 0]);
    // Of one that is refused nothing is replaced, and no number is taken.
    let some = [plain("1"), change(put("a")), if_absent(put("b")), change(put("a"))];
    assert_eq!(previous(&some, 5), [0, 1, 4]);
    assert_eq!(previous(&[change(put("a")), change(put("b"))], 4), [0, 0]);
    assert_eq!(previous(&[change(put("a")), change(put("b"))], 5), [6, 7]);
}

fn if_match(text: ChangeText<'_>, id: u64) -> Command {
    let versions = Versions::Of([ChangeId(id)].into_iter().collect());
    let conditions = Conditions { if_match: Some(versions), if_none_match: None };
    Append { conditions, ..text.into() }.into()
}

fn if_absent(text: ChangeText<'_>) -> Command {
    let conditions = Conditions { if_match: None, if_none_match: Some(Versions::Any) };
    Append { conditions, ..text.into() }.into()
}

fn keyed(key: u8, request: u8, command: Command) -> Command {
    let idempotency = Some(Idempotency { key: [key; 16], request: [request; 16] });
    Command { idempotency, ..command }
}

fn changes(first: u64, count: u32, replaced: bool) -> Decision {
    Ok(Effect::Changes { first: ChangeId(first), count, replaced }).into()
}

fn refused(refusal: Refusal) -> Decision {
    Err(refusal).into()
}

fn missing(missing: Missing) -> Decision {
    refused(Refusal::NotFound(missing))
}

fn replayed(decision: Decision) -> Decision {
    Decision { replayed: true, ..decision }
}

/// A state with ACME, which has USERS and ORDERS, and with GLOBEX.
fn state() -> State {
    let mut state = State::default();
    let decisions = decide(
        &mut state,
        1,
        &[
            create_tenant(ACME, "acme"),
            create_collection(ACME, USERS, "users"),
            create_collection(ACME, ORDERS, "orders"),
            create_tenant(GLOBEX, "globex"),
        ],
    );
    assert!(decisions.iter().all(|decision| decision.result.is_ok()));
    state
}

/// Applies `commands` as one batch.
fn apply(state: &mut State, at: u64, commands: &[Command]) -> Applied<bytes::Bytes> {
    state.apply(batch_of(commands, at))
}

/// Applies `commands` as one batch and says how they were decided.
fn decide(state: &mut State, at: u64, commands: &[Command]) -> Vec<Decision> {
    apply(state, at, commands).decisions.unwrap()
}

/// All that a cursor finds.
fn ids(state: &State, mut cursor: Cursor) -> Vec<u64> {
    let (mut ids, mut from) = (Vec::new(), ChangeId(1));
    while let Ok(Some(id)) = cursor.next(state.index(), from, state.last(), &mut 1000) {
        ids.push(id.0);
        from = id.next();
    }
    ids
}

fn of_tenant(state: &State, tenant: Uuid) -> Vec<u64> {
    ids(state, Cursor::tenant(state.index().catalog.tenant(tenant).unwrap(), &[]))
}

fn of_collection(state: &State, collection: Uuid) -> Vec<u64> {
    ids(state, Cursor::collection(state.index().catalog.collection(collection).unwrap(), &[]))
}

fn of_tag(state: &State, spelling: &[u8]) -> Vec<u64> {
    ids(state, Cursor::tagged(&[ListKey::tag(spelling)]))
}

fn current(state: &State, key: &str) -> Option<u64> {
    state.index().catalog.collection(USERS).unwrap().current(key).map(|id| id.0)
}

#[test]
fn ids_are_dense_over_plain_and_mixed_batches() {
    let mut state = state();
    let batch = apply(&mut state, 2, &[plain("1"), plain("2")]);
    assert!(batch.decisions.is_none() && batch.batch.batch.is_plain());
    assert_eq!((batch.batch.first, batch.batch.last()), (ChangeId(1), ChangeId(2)));
    let three = append_all(&[ChangeText::plain("3"), put("k"), ChangeText::plain("5")]).into();
    let decisions = decide(&mut state, 3, &[three, plain("6")]);
    assert_eq!(decisions, [changes(3, 3, false), changes(6, 1, false)]);
    let batch = apply(&mut state, 4, &[plain("7")]);
    assert_eq!(batch.batch.first, ChangeId(7));
    assert_eq!(state.position(), Position { last: ChangeId(7), last_at: Timestamp(4) });
    assert_eq!(state.index().applying_up_to(), ChangeId(7));
}

#[test]
fn refused_commands_take_no_id_and_the_others_are_found_by_theirs() {
    let mut state = state();
    let nowhere = ChangeText::of(Uuid::from_u128(9), None, None);
    let batch = apply(
        &mut state,
        2,
        &[
            change(nowhere),
            plain("1"),
            append_all(&[ChangeText::plain("no"), nowhere, ChangeText::plain("no")]).into(),
            create_tenant(ACME, "initech"),
            append_all(&[ChangeText::plain("2"), put("k")]).into(),
            change(nowhere),
        ],
    );
    let decisions = batch.decisions.unwrap();
    let accepted = [decisions[1], decisions[4]];
    assert_eq!(accepted, [changes(1, 1, false), changes(2, 2, false)]);
    assert_eq!([decisions[0], decisions[2], decisions[5]], [missing(Missing::Tenant); 3]);
    let batch = batch.batch;
    assert_eq!((batch.changes(), batch.last(), state.last()), (3, ChangeId(3), ChangeId(3)));
    let found: Vec<_> = batch.iter().map(|(id, change)| (id.0, change.suffix.to_vec())).collect();
    let suffix = |text: ChangeText<'_>| Append::from(text).suffixes.to_vec();
    let want = [
        (1, suffix(ChangeText::plain("1"))),
        (2, suffix(ChangeText::plain("2"))),
        (3, suffix(put("k"))),
    ];
    assert_eq!(found, want);
    assert_eq!(
        state.index().applying_up_to(),
        ChangeId(3),
        "no change is awaited that never comes"
    );
}

#[test]
#[should_panic(expected = "a batch stamped 4 follows one stamped 5")]
fn time_never_goes_back() {
    let mut state = State::default();
    apply(&mut state, 5, &[plain("1")]);
    apply(&mut state, 5, &[plain("2")]);
    apply(&mut state, 4, &[plain("3")]);
}

#[test]
fn a_name_is_taken_until_its_holder_is_deleted() {
    let mut state = state();
    let (tenant, collection) = (Uuid::from_u128(10), Uuid::from_u128(11));
    let decisions = decide(
        &mut state,
        2,
        &[
            create_tenant(tenant, "acme"),
            create_collection(ACME, collection, "users"),
            create_collection(GLOBEX, collection, "users"),
            create_collection(tenant, collection, "users"),
        ],
    );
    let created = Ok(Effect::Collection { collection, tenant: GLOBEX }).into();
    let want = [
        refused(Refusal::TenantTaken(ACME)),
        refused(Refusal::CollectionTaken(USERS)),
        created,
        missing(Missing::Tenant),
    ];
    assert_eq!(decisions, want);

    let (again, users) = (Uuid::from_u128(12), Uuid::from_u128(13));
    let decisions = decide(
        &mut state,
        3,
        &[
            change(ChangeText::deletion(ACME, Some(USERS))),
            create_collection(ACME, users, "users"),
            change(ChangeText::deletion(GLOBEX, None)),
            create_tenant(again, "globex"),
        ],
    );
    let want = [
        changes(1, 1, false),
        Ok(Effect::Collection { collection: users, tenant: ACME }).into(),
        changes(2, 1, false),
        Ok(Effect::Tenant(again)).into(),
    ];
    assert_eq!(decisions, want);
    assert_eq!(of_tenant(&state, ACME), [1]);
    assert_eq!(of_collection(&state, users), [0; 0], "it begins anew");
    assert_eq!(of_tenant(&state, again), [0; 0]);
}

#[test]
fn what_is_not_there_refuses_the_whole_command() {
    let mut state = state();
    let gone = Uuid::from_u128(9);
    let decisions = decide(
        &mut state,
        2,
        &[
            append_all(&[put("k"), ChangeText::of(ACME, Some(gone), Some("k"))]).into(),
            append_all(&[put("k"), ChangeText::of(gone, None, None)]).into(),
            change(ChangeText::deletion(gone, None)),
            change(ChangeText::deletion(ACME, Some(gone))),
            change(ChangeText::key_deletion(ACME, USERS, "k")),
        ],
    );
    let want =
        [Missing::Collection, Missing::Tenant, Missing::Tenant, Missing::Collection, Missing::Key];
    assert_eq!(decisions, want.map(missing));
    assert_eq!((state.last(), current(&state, "k")), (ChangeId::ZERO, None));
    assert_eq!(of_tenant(&state, ACME), [0; 0]);
}

#[test]
fn a_tenant_goes_with_its_collections_and_keys() {
    let mut state = state();
    let removal = change(ChangeText::deletion(ACME, None));
    let batch = apply(
        &mut state,
        2,
        &[
            change(put("k")),
            change(ChangeText::deletion(ACME, Some(ORDERS))),
            removal.clone(),
            change(put("k")),
            change(ChangeText::of(ACME, None, None)),
            create_collection(ACME, ORDERS, "orders"),
            removal,
        ],
    );
    let want = [
        changes(1, 1, false),
        changes(2, 1, false),
        changes(3, 1, false),
        missing(Missing::Collection),
        missing(Missing::Tenant),
        missing(Missing::Tenant),
        missing(Missing::Tenant),
    ];
    assert_eq!(batch.decisions.unwrap(), want);
    let [Removed::Collection(orders), Removed::Tenant(acme)] = &batch.removed[..] else {
        panic!("what was taken out is handed over, in order: {:?}", batch.removed);
    };
    assert_eq!((orders.id, acme.id), (ORDERS, ACME));
    assert_eq!(acme.collection("users").unwrap().keys(), 1);
    assert!(acme.collection("orders").is_none());
    let catalog = &state.index().catalog;
    assert_eq!(catalog.counts(), (1, 0));
    assert!(catalog.tenant(ACME).is_none() && catalog.collection(USERS).is_none());
    assert!(catalog.tenant_named("acme").is_none() && catalog.tenant_named("globex").is_some());
}

#[test]
fn of_two_writes_of_the_same_version_one_wins() {
    let mut state = state();
    let decisions = decide(
        &mut state,
        2,
        &[
            if_absent(put("k")),
            if_absent(put("k")),
            if_match(put("k"), 1),
            if_match(put("k"), 1),
            if_match(ChangeText::key_deletion(ACME, USERS, "k"), 2),
            if_match(put("k"), 2),
        ],
    );
    let failed = |current| refused(Refusal::PreconditionFailed(current));
    let want = [
        changes(1, 1, false),
        failed(Some(ChangeId(1))),
        changes(2, 1, true),
        failed(Some(ChangeId(2))),
        changes(3, 1, true),
        failed(None),
    ];
    assert_eq!(decisions, want);
    assert_eq!((state.last(), current(&state, "k")), (ChangeId(3), None));
}

#[test]
fn a_key_has_the_version_written_last() {
    let mut state = state();
    let twice = append_all(&[put("k"), put("l"), put("k")]);
    let decisions = decide(&mut state, 2, &[twice.clone().into(), change(put("k"))]);
    assert_eq!(decisions, [changes(1, 3, false), changes(4, 1, true)]);
    assert_eq!((current(&state, "k"), current(&state, "l")), (Some(4), Some(2)));
    let delete = change(ChangeText::key_deletion(ACME, USERS, "l"));
    let decisions = decide(&mut state, 3, &[delete.clone(), delete, twice.into()]);
    assert_eq!(decisions, [changes(5, 1, true), missing(Missing::Key), changes(6, 3, false)]);
    assert_eq!((current(&state, "k"), current(&state, "l")), (Some(8), Some(7)));
    assert_eq!(of_collection(&state, USERS), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn lists_hold_what_belongs_to_them() {
    let mut state = state();
    let of = |tenant, collection, tags| ChangeText::of(tenant, collection, None).tagged(tags);
    decide(
        &mut state,
        2,
        &[
            change(ChangeText::plain("1").tagged(&["red"])),
            change(of(ACME, None, &["red", "a \"b\""])),
            append_all(&[of(ACME, Some(USERS), &[]), of(GLOBEX, None, &["red"])]).into(),
            change(of(ACME, Some(ORDERS), &["red", "red"])),
        ],
    );
    apply(&mut state, 2, &[plain("6")]);
    assert_eq!((of_tenant(&state, ACME), of_tenant(&state, GLOBEX)), (vec![2, 3, 5], vec![4]));
    assert_eq!((of_collection(&state, USERS), of_collection(&state, ORDERS)), (vec![3], vec![5]));
    assert_eq!(of_tag(&state, br#""red""#), [1, 2, 4, 5]);
    assert_eq!(of_tag(&state, br#""a \"b\"""#), [2]);
    assert_eq!(of_tag(&state, br#""blue""#), [0; 0]);
    // Two tenants, two collections, two tags.
    assert_eq!(state.index().lists_in_memory(), 6);
}

#[test]
fn a_request_that_is_repeated_gets_its_first_answer() {
    let mut state = state();
    let (first, other) = (Uuid::from_u128(20), Uuid::from_u128(21));
    let write = keyed(1, 1, plain("1"));
    let create = |tenant| keyed(2, 1, create_tenant(tenant, "initech"));
    let refusal = keyed(3, 1, change(ChangeText::key_deletion(ACME, USERS, "k")));
    let decisions = decide(
        &mut state,
        2,
        &[write.clone(), write.clone(), create(first), refusal.clone(), change(put("k"))],
    );
    let wrote = changes(1, 1, false);
    let created = Ok(Effect::Tenant(first)).into();
    let want = [wrote, replayed(wrote), created, missing(Missing::Key), changes(2, 1, false)];
    assert_eq!(decisions, want);
    assert_eq!(state.last(), ChangeId(2), "a repeat takes no id");

    let another = keyed(1, 2, plain("2"));
    let batch = apply(&mut state, 3, &[write, create(other), refusal, another, plain("3")]);
    let want = [
        replayed(wrote),
        replayed(created),
        replayed(missing(Missing::Key)),
        refused(Refusal::IdempotencyMismatch),
        changes(3, 1, false),
    ];
    assert_eq!(batch.decisions.unwrap(), want);
    let suffix = Append::from(ChangeText::plain("3")).suffixes;
    assert_eq!(batch.batch.change(ChangeId(3)).suffix, suffix, "repeats are passed over");
    assert!(state.index().catalog.tenant(other).is_none());
}

#[test]
fn a_refusal_for_want_of_what_is_named_is_remembered_by_old_batches_only() {
    let gone = ChangeText { tenant: Some(Uuid::from_u128(404)), ..ChangeText::plain("1") };
    let (refused, other) = (keyed(1, 1, change(gone)), keyed(1, 2, plain("2")));
    let mut state = state();
    assert_eq!(decide(&mut state, 2, std::slice::from_ref(&refused)), [missing(Missing::Tenant)]);
    assert!(state.index().idempotency().is_empty());
    assert_eq!(decide(&mut state, 3, std::slice::from_ref(&other)), [changes(1, 1, false)]);

    // A log that version 2 wrote gives what it gave then.
    let mut state = self::state();
    let mut old =
        crate::base::batch::encode(&[refused.clone(), other, refused], Timestamp(2)).to_vec();
    old[0] = 2;
    let decisions = state.apply(Batch::parse(old).unwrap()).decisions.unwrap();
    let refusal = missing(Missing::Tenant);
    let mismatch = self::refused(Refusal::IdempotencyMismatch);
    assert_eq!(decisions, [refusal, mismatch, replayed(refusal)]);
}

#[test]
fn a_request_is_remembered_for_a_day_of_batches() {
    const DAY: u64 = 24 * 60 * 60 * 1_000_000;
    let mut state = state();
    let write = [keyed(1, 1, plain("1"))];
    assert_eq!(decide(&mut state, 5, &write), [changes(1, 1, false)]);
    assert_eq!(decide(&mut state, 5 + DAY, &write), [replayed(changes(1, 1, false))]);
    // A repeat does not lengthen the time.
    assert_eq!(decide(&mut state, 6 + DAY, &write), [changes(2, 1, false)]);
    assert_eq!(state.index().idempotency().len(), 1);
}

#[test]
fn a_deletion_that_is_repeated_is_answered_although_all_is_gone() {
    let mut state = state();
    let removal = keyed(1, 1, change(ChangeText::deletion(ACME, None)));
    let gone = changes(1, 1, false);
    assert_eq!(decide(&mut state, 2, &[removal.clone(), removal.clone()]), [gone, replayed(gone)]);
    assert_eq!(decide(&mut state, 3, &[removal]), [replayed(gone)]);
}

#[test]
fn tags_of_version_1_are_found() {
    let header = [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let tables = [1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 9, 0, 3, 0];
    let batch = [&header[..], &tables, br#","tags":["a"],"data":2}"#].concat();
    let mut state = state();
    assert_eq!(
        state.apply(Batch::parse(batch).unwrap()).decisions.unwrap(),
        [changes(1, 1, false)]
    );
    assert_eq!(of_tag(&state, br#""a""#), [1]);
}

#[test]
fn what_comes_before_a_change_is_decided_as_it_was_in_the_whole_batch() {
    let gone = ChangeText { tenant: Some(Uuid::from_u128(404)), ..ChangeText::plain("1") };
    let three = append_all(&[ChangeText::plain("3"), put("k"), ChangeText::plain("5")]);
    let commands = [
        create_tenant(ACME, "acme"),
        change(put("k")),
        if_absent(put("k")),
        keyed(1, 1, change(gone)),
        keyed(1, 2, three.into()),
        keyed(1, 2, change(put("k"))),
        create_collection(ACME, Uuid::from_u128(30), "more"),
        change(ChangeText::deletion(ACME, Some(USERS))),
        change(put("k")),
    ];
    for version in [2, 3] {
        let mut bytes = crate::base::batch::encode(&commands, Timestamp(7)).to_vec();
        bytes[0] = version;
        let batch = Batch::parse(bytes::Bytes::from(bytes)).unwrap();
        let whole = state().apply(batch.clone());
        let decided = whole.decisions.unwrap();
        let mut cut_to = Vec::new();
        for change in 0..batch.changes() {
            let mut state = state();
            let before = ChangeId(whole.batch.first.0 - 1);
            let Some(part) = batch.before(change) else {
                cut_to.push(before.0);
                continue;
            };
            assert_eq!((part.at(), part.remembers_missing()), (Timestamp(7), version == 2));
            let applied = state.apply(part);
            let decisions = applied.decisions.unwrap();
            let (last, before) = decisions.split_last().unwrap();
            assert_eq!(before, &decided[..before.len()], "change {change}");
            let is_cut = matches!(last.result, Ok(Effect::Changes { count: 1 | 2, .. }));
            assert!(*last == decided[before.len()] || is_cut, "change {change}");
            // What is left is what the whole one has there.
            for (id, text) in applied.batch.iter() {
                assert_eq!(whole.batch.change(id).suffix, text.suffix);
            }
            cut_to.push(state.last().0);
        }
        let wanted: &[u64] = match version {
            // The refusal is remembered, so what bears its key is refused, too.
            2 => &[0, 1, 1, 1, 1, 1, 1, 1, 2],
            _ => &[0, 1, 1, 1, 2, 3, 4, 4, 5],
        };
        assert_eq!(cut_to, wanted, "version {version}");
    }
}
