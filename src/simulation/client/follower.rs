//! A client that follows a list by a stream of events or of lines, and goes on elsewhere when
//! it breaks.

use std::time::Duration;

use rand::RngExt;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Client,
    answers::{cluster, parse_change},
    requests,
};
use crate::{
    base::ids::NodeId,
    io::cores,
    simulation::{
        history::{Asked, Call, Consistency, Filter, Seen, Told},
        wire::{Heard, Request},
    },
};

/// How long one stream is followed at most.
const FOLLOWED: Duration = Duration::from_secs(20);

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As events.
    Events,
    /// As lines, some of which say how far the list was looked at.
    Lines,
}

pub(super) async fn run(mut client: Client) {
    let mut filter = client.any_filter();
    let mut since = 0;
    while client.rest().await {
        let node = client.any_node();
        let limit = client.rng.random_range(FOLLOWED / 20..FOLLOWED);
        let form = if client.rng.random() { Form::Events } else { Form::Lines };
        let life = client.shared.places.life(node);
        let mut follow = Follow { form, node, filter, since, life, is_gone: false, cluster: None };
        let is_over = cores::within(limit, follow.run(&mut client)).await;
        since = follow.since;
        client.link(node).close();
        if follow.is_gone {
            client.forget(filter.of);
        }
        if follow.is_gone || (is_over.is_some() && client.rng.random_ratio(1, 10)) {
            (filter, since) = (client.any_filter(), 0);
        }
    }
}

/// One stream.
struct Follow {
    form: Form,
    node: NodeId,
    filter: Filter,
    /// How far it has come.
    since: u64,
    life: u32,
    /// The list is not there any more.
    is_gone: bool,
    /// The history that it is of.
    cluster: Option<Uuid>,
}

impl Follow {
    async fn run(&mut self, client: &mut Client) {
        let request = self.request(client);
        let Heard::Answer(head) = client.link(self.node).send(&request).await else { return };
        self.cluster = cluster(&head);
        if head.status != 200 || !head.is_chunked() {
            if let Some(problem) = client.link(self.node).rest(head).await {
                self.problem(client, &problem.body);
            }
            return client.link(self.node).close();
        }
        let end = match self.form {
            Form::Events => "\n\n",
            Form::Lines => "\n",
        };
        let mut text = String::new();
        while let Some(part) = client.link(self.node).part().await {
            text.push_str(&part);
            while let Some((item, rest)) = text.split_once(end) {
                let goes_on = match self.form {
                    Form::Events => self.event(client, item),
                    Form::Lines => self.line(client, item),
                };
                if !goes_on {
                    return;
                }
                text = rest.to_owned();
            }
            if client.has_ended() {
                return;
            }
        }
    }

    fn request(&self, client: &mut Client) -> Request {
        let list = requests::list(self.filter, &client.shared.estate.borrow());
        let target = format!("{list}since={}", self.since);
        match self.form {
            Form::Events => Request::get(target).header("Accept", "text/event-stream".to_owned()),
            Form::Lines => {
                let block = client.rng.random_range(0..5);
                Request::get(format!("{target}&cursors=true&block={block}"))
                    .header("Accept", "application/x-ndjson".to_owned())
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
                self.problem(client, data);
                return false;
            }
            (Some("unavailable"), _) => return false,
            // The time after which to come again stands alone.
            (None, None) => {}
            _ => self.note(client, Told::Odd(event.to_owned()), self.since),
        }
        true
    }

    /// Takes one line; says whether the stream goes on.
    fn line(&mut self, client: &Client, line: &str) -> bool {
        let cursor = || serde_json::from_str::<Value>(line).ok()?.get("last")?.as_u64();
        if let Some(seen) = parse_change(line) {
            let id = seen.id;
            self.page(client, vec![seen], id);
        } else if let Some(last) = cursor() {
            self.page(client, Vec::new(), last);
        } else if !line.is_empty() {
            self.note(client, Told::Odd(line.to_owned()), self.since);
            return false;
        }
        true
    }

    /// Takes why there is no stream, or no more of it.
    fn problem(&mut self, client: &Client, text: &str) {
        let problem: Value = serde_json::from_str(text).unwrap_or_default();
        let (first, code) = (problem["first"].as_u64(), problem["code"].as_str());
        let told = match (first, code) {
            (Some(first), Some("purged")) => Told::Purged { first },
            // Of what a copy passes on its origin tells, which may know more than others.
            (None, Some("not-found")) if !client.has_list(self.node, self.filter) => return,
            (None, Some("not-found")) => Told::Gone,
            (Some(first), Some("damaged")) => {
                // Another node may have it.
                let last = problem["last"].as_u64().unwrap_or_default();
                let told = client.unless_sound(self.node, self.life, Told::Damaged { first, last });
                return self.note(client, told, self.since);
            }
            // A refusal that will pass.
            _ => return,
        };
        self.is_gone = told == Told::Gone;
        self.note(client, told, self.since);
        self.since = first.map_or(self.since, |first| first.saturating_sub(1));
    }

    fn page(&mut self, client: &Client, changes: Vec<Seen>, to: u64) {
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
        record.count(&format!("{:?}: {}", self.form, told.outcome()));
        record.call(Call {
            client: client.id,
            node: self.node,
            life: self.life,
            called,
            returned,
            asked,
            idempotency: None,
            told,
            // How far the node was when the stream began says nothing of later parts.
            last: None,
            cluster: self.cluster,
            age: None,
        });
    }
}
