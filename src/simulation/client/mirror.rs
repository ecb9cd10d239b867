//! A client that takes over the state of a collection, and what changes after that: on the same
//! stream, or part by part at any node. Then it says which keys it holds.

use std::{collections::BTreeMap, time::Duration};

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
        history::{Asked, Call, Consistency, Filter, Seen, Thing, Told},
        places::client_address,
        wire::{Heard, Link},
    },
};

/// How long one state is followed at most.
const FOLLOWED: Duration = Duration::from_secs(15);
/// How often it is said which keys are held, before another is taken over.
const SAID: usize = 4;
/// Parts of the list that are read after a state.
const PARTS: usize = 10;

pub(super) async fn run(mut client: Client) {
    let kept = client.shared.estate.borrow().kept;
    let Some(collection) = kept.collection else { return };
    while client.rest().await {
        let node = client.any_node();
        let life = client.shared.places.life(node);
        let mut mirror = Mirror {
            node,
            life,
            collection,
            cluster: None,
            changes: Vec::new(),
            held: BTreeMap::new(),
            since: None,
            walked: None,
            said: 0,
        };
        let mut link = Link::new(client_address(node));
        let is_over = cores::within(FOLLOWED, mirror.run(&mut client, &mut link)).await;
        link.close();
        if is_over.is_none() {
            // An answer may be under way that belongs to no later request.
            client.links.values_mut().for_each(Link::close);
        }
    }
}

/// One state that is taken over.
struct Mirror {
    node: NodeId,
    life: u32,
    collection: Uuid,
    cluster: Option<Uuid>,
    /// What came since it was last said which keys are held.
    changes: Vec<Seen>,
    /// The newest change of each key, and whether the key is there by that.
    held: BTreeMap<String, (u64, bool)>,
    /// After which change it is followed.
    since: Option<u64>,
    /// No part of the state is of after this change.
    walked: Option<u64>,
    said: usize,
}

impl Mirror {
    async fn run(&mut self, client: &mut Client, link: &mut Link) {
        let follows = client.rng.random();
        let more = if follows { "&follow=true" } else { "" };
        let asked = Asked::State { collection: self.collection };
        let request = requests::request(&asked, more, &client.shared.estate.borrow());
        let Heard::Answer(head) = link.send(&request).await else { return };
        if head.status != 200 || !head.is_chunked() {
            return;
        }
        self.cluster = cluster(&head);
        let mut text = String::new();
        while let Some(part) = link.part().await {
            text.push_str(&part);
            while let Some((line, rest)) = text.split_once('\n') {
                let is_state_over = self.line(client, line);
                text = rest.to_owned();
                if is_state_over {
                    // What this node has now is no older than any part of the state.
                    let all = Filter::default();
                    let (told, _) = client.read_back(self.node, all, None, 1).await;
                    let Told::Page { last, .. } = told else { return };
                    self.walked = Some(last);
                    if !follows {
                        return self.read_on(client).await;
                    }
                }
            }
            if client.has_ended() || self.said >= SAID {
                return;
            }
        }
    }

    /// Takes one line; says whether the state is over with it.
    fn line(&mut self, client: &Client, line: &str) -> bool {
        if line.is_empty() {
            return false;
        }
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        match (value["_id"].as_u64(), value["since"].as_u64(), value["last"].as_u64()) {
            (Some(id), None, None) => {
                if let Some(seen) = parse_change(line) {
                    self.take(&value, seen);
                }
                self.say(client, id);
            }
            (None, Some(since), None) if value["end"] == true => {
                if self.since != Some(since) {
                    self.note(client, Told::Odd(line.to_owned()));
                }
                return true;
            }
            (None, Some(since), None) => self.since = Some(since),
            (None, None, Some(last)) => self.say(client, last),
            _ => self.note(client, Told::Odd(line.to_owned())),
        }
        false
    }

    /// Takes a change over if it is newer than what is known of its key.
    fn take(&mut self, value: &Value, seen: Seen) {
        if let Some(key) = value["key"].as_str() {
            let held = self.held.entry(key.to_owned()).or_default();
            if held.0 < seen.id {
                *held = (seen.id, value["deleted"] != true);
            }
        }
        self.changes.push(seen);
    }

    /// Says which keys are held, if all that there is up to `upto` has come, and nothing beyond it.
    fn say(&mut self, client: &Client, upto: u64) {
        if self.walked.is_none_or(|walked| upto < walked) {
            return;
        }
        let live = self.held.values().filter(|(_, is_there)| *is_there);
        let held = live.map(|(id, _)| *id).collect();
        let changes = std::mem::take(&mut self.changes);
        self.said += 1;
        self.note(client, Told::State { changes, held, upto });
    }

    /// Reads what changed after the state, at any node.
    async fn read_on(&mut self, client: &mut Client) {
        let of = Some(Thing::Collection(self.collection));
        let filter = Filter { of, ..Filter::default() };
        let (Some(mut since), Some(walked)) = (self.since, self.walked) else { return };
        for _ in 0..PARTS {
            let (node, least) = (client.any_node(), Consistency::AtLeast(walked));
            let told = client.read(node, filter, since, least, "&limit=20&block=3").await;
            let Told::Page { changes, last, at_end } = told else { continue };
            for seen in changes {
                let value = serde_json::from_str(&seen.text).unwrap_or_default();
                self.take(&value, seen);
            }
            since = last;
            if at_end {
                return self.say(client, last);
            }
        }
    }

    fn note(&self, client: &Client, told: Told) {
        let record = &client.shared.record;
        let (called, returned) = (record.moment(), record.moment());
        record.call(Call {
            client: client.id,
            node: self.node,
            life: self.life,
            called,
            returned,
            asked: Asked::State { collection: self.collection },
            idempotency: None,
            told,
            // How far the node was when the stream began says nothing of later parts.
            last: None,
            cluster: self.cluster,
            age: None,
        });
    }
}
