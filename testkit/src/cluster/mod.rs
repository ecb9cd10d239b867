//! A cluster of real processes, which are killed, stopped, paused, added and
//! taken out while clients go on.

mod page;
mod views;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

pub use self::page::{id_of, page};
use self::views::{member, members, view};
use crate::{
    Client, Link, Node, NodeBuilder, PATIENCE, Relay, Wrong, eventually,
    network::{Network, Place},
};

/// How long a node may say nothing before a client gives up on it.
pub const SILENCE: Duration = Duration::from_secs(8);

/// One cluster runs at a time: there are few cores, and elections have
/// deadlines.
static TURN: Mutex<()> = Mutex::new(());

/// Nodes by number, in the order in which they came.
pub struct Cluster {
    seats: Vec<Seat>,
    /// Where the next nodes run; free ports of this machine once it is empty.
    places: Vec<Place>,
    /// Whether other nodes may come.
    open: bool,
    /// What every node is started with besides.
    flags: Vec<&'static str>,
    _turn: MutexGuard<'static, ()>,
}

/// A node that is or was of the cluster.
struct Seat {
    id: u64,
    address: SocketAddr,
    cluster_address: Value,
    /// Others reach it by way of something else, and it is told itself where to listen.
    is_behind: bool,
    state: State,
}

enum State {
    Running(Node),
    Paused(Node),
    /// Starts again on the same data and ports.
    Down(NodeBuilder),
    /// Taken out for good.
    Gone,
}

impl Cluster {
    /// A node without any cluster settings.
    pub fn alone() -> Self {
        let mut cluster = Self { open: false, ..Self::empty(Vec::new()) };
        cluster.seat(NodeBuilder::new().start());
        cluster.waits_for(1, 0);
        cluster
    }

    /// So many nodes on free ports.
    pub fn start(count: usize) -> Self {
        Self::grown(Self::empty(Vec::new()), count)
    }

    /// So many nodes on free ports, started with these flags besides.
    pub fn with(count: usize, flags: &[&'static str]) -> Self {
        Self::grown(Self { flags: flags.to_vec(), ..Self::empty(Vec::new()) }, count)
    }

    /// So many nodes of a network.
    pub fn inside(network: &Network, count: usize) -> Self {
        let places = (0..count).map(|node| network.place(node)).collect();
        Self::grown(Self::empty(places), count)
    }

    /// Nodes that are started like this, on free ports.
    pub fn of(builders: Vec<NodeBuilder>) -> Self {
        let mut cluster = Self::empty(Vec::new());
        let count = builders.len();
        for builder in builders {
            let builder = builder.flags(&["--cluster-listen", "127.0.0.1:0"]);
            let doors: Vec<_> = cluster.addresses().iter().map(ToString::to_string).collect();
            let joins = ["--join", &doors.join(","), "--role", "voter"];
            let flags = if doors.is_empty() { &[][..] } else { &joins[..] };
            cluster.seat(builder.flags(flags).start());
        }
        cluster.waits_for(count, 0);
        cluster
    }

    fn empty(places: Vec<Place>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { seats: Vec::new(), places, open: true, flags: Vec::new(), _turn: turn }
    }

    fn grown(mut self, count: usize) -> Self {
        let first = self.next_builder().start();
        self.seat(first);
        for _ in 1..count {
            self.grow("voter");
        }
        self.waits_for(count, 0);
        self
    }

    /// How to start the next node, alone and empty.
    fn next_builder(&mut self) -> NodeBuilder {
        let builder = NodeBuilder::new().flags(&self.flags);
        if self.places.is_empty() {
            return builder.flags(&["--cluster-listen", "127.0.0.1:0"]);
        }
        let Place { launcher, listen, cluster_listen } = self.places.remove(0);
        let words: Vec<_> = launcher.iter().map(String::as_str).collect();
        // Nobody but these nodes is in the network.
        builder.launcher(&words).environment("CHANGEAGENT_INSECURE", "true").flags(&[
            "--listen",
            &listen.to_string(),
            "--cluster-listen",
            &cluster_listen.to_string(),
        ])
    }

    /// Seats a node, whose id is known once it is of the cluster.
    fn seat(&mut self, node: Node) -> usize {
        let address = node.address();
        self.seats.push(Seat {
            id: 0,
            address,
            cluster_address: Value::Null,
            is_behind: false,
            state: State::Running(node),
        });
        let number = self.seats.len() - 1;
        eventually("the node is of the cluster", || {
            let view = self.view(number).unwrap_or_default();
            let id = view["node"].as_u64().unwrap_or_default();
            // A node has no number of its own before it is taken in.
            let member = if id > 0 { member(&view, id) } else { None };
            if let Some(member) = &member {
                self.seats[number].id = id;
                self.seats[number].cluster_address = member["cluster_address"].clone();
            }
            member.is_some()
        });
        number
    }

    /// Starts a further node that asks the others to take it in; its number.
    pub fn grow(&mut self, role: &str) -> usize {
        let doors: Vec<_> =
            self.running().iter().map(|&number| self.address(number).to_string()).collect();
        let builder = self.next_builder().flags(&["--join", &doors.join(","), "--role", role]);
        self.seat(builder.start())
    }

    /// Starts a further node that asks the others to take it in, who reach it by way of a relay that
    /// breaks each connection after so many bytes; its number.
    pub fn grow_behind_cuts(&mut self, role: &str, bytes_max: u64) -> usize {
        self.grow_behind(role, |node| Relay::cutting(node, bytes_max).address())
    }

    /// The same, by way of a link with which this is wrong.
    pub fn grow_behind_link(&mut self, role: &str, wrong: Wrong) -> (usize, Link) {
        let mut link = None;
        let number = self.grow_behind(role, |node| {
            let started = Link::start(node, wrong);
            link.insert(started).address()
        });
        (number, link.unwrap())
    }

    fn grow_behind(&mut self, role: &str, way: impl FnOnce(SocketAddr) -> SocketAddr) -> usize {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap();
        let advertised = way(free).to_string();
        let door = self.address(self.leader()).to_string();
        let builder = NodeBuilder::new().flags(&self.flags).flags(&[
            "--cluster-listen",
            &free.to_string(),
            "--cluster-advertise",
            &advertised,
            "--join",
            &door,
            "--role",
            role,
        ]);
        let number = self.seat(builder.start());
        self.seats[number].is_behind = true;
        number
    }

    /// Starts a further node and has the cluster take it in; its number.
    pub fn take_in(&mut self, role: &str) -> usize {
        let node = self.next_builder().start();
        let address = node.address().to_string();
        let before = self.member_ids();
        self.orders("POST", "/cluster/members", &json!({"address": address, "role": role}));
        eventually("the node is a member", || {
            self.member_ids().iter().any(|id| !before.contains(id))
        });
        // It was a cluster of its own before, where it had an id too.
        let id = self.member_ids().into_iter().find(|id| !before.contains(id)).unwrap();
        eventually("the node knows that it is a member", || {
            let view = view(node.address()).unwrap_or_default();
            view["node"] == id && members(&view).count() > 1
        });
        self.seat(node)
    }

    /// The ids of the members as the leader knows them.
    fn member_ids(&self) -> Vec<u64> {
        let view = self.leaders_view();
        members(&view).map(|member| member["id"].as_u64().expect("an id")).collect()
    }

    fn leaders_view(&self) -> Value {
        let mut view = None;
        eventually("the leader says what it knows", || {
            view = self.view(self.leader());
            view.is_some()
        });
        view.expect("a view")
    }

    /// Has the cluster take a node out, which ends by itself.
    pub fn remove(&mut self, number: usize) {
        let id = self.id(number);
        self.orders("DELETE", &format!("/cluster/members/{id}"), &Value::Null);
        let state = std::mem::replace(&mut self.seats[number].state, State::Gone);
        match state {
            State::Running(node) | State::Paused(node) => {
                let (status, _) = node.ends_within(PATIENCE);
                assert_eq!(status.code(), Some(0), "a node that was taken out ends in order");
            }
            State::Down(_) => {}
            State::Gone => panic!("taken out twice"),
        }
    }

    /// Takes a node that is down out of the account, and gives back what starts
    /// it again: a node that starts again has the ports that it had first.
    pub fn leave(&mut self, number: usize) -> NodeBuilder {
        let seat = &mut self.seats[number];
        let State::Down(builder) = std::mem::replace(&mut seat.state, State::Gone) else {
            panic!("the node is not down")
        };
        let builder = builder.flags(&["--listen", &seat.address.to_string()]);
        if self.open && !seat.is_behind {
            let address = seat.cluster_address.as_str().expect("an address for the other nodes");
            builder.flags(&["--cluster-listen", address])
        } else {
            builder
        }
    }

    /// Starts a node in a place that another left; its number.
    pub fn comes(&mut self, builder: NodeBuilder) -> usize {
        self.seat(builder.start())
    }

    /// Asks for a change of the cluster until it is done.
    pub fn orders(&self, method: &str, target: &str, body: &Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("Content-Type", "application/json")];
        let headers = if body.is_empty() { &[][..] } else { &headers[..] };
        let mut doubt = false;
        let mut tries = 0;
        eventually("the cluster is changed", || {
            let running = self.running();
            let number = running[tries % running.len()];
            tries += 1;
            let Some(mut client) = self.try_client(number) else { return false };
            let Some(answer) = client.try_request(method, target, headers, body.as_bytes()) else {
                doubt = true;
                return false;
            };
            match answer.status {
                200..300 => true,
                // An earlier try was done.
                400..500 if doubt => true,
                503 | 504 => {
                    doubt |= answer.status == 504;
                    false
                }
                // Another change of the cluster is not over yet.
                409 | 412 => false,
                status => panic!("{method} {target}: {status} {}", answer.text()),
            }
        });
    }

    pub fn id(&self, number: usize) -> u64 {
        self.seats[number].id
    }

    pub fn address(&self, number: usize) -> SocketAddr {
        self.seats[number].address
    }

    /// The addresses of the nodes that run.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.running().iter().map(|&number| self.address(number)).collect()
    }

    pub fn node(&self, number: usize) -> &Node {
        match &self.seats[number].state {
            State::Running(node) => node,
            _ => panic!("the node does not run"),
        }
    }

    pub fn client(&self, number: usize) -> Client {
        self.node(number).client()
    }

    pub fn try_client(&self, number: usize) -> Option<Client> {
        Client::try_connect(self.address(number), SILENCE)
    }

    /// The numbers of the nodes that run.
    pub fn running(&self) -> Vec<usize> {
        let runs = |number: &usize| matches!(self.seats[*number].state, State::Running(_));
        (0..self.seats.len()).filter(runs).collect()
    }

    /// Those that run and do not lead.
    pub fn followers(&self) -> Vec<usize> {
        let leader = self.leader();
        self.running().into_iter().filter(|&number| number != leader).collect()
    }

    /// SIGKILL.
    pub fn kill(&mut self, number: usize) {
        self.ends(number, Node::kill);
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self, number: usize) {
        self.ends(number, Node::stop);
    }

    fn ends(&mut self, number: usize, end: impl FnOnce(Node) -> NodeBuilder) {
        let seat = &mut self.seats[number];
        seat.state = match std::mem::replace(&mut seat.state, State::Gone) {
            State::Running(node) | State::Paused(node) => State::Down(end(node)),
            _ => panic!("the node does not run"),
        };
    }

    /// Starts a node again that was killed or stopped, on its data and ports.
    pub fn restart(&mut self, number: usize) {
        self.restart_with(number, |builder| builder);
    }

    /// The same, with what `change` makes of its settings.
    pub fn restart_with(&mut self, number: usize, change: impl Fn(NodeBuilder) -> NodeBuilder) {
        let builder = change(self.leave(number));
        self.seats[number].state = State::Running(builder.start());
    }

    /// SIGSTOP.
    pub fn pause(&mut self, number: usize) {
        let seat = &mut self.seats[number];
        seat.state = match std::mem::replace(&mut seat.state, State::Gone) {
            State::Running(node) => {
                node.signal(libc::SIGSTOP);
                State::Paused(node)
            }
            _ => panic!("the node does not run"),
        };
    }

    /// SIGCONT.
    pub fn resume(&mut self, number: usize) {
        let seat = &mut self.seats[number];
        seat.state = match std::mem::replace(&mut seat.state, State::Gone) {
            State::Paused(node) => {
                node.signal(libc::SIGCONT);
                State::Running(node)
            }
            _ => panic!("the node is not paused"),
        };
    }
}
