//! A network that can be broken: each node in a network namespace of its own, all
//! of them on a bridge in one more, where the test's own thread stands too.
//!
//! A packet is lost by sending it to a hardware address that nobody has. That
//! loses one direction of one link and tells nobody, as a broken network does;
//! a route that refuses would be an error to the sender instead. The test itself
//! reaches every node at all times.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    panic::resume_unwind,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

/// Which network of this process.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// The hardware address of nobody.
const NOWHERE: &str = "02:00:00:00:ff:ff";
/// The test's number beside those of the nodes.
const HUB: usize = 200;

/// Where a node runs and listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// A program and its arguments that start the node there.
    pub launcher: Vec<String>,
    pub listen: SocketAddr,
    pub cluster_listen: SocketAddr,
}

/// Namespaces and the links between them; gone when dropped.
pub struct Network {
    name: String,
    nodes: usize,
}

impl Network {
    /// Runs a test inside a network of so many nodes; where this system permits
    /// none, says so instead.
    pub fn with(nodes: usize, test: impl FnOnce(&Self) + Send) {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let network = Self { name: format!("ca{}x{number}", std::process::id()), nodes };
        if let Err(error) = network.build() {
            println!("skipped: there are no network namespaces here: {error}");
            return;
        }
        // Whatever the thread starts is in the namespace too, and nothing else.
        let outcome = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                network.enter_hub();
                test(&network);
            });
            inside.join()
        });
        drop(network);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }

    pub fn place(&self, node: usize) -> Place {
        assert!(node < self.nodes);
        let words = ["ip", "netns", "exec", &self.namespace(node)];
        Place {
            launcher: words.iter().map(ToString::to_string).collect(),
            listen: (address(node), 9000).into(),
            cluster_listen: (address(node), 9001).into(),
        }
    }

    /// Loses whatever one node sends to another.
    pub fn cut(&self, from: usize, to: usize) {
        self.send_to(from, to, NOWHERE);
    }

    /// Loses whatever goes between one node and all others.
    pub fn isolate(&self, node: usize) {
        self.split(&[node]);
    }

    /// Loses whatever goes between these nodes and the rest.
    pub fn split(&self, some: &[usize]) {
        for from in 0..self.nodes {
            for to in (0..self.nodes).filter(|to| some.contains(to) != some.contains(&from)) {
                self.cut(from, to);
            }
        }
    }

    /// Loses nothing any more.
    pub fn heal(&self) {
        for from in 0..self.nodes {
            for to in (0..self.nodes).filter(|&to| to != from) {
                self.send_to(from, to, &hardware(to));
            }
        }
    }

    fn namespace(&self, node: usize) -> String {
        if node == HUB { format!("{}hub", self.name) } else { format!("{}n{node}", self.name) }
    }

    fn build(&self) -> Result<(), String> {
        let hub = self.namespace(HUB);
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        ip(&format!("-n {hub} link add hub address {} type bridge", hardware(HUB)))?;
        ip(&format!("-n {hub} addr add {}/24 dev hub", address(HUB)))?;
        ip(&format!("-n {hub} link set hub up"))?;
        for node in 0..self.nodes {
            let (namespace, hardware) = (self.namespace(node), hardware(node));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {hub} link add n{node} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("-n {hub} link set n{node} master hub up"))?;
            ip(&format!("-n {namespace} link set eth0 address {hardware} up"))?;
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", address(node)))?;
        }
        for from in (0..self.nodes).chain([HUB]) {
            for to in (0..self.nodes).chain([HUB]).filter(|&to| to != from) {
                self.try_send_to(from, to, &hardware(to))?;
            }
        }
        Ok(())
    }

    /// Sets the hardware address that one node has for another.
    fn send_to(&self, from: usize, to: usize, hardware: &str) {
        self.try_send_to(from, to, hardware).expect("the address is set");
    }

    fn try_send_to(&self, from: usize, to: usize, hardware: &str) -> Result<(), String> {
        let (namespace, to) = (self.namespace(from), address(to));
        let device = if from == HUB { "hub" } else { "eth0" };
        ip(&format!(
            "-n {namespace} neigh replace {to} lladdr {hardware} dev {device} nud permanent"
        ))
    }

    fn enter_hub(&self) {
        let hub = File::open(format!("/run/netns/{}", self.namespace(HUB))).expect("a namespace");
        // SAFETY: a system call on a file that is open; it concerns this thread alone.
        let outcome = unsafe { libc::setns(hub.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in (0..self.nodes).chain([HUB]) {
            // What was not made, or is gone, needs no removing.
            let _ = ip(&format!("netns del {}", self.namespace(node)));
        }
    }
}

fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, u8::try_from(node + 1).unwrap())
}

fn hardware(node: usize) -> String {
    format!("02:00:00:00:00:{:02x}", node + 1)
}

/// Runs `ip` with these words; what it said where it failed.
fn ip(words: &str) -> Result<(), String> {
    let words = words.split(' ');
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        sync::Mutex,
        time::Duration,
    };

    use super::*;

    /// Runs something on a thread inside the namespace of a node.
    fn inside<T: Send>(network: &Network, node: usize, run: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let path = format!("/run/netns/{}", network.namespace(node));
                let namespace = File::open(path).unwrap();
                // SAFETY: as in `enter_hub`.
                let outcome = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(outcome, 0);
                run()
            });
            inside.join().unwrap()
        })
    }

    /// Sockets of each node, and whether a packet goes from one to the other.
    fn links(network: &Network, nodes: usize) -> impl Fn(usize, usize) -> bool {
        let socket = |node| inside(network, node, || UdpSocket::bind((address(node), 7)).unwrap());
        let sockets: Vec<_> = (0..nodes).map(socket).collect();
        let count = Mutex::new(0_u64);
        move |from, to| {
            let mut count = count.lock().unwrap();
            *count += 1;
            let sent = count.to_be_bytes();
            sockets[from].send_to(&sent, (address(to), 7)).unwrap();
            sockets[to].set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let mut received = [0; 8];
            sockets[to].recv(&mut received).is_ok() && received == sent
        }
    }

    #[test]
    fn one_direction_of_one_link_is_lost() {
        Network::with(3, |network| {
            let arrives = links(network, 3);
            network.cut(0, 1);
            assert!(!arrives(0, 1));
            assert!(arrives(1, 0));
            assert!(arrives(0, 2) && arrives(2, 0) && arrives(1, 2) && arrives(2, 1));
            network.heal();
            assert!(arrives(0, 1));
        });
    }

    #[test]
    fn groups_are_split_and_healed() {
        Network::with(4, |network| {
            let arrives = links(network, 4);
            network.split(&[0, 3]);
            for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))) {
                if from != to {
                    let together = [0, 3].contains(&from) == [0, 3].contains(&to);
                    assert_eq!(arrives(from, to), together, "{from} {to}");
                }
            }
            network.heal();
            assert!(arrives(0, 1) && arrives(2, 3));
            network.isolate(2);
            assert!(!arrives(2, 0) && !arrives(1, 2) && arrives(0, 1));
        });
    }

    #[test]
    fn a_connection_outlives_a_loss() {
        use std::io::{Read, Write};
        Network::with(2, |network| {
            let listener = inside(network, 0, || TcpListener::bind((address(0), 8)).unwrap());
            let mut sender = inside(network, 1, || TcpStream::connect((address(0), 8)).unwrap());
            let (mut receiver, _) = listener.accept().unwrap();
            network.isolate(0);
            sender.write_all(b"x").unwrap();
            receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            assert!(receiver.read(&mut [0]).is_err());
            network.heal();
            receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            receiver.read_exact(&mut [0]).unwrap();
        });
    }

    #[test]
    fn the_test_reaches_a_node_that_is_isolated() {
        Network::with(2, |network| {
            let listener = inside(network, 0, || TcpListener::bind((address(0), 8)).unwrap());
            network.isolate(0);
            TcpStream::connect((address(0), 8)).unwrap();
            listener.accept().unwrap();
        });
    }

    #[test]
    fn namespaces_are_gone_afterwards() {
        let mut name = String::new();
        Network::with(1, |network| name = network.namespace(HUB));
        assert!(!std::path::Path::new(&format!("/run/netns/{name}")).exists());
    }
}
