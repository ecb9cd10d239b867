//! The rules of moments, of several lists at once, of states that are followed, and of histories that
//! take each other's place.

use uuid::Uuid;

use super::{
    Settings, check_each,
    story::{
        COLLECTION, KEY, OF_TENANT, PLAIN, Story, TENANT, append, append_to, at, done, gone, key,
        list, page, put, seen,
    },
};
use crate::simulation::history::{
    Asked, Call, Condition, Consistency, Filter, Place, Seen, Thing, Told,
};

const OF_COLLECTION: Place = Place { collection: Some(COLLECTION), ..OF_TENANT };
const OTHER: Uuid = Uuid::from_u128(7);
const OF_OTHER: Place = Place { tenant: Some(OTHER), ..PLAIN };

/// Three changes, stamped 1,001 to 1,003.
fn three() -> Story {
    let story = Story::default().then(append(&[10, 11, 12]), done(1), 3);
    story.all(&[seen(1, 10), seen(2, 11), seen(3, 12)])
}

fn later(at: u64) -> Asked {
    Asked::Later { filter: Filter::default(), at, consistency: Consistency::Strong }
}

#[test]
fn from_a_moment_on_is_what_is_stamped_later() {
    three().then(later(1_001), page(&[seen(2, 11), seen(3, 12)], 3), 3).holds();
    three().then(later(1_001), page(&[seen(3, 12)], 3), 3).breaks("no gap");
    three().then(later(1_001), page(&[], 3), 3).breaks("no gap");
    let all = page(&[seen(1, 10), seen(2, 11), seen(3, 12)], 3);
    three().then(later(1_001), all, 3).breaks("no repeat");
    three().then(later(9_999), page(&[], 3), 3).holds();
    // A node that has not come as far says so, but in no strong read.
    three().then(later(9_999), page(&[], 2), 2).breaks("a node never goes back");
    three().then(later(9_999), page(&[], 2), 2).elsewhere().breaks("linearizable");
    three().then(later(1_001), Told::Purged { first: 3 }, 3).breaks("no false 410");
}

/// Changes of one tenant, of none, of another, and of the first again.
fn of_both() -> Vec<Seen> {
    vec![at(1, 10, OF_TENANT), seen(2, 11), at(3, 12, OF_OTHER), at(4, 13, OF_TENANT)]
}

fn several() -> Story {
    let story = Story::default().then(append_to(10, OF_TENANT), done(1), 1);
    let story = story.then(append(&[11]), done(2), 2);
    story.then(append_to(12, OF_OTHER), done(3), 3).then(append_to(13, OF_TENANT), done(4), 4)
}

fn list_of_both(since: u64) -> Asked {
    let (of, also) = (Some(Thing::Tenant(TENANT)), Some(Thing::Tenant(OTHER)));
    let filter = Filter { of, also, tag: None };
    Asked::List { filter, since, consistency: Consistency::Local }
}

#[test]
fn of_several_lists_are_the_changes_of_each() {
    let both = of_both();
    let of_them = [both[0].clone(), both[2].clone(), both[3].clone()];
    let read = |changes: &[Seen]| several().then(list_of_both(0), page(changes, 4), 4).all(&both);
    read(&of_them).holds();
    read(&of_them[..2]).breaks("no gap");
    read(&both).breaks("lists");
    read(&[both[0].clone(), both[3].clone()]).breaks("no gap");
}

#[test]
fn each_of_several_lists_begins_where_it_does() {
    let both = of_both();
    let retain = |changes| {
        several().then(Asked::Retain { tenant: TENANT, changes }, Told::Retained, 4).all(&both)
    };
    let without_the_first = page(&both[2..], 4);
    retain(1).then(list_of_both(0), without_the_first.clone(), 4).holds();
    retain(2).then(list_of_both(0), without_the_first, 4).breaks("no gap");
    // The other list is whole, so nothing lies before both.
    let purged = Told::Purged { first: 2 };
    let since = Asked::List {
        filter: Filter { of: Some(Thing::Tenant(TENANT)), ..Filter::default() },
        since: 0,
        consistency: Consistency::Local,
    };
    retain(1).then(list_of_both(0), purged.clone(), 4).breaks("no false 410");
    retain(1).then(since, purged, 4).holds();
}

/// A key that is written, another, and the end of the first.
fn keys() -> Story {
    let story = Story::default().then(put(10, Condition::None), done(1), 1);
    let second = Place { key: Some(2), ..OF_COLLECTION };
    let story = story.then(append_to(11, second), done(2), 2);
    let delete = Asked::Delete { key: KEY.key().unwrap(), condition: Condition::None };
    story.then(delete, done(3), 3).all(&[key(1, 10, 1), key(2, 11, 2), gone(3, KEY)])
}

fn state(held: &[u64], upto: u64) -> (Asked, Told) {
    let told = Told::State { changes: Vec::new(), held: held.to_vec(), upto };
    (Asked::State { collection: COLLECTION }, told)
}

#[test]
fn who_follows_a_state_holds_what_there_is() {
    let story = |held, upto| {
        let (asked, told) = state(held, upto);
        keys().then(asked, told, 3)
    };
    story(&[1, 2], 2).holds();
    story(&[2], 3).holds();
    story(&[1, 2], 3).breaks("states");
    story(&[1], 2).breaks("states");
    story(&[], 3).breaks("states");
}

fn of(cluster: u128, calls: Vec<Call>) -> Vec<Call> {
    let cluster = Some(Uuid::from_u128(cluster));
    calls.into_iter().map(|call| Call { cluster, ..call }).collect()
}

/// One change of each of two histories, one behind the other, and then the list of one of them.
fn renewed(again: u128, label: u64) -> Vec<Call> {
    let one = |story: Story, label| story.then(append(&[label]), done(1), 1).all(&[seen(1, label)]);
    let first = one(Story::default(), 10);
    let begun = first.calls().len();
    let second = one(first, 20);
    let renewed = second.calls().len();
    let story = second.then(list(0, Consistency::Local), page(&[seen(1, label)], 1), 1);
    let mut calls = story.calls().to_vec();
    let last = calls.split_off(renewed);
    let middle = calls.split_off(begun);
    of(1, calls).into_iter().chain(of(2, middle)).chain(of(again, last)).collect()
}

#[test]
fn histories_are_judged_each_by_itself_and_none_comes_back() {
    let settings = Settings::default();
    assert_eq!(check_each(&renewed(2, 20), settings).unwrap().len(), 2);
    assert_eq!(check_each(&renewed(1, 10), settings).unwrap_err().rule, "one history");
    assert_eq!(check_each(&renewed(2, 10), settings).unwrap_err().rule, "one order");
    assert_eq!(super::check(&renewed(2, 20), settings).unwrap_err().rule, "one history");
}
