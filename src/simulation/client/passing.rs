//! A client of tenants and collections that come and go: it makes some, writes to them, reads
//! them, lists them and ends them, beside others that do the same with the same names.

use rand::RngExt;

use super::{Client, keys, writer::until_known};
use crate::simulation::history::{Asked, Consistency, Filter, Place, Thing, Told};

/// Names, few, so that clients meet at them.
const NAMES: u64 = 2;

pub(super) async fn run(mut client: Client) {
    while client.rest().await {
        let Some(thing) = any_thing(&mut client) else {
            make(&mut client, None).await;
            continue;
        };
        let told = match client.rng.random_range(0..20) {
            0 => end(&mut client, thing).await,
            1 | 2 => make(&mut client, None).await,
            3..6 => make(&mut client, Some(thing)).await,
            6 => names(&mut client, Some(thing)).await,
            7 => names(&mut client, None).await,
            8..11 => list(&mut client, thing).await,
            _ => use_it(&mut client, thing).await,
        };
        if told == Told::Gone {
            client.forget(Some(thing));
        }
    }
}

/// A tenant or a collection that may still be there.
fn any_thing(client: &mut Client) -> Option<Thing> {
    let passing: Vec<Thing> = client.shared.estate.borrow().passing.iter().copied().collect();
    let count = passing.len().max(1);
    passing.get(client.rng.random_range(0..count)).copied()
}

/// Makes a tenant, or a collection of the tenant.
async fn make(client: &mut Client, of: Option<Thing>) -> Told {
    let tenant = match of {
        Some(Thing::Tenant(id)) => Some(id),
        Some(collection) => client.shared.estate.borrow().place(collection).tenant,
        None => None,
    };
    let name = format!("p{}", client.rng.random_range(1..=NAMES));
    let asked = Asked::Make { tenant, name };
    let told = write(client, asked).await;
    if let Told::Made(id) | Told::Taken(id) = told {
        let mut estate = client.shared.estate.borrow_mut();
        match tenant {
            None => estate.passing.insert(Thing::Tenant(id)),
            Some(tenant) => {
                estate.belongs(id, tenant);
                estate.passing.insert(Thing::Collection(id))
            }
        };
    }
    told
}

async fn end(client: &mut Client, thing: Thing) -> Told {
    let told = write(client, Asked::End(thing)).await;
    if matches!(told, Told::Done { .. }) {
        // Others may go on with it, and are to be told.
        if client.rng.random() {
            client.forget(Some(thing));
        }
    }
    told
}

/// Writes, now and then under a key, so that it is repeated until its outcome is known.
async fn write(client: &mut Client, asked: Asked) -> Told {
    if client.rng.random_ratio(1, 3) {
        let key = format!("p{}", client.shared.record.label());
        return until_known(client, asked, &key).await;
    }
    let node = client.any_node();
    client.ask(node, asked).await
}

/// The names of all tenants, or of the collections of a tenant.
async fn names(client: &mut Client, of: Option<Thing>) -> Told {
    let tenant = match of {
        Some(Thing::Tenant(id)) => Some(id),
        _ => None,
    };
    let node = client.any_node();
    client.ask(node, Asked::Names { tenant }).await
}

/// Reads its list, or lists its keys.
async fn list(client: &mut Client, thing: Thing) -> Told {
    let place = client.shared.estate.borrow().place(thing);
    if place.collection.is_some() && client.rng.random() {
        return keys::list(client, place).await;
    }
    let node = client.any_node();
    let consistency = if client.rng.random() { Consistency::Strong } else { Consistency::Local };
    let more = format!("&block={}", client.rng.random_range(0..3));
    let filter = Filter { of: Some(thing), ..Filter::default() };
    client.read(node, filter, 0, consistency, &more).await
}

/// Writes to it, and to others with it.
async fn use_it(client: &mut Client, thing: Thing) -> Told {
    let place = client.shared.estate.borrow().place(thing);
    let place = if place.collection.is_some() { keys::any_key(client, place) } else { place };
    let node = client.any_node();
    let asked = match (place.key, client.rng.random_range(0..3)) {
        (Some(_), 0) => keys::any(client, place, None),
        (_, 1) => {
            let elsewhere = client.shared.estate.borrow().kept;
            let others = [Place::default(), keys::any_key(client, elsewhere), place];
            Asked::Append(others.map(|place| client.new_at(place)).to_vec())
        }
        _ => Asked::Append(vec![client.new_at(place)]),
    };
    client.ask(node, asked).await
}
