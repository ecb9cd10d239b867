//! A client that reads lists part by part, at one node after the other, with waits.

use rand::RngExt;

use super::{Client, TAGS, TENANTS};
use crate::simulation::history::{Consistency, Filter, Told};

pub(super) async fn run(mut client: Client) {
    let filter = any_filter(&mut client);
    let mut since = 0;
    let mut known = 0;
    while client.rest().await {
        let node = client.any_node();
        let consistency = match client.rng.random_range(0..6) {
            0..2 => Consistency::Strong,
            2 => Consistency::AtLeast(known),
            _ => Consistency::Local,
        };
        let limit = client.rng.random_range(1..50);
        let block = if client.rng.random() { client.rng.random_range(0..5_u32) } else { 0 };
        let more = format!("&limit={limit}&block={block}");
        match client.read(node, filter, since, consistency, &more).await {
            Told::Page { last, .. } => {
                since = last;
                known = known.max(last);
            }
            Told::Purged { first } => since = first.saturating_sub(1),
            _ => {}
        }
        if client.rng.random_ratio(1, 30) {
            since = 0;
        }
    }
}

pub(super) fn any_filter(client: &mut Client) -> Filter {
    match client.rng.random_range(0..5) {
        0 => Filter::Tenant(client.rng.random_range(1..=TENANTS)),
        1 => Filter::Tag(client.rng.random_range(1..=TAGS)),
        2 => Filter::Collection,
        _ => Filter::All,
    }
}
