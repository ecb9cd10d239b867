//! What goes wrong with a copy, or between it and what it follows. It may lose all that it has: its
//! origin has it. It must not lose what it was told to be durable and go on, though, which nobody
//! could tell it.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::{Fault, clock, disk, network, process};
use crate::{
    base::ids::NodeId,
    io::simulated::disk::Loss,
    simulation::{copies::CopyPlan, plan::Shape},
};

/// What happens next to one of `copies`, of which there is at least one.
pub fn draw(rng: &mut StdRng, shape: &Shape, copies: &[CopyPlan]) -> Fault {
    let number = rng.random_range(0..copies.len());
    let copy = shape.copy(number);
    let origin = *copies[number].origins.choose(rng).expect("a copy has an origin");
    let loss = *[Loss::All, Loss::Random, Loss::Nothing].choose(rng).expect("there are some");
    match rng.random_range(0..100) {
        0..16 => Fault::Process(process::Fault::Crash(copy, loss)),
        16..44 => Fault::Process(process::Fault::Start(copy)),
        44..49 => Fault::Process(process::Fault::Stop(copy)),
        49..53 => Fault::Process(process::Fault::Pause(copy)),
        53..73 => Fault::Network(of_network(rng, copy, origin)),
        73..76 => Fault::Clock(clock::Fault::Step(copy, clock::any_step(rng))),
        76..78 => Fault::Clock(clock::Fault::Drift(copy, clock::any_drift(rng))),
        78..97 => Fault::Disk(disk::Fault::that_spares_data(rng, shape, copy, loss)),
        _ => Fault::Disk(disk::Fault::Wipe(copy)),
    }
}

fn of_network(rng: &mut StdRng, copy: NodeId, origin: NodeId) -> network::Fault {
    let (from, to) = if rng.random() { (copy, origin) } else { (origin, copy) };
    let time = Duration::from_millis(rng.random_range(100..9_000));
    match rng.random_range(0..6) {
        0 => network::Fault::Block(from, to),
        1 => network::Fault::Hold(from, to, time),
        2 => network::Fault::Isolate(copy),
        3 => network::Fault::Narrow(from, to, rng.random_range(2_000..200_000)),
        _ => network::Fault::Cut(copy, origin, rng.random_range(20..=100)),
    }
}
