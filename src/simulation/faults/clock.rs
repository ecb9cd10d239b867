//! Clocks that are off, step, and run at another pace.

use rand::{RngExt, rngs::StdRng};

use crate::{
    base::ids::NodeId,
    io::simulated::executor::Executor,
    simulation::{places::process_of, plan::Shape, world::World},
};

/// A pace that no clock of a machine exceeds by far.
const DRIFT_PPM: i32 = 2_000;
/// Ten minutes.
const STEP_MICROS: i64 = 600_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The time of day is set ahead by so many microseconds, or back.
    Step(NodeId, i64),
    /// The clock runs faster by so many millionths, or slower.
    Drift(NodeId, i32),
}

pub fn any_step(rng: &mut StdRng) -> i64 {
    rng.random_range(-STEP_MICROS..=STEP_MICROS)
}

pub fn any_drift(rng: &mut StdRng) -> i32 {
    rng.random_range(-DRIFT_PPM..=DRIFT_PPM)
}

impl Fault {
    pub(super) fn draw(rng: &mut StdRng, shape: &Shape) -> Self {
        let node = shape.any_node(rng);
        match rng.random() {
            true => Self::Step(node, any_step(rng)),
            false => Self::Drift(node, any_drift(rng)),
        }
    }

    /// Says whether anything was done.
    pub(super) fn apply(&self, _: &World) -> bool {
        let executor = Executor::current();
        match *self {
            Self::Step(node, micros) => {
                executor.change_clock(process_of(node), |clock, _| clock.step_wall(micros));
            }
            Self::Drift(node, ppm) => {
                executor.change_clock(process_of(node), |clock, now| clock.set_drift(now, ppm));
            }
        }
        true
    }
}
