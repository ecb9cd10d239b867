//! The nodes of a run, whether they run or not: each is a place with a disk, and a
//! process on it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use rand::RngExt;
use tokio::sync::Notify;

use super::node::{self, Exit, Inside, Role};
use super::record::note;
use crate::{
    base::ids::NodeId,
    io::simulated::{
        disk::{Faults, Loss, SimDisk},
        executor::{Executor, Process, SURROUNDINGS, spawn_in},
        net::Network,
    },
    node::{copy::CopyOf, retention::Retention},
};

/// How a node is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Serving cores.
    pub cores: usize,
    pub segment_bytes: u64,
    pub retention: Option<Retention>,
    /// It is to vote.
    pub votes: bool,
}

/// What a place is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No node is there yet, and none is started.
    Absent,
    /// An empty node is there, a cluster of its own, which nobody but who takes it in knows.
    Alone,
    /// A node of the cluster is there, or one that asks to be taken in.
    Present,
    /// A read-only copy of the history is there, which belongs to no cluster.
    Copy,
}

struct Place {
    id: NodeId,
    setup: Setup,
    /// Of what it is a copy, if it is one.
    copy_of: Option<CopyOf>,
    presence: Cell<Presence>,
    disk: RefCell<SimDisk>,
    /// How often it was given another disk.
    life: Cell<u32>,
    /// How often it began with an empty disk.
    begun: Cell<u32>,
    /// What the disk was once.
    copy: RefCell<Option<SimDisk>>,
    /// Its disk does not hold any more what it was told to.
    is_spoiled: Cell<bool>,
    /// Reads of its disk fail, or did.
    is_misread: Cell<bool>,
    /// With an empty disk it founds a cluster, and a history.
    founds: Cell<bool>,
    runs: Cell<bool>,
    /// It is no member any more, or about to be none: it can only come anew.
    is_removed: Cell<bool>,
    /// Counts the processes that were started here.
    starts: Cell<u64>,
    /// Has the process that runs come to an end.
    stop: RefCell<Rc<Notify>>,
    /// What the process that runs has, or that ran last.
    inside: Rc<RefCell<Option<Inside>>>,
}

/// The places of a run. Clones are the same.
#[derive(Clone, Default)]
pub struct Places(Rc<RefCell<Vec<Rc<Place>>>>);

/// Where clients reach a node.
pub fn client_address(node: NodeId) -> String {
    format!("node-{node}:80")
}

/// Where other nodes reach it.
pub fn cluster_address(node: NodeId) -> String {
    format!("node-{node}:7000")
}

/// The process of a node: its place, whatever number its cluster gives it.
pub fn process_of(node: NodeId) -> Process {
    node
}

/// How a disk is when all is well.
pub fn usual() -> Faults {
    Faults { latency_max: Duration::from_millis(1), ..Faults::default() }
}

impl Places {
    /// Adds a place with an empty disk. Nothing runs there yet.
    pub fn add(&self, setup: Setup, presence: Presence) -> NodeId {
        self.add_place(setup, presence, None)
    }

    /// Adds a place for a copy, with an empty disk.
    pub fn add_copy(&self, setup: Setup, of: CopyOf) -> NodeId {
        self.add_place(setup, Presence::Copy, Some(of))
    }

    fn add_place(&self, setup: Setup, presence: Presence, copy_of: Option<CopyOf>) -> NodeId {
        let id = self.0.borrow().len() as u64 + 1;
        let disk = SimDisk::with_faults(Executor::current().rng().random(), usual());
        let place = Place {
            id,
            setup,
            copy_of,
            presence: Cell::new(presence),
            disk: RefCell::new(disk),
            life: Cell::default(),
            begun: Cell::default(),
            copy: RefCell::default(),
            is_spoiled: Cell::default(),
            is_misread: Cell::default(),
            // The first begins the cluster.
            founds: Cell::new(id == 1),
            runs: Cell::default(),
            is_removed: Cell::default(),
            starts: Cell::default(),
            stop: RefCell::default(),
            inside: Rc::default(),
        };
        self.0.borrow_mut().push(Rc::new(place));
        id
    }

    /// How many nodes of the cluster there are.
    pub fn count(&self) -> u64 {
        self.all().count() as u64
    }

    /// The nodes of the cluster, whether they run or not.
    pub fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.are(Presence::Present).into_iter()
    }

    /// The copies, those behind those that they follow.
    pub fn copies(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        self.are(Presence::Copy).into_iter()
    }

    /// The tenants that a copy is of, by name; nothing where a place has all.
    pub fn tenants_of(&self, node: NodeId) -> Option<Vec<String>> {
        let of = self.place(node).copy_of.as_ref().map(|of| of.tenants.clone());
        of.filter(|tenants| !tenants.is_empty())
    }

    /// Whoever clients may ask: the nodes of the cluster, and the copies.
    pub fn serving(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.all().chain(self.copies())
    }

    /// All places, whoever is there.
    pub fn every(&self) -> impl Iterator<Item = NodeId> + use<> {
        1..=self.0.borrow().len() as u64
    }

    /// The places that are that to the cluster.
    pub fn are(&self, presence: Presence) -> Vec<NodeId> {
        self.every().filter(|&node| self.presence(node) == presence).collect()
    }

    pub fn presence(&self, node: NodeId) -> Presence {
        self.place(node).presence.get()
    }

    pub fn set_presence(&self, node: NodeId, presence: Presence) {
        self.place(node).presence.set(presence);
    }

    fn place(&self, node: NodeId) -> Rc<Place> {
        let index = usize::try_from(node - 1).expect("a small number");
        Rc::clone(&self.0.borrow()[index])
    }

    pub fn life(&self, node: NodeId) -> u32 {
        self.place(node).life.get()
    }

    /// What the process there has, of which clients see nothing.
    pub fn inside(&self, node: NodeId) -> Option<Inside> {
        self.place(node).inside.borrow().clone()
    }

    /// How often it began with an empty disk.
    pub fn begun(&self, node: NodeId) -> u32 {
        self.place(node).begun.get()
    }

    pub fn votes(&self, node: NodeId) -> bool {
        self.place(node).setup.votes
    }

    pub fn runs(&self, node: NodeId) -> bool {
        self.place(node).runs.get()
    }

    pub fn running(&self) -> Vec<NodeId> {
        self.all().filter(|&node| self.runs(node)).collect()
    }

    pub fn disk(&self, node: NodeId) -> SimDisk {
        self.place(node).disk.borrow().clone()
    }

    /// Starts the node on what its disk holds, unless it runs or is not there; one that was
    /// removed on an empty disk.
    pub fn start(&self, node: NodeId) {
        let place = self.place(node);
        if place.presence.get() == Presence::Absent || place.runs.replace(true) {
            return;
        }
        Network::current().switch_on(process_of(node));
        if place.is_removed.replace(false) {
            let disk = SimDisk::new(Executor::current().rng().random());
            disk.set_faults(usual());
            place.disk.replace(disk);
            place.life.set(place.life.get() + 1);
            place.begun.set(place.begun.get() + 1);
        }
        let starts = place.starts.get() + 1;
        place.starts.set(starts);
        place.stop.take();
        drop(spawn_in(SURROUNDINGS, supervise(place, starts, self.clone())));
    }

    /// Has the node come to an end in order.
    pub fn stop(&self, node: NodeId) {
        self.place(node).stop.borrow().notify_one();
    }

    /// Cuts the power, whether the node runs or not; what was not durable is lost as `loss`
    /// says. Where anything may be, connections do not even end; else it is the process
    /// alone that is killed.
    pub fn crash(&self, node: NodeId, loss: Loss) {
        let place = self.place(node);
        place.runs.set(false);
        if loss != Loss::Nothing {
            Network::current().switch_off(process_of(node));
        }
        Executor::current().kill(process_of(node));
        let survived = place.disk.borrow().crash(loss);
        place.disk.replace(survived);
    }

    /// Starts a node again whose disk failed an operation since it began, as an operator does.
    pub fn restart_if_disk_failed(&self, node: NodeId) {
        if self.disk(node).has_failed() {
            note(&format!("node {node} is started again: its disk failed"));
            self.crash(node, Loss::Random);
            self.start(node);
        }
    }

    /// Notes that a disk does not hold any more what it was told to.
    pub fn spoil(&self, node: NodeId) {
        self.place(node).is_spoiled.set(true);
    }

    /// Notes that reads of a disk fail.
    pub fn misread(&self, node: NodeId) {
        self.place(node).is_misread.set(true);
    }

    /// Whether what a node had on its disk in that life of it may be damaged, as it is read.
    pub fn may_be_damaged(&self, node: NodeId, life: u32) -> bool {
        let place = self.place(node);
        place.life.get() != life || place.is_spoiled.get() || place.is_misread.get()
    }

    pub fn is_spoiled(&self, node: NodeId) -> bool {
        self.place(node).is_spoiled.get()
    }

    /// Keeps a copy of the disk as it is.
    pub fn keep_copy(&self, node: NodeId) {
        let copy = self.disk(node).copy(Executor::current().rng().random());
        self.place(node).copy.replace(Some(copy));
    }

    /// Cuts the power, and puts the copy that was kept in the place of the disk, which is
    /// spoiled by that; `false` when there is none.
    pub fn go_back(&self, node: NodeId) -> bool {
        let copy = self.place(node).copy.take();
        let Some(copy) = copy else { return false };
        self.put_disk(node, copy);
        self.spoil(node);
        true
    }

    /// Cuts the power, and puts an empty disk in the place of the node's.
    pub fn replace_disk(&self, node: NodeId, empty: SimDisk) {
        self.put_disk(node, empty);
        let place = self.place(node);
        place.begun.set(place.begun.get() + 1);
    }

    /// The same, and the node begins a cluster of its own, with another history.
    pub fn renew(&self, node: NodeId, empty: SimDisk) {
        self.replace_disk(node, empty);
        self.place(node).founds.set(true);
        self.start(node);
    }

    fn put_disk(&self, node: NodeId, disk: SimDisk) {
        self.crash(node, Loss::All);
        let place = self.place(node);
        disk.set_faults(usual());
        place.disk.replace(disk);
        place.copy.take();
        place.founds.set(false);
        place.life.set(place.life.get() + 1);
        place.is_spoiled.set(false);
        place.is_removed.set(false);
    }
}

impl Places {
    /// Says that the cluster is asked to go on without a node, which comes anew the next
    /// time.
    pub fn set_removed(&self, node: NodeId) {
        self.place(node).is_removed.set(true);
    }
}

/// Runs the processes of a place until the node stops or is killed.
async fn supervise(place: Rc<Place>, starts: u64, places: Places) {
    // A crash may have come before, and another start.
    while place.runs.get() && place.starts.get() == starts {
        let disk = place.disk.borrow().clone();
        let (id, setup, stop) = (place.id, place.setup, Rc::clone(&place.stop.borrow()));
        let inside = Rc::clone(&place.inside);
        // Others ask it to take them in, and it them, when it lost its disk.
        let join = if place.founds.get() || place.presence.get() == Presence::Alone {
            Vec::new()
        } else {
            places.all().filter(|&other| other != id).map(client_address).collect()
        };
        let role = match &place.copy_of {
            Some(of) => Role::Copy(of.clone()),
            None => Role::Member { join },
        };
        let is_sound = !place.is_spoiled.get() && !place.is_misread.get();
        let run = node::run(id, setup, disk, role, stop, inside, is_sound);
        let main = spawn_in(process_of(id), run);
        let Some(exit) = main.await else { return };
        if place.starts.get() != starts {
            return;
        }
        note(&format!("node {id} ended: {exit:?}"));
        // What it left behind ends with it.
        Executor::current().kill(process_of(id));
        if exit != Exit::Again {
            place.runs.set(false);
            return;
        }
    }
}
