//! A client of a few keys: it sets, deletes and reads them, often under a condition on what it
//! saw last, waits for them, and lists them.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{Client, KEYS, writer::until_known};
use crate::simulation::history::{Asked, Condition, Consistency, New, Place, Told};

/// What of a key this client heard last.
type Known = Option<u64>;

pub(super) async fn run(mut client: Client) {
    let kept = client.shared.estate.borrow().kept;
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    while client.rest().await {
        if client.rng.random_ratio(1, 8) {
            list(&mut client, kept).await;
            continue;
        }
        let number = client.rng.random_range(1..=KEYS);
        let place = Place { key: Some(number), ..kept };
        let asked = any(&mut client, place, known.get(&number).copied());
        let node = client.any_node();
        let told = if asked.is_read() {
            let more = wait(&mut client, known.get(&number).copied().flatten());
            client.ask_with(node, asked.clone(), None, &more).await
        } else if client.rng.random_ratio(1, 4) {
            let key = format!("k{}", client.shared.record.label());
            until_known(&mut client, asked.clone(), &key).await
        } else {
            client.ask(node, asked.clone()).await
        };
        match (&asked, told) {
            (Asked::Put { .. }, Told::Done { first, .. }) => known.insert(number, Some(first)),
            (Asked::Delete { .. }, Told::Done { .. }) => known.insert(number, None),
            (_, Told::Refused { current }) => known.insert(number, current),
            (_, Told::Key(seen)) => known.insert(number, seen.map(|seen| seen.id)),
            _ => None,
        };
    }
}

/// Something to ask of a key.
pub(super) fn any(client: &mut Client, place: Place, known: Option<Known>) -> Asked {
    let key = place.key().expect("it is the place of a key");
    let condition = any_condition(client, known);
    match client.rng.random_range(0..10) {
        0..5 => {
            let new = client.new_at(place);
            let place = Place { ttl: ttl(new.label), ..place };
            Asked::Put { new: New { place, ..new }, condition }
        }
        5 => Asked::Delete { key, condition },
        6 => Asked::Key { key, consistency: Consistency::Local },
        _ => Asked::Key { key, consistency: Consistency::Strong },
    }
}

/// How long a version of a key is to live, if not for ever: some a moment only.
fn ttl(label: u64) -> Option<u64> {
    label.is_multiple_of(4).then_some(1 + label / 4 % 3)
}

fn any_condition(client: &mut Client, known: Option<Known>) -> Condition {
    let some = client.rng.random_range(1..100);
    match (known, client.rng.random_range(0..6)) {
        (_, 0) => Condition::None,
        (_, 1) => Condition::Exists,
        (Some(Some(id)), 2) => Condition::IsOneOf(some, id),
        (Some(Some(id)), 3) => Condition::IsNot(id),
        (Some(Some(id)), _) => Condition::Is(id),
        (Some(None), _) => Condition::IsAbsent,
        (None, 2) => Condition::IsNot(some),
        (None, 3) => Condition::IsAbsent,
        (None, _) => Condition::None,
    }
}

/// The parameters of a read that waits for the key to change, now and then.
fn wait(client: &mut Client, known: Known) -> String {
    match known.filter(|_| client.rng.random_ratio(1, 2)) {
        Some(id) => format!("&since={id}&block={}", client.rng.random_range(1..4)),
        None => String::new(),
    }
}

/// Lists some of the keys of a collection.
pub(super) async fn list(client: &mut Client, place: Place) -> Told {
    let Place { collection: Some(collection), .. } = place else { return Told::Failed };
    let some = client.rng.random_range(1..=KEYS);
    let prefix = if client.rng.random_ratio(2, 3) { "k".to_owned() } else { format!("k{some}") };
    let after = if client.rng.random_ratio(1, 2) { format!("k{some}") } else { String::new() };
    let limit = client.rng.random_range(1..=5);
    let consistency = if client.rng.random() { Consistency::Strong } else { Consistency::Local };
    let node = client.any_node();
    client.ask(node, Asked::Keys { collection, prefix, after, limit, consistency }).await
}

/// A key of a collection.
pub(super) fn any_key(client: &mut Client, place: Place) -> Place {
    Place { key: Some(client.rng.random_range(1..=KEYS)), ..place }
}
