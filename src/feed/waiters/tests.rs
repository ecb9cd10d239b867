use super::*;
use crate::{
    base::batch::{Append, Batch, encode},
    base::ids::Timestamp,
    state::testing::{ChangeText, numbered},
};

const ALL: ListId = ListId::All;

fn waiting(waiters: &Waiters) -> usize {
    let inner = waiters.0.borrow();
    let scoped: usize = inner.scoped.values().map(BTreeMap::len).sum();
    inner.all.len() + inner.positions.len() + scoped
}

fn poll(wait: &mut Wait) -> Poll<()> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

fn told(waiters: &Waiters, first: u64, changes: &[ChangeText<'_>]) {
    let appends: Vec<_> = changes.iter().map(|text| Append::from(*text).into()).collect();
    let batch = Batch::parse(encode(&appends, Timestamp(1))).unwrap();
    let batch = numbered(first, batch);
    let last = batch.last();
    waiters.advance(&[batch], last);
}

#[test]
fn only_those_behind_the_new_change_are_woken() {
    let waiters = Waiters::default();
    waiters.advance(&[], ChangeId(5));
    let mut past = waiters.wait_after(ALL, ChangeId(4));
    assert!(poll(&mut past).is_ready(), "what is there needs no waiting");
    let mut next = waiters.wait_after(ALL, ChangeId(5));
    let mut far = waiters.wait_after(ALL, ChangeId(9));
    assert!(poll(&mut next).is_pending() && poll(&mut far).is_pending());
    assert_eq!(waiting(&waiters), 2);
    waiters.advance(&[], ChangeId(6));
    assert_eq!(waiting(&waiters), 1);
    assert!(poll(&mut next).is_ready() && poll(&mut far).is_pending());
    waiters.advance(&[], ChangeId(9));
    assert!(poll(&mut far).is_pending());
    waiters.advance(&[], ChangeId(10));
    assert!(poll(&mut far).is_ready());
}

#[test]
fn a_change_wakes_the_waiters_of_its_own_lists_only() {
    let waiters = Waiters::default();
    let [one, two, shelf] = [1, 2, 3].map(Uuid::from_u128);
    let since = ChangeId::ZERO;
    let mut of_one = waiters.wait_after(ListId::Tenant(one), since);
    let mut of_two = waiters.wait_after(ListId::Tenant(two), since);
    let mut late = waiters.wait_after(ListId::Tenant(two), ChangeId(3));
    let mut of_shelf = waiters.wait_after(ListId::Collection(shelf), since);
    let mut of_key = waiters.wait_after_key(shelf, "k\"", since);
    let mut of_other = waiters.wait_after_key(shelf, "other", since);
    let mut ready = || {
        [&mut of_one, &mut of_two, &mut late, &mut of_shelf, &mut of_key, &mut of_other]
            .map(|wait| poll(wait).is_ready())
    };
    assert_eq!(ready(), [false; 6]);
    told(&waiters, 1, &[ChangeText::plain("1"), ChangeText::of(one, None, None)]);
    assert_eq!(ready(), [true, false, false, false, false, false]);
    told(&waiters, 3, &[ChangeText::of(two, Some(shelf), Some("k\""))]);
    assert_eq!(ready(), [true, true, false, true, true, false]);
    told(&waiters, 4, &[ChangeText::of(two, None, None)]);
    assert_eq!(ready(), [true, true, true, true, true, false]);
    told(&waiters, 5, &[ChangeText::deletion(two, None)]);
    assert_eq!(ready(), [true; 6], "a tenant goes with all its keys");
    assert_eq!(waiting(&waiters), 0);
}

#[test]
fn what_came_before_the_first_poll_is_not_missed() {
    let waiters = Waiters::default();
    let list = ListId::Tenant(Uuid::from_u128(1));
    let mut early = waiters.wait_after(list, ChangeId::ZERO);
    told(&waiters, 1, &[ChangeText::of(Uuid::from_u128(1), None, None)]);
    assert!(poll(&mut early).is_ready());
    assert!(poll(&mut waiters.wait_after(list, ChangeId::ZERO)).is_ready(), "it came before");
    assert!(poll(&mut waiters.wait_after(list, ChangeId(1))).is_pending());
}

#[test]
fn a_waiter_knows_how_far_there_was_nothing_for_it() {
    let waiters = Waiters::default();
    let [one, two] = [1, 2].map(Uuid::from_u128);
    let mut quiet = waiters.wait_after(ListId::Tenant(one), ChangeId::ZERO);
    let mut ahead = waiters.wait_after(ListId::Tenant(one), ChangeId(9));
    let mut all = waiters.wait_after(ALL, ChangeId::ZERO);
    told(&waiters, 1, &[ChangeText::of(two, None, None), ChangeText::plain("2")]);
    assert!(poll(&mut quiet).is_pending());
    assert_eq!(quiet.examined(), ChangeId(2));
    assert_eq!(ahead.examined(), ChangeId(9), "it goes on from where it was told to");
    assert!(poll(&mut all).is_ready());
    assert_eq!(all.examined(), ChangeId::ZERO, "the first change is one of its own");
    let mine = ChangeText::of(one, None, None);
    told(&waiters, 3, &[ChangeText::plain("3"), mine, mine, ChangeText::plain("6")]);
    assert_eq!(quiet.examined(), ChangeId(3), "the change after it is one of its own");
    told(&waiters, 7, &[ChangeText::plain("7")]);
    assert_eq!(quiet.examined(), ChangeId(3), "it has not looked at that yet");
    assert!(poll(&mut quiet).is_ready() && poll(&mut ahead).is_pending());
    told(&waiters, 8, &[ChangeText::deletion(two, None)]);
    assert_eq!(ahead.examined(), ChangeId(9));
    drop((quiet, ahead));
    assert!(waiters.0.borrow().woken_after.is_empty());
}

#[test]
fn a_purge_wakes_those_whose_clients_it_overtakes_and_nobody_else() {
    let waiters = Waiters::default();
    let mut positions = [3, 4, 5].map(|id| waiters.until_purged(ChangeId(id)));
    let mut ready = || positions.each_mut().map(|wait| poll(wait).is_ready());
    told(&waiters, 1, &[ChangeText::deletion(Uuid::from_u128(1), None)]);
    waiters.advance(&[], ChangeId(9));
    waiters.purge(ChangeId(3));
    assert_eq!(ready(), [false; 3], "who goes on after the change 3 misses nothing");
    waiters.purge(ChangeId(5));
    assert_eq!(ready(), [true, true, false]);
    assert_eq!(waiting(&waiters), 1);
    drop(positions);
    assert_eq!(waiting(&waiters), 0);
}

#[test]
fn a_dropped_waiter_frees_its_slot() {
    let waiters = Waiters::default();
    for list in [ALL, ListId::Collection(Uuid::nil())] {
        let mut waits: Vec<_> = (0..100).map(|_| waiters.wait_after(list, ChangeId(3))).collect();
        assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
        assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
        assert_eq!(waiting(&waiters), 100);
        waits.truncate(1);
        assert_eq!(waiting(&waiters), 1);
        waits.clear();
        assert_eq!(waiting(&waiters), 0);
        assert!(waiters.0.borrow().scoped.is_empty());
    }
}

#[test]
fn who_waits_for_several_lists_is_woken_once_by_the_first_of_them() {
    let waiters = Waiters::default();
    let [one, two, other, shelf] = [1, 2, 3, 4].map(Uuid::from_u128);
    let lists: Arc<[ListId]> =
        [ListId::Tenant(one), ListId::Tenant(two), ListId::Collection(shelf)].into();
    let mut wait = waiters.wait_after_any(Arc::clone(&lists), ChangeId::ZERO);
    let mut left = waiters.wait_after_any(Arc::clone(&lists), ChangeId::ZERO);
    assert_eq!(waiting(&waiters), 6, "a slot in each list");
    assert!(poll(&mut wait).is_pending());
    told(&waiters, 1, &[ChangeText::of(other, None, None)]);
    assert!(poll(&mut wait).is_pending() && !wait.is_over());
    assert_eq!(wait.examined(), ChangeId(1), "what does not concern it was looked at");
    drop(left);
    assert_eq!(waiting(&waiters), 3, "who leaves frees all its slots");
    told(
        &waiters,
        2,
        &[
            ChangeText::of(other, None, None),
            ChangeText::of(other, Some(shelf), None),
            ChangeText::of(two, None, None),
        ],
    );
    assert!(poll(&mut wait).is_ready() && wait.is_over());
    assert_eq!(wait.examined(), ChangeId(2), "up to the first change that it waited for");
    drop(wait);
    let inner = waiters.0.borrow();
    assert!(inner.scoped.is_empty() && inner.woken_after.is_empty() && inner.wakers.is_empty());
    drop(inner);
    left = waiters.wait_after_any(lists, ChangeId(2));
    assert!(poll(&mut left).is_ready(), "something is there already");
}
