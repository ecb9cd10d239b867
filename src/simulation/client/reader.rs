//! A client that reads lists part by part, at one node after the other, with waits.

use rand::RngExt;

use super::Client;
use crate::simulation::history::{Consistency, Told};

pub(super) async fn run(mut client: Client) {
    let mut filter = client.any_filter();
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
            Told::Gone => {
                client.forget(filter.of);
                (filter, since) = (client.any_filter(), 0);
            }
            _ => {}
        }
        if client.rng.random_ratio(1, 30) {
            (filter, since) = (client.any_filter(), 0);
        }
    }
}
