//! A client that says how much tenants keep, writes to them, and reads what is left of their lists,
//! from their beginnings and from where there may be nothing any more.

use rand::RngExt;

use super::{Client, TAGS};
use crate::simulation::history::{Asked, Consistency, Filter, Place, Thing, Told};

/// The most changes that a tenant is to keep.
const KEPT_MAX: u64 = 20;

pub(super) async fn run(mut client: Client) {
    let mut newest = 0;
    while client.rest().await {
        let tenants = client.shared.estate.borrow().tenants.clone();
        let tenant = tenants[client.rng.random_range(0..tenants.len())];
        let node = client.any_node();
        match client.rng.random_range(0..8) {
            0 => {
                let changes = client.rng.random_range(1..=KEPT_MAX);
                client.ask(node, Asked::Retain { tenant, changes }).await;
            }
            1..4 => {
                let place = Place { tenant: Some(tenant), ..Place::default() };
                let told = client.ask(node, Asked::Append(vec![client.new_at(place)])).await;
                if let Told::Done { first, .. } = told {
                    newest = newest.max(first);
                }
            }
            _ => {
                let tag = client.rng.random_range(1..=TAGS);
                let tag = client.rng.random_ratio(1, 6).then_some(tag);
                let filter = Filter { of: Some(Thing::Tenant(tenant)), tag, ..Filter::default() };
                let is_strong = client.rng.random_ratio(1, 3);
                let consistency = if is_strong { Consistency::Strong } else { Consistency::Local };
                let since = client.rng.random_range(0..=newest);
                let since = if client.rng.random() { 0 } else { since };
                client.read(node, filter, since, consistency, "&limit=1000").await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::simulation::{plan::Plan, tests::given, world::run_planned};

    #[test]
    fn tenants_keep_what_they_are_to_whatever_goes_wrong() {
        let (from, to) = (given("FROM").unwrap_or(0), given("TO").unwrap_or(4));
        let (mut set, mut purged) = (0, 0);
        for seed in from..to {
            let report = run_planned(seed, |rng| {
                let mut plan = Plan::draw(rng);
                plan.crowd.retainers = 2;
                plan.shape.setup.retention = None;
                plan
            });
            set += report.coverage.of("retain: done");
            purged += report.coverage.of("read a tenant locally: purged");
        }
        assert!(set > 10 && purged > 10, "{set} times set, {purged} times purged");
    }
}
