//! A client of a few keys: it sets, deletes and reads them, often under the condition that
//! they are still what it saw last.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{Client, KEYS};
use crate::simulation::{
    history::{Asked, Condition, Consistency, Told},
    wire::Request,
};

const PATH: &str = "/tenants/k/collections/c/keys";

pub(super) async fn run(mut client: Client) {
    // What each key was when this client heard of it last.
    let mut known: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    while client.rest().await {
        let (node, key) = (client.any_node(), client.rng.random_range(1..=KEYS));
        let condition = match known.get(&key) {
            Some(Some(id)) if client.rng.random_ratio(2, 3) => Condition::Is(*id),
            Some(None) if client.rng.random_ratio(2, 3) => Condition::IsAbsent,
            _ => Condition::None,
        };
        let asked = match client.rng.random_range(0..10) {
            0..5 => Asked::Put { label: client.shared.record.label(), key, condition },
            5 if condition != Condition::IsAbsent => Asked::Delete { key, condition },
            6 => Asked::Key { key, consistency: Consistency::Local },
            _ => Asked::Key { key, consistency: Consistency::Strong },
        };
        let told = client.ask(node, asked.clone(), &request(&asked)).await;
        match (&asked, told) {
            (Asked::Put { .. }, Told::Done { first, .. }) => {
                known.insert(key, Some(first));
            }
            (Asked::Delete { .. }, Told::Done { .. }) => {
                known.insert(key, None);
            }
            (_, Told::Refused { current }) => {
                known.insert(key, current);
            }
            (_, Told::Key(seen)) => {
                known.insert(key, seen.map(|seen| seen.id));
            }
            _ => {}
        }
    }
}

fn request(asked: &Asked) -> Request {
    match *asked {
        Asked::Put { label, key, condition } => {
            let body = format!(r#"{{"data":{{"w":{label}}}}}"#);
            conditional(Request::with_body("PUT", format!("{PATH}/k{key}"), body), condition)
        }
        Asked::Delete { key, condition } => {
            let request = Request { method: "DELETE", ..Request::get(format!("{PATH}/k{key}")) };
            conditional(request, condition)
        }
        Asked::Key { key, consistency: Consistency::Strong } => {
            Request::get(format!("{PATH}/k{key}?consistency=strong"))
        }
        Asked::Key { key, .. } => Request::get(format!("{PATH}/k{key}")),
        _ => unreachable!("no request for a key"),
    }
}

fn conditional(request: Request, condition: Condition) -> Request {
    match condition {
        Condition::None => request,
        Condition::Is(id) => request.header("If-Match", format!("\"{id}\"")),
        Condition::IsAbsent => request.header("If-None-Match", "*".to_owned()),
    }
}
