//! A client that redacts changes, its own and those of others, and reads them then.

use rand::RngExt;

use super::{Client, TAGS};
use crate::simulation::history::{Asked, Consistency, Filter, Place, Told};

pub(super) async fn run(mut client: Client) {
    while client.rest().await {
        let tag = Some(client.rng.random_range(1..=TAGS));
        let new = client.new_at(Place { tag, ..Place::default() });
        let node = client.any_node();
        let Told::Done { first, .. } = client.ask(node, Asked::Append(vec![new])).await else {
            continue;
        };
        if client.rng.random_ratio(1, 3) {
            let other = client.rng.random_range(1..=first);
            let node = client.any_node();
            client.ask(node, Asked::Redact(other)).await;
        }
        let node = client.any_node();
        if client.ask(node, Asked::Redact(first)).await != Told::Redacted {
            continue;
        }
        client.shared.secrets.borrow_mut().push(new.label);
        let (all, since) = (Filter::default(), first.saturating_sub(client.rng.random_range(1..9)));
        let tagged = Filter { tag, ..all };
        client.read(node, all, since, Consistency::Local, "&limit=20").await;
        client.read(node, tagged, since, Consistency::Local, "&limit=20").await;
        let node = client.any_node();
        client.read(node, all, since, Consistency::Strong, "&limit=20").await;
    }
}

/// The labels of changes whose data is among these bytes.
pub fn labels(bytes: &[u8]) -> impl Iterator<Item = u64> {
    const BEFORE: &[u8] = b"\"w\":";
    let quotes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at);
    quotes.filter_map(|at| {
        let digits = bytes[at..].strip_prefix(BEFORE)?;
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
    })
}
