//! Clients of the nodes: what they ask follows from the seed, what they are told is kept
//! for the oracle.

mod answers;
mod follower;
mod keys;
mod reader;
mod writer;

use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};

use rand::{RngExt, rngs::StdRng};

use super::{
    history::{Asked, Call, Consistency, Filter, Told},
    places::Places,
    record::Record,
    wire::{Link, Request},
};
use crate::{
    base::ids::NodeId,
    io::{
        cores,
        simulated::{
            cores::JoinHandle,
            executor::{Executor, Process, spawn_in},
        },
    },
};

/// The processes of clients begin with this number.
pub const FIRST_PROCESS: Process = 1_000;

/// How many keys there are: few, so that clients meet at them.
const KEYS: u64 = 4;
/// Tenants whose lists are read, and tags.
const TENANTS: u64 = 2;
const TAGS: u64 = 2;
/// The longest a client rests between two requests.
const REST: Duration = Duration::from_millis(200);

/// What all clients share.
#[derive(Clone)]
pub struct Shared {
    pub places: Places,
    pub record: Record,
    /// Nothing more is asked.
    pub ended: Rc<Cell<bool>>,
}

/// How many clients there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    pub writers: u64,
    pub keepers: u64,
    pub readers: u64,
    pub followers: u64,
}

/// One client.
pub struct Client {
    id: u64,
    rng: StdRng,
    shared: Shared,
    links: BTreeMap<NodeId, Link>,
}

/// Starts clients; resolves once all have come to an end, which they do soon after
/// `shared.ended`.
pub fn start(crowd: Crowd, shared: &Shared) -> Vec<JoinHandle<()>> {
    let mut id = 0;
    let mut client = || {
        id += 1;
        Client::new(id, shared.clone())
    };
    let mut tasks = Vec::new();
    for _ in 0..crowd.writers {
        let client = client();
        tasks.push(spawn_in(FIRST_PROCESS + client.id, writer::run(client)));
    }
    for _ in 0..crowd.keepers {
        let client = client();
        tasks.push(spawn_in(FIRST_PROCESS + client.id, keys::run(client)));
    }
    for _ in 0..crowd.readers {
        let client = client();
        tasks.push(spawn_in(FIRST_PROCESS + client.id, reader::run(client)));
    }
    for _ in 0..crowd.followers {
        let client = client();
        tasks.push(spawn_in(FIRST_PROCESS + client.id, follower::run(client)));
    }
    tasks
}

/// Makes the tenants and the collection that clients use.
pub async fn prepare(shared: &Shared) {
    let mut client = Client::new(0, shared.clone());
    let named = |name: &str| format!(r#"{{"name":"{name}"}}"#);
    let mut wanted: Vec<(String, String)> =
        (1..=TENANTS).map(|n| ("/tenants".into(), named(&format!("t{n}")))).collect();
    wanted.push(("/tenants".into(), named("k")));
    wanted.push(("/tenants/k/collections".into(), named("c")));
    for (target, body) in wanted {
        let request = Request::with_body("POST", target, body);
        loop {
            match client.link(1).ask(&request).await {
                super::wire::Heard::Answer(answer) if matches!(answer.status, 201 | 409) => break,
                other => super::record::note(&format!("preparing: {other:?}")),
            }
            cores::sleep(REST).await;
        }
    }
}

impl Client {
    pub fn new(id: u64, shared: Shared) -> Self {
        let rng = Executor::current().rng();
        Self { id, rng, shared, links: BTreeMap::new() }
    }

    fn has_ended(&self) -> bool {
        self.shared.ended.get()
    }

    fn link(&mut self, node: NodeId) -> &mut Link {
        let address = super::places::client_address(node);
        self.links.entry(node).or_insert_with(|| Link::new(address))
    }

    /// Rests for a moment; says whether to go on.
    async fn rest(&mut self) -> bool {
        let time = self.rng.random_range(Duration::ZERO..REST);
        cores::sleep(time).await;
        !self.has_ended()
    }

    /// One of the nodes that there are, whether it runs or not.
    fn any_node(&mut self) -> NodeId {
        let count = self.shared.places.count();
        self.rng.random_range(1..=count)
    }

    /// Asks a node, and notes what it told.
    pub async fn ask(&mut self, node: NodeId, asked: Asked, request: &Request) -> Told {
        let (called, life) = (self.shared.record.moment(), self.shared.places.life(node));
        let heard = self.link(node).ask(request).await;
        let (told, last) = answers::told(&asked, heard);
        // It may have begun anew meanwhile, with another disk.
        let last = last.filter(|_| self.shared.places.life(node) == life);
        let returned = self.shared.record.moment();
        let call =
            Call { client: self.id, node, life, called, returned, asked, told: told.clone(), last };
        self.shared.record.call(call);
        told
    }

    /// Reads a part of a list.
    pub async fn read(
        &mut self,
        node: NodeId,
        filter: Filter,
        since: u64,
        consistency: Consistency,
        more: &str,
    ) -> Told {
        let (list, query) = match filter {
            Filter::All => ("/changes".to_owned(), String::new()),
            Filter::Tenant(tenant) => (format!("/tenants/t{tenant}/changes"), String::new()),
            Filter::Tag(tag) => ("/changes".to_owned(), format!("&tag=g{tag}")),
            Filter::Collection => ("/tenants/k/collections/c/changes".to_owned(), String::new()),
        };
        let consistency_of = consistency_query(consistency);
        let target = format!("{list}?since={since}{query}{consistency_of}{more}");
        let asked = Asked::List { filter, since, consistency };
        self.ask(node, asked, &Request::get(target)).await
    }
}

fn consistency_query(consistency: Consistency) -> String {
    match consistency {
        Consistency::Local => String::new(),
        Consistency::Strong => "&consistency=strong".into(),
        Consistency::AtLeast(id) => format!("&min_id={id}"),
    }
}
