//! A client that follows a list by a stream of events, and goes on elsewhere when it
//! breaks.

use rand::RngExt;

use super::{Client, answers::parse_change, reader::any_filter};
use crate::{
    base::ids::NodeId,
    io::cores,
    simulation::{
        history::{Asked, Call, Consistency, Filter, Told},
        wire::{Heard, Request},
    },
};

/// How long one stream is followed at most.
const FOLLOWED: std::time::Duration = std::time::Duration::from_secs(20);

pub(super) async fn run(mut client: Client) {
    let filter = any_filter(&mut client);
    let mut since = 0;
    while client.rest().await {
        let node = client.any_node();
        let limit = client.rng.random_range(FOLLOWED / 20..FOLLOWED);
        let mut follow = Follow { node, filter, since, life: client.shared.places.life(node) };
        let is_over = cores::within(limit, follow.run(&mut client)).await;
        since = follow.since;
        client.link(node).close();
        if is_over.is_some() && client.rng.random_ratio(1, 10) {
            since = 0;
        }
    }
}

/// One stream.
struct Follow {
    node: NodeId,
    filter: Filter,
    /// How far it has come.
    since: u64,
    life: u32,
}

impl Follow {
    async fn run(&mut self, client: &mut Client) {
        let (list, tag) = match self.filter {
            Filter::All => ("/changes".to_owned(), String::new()),
            Filter::Tenant(tenant) => (format!("/tenants/t{tenant}/changes"), String::new()),
            Filter::Tag(tag) => ("/changes".to_owned(), format!("&tag=g{tag}")),
            Filter::Collection => ("/tenants/k/collections/c/changes".to_owned(), String::new()),
        };
        let target = format!("{list}?since={}{tag}", self.since);
        let request = Request::get(target).header("Accept", "text/event-stream".to_owned());
        let Heard::Answer(head) = client.link(self.node).send(&request).await else { return };
        if head.status != 200 || !head.is_chunked() {
            // It is no stream but a refusal that will pass, or a word of purged history.
            return client.link(self.node).close();
        }
        let mut text = String::new();
        while let Some(part) = client.link(self.node).part().await {
            text.push_str(&part);
            while let Some((event, rest)) = text.split_once("\n\n") {
                if !self.event(client, event) {
                    return;
                }
                text = rest.to_owned();
            }
            if client.has_ended() {
                return;
            }
        }
    }

    /// Takes one event; says whether the stream goes on.
    fn event(&mut self, client: &Client, event: &str) -> bool {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").unwrap_or_default();
        let id = field("id: ").and_then(|text| text.parse::<u64>().ok());
        match (field("event: "), id) {
            (Some("cursor"), Some(last_id)) => self.page(client, Vec::new(), last_id),
            (None, Some(id)) => match parse_change(data) {
                Some(seen) => self.page(client, vec![seen], id),
                None => self.note(client, Told::Odd(event.to_owned()), self.since),
            },
            (Some("reset"), _) => {
                let first = serde_json::from_str::<serde_json::Value>(data).ok();
                let first = first.and_then(|problem| problem["first"].as_u64());
                let told = first.map_or(Told::Failed, |first| Told::Purged { first });
                self.note(client, told, self.since);
                self.since = first.map_or(0, |first| first.saturating_sub(1));
                return false;
            }
            (Some("unavailable"), _) => return false,
            // The time after which to come again stands alone.
            (None, None) => {}
            _ => self.note(client, Told::Odd(event.to_owned()), self.since),
        }
        true
    }

    fn page(&mut self, client: &Client, changes: Vec<crate::simulation::history::Seen>, to: u64) {
        // It began where history does, wherever that is now.
        let begin = changes.first().map_or(to, |first| first.id - 1);
        let since = if self.since == 0 { begin } else { self.since };
        self.since = to;
        self.note(client, Told::Page { changes, last: to, at_end: false }, since);
    }

    fn note(&self, client: &Client, told: Told, since: u64) {
        let record = &client.shared.record;
        let (called, returned) = (record.moment(), record.moment());
        let asked = Asked::List { filter: self.filter, since, consistency: Consistency::Local };
        let (client, node, life) = (client.id, self.node, self.life);
        // How far the node was when the stream began says nothing of later parts.
        record.call(Call { client, node, life, called, returned, asked, told, last: None });
    }
}
