//! A client that adds changes: single ones and batches, some again and again under one
//! key until it knows what came of them.

use rand::RngExt;

use super::{Client, TAGS, TENANTS};
use crate::simulation::{
    history::{Asked, Place, Told},
    wire::Request,
};

/// The most changes of one batch.
const BATCH: usize = 5;
/// How often a request is repeated at most.
const TRIES: usize = 6;

pub(super) async fn run(mut client: Client) {
    while client.rest().await {
        let count =
            if client.rng.random_ratio(1, 4) { client.rng.random_range(2..=BATCH) } else { 1 };
        let labels: Vec<u64> = (0..count).map(|_| client.shared.record.label()).collect();
        let one_of = |client: &mut Client, count: u64| {
            client.rng.random_ratio(1, 3).then(|| client.rng.random_range(1..=count))
        };
        let place = Place { tenant: one_of(&mut client, TENANTS), tag: one_of(&mut client, TAGS) };
        let is_keyed = client.rng.random_ratio(1, 3);
        let idempotency = is_keyed.then(|| format!("w{}", labels[0]));
        let request = request(&labels, place, idempotency.as_deref());
        let asked = Asked::Append { labels, place, idempotency };
        for _ in 0..TRIES {
            let node = client.any_node();
            let told = client.ask(node, asked.clone(), &request).await;
            let is_settled = matches!(told, Told::Done { .. } | Told::Odd(_));
            if !is_keyed || (is_settled && client.rng.random_ratio(4, 5)) || !client.rest().await {
                break;
            }
        }
    }
}

fn request(labels: &[u64], place: Place, idempotency: Option<&str>) -> Request {
    let tag = place.tag.map(|tag| format!(r#""tags":["g{tag}"],"#)).unwrap_or_default();
    let tenant = place.tenant.map(|tenant| format!(r#","t":{tenant}"#)).unwrap_or_default();
    let changes: Vec<String> =
        labels.iter().map(|label| format!(r#"{{{tag}"data":{{"w":{label}{tenant}}}}}"#)).collect();
    let body = match &changes[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(",")),
    };
    let target = match place.tenant {
        Some(tenant) => format!("/tenants/t{tenant}/changes"),
        None => "/changes".to_owned(),
    };
    let request = Request::with_body("POST", target, body);
    match idempotency {
        Some(key) => request.header("Idempotency-Key", key.to_owned()),
        None => request,
    }
}
