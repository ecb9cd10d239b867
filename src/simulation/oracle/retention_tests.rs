//! The rules of what tenants keep.

use super::story::{OF_TENANT, PLAIN, Story, TENANT, append_to, at, done, page, seen};
use crate::simulation::history::{Asked, Consistency, Filter, Seen, Thing, Told};

/// The changes of the tenant; between them are others.
const IDS: [u64; 4] = [1, 3, 5, 7];

fn list(since: u64, consistency: Consistency) -> Asked {
    let filter = Filter { of: Some(Thing::Tenant(TENANT)), ..Filter::default() };
    Asked::List { filter, since, consistency }
}

fn retain(changes: u64) -> Asked {
    Asked::Retain { tenant: TENANT, changes }
}

fn all() -> Vec<Seen> {
    let of = |id| if IDS.contains(&id) { at(id, id, OF_TENANT) } else { seen(id, id) };
    (1..=7).map(of).collect()
}

fn of_tenant(first: u64) -> Vec<Seen> {
    all().into_iter().filter(|seen| seen.id >= first && IDS.contains(&seen.id)).collect()
}

/// All is written before anything else.
fn written() -> Story {
    (1..=7).fold(Story::default(), |story, id| {
        let place = if IDS.contains(&id) { OF_TENANT } else { PLAIN };
        story.then(append_to(id, place), done(id), id)
    })
}

fn read(story: Story, first: u64, consistency: Consistency) -> Story {
    story.then(list(0, consistency), page(&of_tenant(first), 7), 7)
}

#[test]
fn what_need_not_be_kept_may_be_gone_and_nothing_else() {
    let kept = |changes| written().then(retain(changes), Told::Retained, 7);
    read(kept(2), 1, Consistency::Strong).all(&all()).holds();
    read(kept(2), 5, Consistency::Strong).all(&all()).holds();
    read(kept(2), 7, Consistency::Local).all(&all()).breaks("no gap");
    read(written(), 3, Consistency::Local).all(&all()).breaks("no gap");
    // Of the whole list nothing goes.
    let whole = kept(2).then(super::story::list(0, Consistency::Local), page(&all()[2..], 7), 7);
    whole.all(&all()).breaks("no gap");
}

#[test]
fn what_is_said_to_be_gone_is_what_may_be() {
    let told = |since, first| {
        let story = written().then(retain(2), Told::Retained, 7);
        let purged = Told::Purged { first };
        story.then(list(since, Consistency::Local), purged, 7).all(&all())
    };
    told(1, 4).holds();
    told(1, 5).breaks("no false 410");
    told(3, 4).breaks("no false 410");
}

#[test]
fn what_was_to_be_kept_at_some_moment_counts() {
    // More is to be kept now, but what is gone stays so.
    let twice = |told: Told| {
        let story = written().then(retain(2), told, 7);
        story.then(retain(4), Told::Retained, 7)
    };
    read(twice(Told::Retained), 5, Consistency::Local).all(&all()).holds();
    read(twice(Told::Failed), 5, Consistency::Local).all(&all()).breaks("no gap");
    // What came later was never to go.
    let later = |told: Told| {
        let story = twice(told).then(append_to(8, OF_TENANT), done(8), 8);
        let left = [at(7, 7, OF_TENANT), at(8, 8, OF_TENANT)];
        let story = story.then(list(0, Consistency::Local), page(&left, 8), 8);
        story.all(&[all(), vec![at(8, 8, OF_TENANT)]].concat())
    };
    later(Told::Retained).breaks("no gap");
    // Of what nobody knows the outcome, it may come after that.
    later(Told::Unknown).holds();
}

#[test]
fn a_list_never_begins_earlier_than_it_did() {
    let begun = || {
        let story = written().then(retain(2), Told::Retained, 7);
        story.then(list(1, Consistency::Local), Told::Purged { first: 4 }, 7)
    };
    read(begun(), 5, Consistency::Local).all(&all()).holds();
    read(begun(), 3, Consistency::Local).all(&all()).breaks("beginnings");
    read(begun(), 3, Consistency::Local).elsewhere().all(&all()).holds();
    read(begun(), 3, Consistency::Strong).elsewhere().all(&all()).breaks("beginnings");
}
