//! The network between the processes of one run. Connections are byte streams as TCP
//! has them: what was sent arrives in order, in pieces of any size, or the connection
//! breaks. Two connections have nothing to do with each other, so of what is sent on
//! both either may arrive first.
//!
//! What goes wrong is set for each *way*, one direction between two processes: how long
//! bytes take, how many pass in a second, whether any do. Bytes on a blocked way are
//! kept and go on when it is open again; what is not acknowledged for too long breaks the
//! connection, as the kernel does it.

mod connection;
mod end;
mod link;
mod listener;
mod stream;
mod tests;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    rc::{Rc, Weak},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::Notify;

use super::executor::{Executor, Process};
use crate::io::cores;
use connection::Connection;
use end::{Broken, Side};
pub use link::{Link, Way};
use listener::Entrance;
pub use listener::Listener;
pub use stream::Stream;

/// What becomes of attempts to connect to an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// They reach whoever listens there.
    #[default]
    Open,
    /// They are refused, as without a listener.
    Refused,
    /// Nothing answers them.
    Silent,
}

/// The network of one executor. Clones are the same.
#[derive(Clone)]
pub struct Network(Rc<Inner>);

struct Inner {
    /// What holds of all ways that are not named in `links`.
    usual: RefCell<Link>,
    links: RefCell<BTreeMap<Way, Link>>,
    blocked: RefCell<BTreeSet<Way>>,
    /// Processes without power: nothing at all comes from them, not even a refusal.
    off: RefCell<BTreeSet<Process>>,
    entries: RefCell<BTreeMap<String, Entry>>,
    listeners: RefCell<BTreeMap<String, Rc<Entrance>>>,
    /// Who listened last at an address.
    owners: RefCell<BTreeMap<String, Process>>,
    /// In the order in which they were made.
    connections: RefCell<Vec<Weak<Connection>>>,
    /// How often all was healed.
    heals: Cell<u64>,
    /// Wakes whatever waits for a way, whenever one may have changed.
    changed: Notify,
    rng: RefCell<StdRng>,
}

impl Network {
    /// A network without faults, whose chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(Inner {
            usual: RefCell::default(),
            links: RefCell::default(),
            blocked: RefCell::default(),
            off: RefCell::default(),
            entries: RefCell::default(),
            listeners: RefCell::default(),
            owners: RefCell::default(),
            connections: RefCell::default(),
            heals: Cell::default(),
            changed: Notify::new(),
            rng: RefCell::new(StdRng::seed_from_u64(seed)),
        }))
    }

    /// The network of the executor that polls the caller.
    ///
    /// # Panics
    /// When there is none.
    pub fn current() -> Self {
        Executor::current().network()
    }

    /// Sets what holds of all ways that are not set by themselves.
    pub fn set_usual(&self, link: Link) {
        self.0.usual.replace(link);
    }

    /// Sets what holds of one way; what is under way already is not touched.
    pub fn set_link(&self, way: Way, link: Link) {
        self.0.links.borrow_mut().insert(way, link);
    }

    /// Lets nothing pass on that way until it is healed. What is sent is kept.
    pub fn block(&self, way: Way) {
        if self.0.blocked.borrow_mut().insert(way) {
            self.0.changed.notify_waiters();
        }
    }

    /// Lets pass on that way what was kept, and all that comes.
    pub fn open(&self, way: Way) {
        if self.0.blocked.borrow_mut().remove(&way) {
            self.0.changed.notify_waiters();
        }
    }

    /// Blocks both ways between each two processes of different groups.
    pub fn partition(&self, groups: &[&[Process]]) {
        for (n, group) in groups.iter().enumerate() {
            let others = groups.iter().enumerate().filter(|(other, _)| *other != n);
            for other in others.flat_map(|(_, other)| other.iter()) {
                group.iter().for_each(|one| self.block((*one, *other)));
            }
        }
    }

    /// Opens all ways, has them be as usual, and all addresses be reached.
    pub fn heal(&self) {
        self.0.links.borrow_mut().clear();
        self.0.entries.borrow_mut().clear();
        self.0.blocked.borrow_mut().clear();
        self.0.heals.set(self.0.heals.get() + 1);
        self.0.changed.notify_waiters();
    }

    /// How often all was healed: by that whoever waits to change a way sees whether it is
    /// still to be.
    pub fn heals(&self) -> u64 {
        self.0.heals.get()
    }

    /// Has attempts to connect to `address` end so from now on.
    pub fn set_entry(&self, address: &str, entry: Entry) {
        self.0.entries.borrow_mut().insert(address.to_owned(), entry);
    }

    /// Breaks connections between two processes, each with this chance in a hundred: both
    /// ends see a reset, and what was under way is lost.
    pub fn cut(&self, one: Process, other: Process, percent: u32) {
        for connection in self.connections() {
            let between = connection.processes();
            let is_meant = between == (one, other) || between == (other, one);
            if is_meant && self.chance(percent, 100) {
                connection.cut();
            }
        }
    }

    /// The connections of a process end as it is killed: each is reset at once, or when
    /// all that was sent has arrived. Its listeners are gone.
    pub fn kill(&self, process: Process) {
        self.remove_listeners(process);
        for (connection, side) in self.connections_of(process) {
            // Others end when what holds them is dropped.
            if self.chance(1, 2) {
                connection.break_end(side, Broken::Here(std::io::ErrorKind::ConnectionAborted));
            }
        }
    }

    /// The process is without power: its connections say nothing more, not even that
    /// they ended, and nobody is refused at its addresses.
    pub fn switch_off(&self, process: Process) {
        self.0.off.borrow_mut().insert(process);
        self.remove_listeners(process);
        for (connection, side) in self.connections_of(process) {
            connection.break_end(side, Broken::Silently);
        }
        self.0.changed.notify_waiters();
    }

    /// It has power again, and knows of no connection from before.
    pub fn switch_on(&self, process: Process) {
        if self.0.off.borrow_mut().remove(&process) {
            self.0.changed.notify_waiters();
        }
    }

    /// How many connections stand, as far as anybody holds them.
    pub fn standing(&self) -> usize {
        self.connections().iter().filter(|connection| connection.is_standing()).count()
    }

    fn connections(&self) -> Vec<Rc<Connection>> {
        let mut connections = self.0.connections.borrow_mut();
        connections.retain(|connection| connection.strong_count() > 0);
        connections.iter().filter_map(Weak::upgrade).collect()
    }

    fn connections_of(&self, process: Process) -> Vec<(Rc<Connection>, Side)> {
        let of = |connection: Rc<Connection>| {
            let (client, server) = connection.processes();
            let ends = [(client, Side::Client), (server, Side::Server)];
            let own = ends.into_iter().filter(move |(owner, _)| *owner == process);
            own.map(move |(_, side)| (Rc::clone(&connection), side))
        };
        self.connections().into_iter().flat_map(of).collect()
    }

    fn remove_listeners(&self, process: Process) {
        self.0.listeners.borrow_mut().retain(|_, entrance| entrance.process != process);
    }

    fn is_off(&self, process: Process) -> bool {
        self.0.off.borrow().contains(&process)
    }

    fn is_blocked(&self, way: Way) -> bool {
        let blocked = self.0.blocked.borrow().contains(&way);
        blocked || self.is_off(way.0) || self.is_off(way.1)
    }

    fn link(&self, way: Way) -> Link {
        let links = self.0.links.borrow();
        links.get(&way).cloned().unwrap_or_else(|| self.0.usual.borrow().clone())
    }

    /// How long something takes on that way this time.
    fn delay(&self, way: Way) -> Duration {
        self.between(self.link(way).delay)
    }

    fn between(&self, range: RangeInclusive<Duration>) -> Duration {
        self.0.rng.borrow_mut().random_range(range)
    }

    fn chance(&self, of: u32, among: u32) -> bool {
        self.0.rng.borrow_mut().random_ratio(of.min(among), among)
    }

    /// Waits for as long as something small takes on that way, which must be open.
    async fn travel(&self, way: Way) {
        cores::sleep(self.delay(way)).await;
        loop {
            let changed = self.0.changed.notified();
            if !self.is_blocked(way) {
                return;
            }
            changed.await;
        }
    }
}
