//! A client that reads lists backwards, page by page, from their ends or from somewhere in them.

use rand::RngExt;

use super::{Client, answers, requests};
use crate::{
    base::ids::NodeId,
    simulation::{
        history::{Asked, Consistency, Filter, Told},
        wire::Request,
    },
};

pub(super) async fn run(mut client: Client) {
    let (mut filter, mut before, mut newest) = (client.any_filter(), None, 1);
    while client.rest().await {
        let node = client.any_node();
        let limit = client.rng.random_range(1..20);
        let (told, reached) = client.read_back(node, filter, before, limit).await;
        before = reached.filter(|reached| *reached > 1);
        match told {
            Told::Page { last, .. } => newest = newest.max(last),
            Told::Gone => client.forget(filter.of),
            _ => {}
        }
        if before.is_none() {
            filter = client.any_filter();
            let from = client.rng.random_range(1..=newest + 5);
            before = client.rng.random::<bool>().then_some(from);
        }
    }
}

impl Client {
    /// Reads the newest changes below `before`, or of all. It is noted as the part of the list
    /// that the answer says to be. Gives what was told, and where to go on.
    pub(super) async fn read_back(
        &mut self,
        node: NodeId,
        filter: Filter,
        before: Option<u64>,
        limit: usize,
    ) -> (Told, Option<u64>) {
        let list = requests::list(filter, &self.shared.estate.borrow());
        let from = before.map_or("now".to_owned(), |before| before.to_string());
        let request = Request::get(format!("{list}before={from}&limit={limit}"));
        let begun = self.begin(node);
        let heard = self.link(node).ask(&request).await;
        let reached = answers::reached(&heard);
        // Whoever is told that the change before it is purged asked for that one.
        let since = reached.map_or(before.unwrap_or(2).saturating_sub(2), |reached| reached - 1);
        let asked = Asked::List { filter, since, consistency: Consistency::Local };
        (self.end(begun, asked, None, heard), reached)
    }
}

#[cfg(test)]
mod tests {
    use crate::simulation::{plan::Plan, world::run_planned};

    #[test]
    fn what_is_read_backwards_is_the_list_whatever_goes_wrong() {
        let pages: u64 = (0..3)
            .map(|seed| {
                let report = run_planned(seed, |rng| {
                    let mut plan = Plan::draw(rng);
                    plan.crowd.backward = 3;
                    plan
                });
                report.found.pages
            })
            .sum();
        assert!(pages > 300, "{pages} pages");
    }
}
