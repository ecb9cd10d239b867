//! Clients of the nodes: what they ask follows from the seed, what they are told is kept
//! for the oracle.

mod answers;
mod backward;
mod combined;
mod copier;
mod eraser;
mod estate;
mod follower;
mod keys;
mod mirror;
mod passing;
mod reader;
mod requests;
mod retainer;
mod rude;
mod writer;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use rand::{RngExt, rngs::StdRng};
use uuid::Uuid;

use self::{answers::Answered, estate::Estate};
pub use self::{eraser::labels, writer::Habits};
use super::{
    history::{Asked, Call, Consistency, Filter, New, Place, Thing, Told},
    places::Places,
    record::Record,
    wire::{Heard, Link, Request},
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
    pub estate: Rc<RefCell<Estate>>,
    pub habits: Habits,
    /// What was written once, and redacted then, by its labels.
    pub secrets: Rc<RefCell<Vec<u64>>>,
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
    /// Clients of tenants and collections that come and go.
    pub makers: u64,
    /// Clients that break off, and read slowly.
    pub rude: u64,
    /// Clients that copy the log itself.
    pub copiers: u64,
    /// Clients that redact changes.
    pub erasers: u64,
    /// Clients that say how much tenants keep.
    pub retainers: u64,
    /// Clients that read backwards.
    pub backward: u64,
    /// Clients that read several lists at once, and from moments on.
    pub combined: u64,
    /// Clients that take over the state of a collection, and follow it from there.
    pub mirrors: u64,
    pub habits: Habits,
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
    let mut start = |count: u64, run: fn(Client) -> LocalBoxFuture<'static, ()>| {
        for _ in 0..count {
            let client = client();
            tasks.push(spawn_in(FIRST_PROCESS + client.id, run(client)));
        }
    };
    start(crowd.writers, |client| writer::run(client).boxed_local());
    start(crowd.keepers, |client| keys::run(client).boxed_local());
    start(crowd.readers, |client| reader::run(client).boxed_local());
    start(crowd.followers, |client| follower::run(client).boxed_local());
    start(crowd.makers, |client| passing::run(client).boxed_local());
    start(crowd.rude, |client| rude::run(client).boxed_local());
    start(crowd.copiers, |client| copier::run(client).boxed_local());
    start(crowd.erasers, |client| eraser::run(client).boxed_local());
    start(crowd.retainers, |client| retainer::run(client).boxed_local());
    start(crowd.backward, |client| backward::run(client).boxed_local());
    start(crowd.combined, |client| combined::run(client).boxed_local());
    start(crowd.mirrors, |client| mirror::run(client).boxed_local());
    tasks
}

/// Makes the tenants and the collection that clients use and that stay.
pub async fn prepare(shared: &Shared) {
    let mut client = Client::new(0, shared.clone());
    for n in 1..=TENANTS {
        let name = format!("t{n}");
        let tenant = client.made(None, &name).await;
        let mut estate = shared.estate.borrow_mut();
        estate.keep(Thing::Tenant(tenant), &format!("/tenants/{name}"));
        estate.tenants.push(tenant);
    }
    let tenant = client.made(None, "k").await;
    shared.estate.borrow_mut().keep(Thing::Tenant(tenant), "/tenants/k");
    let collection = client.made(Some(tenant), "c").await;
    let mut estate = shared.estate.borrow_mut();
    let thing = Thing::Collection(collection);
    estate.keep(thing, "/tenants/k/collections/c");
    estate.belongs(collection, tenant);
    estate.kept = estate.place(thing);
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

    /// One of the nodes that there are, or of their copies, whether it runs or not.
    fn any_node(&mut self) -> NodeId {
        let nodes: Vec<NodeId> = self.shared.places.serving().collect();
        nodes[self.rng.random_range(0..nodes.len())]
    }

    /// Makes a tenant or a collection, as often as it takes.
    async fn made(&mut self, tenant: Option<Uuid>, name: &str) -> Uuid {
        loop {
            let asked = Asked::Make { tenant, name: name.to_owned() };
            match self.ask(1, asked).await {
                Told::Made(id) | Told::Taken(id) => return id,
                _ => cores::sleep(REST).await,
            }
        }
    }

    /// A change with a label of its own.
    pub fn new_at(&self, place: Place) -> New {
        New { label: self.shared.record.label(), place }
    }

    /// Asks a node, and notes what it told.
    pub async fn ask(&mut self, node: NodeId, asked: Asked) -> Told {
        self.ask_with(node, asked, None, "").await
    }

    /// The same of a request that may be repeated under a key, or has further parameters.
    async fn ask_with(
        &mut self,
        node: NodeId,
        asked: Asked,
        idempotency: Option<&str>,
        more: &str,
    ) -> Told {
        let request = self.request(&asked, idempotency, more);
        let begun = self.begin(node);
        let heard = self.link(node).ask(&request).await;
        self.end(begun, asked, idempotency, heard)
    }

    /// The request for that as it is sent.
    fn request(&self, asked: &Asked, idempotency: Option<&str>, more: &str) -> Request {
        let request = requests::request(asked, more, &self.shared.estate.borrow());
        match idempotency {
            Some(key) => request.header("Idempotency-Key", key.to_owned()),
            None => request,
        }
    }

    /// Notes that a request is about to be sent to a node.
    fn begin(&self, node: NodeId) -> Begun {
        Begun { node, called: self.shared.record.moment(), life: self.shared.places.life(node) }
    }

    /// Notes what came of it.
    fn end(&self, begun: Begun, asked: Asked, idempotency: Option<&str>, heard: Heard) -> Told {
        let Begun { node, called, life } = begun;
        let Answered { told, last, cluster, age } = answers::told(&asked, heard);
        let told = self.unless_sound(node, life, told);
        // It may have begun anew meanwhile, with another disk.
        let last = last.filter(|_| self.shared.places.life(node) == life);
        let returned = self.shared.record.moment();
        let (client, idempotency) = (self.id, idempotency.map(str::to_owned));
        let noted = told.clone();
        self.shared.record.call(Call {
            client,
            node,
            life,
            called,
            returned,
            asked,
            idempotency,
            told: noted,
            last,
            cluster,
            age,
        });
        told
    }

    /// What a node told, which must not say that it is damaged while nothing is wrong with what
    /// its disk held in that life, or with the disks of those that a copy hands reads on to.
    fn unless_sound(&self, node: NodeId, life: u32, told: Told) -> Told {
        let places = &self.shared.places;
        let is_copy = || places.copies().any(|copy| copy == node);
        let origin = |node: NodeId| places.may_be_damaged(node, places.life(node));
        let may_be =
            || places.may_be_damaged(node, life) || (is_copy() && places.serving().any(origin));
        match told {
            Told::Damaged { .. } if !may_be() => {
                Told::Odd(format!("{told}: the disk of node {node} is sound"))
            }
            told => told,
        }
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
        let asked = Asked::List { filter, since, consistency };
        self.ask_with(node, asked, None, more).await
    }

    /// Whether a node has that list itself: a copy of some tenants passes on those of others, which it asks
    /// its origin for.
    fn has_list(&self, node: NodeId, filter: Filter) -> bool {
        let Some(tenants) = self.shared.places.tenants_of(node) else { return true };
        let estate = self.shared.estate.borrow();
        let is_of = |thing| {
            let tenant = estate.place(thing).tenant.map(|id| estate.path(Thing::Tenant(id)));
            tenants.iter().any(|name| tenant == Some(format!("/tenants/{name}")))
        };
        filter.of.is_some() && filter.things().all(is_of)
    }

    /// Forgets a tenant or a collection that is not there any more.
    fn forget(&self, thing: Option<Thing>) {
        thing.into_iter().for_each(|thing| self.shared.estate.borrow_mut().forget(thing));
    }

    /// Any list.
    fn any_filter(&mut self) -> Filter {
        let tag = Some(self.rng.random_range(1..=TAGS));
        let estate = self.shared.estate.borrow();
        let tenants = &estate.tenants;
        let tenant = Thing::Tenant(tenants[self.rng.random_range(0..tenants.len())]);
        let kept = estate.kept.collection.map(Thing::Collection);
        let of = match self.rng.random_range(0..6) {
            0 => Some(tenant),
            1 => kept,
            2 => estate.passing.iter().nth(self.rng.random_range(0..4)).copied(),
            _ => None,
        };
        Filter { of, tag: tag.filter(|_| self.rng.random_ratio(1, 4)), also: None }
    }
}

/// A request that was sent and not answered yet.
struct Begun {
    node: NodeId,
    called: super::history::Moment,
    life: u32,
}
