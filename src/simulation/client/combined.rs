//! A client that reads several lists at once, forwards and backwards, and from moments on.

use rand::RngExt;

use super::{Client, TAGS};
use crate::simulation::history::{Asked, Consistency, Filter, Seen, Thing, Told};

/// How far from a stamp that it saw a moment lies, in microseconds.
const NEAR: u64 = 200_000;

pub(super) async fn run(mut client: Client) {
    let (mut filter, mut since, mut stamp) = (several(&mut client), 0, 0);
    while client.rest().await {
        let node = client.any_node();
        let limit = client.rng.random_range(1..40);
        let block = client.rng.random_range(0..3);
        let is_strong = client.rng.random_ratio(1, 4);
        let consistency = if is_strong { Consistency::Strong } else { Consistency::Local };
        let waits = format!("&limit={limit}&block={block}");
        let told = match client.rng.random_range(0..6) {
            0 | 1 => {
                let at = near(&mut client, stamp);
                // Moments are of all lists.
                let filter = if client.rng.random() { client.any_filter() } else { filter };
                client.ask_with(node, Asked::Later { filter, at, consistency }, None, &waits).await
            }
            2 => {
                let before = (since > 1 && client.rng.random()).then_some(since);
                client.read_back(node, filter, before, limit).await.0
            }
            _ => {
                let told = client.read(node, filter, since, consistency, &waits).await;
                match told {
                    Told::Page { last, .. } => since = last,
                    Told::Purged { first } => since = first.saturating_sub(1),
                    _ => {}
                }
                told
            }
        };
        match told {
            Told::Page { changes, .. } => {
                let some = changes.get(client.rng.random_range(0..changes.len().max(1)));
                stamp = some.and_then(Seen::stamp).unwrap_or(stamp);
            }
            Told::Gone => (filter, since) = (several(&mut client), 0),
            _ => {}
        }
        if client.rng.random_ratio(1, 20) {
            (filter, since) = (several(&mut client), 0);
        }
    }
}

/// A moment at or near that of a change.
fn near(client: &mut Client, stamp: u64) -> u64 {
    match client.rng.random_range(0..8) {
        0 => stamp,
        1 => stamp + 1,
        2 => stamp.saturating_sub(1),
        3 => stamp + client.rng.random_range(0..NEAR),
        _ => stamp.saturating_sub(client.rng.random_range(0..NEAR)),
    }
}

/// Two tenants, a tenant and a collection of its own, or any two.
fn several(client: &mut Client) -> Filter {
    let tag = Some(client.rng.random_range(1..=TAGS)).filter(|_| client.rng.random_ratio(1, 5));
    let mut things: Vec<Thing> = {
        let estate = client.shared.estate.borrow();
        let tenants = estate.tenants.iter().copied().chain(estate.kept.tenant);
        let kept = estate.kept.collection.map(Thing::Collection);
        let passing = estate.passing.iter().take(2).copied();
        tenants.map(Thing::Tenant).chain(kept).chain(passing).collect()
    };
    let one = things.swap_remove(client.rng.random_range(0..things.len()));
    let other = things.swap_remove(client.rng.random_range(0..things.len()));
    Filter { of: Some(one), also: Some(other), tag }
}
