//! Runs in which disks fail above all.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

use super::{
    faults::{Fault, disk, process},
    plan::Plan,
    tests::given,
    world::run_planned,
};
use crate::node::retention::Retention;

/// History is purged all the time, and little goes wrong but with disks.
fn draw(rng: &mut StdRng) -> Plan {
    let mut plan = Plan::draw(rng);
    let min_changes = rng.random_range(5..50);
    plan.shape.setup.retention = Some(Retention { min_changes, min_age: Duration::ZERO });
    plan.shape.setup.segment_bytes = 32 << 10;
    plan.crowd.writers = rng.random_range(2..=4);
    plan.crowd.keepers = 2;
    let (shape, count) = (plan.shape.clone(), rng.random_range(10..40));
    let step = |_| {
        let fault = match rng.random_range(0..10) {
            0..5 => Fault::Disk(disk::Fault::draw(rng, &shape)),
            5 => Fault::Process(process::Fault::draw(rng, &shape)),
            _ => Fault::Process(process::Fault::StartAll),
        };
        (rng.random_range(Duration::ZERO..Duration::from_secs(3)), fault)
    };
    plan.steps = (0..count).map(step).collect();
    plan
}

/// `SEEDS` runs from `FROM` on, two without.
#[test]
fn disks_fail() {
    let from = given("FROM").unwrap_or(0);
    for seed in from..from + given("SEEDS").unwrap_or(2) {
        println!("seed {seed}: {:?}", run_planned(seed, draw).found);
    }
}

/// Changes are redacted all the time, with and without retention.
fn redacting(rng: &mut StdRng) -> Plan {
    let retains = rng.random_ratio(1, 2);
    let mut plan = if retains { draw(rng) } else { Plan::draw(rng) };
    plan.crowd.erasers = 2;
    plan.shape.setup.segment_bytes = 32 << 10;
    plan
}

/// `SEEDS` runs from `FROM` on, two without.
#[test]
fn what_is_redacted_is_erased_whatever_fails() {
    let from = given("FROM").unwrap_or(0);
    for seed in from..from + given("SEEDS").unwrap_or(2) {
        println!("seed {seed}: {:?}", run_planned(seed, redacting).found);
    }
}

/// Files vanish under nodes that run, now and then one in between two starts, and little else goes
/// wrong. Half of the runs have a checkpoint, which may be what vanishes.
fn vanishing(rng: &mut StdRng) -> Plan {
    let retains = rng.random_ratio(1, 2);
    let mut plan = if retains { draw(rng) } else { Plan::draw(rng) };
    // A new disk is sent all of them, one by one.
    (plan.shape.voters, plan.shape.setup.segment_bytes) =
        ([3, 5][rng.random_range(0..2)], 128 << 10);
    plan.crowd.writers = rng.random_range(2..=4);
    plan.crowd.keepers = 2;
    plan.minority.clear();
    let (nodes, shape): (Vec<_>, _) = (plan.shape.minority().collect(), plan.shape.clone());
    let step = |_| {
        let node = nodes[rng.random_range(0..nodes.len())];
        let fault = match rng.random_range(0..12) {
            0..6 => Fault::Disk(disk::Fault::Vanish(node)),
            6 => Fault::Disk(disk::Fault::Rot(node)),
            7 => Fault::Disk(disk::Fault::Heal),
            8 => Fault::Process(process::Fault::draw(rng, &shape)),
            _ => Fault::Process(process::Fault::StartAll),
        };
        (rng.random_range(Duration::ZERO..Duration::from_secs(3)), fault)
    };
    plan.steps = (0..40).map(step).collect();
    plan
}

/// `SEEDS` runs from `FROM` on, two without.
#[test]
fn files_vanish() {
    let (from, name) = (given("FROM").unwrap_or(0), "Disk Vanish");
    for seed in from..from + given("SEEDS").unwrap_or(2) {
        let report = run_planned(seed, vanishing);
        println!("seed {seed}: {:?}", report.found);
        assert!(report.coverage.of(name) > 5, "seed {seed}: few files vanish");
    }
}
