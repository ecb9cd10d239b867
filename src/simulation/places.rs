//! The nodes of a run, whether they run or not: each is a place with a disk, and a
//! process on it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use rand::RngExt;
use tokio::sync::Notify;

use super::node::{self, Exit};
use super::record::note;
use crate::{
    base::ids::NodeId,
    io::simulated::{
        disk::{Loss, SimDisk},
        executor::{Executor, Process, SURROUNDINGS, spawn_in},
    },
    node::retention::Retention,
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

struct Place {
    id: NodeId,
    setup: Setup,
    disk: RefCell<SimDisk>,
    /// How often it was given another disk.
    life: Cell<u32>,
    runs: Cell<bool>,
    /// Counts the processes that were started here.
    starts: Cell<u64>,
    /// Has the process that runs come to an end.
    stop: RefCell<Rc<Notify>>,
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

impl Places {
    /// Adds a place with an empty disk. Nothing runs there yet.
    pub fn add(&self, setup: Setup) -> NodeId {
        let id = self.count() + 1;
        let disk = SimDisk::new(Executor::current().rng().random());
        let place = Place {
            id,
            setup,
            disk: RefCell::new(disk),
            life: Cell::default(),
            runs: Cell::default(),
            starts: Cell::default(),
            stop: RefCell::default(),
        };
        self.0.borrow_mut().push(Rc::new(place));
        id
    }

    pub fn count(&self) -> u64 {
        self.0.borrow().len() as u64
    }

    pub fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        1..=self.count()
    }

    fn place(&self, node: NodeId) -> Rc<Place> {
        let index = usize::try_from(node - 1).expect("a small number");
        Rc::clone(&self.0.borrow()[index])
    }

    pub fn life(&self, node: NodeId) -> u32 {
        self.place(node).life.get()
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

    /// Starts the node on what its disk holds, unless it runs.
    pub fn start(&self, node: NodeId) {
        let place = self.place(node);
        if place.runs.replace(true) {
            return;
        }
        place.starts.set(place.starts.get() + 1);
        place.stop.take();
        drop(spawn_in(SURROUNDINGS, supervise(place)));
    }

    /// Has the node come to an end in order.
    pub fn stop(&self, node: NodeId) {
        self.place(node).stop.borrow().notify_one();
    }

    /// Kills the process; what was not durable is lost as `loss` says.
    pub fn crash(&self, node: NodeId, loss: Loss) {
        let place = self.place(node);
        if !place.runs.replace(false) {
            return;
        }
        Executor::current().kill(process_of(node));
        let survived = place.disk.borrow().crash(loss);
        place.disk.replace(survived);
    }
}

/// Runs the processes of a place until the node stops or is killed.
async fn supervise(place: Rc<Place>) {
    let starts = place.starts.get();
    loop {
        let disk = place.disk.borrow().clone();
        let (id, setup, stop) = (place.id, place.setup, Rc::clone(&place.stop.borrow()));
        let main = spawn_in(process_of(id), node::run(id, setup, disk, stop));
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
