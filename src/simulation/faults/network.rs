//! Bytes that are late, lost, or kept.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::{
        cores,
        simulated::{
            executor::SURROUNDINGS,
            net::{Entry, Link, Network, Way},
        },
    },
    simulation::{
        places::{cluster_address, process_of},
        plan::Shape,
        world::World,
    },
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes from one to the other.
    Block(NodeId, NodeId),
    /// Nothing passes from one to the other for so long, and then all that was kept.
    Hold(NodeId, NodeId, Duration),
    /// Nothing passes between one and all other nodes; clients reach it.
    Isolate(NodeId),
    /// Nothing passes between these and the others.
    Partition(Vec<NodeId>),
    /// What the other nodes say to one is kept from now on. After the first time it can
    /// say nothing either; after the second it hears all that was kept, and only after the
    /// third it can speak again.
    HearsLate(NodeId, [Duration; 3]),
    /// Connections between two break, each with that chance in a hundred.
    Cut(NodeId, NodeId, u32),
    /// The same for all.
    CutAll(u32),
    /// All bytes take up to so long.
    Slow(Duration),
    /// All bytes of one connection take up to so much longer than those of another.
    Apart(Duration),
    /// So many bytes of a connection pass in a second from one to the other.
    Narrow(NodeId, NodeId, u64),
    /// Other nodes that connect to one are refused, or not answered.
    Closed(NodeId, Entry),
    /// Connections between clients and a node break, each with that chance in a hundred.
    CutClients(NodeId, u32),
    /// What clients and a node say to each other is kept for so long.
    HoldClients(NodeId, Duration),
    /// All is well.
    Heal,
}

impl Fault {
    pub(super) fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        let (one, other) = (shape.any_node(rng), shape.any_node(rng));
        let kind = rng.random_range(0..100);
        let mut ms = |range| Duration::from_millis(rng.random_range(range));
        match kind {
            0..14 => Self::Block(one, other),
            14..22 => Self::Hold(one, other, ms(100..9_000)),
            22..34 => Self::Isolate(one),
            34..42 => {
                let some = (1..=shape.places()).filter(|_| rng.random()).collect();
                Self::Partition(some)
            }
            42..50 => Self::HearsLate(one, [ms(0..400), ms(500..4_000), ms(0..2_000)]),
            50..60 => Self::Cut(one, other, rng.random_range(20..=100)),
            60..64 => Self::CutAll(rng.random_range(5..=100)),
            64..68 => Self::Slow(ms(1..400)),
            68..71 => Self::Apart(ms(1..400)),
            71..74 => Self::Narrow(one, other, rng.random_range(2_000..200_000)),
            74..77 => {
                let entry = if rng.random() { Entry::Refused } else { Entry::Silent };
                Self::Closed(one, entry)
            }
            77..80 => Self::CutClients(one, rng.random_range(20..=100)),
            80..83 => Self::HoldClients(one, ms(100..9_000)),
            _ => Self::Heal,
        }
    }

    /// Says whether anything was done.
    pub(super) fn apply(&self, world: &World) -> bool {
        let network = Network::current();
        let all: Vec<NodeId> = world.places.every().collect();
        let pairs = || all.iter().flat_map(|one| all.iter().map(move |other| (*one, *other)));
        match self {
            Self::Block(one, other) => network.block(way(*one, *other)),
            Self::Hold(one, other, time) => hold(network, way(*one, *other), *time),
            Self::Isolate(node) => {
                let (others, _) = ways(&all, *node);
                let others: Vec<_> = others.into_iter().map(|(other, _)| other).collect();
                network.partition(&[&[process_of(*node)], &others]);
            }
            Self::Partition(some) => {
                let (one, other): (Vec<_>, Vec<_>) = all.iter().partition(|id| some.contains(id));
                let processes = |ids: Vec<NodeId>| ids.into_iter().map(process_of);
                let (one, other): (Vec<_>, Vec<_>) =
                    (processes(one).collect(), processes(other).collect());
                network.partition(&[&one, &other]);
            }
            Self::HearsLate(node, times) => {
                let (to, from) = ways(&all, *node);
                hear_late(network, to, from, *times);
            }
            Self::Cut(one, other, percent) => {
                network.cut(process_of(*one), process_of(*other), *percent);
            }
            Self::CutAll(percent) => pairs()
                .filter(|(one, other)| one < other)
                .for_each(|(one, other)| network.cut(process_of(one), process_of(other), *percent)),
            Self::Slow(most) => {
                network.set_usual(Link { delay: Duration::ZERO..=*most, ..Link::default() });
            }
            Self::Apart(most) => network.set_usual(Link { lag_max: *most, ..Link::default() }),
            Self::Narrow(one, other, bytes_per_second) => {
                let link = Link { bytes_per_second: *bytes_per_second, ..Link::default() };
                network.set_link(way(*one, *other), link);
            }
            Self::CutClients(node, percent) => {
                network.cut(SURROUNDINGS, process_of(*node), *percent);
            }
            Self::HoldClients(node, time) => {
                hold(network.clone(), (SURROUNDINGS, process_of(*node)), *time);
                hold(network, (process_of(*node), SURROUNDINGS), *time);
            }
            Self::Closed(node, entry) => network.set_entry(&cluster_address(*node), *entry),
            Self::Heal => heal(world),
        }
        match self {
            Self::Block(one, other)
            | Self::Hold(one, other, _)
            | Self::Cut(one, other, _)
            | Self::Narrow(one, other, _) => one != other,
            Self::Partition(some) => !some.is_empty() && some.len() < all.len(),
            Self::Isolate(_) | Self::HearsLate(..) | Self::CutAll(_) => all.len() > 1,
            Self::Slow(_)
            | Self::Apart(_)
            | Self::Closed(..)
            | Self::CutClients(..)
            | Self::HoldClients(..)
            | Self::Heal => true,
        }
    }
}

fn way(one: NodeId, other: NodeId) -> Way {
    (process_of(one), process_of(other))
}

/// The ways from all others to a node, and those from it to them.
fn ways(all: &[NodeId], node: NodeId) -> (Vec<Way>, Vec<Way>) {
    let others = all.iter().filter(|other| **other != node);
    others.map(|other| (way(*other, node), way(node, *other))).unzip()
}

fn hold(network: Network, way: Way, time: Duration) {
    let heals = network.heals();
    network.block(way);
    drop(cores::spawn(async move {
        cores::sleep(time).await;
        if network.heals() == heals {
            network.open(way);
        }
    }));
}

fn hear_late(network: Network, to: Vec<Way>, from: Vec<Way>, times: [Duration; 3]) {
    let heals = network.heals();
    to.iter().for_each(|way| network.block(*way));
    drop(cores::spawn(async move {
        let steps: [&dyn Fn(); 3] = [
            &|| from.iter().for_each(|way| network.block(*way)),
            &|| to.iter().for_each(|way| network.open(*way)),
            &|| from.iter().for_each(|way| network.open(*way)),
        ];
        for (time, step) in times.into_iter().zip(steps) {
            cores::sleep(time).await;
            if network.heals() != heals {
                return;
            }
            step();
        }
    }));
}

pub(super) fn heal(_: &World) {
    let network = Network::current();
    network.heal();
    network.set_usual(Link::default());
}
