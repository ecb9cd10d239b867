//! What goes wrong in a run. Each kind of fault draws what happens from the seed, does it,
//! and can be ended.

pub mod clock;
pub mod copies;
pub mod disk;
pub mod members;
pub mod network;
pub mod process;

use rand::{RngExt, rngs::StdRng};

use super::{
    places::process_of,
    plan::{Broken, Shape},
    world::World,
};
use crate::{
    base::ids::NodeId,
    io::simulated::{disk::Loss, executor::Executor, net::Network},
};

/// Something that goes wrong, or gets well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Process(process::Fault),
    Network(network::Fault),
    Clock(clock::Fault),
    Disk(disk::Fault),
    Members(members::Fault),
}

impl Fault {
    /// What happens next.
    pub fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        match rng.random_range(0..100) {
            0..34 => Self::Process(process::Fault::draw(rng, shape)),
            34..59 => Self::Network(network::Fault::draw(rng, shape)),
            59..66 => Self::Clock(clock::Fault::draw(rng, shape)),
            66..90 => Self::Disk(disk::Fault::draw(rng, shape)),
            _ => Self::Members(members::Fault::draw(rng, shape)),
        }
    }

    /// Its name without where it happens, and how much.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        let mut names = text
            .split(|char: char| !char.is_alphanumeric())
            .filter(|part| part.starts_with(char::is_uppercase));
        let (kind, what) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        match self {
            Self::Disk(disk::Fault::Fail(_, part, _)) => format!("{kind} {what} {part:?}"),
            _ => format!("{kind} {what}"),
        }
    }

    /// Has it happen, and says whether it did: what is not possible as things are does not.
    pub async fn apply(&self, world: &World) -> bool {
        match self {
            Self::Process(fault) => fault.apply(world).await,
            Self::Network(fault) => fault.apply(world),
            Self::Clock(fault) => fault.apply(world),
            Self::Disk(fault) => fault.apply(world).await,
            Self::Members(fault) => fault.apply(world).await,
        }
    }
}

impl Broken {
    /// Has a node be of no use.
    pub fn apply(self, node: NodeId, world: &World) {
        let (network, process) = (Network::current(), process_of(node));
        let others = || world.places.every().filter(|other| *other != node).map(process_of);
        let mute = || others().for_each(|other| network.block((process, other)));
        let deaf = || others().for_each(|other| network.block((other, process)));
        match self {
            Self::Down => world.places.crash(node, Loss::All),
            Self::Paused => Executor::current().pause(process),
            Self::DiskHangs => disk::hang(&world.places, node),
            Self::Isolated => {
                mute();
                deaf();
            }
            Self::Mute => mute(),
            Self::Deaf => deaf(),
        }
    }
}

/// Ends all that is wrong.
pub fn heal(world: &World) {
    network::heal(world);
    disk::heal(world);
    process::heal(world);
}
