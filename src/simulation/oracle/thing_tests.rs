//! The rules of what comes and goes: tenants, collections, their names and their keys.

use uuid::Uuid;

use super::story::{
    COLLECTION, KEY, OF_TENANT, PLAIN, Story, TENANT, append, append_to, at, change, done, gone,
    key, list_of, page, put, seen,
};
use crate::simulation::history::{Asked, Condition, Consistency, New, Place, Seen, Thing, Told};

const OF_COLLECTION: Place = Place { collection: Some(COLLECTION), ..OF_TENANT };
const THE_TENANT: Thing = Thing::Tenant(TENANT);
const THE_COLLECTION: Thing = Thing::Collection(COLLECTION);
const ANOTHER: Uuid = Uuid::from_u128(9);

fn make(name: &str) -> Asked {
    Asked::Make { tenant: None, name: name.to_owned() }
}

fn replaced(first: u64) -> Told {
    Told::Done { first, created: false }
}

fn names(listed: &[(&str, Uuid)]) -> Told {
    Told::Names(listed.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect())
}

/// A change of a tenant, and the end of that.
fn ended() -> Story {
    Story::default().then(append_to(10, OF_TENANT), done(1), 1).then(
        Asked::End(THE_TENANT),
        replaced(2),
        2,
    )
}

/// What that leaves.
fn left() -> [Seen; 2] {
    [at(1, 10, OF_TENANT), gone(2, OF_TENANT)]
}

#[test]
fn the_end_of_a_tenant_is_recorded() {
    ended().all(&left()).holds();
    let other = gone(2, Place { tenant: Some(ANOTHER), ..PLAIN });
    ended().all(&[at(1, 10, OF_TENANT), other]).breaks("no acknowledged loss");
}

#[test]
fn nothing_lives_on_behind_its_end() {
    let of = |place| {
        let [one, two] = left();
        ended().then(append_to(11, place), Told::Unknown, 2).all(&[one, two, at(3, 11, place)])
    };
    of(OF_TENANT).breaks("nothing lives on");
    of(PLAIN).holds();
    // The collections of a tenant end with it.
    let story = Story::default().then(append_to(10, OF_COLLECTION), done(1), 1);
    let story = story.then(Asked::End(THE_TENANT), replaced(2), 2);
    let story = story.then(append_to(11, OF_COLLECTION), Told::Unknown, 2);
    let all = [at(1, 10, OF_COLLECTION), gone(2, OF_TENANT), at(3, 11, OF_COLLECTION)];
    story.all(&all).breaks("nothing lives on");
}

#[test]
fn what_has_ended_is_said_to_be_gone_and_nothing_else_is() {
    let strong = || list_of(THE_TENANT, Consistency::Strong);
    let local = || list_of(THE_TENANT, Consistency::Local);
    ended().then(strong(), Told::Gone, 2).all(&left()).holds();
    let shown = || page(&left(), 2);
    ended().then(strong(), shown(), 2).elsewhere().all(&left()).breaks("linearizable");
    // Another node may not know of it yet; one that knew does not forget it.
    ended().then(local(), shown(), 2).elsewhere().all(&left()).holds();
    ended().then(local(), shown(), 2).all(&left()).breaks("a node never goes back");
    let story = || Story::default().then(append_to(10, OF_TENANT), done(1), 1);
    story().then(strong(), Told::Gone, 1).all(&left()[..1]).breaks("linearizable");
    let write = append_to(11, OF_TENANT);
    story().then(write.clone(), Told::Gone, 1).all(&left()[..1]).breaks("linearizable");
    ended().then(write, Told::Gone, 1).all(&left()).holds();
}

#[test]
fn keys_end_with_their_collection() {
    let story = || Story::default().then(put(10, Condition::None), done(1), 1);
    let story = || story().then(Asked::End(THE_COLLECTION), replaced(2), 2);
    let all = [key(1, 10, 1), gone(2, OF_COLLECTION)];
    let read = || super::story::read_key();
    story().then(read(), Told::Key(None), 2).all(&all).holds();
    story().then(read(), Told::Key(Some(key(1, 10, 1))), 2).all(&all).breaks("linearizable");
}

#[test]
fn keys_are_listed_as_they_are_at_one_moment() {
    let other = Place { key: Some(2), ..KEY };
    let story = || {
        let story = Story::default().then(put(10, Condition::None), done(1), 1);
        let story = story.then(append_to(11, other), done(2), 2);
        story.then(put(12, Condition::None), replaced(3), 3)
    };
    let all = [key(1, 10, 1), key(2, 11, 2), key(3, 12, 1)];
    let listed = |limit, consistency, changes: &[Seen], at_end| {
        let (prefix, after) = ("k".to_owned(), String::new());
        let asked = Asked::Keys { collection: COLLECTION, prefix, after, limit, consistency };
        let story = story().then(asked, Told::Keys { changes: changes.to_vec(), at_end }, 3);
        story.elsewhere().all(&all)
    };
    let newest = [key(3, 12, 1), key(2, 11, 2)];
    let older = [key(1, 10, 1), key(2, 11, 2)];
    listed(9, Consistency::Strong, &newest, true).holds();
    listed(1, Consistency::Strong, &newest[..1], false).holds();
    listed(1, Consistency::Strong, &newest[..1], true).breaks("keys");
    listed(9, Consistency::Strong, &older, true).breaks("linearizable");
    listed(9, Consistency::Local, &older, true).holds();
    // The second was there before the first was replaced.
    listed(9, Consistency::Local, &newest[..1], true).breaks("keys");
}

#[test]
fn a_name_belongs_to_one_at_a_time() {
    let story = || Story::default().then(make("a"), Told::Made(TENANT), 0);
    let twice = || story().then(make("a"), Told::Made(ANOTHER), 0);
    twice().all(&[]).breaks("names");
    story().then(make("b"), Told::Made(ANOTHER), 0).all(&[]).holds();
    let end = gone(1, OF_TENANT);
    let over = || story().then(Asked::End(THE_TENANT), replaced(1), 1);
    over().then(make("a"), Told::Made(ANOTHER), 1).all(std::slice::from_ref(&end)).holds();
    over().then(make("a"), Told::Taken(TENANT), 1).all(std::slice::from_ref(&end)).breaks("names");
    story().then(make("a"), Told::Taken(TENANT), 0).all(&[]).holds();
}

#[test]
fn names_are_listed_while_they_are_those_of_something() {
    let list = || Asked::Names { tenant: None };
    let story = || Story::default().then(make("a"), Told::Made(TENANT), 0);
    story().then(list(), names(&[("a", TENANT)]), 0).all(&[]).holds();
    story().then(list(), names(&[]), 0).all(&[]).breaks("names");
    let over = || story().then(Asked::End(THE_TENANT), replaced(1), 1);
    let end = [gone(1, OF_TENANT)];
    over().then(list(), names(&[]), 1).all(&end).holds();
    over().then(list(), names(&[("a", TENANT)]), 1).all(&end).breaks("names");
}

#[test]
fn a_condition_that_holds_is_no_reason_to_refuse() {
    let story = || Story::default().then(put(10, Condition::None), done(1), 1);
    let refused = Told::Refused { current: Some(1) };
    let all = [key(1, 10, 1)];
    for condition in [Condition::Exists, Condition::IsNot(7), Condition::IsOneOf(7, 1)] {
        story().then(put(11, condition), refused.clone(), 1).all(&all).breaks("conditions");
    }
    for condition in [Condition::IsNot(1), Condition::IsOneOf(7, 8)] {
        story().then(put(11, condition), refused.clone(), 1).all(&all).holds();
    }
}

#[test]
fn a_batch_is_of_several_places() {
    let story = Story::default().then(append(&[10]), done(1), 1);
    story.all(&[at(1, 10, OF_TENANT)]).breaks("no phantom");
    let story = Story::default().then(append_to(10, OF_TENANT), done(1), 1);
    story.all(&[seen(1, 10)]).breaks("no phantom");
}

#[test]
fn a_key_expires_once_it_is_due_and_only_the_version_that_is() {
    const SECOND: u64 = 1_000_000;
    let lives = Place { ttl: Some(1), ..KEY };
    let put_at =
        |label, place| Asked::Put { new: New { label, place }, condition: Condition::None };
    let stamped = |id: u64, at: u64, rest: &str| {
        let seen = change(id, KEY, rest);
        let (before, after) = (format!(r#""_ts":{}"#, 1_000 + id), format!(r#""_ts":{at}"#));
        Seen { text: seen.text.replace(&before, &after), ..seen }
    };
    let written = |id, at, label| stamped(id, at, &format!(r#""ttl":1,"data":{{"w":{label}}}"#));
    let expired = |id, at| stamped(id, at, r#""deleted":true,"expired":true"#);
    let story = || Story::default().then(put_at(10, lives), done(1), 1);
    story().all(&[written(1, 7, 10), expired(2, SECOND + 7)]).holds();
    story().all(&[written(1, 7, 10), expired(2, SECOND + 6)]).breaks("expiry");
    story()
        .all(&[written(1, 7, 10), expired(2, SECOND + 7), expired(3, SECOND + 7)])
        .breaks("expiry");
    // Another version is there by then, which is not due, or lives for ever.
    for place in [lives, KEY] {
        let again = match place.ttl {
            Some(_) => written(2, SECOND, 11),
            None => stamped(2, SECOND, r#""data":{"w":11}"#),
        };
        let story = story().then(put_at(11, place), Told::Done { first: 2, created: false }, 2);
        story.all(&[written(1, 7, 10), again, expired(3, SECOND + 7)]).breaks("expiry");
    }
    // It lives as long as it was to.
    let other = Place { ttl: Some(2), ..KEY };
    Story::default()
        .then(put_at(10, other), done(1), 1)
        .all(&[written(1, 7, 10)])
        .breaks("no phantom");
}
