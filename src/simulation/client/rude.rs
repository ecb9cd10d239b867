//! A client that breaks off in the midst of what it asks or is told, and reads slowly.

use std::time::Duration;

use rand::RngExt;

use super::{Client, FIRST_PROCESS};
use crate::{
    base::ids::NodeId,
    io::{cores, simulated::net::Network},
    simulation::{
        history::{Asked, Consistency, Place},
        places::process_of,
        wire::{Heard, Pace},
    },
};

/// The longest that it waits before it breaks off.
const PATIENCE: Duration = Duration::from_millis(60);
/// The fewest bytes that it reads at once, and the longest that it rests between two reads.
const PACE: (usize, Duration) = (50, Duration::from_millis(100));
/// How long it reads one answer so, before it breaks that off, too.
const SLOWLY: Duration = Duration::from_secs(20);
/// The most changes that it reads so.
const LIMIT: u64 = 100;

pub(super) async fn run(mut client: Client) {
    while client.rest().await {
        let node = client.any_node();
        match client.rng.random_range(0..4) {
            0 => half_a_request(&mut client, node).await,
            1 | 2 => no_answer(&mut client, node).await,
            _ => slowly(&mut client, node).await,
        }
    }
}

/// Sends a part of a write, of which nothing may ever happen.
async fn half_a_request(client: &mut Client, node: NodeId) {
    let asked = any_append(client);
    let request = client.request(&asked, None, "");
    let begun = client.begin(node);
    let part = client.rng.random_range(0.0..0.999);
    client.link(node).send_part(&request, part).await;
    break_off(client, node).await;
    client.shared.record.count("half a request");
    client.end(begun, asked, None, Heard::NotSent);
}

/// Sends a write and goes away before its answer, or in the midst of that.
async fn no_answer(client: &mut Client, node: NodeId) {
    let asked = any_append(client);
    let request = client.request(&asked, None, "");
    let begun = client.begin(node);
    client.link(node).send_part(&request, 1.0).await;
    break_off(client, node).await;
    client.shared.record.count("no answer");
    client.end(begun, asked, None, Heard::Broken);
}

fn any_append(client: &mut Client) -> Asked {
    let count = client.rng.random_range(1..40);
    Asked::Append((0..count).map(|_| client.new_at(Place::default())).collect())
}

/// Ends the connection, in order or by a reset.
async fn break_off(client: &mut Client, node: NodeId) {
    cores::sleep(client.rng.random_range(Duration::ZERO..PATIENCE)).await;
    if client.rng.random() {
        Network::current().cut(FIRST_PROCESS + client.id, process_of(node), 100);
    }
    client.link(node).close();
}

/// Reads a part of a list, a few bytes at once.
async fn slowly(client: &mut Client, node: NodeId) {
    let (bytes, rest) = (client.rng.random_range(PACE.0..20 * PACE.0), PACE.1);
    let rest = client.rng.random_range(Duration::ZERO..rest);
    client.link(node).set_pace(Pace { bytes, rest });
    let more = format!("&limit={LIMIT}");
    let filter = client.any_filter();
    let read = client.read(node, filter, 0, Consistency::Local, &more);
    let is_read = cores::within(SLOWLY, read).await.is_some();
    client.shared.record.count(if is_read { "read slowly" } else { "read too slowly" });
    client.link(node).close();
    client.link(node).set_pace(Pace::default());
}
