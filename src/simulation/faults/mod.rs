//! What goes wrong in a run. Each kind of fault draws what happens from the seed, does it,
//! and can be ended.

pub mod clock;
pub mod disk;
pub mod network;
pub mod process;

use rand::{RngExt, rngs::StdRng};

use super::{plan::Shape, world::World};

/// Something that goes wrong, or gets well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Process(process::Fault),
    Network(network::Fault),
    Clock(clock::Fault),
    Disk(disk::Fault),
}

impl Fault {
    /// What happens next.
    pub fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        match rng.random_range(0..100) {
            0..45 => Self::Process(process::Fault::draw(rng, shape)),
            45..80 => Self::Network(network::Fault::draw(rng, shape)),
            80..90 => Self::Clock(clock::Fault::draw(rng, shape)),
            _ => Self::Disk(disk::Fault::draw(rng, shape)),
        }
    }

    /// Has it happen. What is not possible as things are does not.
    pub async fn apply(&self, world: &World) {
        match self {
            Self::Process(fault) => fault.apply(world).await,
            Self::Network(fault) => fault.apply(world),
            Self::Clock(fault) => fault.apply(world),
            Self::Disk(fault) => fault.apply(world),
        }
    }
}

/// Ends all that is wrong.
pub fn heal(world: &World) {
    network::heal(world);
    disk::heal(world);
    process::heal(world);
}
