//! Bytes that are late, lost, or kept.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::simulated::net::{Link, Network},
    simulation::{places::process_of, plan::Shape, world::World},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes from one to the other.
    Block(NodeId, NodeId),
    /// Nothing passes between one and all other nodes; clients reach it.
    Isolate(NodeId),
    /// Nothing passes between these and the others.
    Partition(Vec<NodeId>),
    /// Connections between two break, each with that chance in a hundred.
    Cut(NodeId, NodeId, u32),
    /// Bytes take up to so long.
    Slow(Duration),
    /// All is well.
    Heal,
}

impl Fault {
    pub(super) fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        let (one, other) = (shape.any_node(rng), shape.any_node(rng));
        match rng.random_range(0..100) {
            0..20 => Self::Block(one, other),
            20..35 => Self::Isolate(one),
            35..45 => {
                let some = (1..=shape.nodes()).filter(|_| rng.random()).collect();
                Self::Partition(some)
            }
            45..60 => Self::Cut(one, other, rng.random_range(20..=100)),
            60..70 => {
                let ms = rng.random_range(1..400);
                Self::Slow(Duration::from_millis(ms))
            }
            _ => Self::Heal,
        }
    }

    pub(super) fn apply(&self, world: &World) {
        let network = Network::current();
        let all = || world.places.all();
        match self {
            Self::Block(one, other) => network.block((process_of(*one), process_of(*other))),
            Self::Isolate(node) => {
                let others: Vec<_> = all().filter(|other| other != node).map(process_of).collect();
                network.partition(&[&[process_of(*node)], &others]);
            }
            Self::Partition(some) => {
                let one: Vec<_> = some.iter().copied().map(process_of).collect();
                let other: Vec<_> =
                    all().filter(|node| !some.contains(node)).map(process_of).collect();
                network.partition(&[&one, &other]);
            }
            Self::Cut(one, other, percent) => {
                network.cut(process_of(*one), process_of(*other), *percent);
            }
            Self::Slow(most) => {
                network.set_usual(Link { delay: Duration::ZERO..=*most, ..Link::default() });
            }
            Self::Heal => heal(world),
        }
    }
}

pub(super) fn heal(_: &World) {
    let network = Network::current();
    network.heal();
    network.set_usual(Link::default());
}
