//! A client that adds changes: single ones and batches, of one place or of several, some again
//! and again under one key until it knows what came of them.

use std::collections::VecDeque;

use rand::RngExt;

use super::{Client, KEYS, TAGS};
use crate::{
    base::ids::NodeId,
    simulation::history::{Asked, Place, Told},
};

/// The most changes of one batch.
const BATCH: usize = 5;
/// Requests that a client remembers.
const REMEMBERED: usize = 40;

/// How clients write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// How often a request under a key is made at most, as long as nobody knows its outcome.
    pub tries: usize,
    /// How many requests bear a key, of how many.
    pub keyed: (u32, u32),
    /// Old requests are repeated under their keys.
    pub recalls: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self { tries: 6, keyed: (1, 3), recalls: false }
    }
}

pub(super) async fn run(mut client: Client) {
    let Habits { keyed, recalls, .. } = client.shared.habits;
    let mut remembered: VecDeque<(Asked, String)> = VecDeque::new();
    while client.rest().await {
        if recalls && !remembered.is_empty() && client.rng.random_ratio(1, 3) {
            let old = client.rng.random_range(0..remembered.len());
            let (asked, key) = remembered[old].clone();
            let node = client.any_node();
            client.ask_with(node, asked, Some(&key), "").await;
            continue;
        }
        let count =
            if client.rng.random_ratio(1, 4) { client.rng.random_range(2..=BATCH) } else { 1 };
        let is_mixed = client.rng.random_ratio(1, 3);
        let place = any_place(&mut client);
        let news = (0..count).map(|_| {
            let place = if is_mixed { any_place(&mut client) } else { place };
            client.new_at(place)
        });
        let asked = Asked::Append(news.collect());
        if client.rng.random_ratio(keyed.0, keyed.1) {
            let key = format!("w{}", asked.news()[0].label);
            until_known(&mut client, asked.clone(), &key).await;
            remembered.push_back((asked, key));
            if remembered.len() > REMEMBERED {
                remembered.pop_front();
            }
        } else {
            let node = client.any_node();
            client.ask(node, asked).await;
        }
    }
}

/// The list of all, or of one tenant, or a key; with or without a tag.
fn any_place(client: &mut Client) -> Place {
    let tag = client.rng.random_range(1..=TAGS);
    let tag = client.rng.random_ratio(1, 3).then_some(tag);
    let estate = client.shared.estate.borrow();
    let place = match client.rng.random_range(0..6) {
        0 | 1 => {
            let tenant = estate.tenants[client.rng.random_range(0..estate.tenants.len())];
            Place { tenant: Some(tenant), ..Place::default() }
        }
        2 => {
            let key = client.rng.random_range(1..=KEYS);
            let key = client.rng.random_ratio(2, 3).then_some(key);
            Place { key, ..estate.kept }
        }
        _ => Place::default(),
    };
    Place { tag, ..place }
}

/// Asks one node after the other until one says what came of it, and now and then once more.
pub(super) async fn until_known(client: &mut Client, asked: Asked, key: &str) -> Told {
    let mut told = Told::Failed;
    let mut node = client.any_node();
    for _ in 0..client.shared.habits.tries {
        let known = told;
        told = client.ask_with(node, asked.clone(), Some(key), "").await;
        let is_settled = !matches!(told, Told::Failed | Told::Unknown);
        if is_settled && client.rng.random_ratio(4, 5) {
            break;
        }
        if matches!(known, Told::Unknown) {
            client.shared.record.count(&format!("known after all: {is_settled}"));
        }
        node = another(client, node);
        if !client.rest().await {
            break;
        }
    }
    told
}

/// A node that is not `node`, if there is one.
fn another(client: &mut Client, node: NodeId) -> NodeId {
    let other = client.any_node();
    if other == node { client.any_node() } else { other }
}
