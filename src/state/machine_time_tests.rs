//! What time does to keys and to the lists of tenants.

use super::*;

#[test]
fn an_expiry_happens_once_when_it_is_due_and_only_to_that_version() {
    const SECOND: u64 = 1_000_000;
    let put = |ttl| ChangeText { ttl, ..ChangeText::of(ACME, Some(USERS), Some("k")) };
    let expiry = |version: u64| -> Command {
        let text = ChangeText { expired: true, ..ChangeText::key_deletion(ACME, USERS, "k") };
        let versions = Versions::Of([ChangeId(version)].into_iter().collect());
        let conditions = Conditions { if_match: Some(versions), if_none_match: None };
        Append { conditions, ..text.into() }.into()
    };
    let mut state = state();
    let failed = |current: Option<u64>| refused(Refusal::PreconditionFailed(current.map(ChangeId)));
    // Written twice in one batch: the second one counts.
    let both = [put(1), put(2)].map(|text| Append::from(text).into());
    assert!(decide(&mut state, 10, &both).iter().all(|decision| decision.result.is_ok()));
    assert_eq!(state.index().catalog.next_due(), Some(Timestamp(10 + 2 * SECOND)));
    let due = 10 + 2 * SECOND;
    assert_eq!(decide(&mut state, due - 1, &[expiry(2), expiry(1)]), [failed(Some(2)); 2]);
    let decisions = decide(&mut state, due, &[expiry(1), expiry(2), expiry(2)]);
    let done = Ok(Effect::Changes { first: ChangeId(3), count: 1, replaced: true }).into();
    assert_eq!(decisions, [failed(Some(2)), done, failed(None)]);
    assert_eq!(state.index().catalog.expiring(), 0);
    // What lives for ever never expires, whoever says so.
    let forever = Append::from(put(0)).into();
    decide(&mut state, due, &[forever]);
    assert_eq!(decide(&mut state, u64::MAX, &[expiry(4)]), [failed(Some(4))]);
}

#[test]
fn a_key_that_is_written_again_in_the_batch_of_its_expiry_stays() {
    let mut state = state();
    let put = |ttl| -> Command {
        Append::from(ChangeText { ttl, ..ChangeText::of(ACME, Some(USERS), Some("k")) }).into()
    };
    let text = ChangeText { expired: true, ..ChangeText::key_deletion(ACME, USERS, "k") };
    let versions = Versions::Of([ChangeId(1)].into_iter().collect());
    let conditions = Conditions { if_match: Some(versions), if_none_match: None };
    let expiry = Append { conditions, ..text.into() }.into();
    decide(&mut state, 1, &[put(1)]);
    let decisions = decide(&mut state, 9_000_000, &[put(0), expiry]);
    assert_eq!(decisions[1], refused(Refusal::PreconditionFailed(Some(ChangeId(2)))));
    let users = state.index().catalog.collection(USERS).unwrap();
    assert_eq!((users.current("k"), state.last()), (Some(ChangeId(2)), ChangeId(2)));
}

#[test]
fn the_lists_of_a_tenant_begin_where_what_it_keeps_says_and_never_earlier_again() {
    let kept = |changes, age| TenantRetention {
        changes: NonZeroU64::new(changes),
        age: NonZeroU64::new(age),
    };
    let begin = |retention, first| -> Command {
        Action::BeginAt(ACME, Beginning { retention, first: ChangeId(first) }).into()
    };
    let set = |retention| -> Command { Action::SetRetention(ACME, retention).into() };
    let done: Decision = Ok(Effect::Retention).into();
    let failed = refused(Refusal::PreconditionFailed(None));
    let mut state = state();
    let changes: Vec<Command> =
        (0..5).map(|_| Append::from(ChangeText::of(ACME, None, None)).into()).collect();
    decide(&mut state, 1, &changes);
    let (few, more) = (kept(2, 0), kept(3, 60));
    let commands =
        [begin(few, 3), set(few), begin(few, 4), begin(few, 3), begin(few, 7), set(more)];
    let decisions = decide(&mut state, 2, &commands);
    assert_eq!(decisions, [failed, done, done, done, failed, done]);
    let catalog = &state.index().catalog;
    let acme = catalog.tenant(ACME).unwrap();
    assert_eq!((acme.retention(), acme.begins()), (more, ChangeId(4)));
    let retaining = |after| catalog.retaining_after(after, 9).iter().map(|of| of.id).collect();
    let all: Vec<Uuid> = retaining(None);
    assert_eq!(all, [ACME]);
    let all: Vec<Uuid> = retaining(Some(ACME));
    assert!(all.is_empty());
    assert_eq!(decide(&mut state, 3, &[begin(few, 6), begin(more, 6)]), [failed, done]);
    assert_eq!(acme.begins(), ChangeId(6));
    let nobody = Uuid::from_u128(99);
    let missing = [
        Action::SetRetention(nobody, few).into(),
        Action::BeginAt(nobody, Beginning { retention: few, first: ChangeId(1) }).into(),
    ];
    assert_eq!(decide(&mut state, 4, &missing), [self::missing(Missing::Tenant); 2]);
    let gone = Append::from(ChangeText::deletion(ACME, None)).into();
    decide(&mut state, 5, &[gone]);
    assert!(state.index().catalog.retaining_after(None, 9).is_empty());
}
