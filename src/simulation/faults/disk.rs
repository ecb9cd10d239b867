//! Disks that hang, are full, and fail.

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::simulated::disk::Faults,
    simulation::{plan::Shape, world::World},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing goes on.
    Hang(NodeId),
    /// All is well with the disks.
    Heal,
}

impl Fault {
    pub(super) fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        match rng.random_range(0..3) {
            0 => Self::Hang(shape.any_node(rng)),
            _ => Self::Heal,
        }
    }

    pub(super) fn apply(&self, world: &World) {
        match self {
            Self::Hang(node) => {
                world.places.disk(*node).set_faults(Faults { hangs: true, ..Faults::default() });
            }
            Self::Heal => heal(world),
        }
    }
}

pub(super) fn heal(world: &World) {
    for node in world.places.all() {
        world.places.disk(node).set_faults(Faults::default());
    }
}
